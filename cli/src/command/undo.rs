//! `rollout undo NAME`: an older revision becomes the spec again.

use super::{history::difference, kept, print};
use crate::{args::Undo, cluster::Cluster, error::Error, revisions::before, session::Session, style::Style, wishes};

pub async fn run(session: &Session, arguments: &Undo, style: Style) -> Result<(), Error> {
    let cluster = session.cluster(&arguments.name).await?;
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    if cluster.is_paused() {
        return Err(Error::Refused(format!(
            "{name} is paused, and what is undone would wait: first kubectl wc rollout resume {name} -n {namespace}"
        )));
    }
    let revisions = kept(session, &cluster).await?;
    let to = Some(arguments.to_revision).filter(|number| *number > 0);
    let revision = before(&revisions, &cluster, to)
        .map_err(|reason| Error::Refused(format!("{name} cannot be undone: {reason}")))?;
    if wishes::same(&revision.wishes, &cluster.spec) {
        return print(&format!("{name} is {} already: nothing to change\n", revision.title()));
    }
    let changes = difference("the present spec", &cluster.spec, &revision.title(), &revision.wishes, style)?;
    session.patch(&cluster, wishes::undo(&cluster, revision), arguments.dry_run).await?;
    warn(&cluster, arguments.dry_run);
    let done = if arguments.dry_run { "would go back" } else { "goes back" };
    let next = if arguments.dry_run {
        String::new()
    } else {
        format!("; to follow it: kubectl wc rollout status {name} -n {namespace}")
    };
    print(&format!("{changes}{name} {done} to what was {}{next}\n", revision.title()))
}

/// Continuous delivery brings its own state back sooner or later.
fn warn(cluster: &Cluster, dry_run: bool) {
    if let Some(keeper) = cluster.keeper {
        let will = if dry_run { "would" } else { "will" };
        super::aside(format_args!(
            "warning: {} is kept by {keeper}, which {will} write its own spec again: undo it at its source, too",
            cluster.name
        ));
    }
}
