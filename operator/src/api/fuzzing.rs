//! An API server, or what stands before it, that answers with anything.

use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, client::Body as RequestBody};
use tower::service_fn;

use super::{
    ApiError,
    answer::{Body, full_bytes, with_gone_as_event, with_retry_after},
};
use crate::fuzzing::{Knobs, run};

/// A client to whom everything is answered with this. To be made where a runtime is.
pub fn client(code: u16, retry_after: Option<HeaderValue>, watch: bool, body: &[u8]) -> Client {
    let body = bytes::Bytes::copy_from_slice(body);
    let service = service_fn(move |_: Request<RequestBody>| {
        let mut response = Response::new(full_bytes(body.clone()));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = &retry_after {
            response.headers_mut().insert(RETRY_AFTER, after.clone());
        }
        async move {
            let response: Response<Body> = if watch { with_gone_as_event(response).await? } else { response };
            with_retry_after(response).await
        }
    });
    Client::new(service, "ns")
}

/// What a call comes to: a code, a `Retry-After`, and a body.
pub fn answer(data: &[u8]) -> Result<Box<Pod>, ApiError> {
    let mut knobs = Knobs::new(data);
    let code = 200 + u16::from(knobs.byte()) * 2 + u16::from(knobs.byte() & 1);
    let length = usize::from(knobs.byte() % 32);
    let after = HeaderValue::from_bytes(knobs.bytes(length)).ok().filter(|_| length > 0);
    let (writes, watch) = (code.is_multiple_of(2), length.is_multiple_of(2));
    let result = run(async {
        let api = Api::<Pod>::namespaced(client(code.min(599), after, watch, knobs.rest()), "ns");
        api.get("x").await.map(Box::new).map_err(|error| ApiError::of("get", "pods", writes, error))
    });
    if let Err(error) = &result {
        let wait = error.retry_after().unwrap_or_default();
        assert!(wait.as_secs() <= 60, "{wait:?}");
        assert!(!error.is_doubtful() || writes, "only a write leaves doubts");
        assert!(!error.category().is_empty() && !error.to_string().is_empty());
        let _ = (error.class(), error.code(), error.is_refusal(), error.is_namespace_ending());
    }
    result
}
