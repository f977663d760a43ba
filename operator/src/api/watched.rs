//! What is seen of watches from outside: when each last brought something, and how it ended; and a pace, because a watch that is answered
//! and cut off at once would be opened again without end.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use http_body::{Frame, SizeHint};
use tower::BoxError;

use super::{answer::Body, limit::Limit, traffic::Traffic};

/// A watch may be opened so many times at once, and then once a second: `EOF` after `EOF` costs little and is still mended within 5 s.
const BURST: u32 = 5;
const PER_SECOND: u32 = 1;

/// The paces of all watches, by path. Clones share them.
#[derive(Clone, Default)]
pub struct Paces(Arc<Mutex<HashMap<String, Limit>>>);

/// The body of a watch's answer.
pub struct Watched {
    body: Body,
    resource: String,
    traffic: Traffic,
    over: bool,
}

/// The resource that a request watches.
pub fn resource(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find(|pair| matches!(*pair, "watch=true" | "watch=1"))?;
    uri.path().rsplit('/').find(|part| !part.is_empty())
}

// === impl Paces ===

impl Paces {
    /// Waits until this watch may be opened (again).
    pub fn turn(&self, path: &str) -> impl Future<Output = Duration> + Send + use<> {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(path.to_owned()).or_insert_with(|| Limit::new(PER_SECOND, BURST)).turn()
    }
}

// === impl Watched ===

impl Watched {
    pub fn new(body: Body, resource: String, traffic: Traffic) -> Self {
        traffic.watch_heard(&resource);
        Self { body, resource, traffic, over: false }
    }

    fn ended(&mut self, how: &str) {
        if !std::mem::replace(&mut self.over, true) {
            self.traffic.watch_ended(&self.resource, how);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.ended("dropped"); // silent for too long, or nobody needs it any more
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.traffic.watch_heard(&self.resource),
            Poll::Ready(Some(Err(_))) => self.ended("broken"),
            Poll::Ready(None) => self.ended("ended"),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_known_by_its_query_and_named_by_its_path() {
        let of = |uri: &'static str| resource(&Uri::from_static(uri)).map(str::to_owned);
        assert_eq!(of("/api/v1/namespaces/a/pods?&watch=true&timeoutSeconds=45"), Some("pods".into()));
        assert_eq!(
            of("/apis/workercluster.dev/v1alpha1/workerclusters?limit=5&watch=true"),
            Some("workerclusters".into())
        );
        assert_eq!(of("/api/v1/pods?labelSelector=watch"), None);
        assert_eq!(of("/api/v1/pods"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_cut_off_again_and_again_is_opened_once_a_second() {
        let (paces, begun) = (Paces::default(), tokio::time::Instant::now());
        for _ in 0..15 {
            paces.turn("/api/v1/pods").await;
        }
        assert_eq!(begun.elapsed().as_secs(), 10);
        paces.turn("/api/v1/services").await;
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
