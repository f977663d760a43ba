//! A request to the operator's own port.

use std::sync::OnceLock;

use tokio::sync::watch;

use super::run;
use crate::{
    leader::elect::Standing,
    metrics::Metrics,
    serve::{Readiness, connection},
};

/// Whatever comes, the connection ends, and what is answered is HTTP.
pub(super) fn request(data: &[u8]) {
    static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();
    let Some(metrics) = METRICS.get_or_init(|| Metrics::new().ok()).clone() else { return };
    let ((_, standing), (_, filled)) = (watch::channel(Standing::default()), watch::channel(false));
    run(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = connection(ours, metrics, Readiness { standing, filled });
        tokio::join!(serving, decoders::answers_http(theirs, data));
    });
}
