//! What is put right in answers before kube sees them: `Retry-After`, which it drops, and a 410 to a watch, over which its watcher would
//! ask for the same version for ever.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tower::BoxError;

/// A body of whatever kind.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// An error is a few lines; a proxy's page of HTML may be more.
const LONGEST_ERROR: usize = 64 * 1024;

/// Moves `Retry-After` into the Status, where `ApiError` finds it.
pub async fn with_retry_after(response: Response<Body>) -> Result<Response<Body>, BoxError> {
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let Some(seconds) = retry_after(response.headers()).filter(|_| refused) else { return Ok(response) };
    let (parts, body) = response.into_parts();
    let mut status = read_status(parts.status, body).await?;
    if status["details"]["retryAfterSeconds"].as_u64().is_none_or(|said| said < seconds) {
        if !status["details"].is_object() {
            status["details"] = json!({});
        }
        status["details"]["retryAfterSeconds"] = seconds.into();
    }
    Ok(Response::from_parts(parts, full(status.to_string())))
}

/// A 410 to a watch becomes the event that says the same within one: the watcher lists anew, once.
pub async fn with_gone_as_event(response: Response<Body>) -> Result<Response<Body>, BoxError> {
    if response.status() != StatusCode::GONE {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let status = read_status(parts.status, body).await?;
    parts.status = StatusCode::OK;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, full(format!("{}\n", json!({"type": "ERROR", "object": status})))))
}

/// Seconds only, as Kubernetes writes it. The other form is a date, for which one would have to trust two clocks.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

async fn read_status(code: StatusCode, mut body: Body) -> Result<Value, BoxError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame?.data_ref().map_or(&[], Bytes::as_ref));
        if bytes.len() > LONGEST_ERROR {
            return Err(format!("an error of more than {LONGEST_ERROR} bytes ({code})").into());
        }
    }
    let said = serde_json::from_slice::<Value>(&bytes).ok().filter(|status| status["kind"] == "Status");
    Ok(said.unwrap_or_else(|| {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code.as_u16(),
            "reason": code.canonical_reason().unwrap_or_default(), "message": String::from_utf8_lossy(&bytes).trim()
        })
    }))
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(any(test, fuzzing))]
pub fn full_bytes(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, after: Option<&str>, body: &str) -> Response<Body> {
        let mut response = Response::builder().status(code);
        if let Some(after) = after {
            response = response.header(RETRY_AFTER, after);
        }
        response.body(full(body.to_owned())).unwrap()
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn seconds(code: u16, after: Option<&str>, body: &str) -> Option<u64> {
        let answer = text(with_retry_after(answer(code, after, body)).await.unwrap()).await;
        serde_json::from_str::<Value>(&answer).ok()?["details"]["retryAfterSeconds"].as_u64()
    }

    const STATUS: &str = r#"{"kind":"Status","code":429,"message":"too many","details":{"retryAfterSeconds":2}}"#;

    #[tokio::test]
    async fn the_header_goes_into_the_status_and_the_longer_wait_counts() {
        assert_eq!(seconds(429, Some("7"), "busy").await, Some(7));
        assert_eq!(seconds(503, Some("7"), STATUS).await, Some(7));
        assert_eq!(seconds(429, Some("1"), STATUS).await, Some(2));
    }

    #[tokio::test]
    async fn what_is_no_number_of_seconds_is_left_alone() {
        assert_eq!(seconds(429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), STATUS).await, Some(2));
        assert_eq!(seconds(200, Some("7"), r#"{"kind":"Pod"}"#).await, None);
        assert_eq!(seconds(429, None, r#"{"kind":"Status"}"#).await, None);
    }

    #[tokio::test]
    async fn a_410_to_a_watch_becomes_its_error_event() {
        let answer = with_gone_as_event(answer(410, None, "too old")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let event: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    }
}
