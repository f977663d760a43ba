//! `top NAME`: what each worker of each replica does, drawn anew every second on a terminal.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::ResourceExt;

use super::{output, print};
use crate::{
    args::{Output, Top},
    cluster::Cluster,
    error::Error,
    session::Session,
    style::Style,
    top::{Replica, has_primary, screen},
};

/// Primaries that are asked at the same time.
const TOGETHER: usize = 16;
/// How often it is drawn; a primary looks at its workers no more often.
const EVERY: Duration = Duration::from_secs(1);

pub async fn run(session: &Session, arguments: &Top, style: Style) -> Result<(), Error> {
    let cluster = session.cluster(&arguments.name).await?;
    if arguments.once || arguments.output != Output::Text || !style.terminal {
        // Processor time is known from the second look on.
        look(session, &cluster).await?;
        tokio::time::sleep(EVERY + EVERY / 5).await;
        let replicas = look(session, &cluster).await?;
        return print(&output(arguments.output, &replicas, || {
            screen(&cluster, &replicas, arguments.sort_by, None, style)
        })?);
    }
    loop {
        let cluster = session.cluster(&arguments.name).await?;
        let replicas = look(session, &cluster).await?;
        let text = screen(&cluster, &replicas, arguments.sort_by, height(), style).replace('\n', "\x1b[K\n");
        // Home, draw over, then clear what the last picture had beyond: no flicker.
        print(&format!("\x1b[H{text}\x1b[J"))?;
        tokio::time::sleep(EVERY).await;
    }
}

/// Asks every primary, by way of the API server.
async fn look(session: &Session, cluster: &Cluster) -> Result<Vec<Replica>, Error> {
    let mut pods: Vec<String> =
        session.pods(cluster).await?.iter().filter(|pod| has_primary(pod)).map(ResourceExt::name_any).collect();
    pods.sort();
    let asked = stream::iter(pods).map(|pod| async {
        match session.workers(&pod).await {
            Ok(told) => Ok(Replica { pod, told: Some(Box::new(told)), error: None }),
            // The same for every pod.
            Err(error @ (Error::Forbidden { .. } | Error::Unauthorized)) => Err(error),
            Err(error) => Ok(Replica { pod, told: None, error: Some(error.to_string()) }),
        }
    });
    asked.buffered(TOGETHER).collect::<Vec<_>>().await.into_iter().collect()
}

/// Lines of the terminal.
fn height() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}
