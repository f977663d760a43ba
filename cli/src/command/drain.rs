//! `drain POD` and `undrain POD`: an annotation of the pod, which has its primary be not ready and serve on.

use super::print;
use crate::{error::Error, session::Session};

/// Drains, or takes it back.
pub async fn run(session: &Session, pod: &str, drained: bool) -> Result<(), Error> {
    let Some(cluster) = session.drain_pod(pod, drained).await? else {
        return Err(Error::Refused(format!(
            "pod {pod} belongs to no WorkerCluster; those that do: kubectl get pods -n {} -l {}",
            session.namespace,
            crds::names::LABEL_NAME
        )));
    };
    let next = if drained {
        format!(
            "is drained: its Services leave it out, and its workers serve on; back: kubectl wc undrain {pod} -n {}",
            session.namespace
        )
    } else {
        "is undrained: ready again as soon as its workers are".to_owned()
    };
    print(&format!("pod {pod} of {cluster} {next}\n"))
}
