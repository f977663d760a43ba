//! `rollout history NAME`: the revisions that are kept, what one holds, what differs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{kept, output, print};
use crate::{
    age::age,
    args::{History, Output},
    diff::{self, Line},
    error::Error,
    revisions::{Revision, numbered},
    session::Session,
    style::{Style, Tone, harmless},
    table::{Cell, cell, table},
    wishes,
};

pub async fn run(session: &Session, arguments: &History, style: Style) -> Result<(), Error> {
    let cluster = session.cluster(&arguments.name).await?;
    let revisions = kept(session, &cluster).await?;
    let of = |number| numbered(&revisions, number).map_err(Error::Refused);
    if let Some((from, to)) = arguments.diff {
        let from = of(from)?;
        let (to_name, to_wishes) = match to {
            Some(number) => of(number).map(|to| (to.title(), &to.wishes))?,
            None => ("the present spec".to_owned(), &cluster.spec),
        };
        return print(&difference(&from.title(), &from.wishes, &to_name, to_wishes, style)?);
    }
    if let Some(number) = arguments.revision {
        let revision = of(number)?;
        let value = as_value(revision, true, &cluster.status.current_revision);
        // What it holds is YAML in any case: that is how it was written.
        let format = if arguments.output == Output::Text { Output::Yaml } else { arguments.output };
        return print(&output(format, &value, String::new)?);
    }
    let current = &cluster.status.current_revision;
    let values: Vec<Value> = revisions.iter().map(|revision| as_value(revision, false, current)).collect();
    if revisions.is_empty() {
        super::aside(format_args!(
            "{}: no revision is kept yet: the operator keeps one with the first pod",
            cluster.name
        ));
    }
    print(&output(arguments.output, &values, || list(&revisions, current, style, Timestamp::now()))?)
}

fn as_value(revision: &Revision, whole: bool, current: &str) -> Value {
    let mut value = json!({
        "revision": revision.number, "hash": revision.hash, "current": revision.hash == current, "pods": revision.pods,
        "images": revision.images(), "created": revision.created, "changeCause": revision.cause, "primaryImage": revision.primary_image,
    });
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_null());
        if whole {
            fields.insert("spec".into(), revision.wishes.clone());
        }
    }
    value
}

fn list(revisions: &[Revision], current: &str, style: Style, now: Timestamp) -> String {
    let rows = revisions.iter().map(|revision| {
        let is_current = revision.hash == current;
        let cause = revision.cause.as_deref().unwrap_or("-");
        vec![
            Cell(
                format!("{}{}", revision.number, if is_current { " *" } else { "" }),
                if is_current { Tone::Good } else { Tone::Plain },
            ),
            cell(&revision.hash),
            cell(revision.pods),
            cell(age(revision.created, now)),
            cell(revision.images()),
            cell(revision.primary_image.as_deref().unwrap_or("-")),
            cell(cause),
        ]
    });
    table(
        style,
        0,
        &["REVISION", "HASH", "PODS", "AGE", "IMAGES", "PRIMARY", "CHANGE-CAUSE"],
        &rows.collect::<Vec<_>>(),
    )
}

/// What differs between two sets of wishes, as YAML lines; defaults are left out on both sides.
pub fn difference(from: &str, old: &Value, to: &str, new: &Value, style: Style) -> Result<String, Error> {
    let yaml = |wishes: &Value| output(Output::Yaml, &wishes::normal(wishes), String::new);
    let (old, new) = (yaml(old)?, yaml(new)?);
    let hunks = diff::hunks(diff::lines(&old, &new));
    if hunks.is_empty() {
        return Ok(format!("{from} and {to} are the same\n"));
    }
    let head = [style.paint(Tone::Bad, &format!("--- {from}")), style.paint(Tone::Good, &format!("+++ {to}"))];
    let body = hunks.into_iter().map(|line| match line {
        None => style.paint(Tone::Dim, "  …"),
        Some(Line::Same(line)) => format!("  {}", harmless(line)),
        Some(Line::Removed(line)) => style.paint(Tone::Bad, &format!("- {}", harmless(line))),
        Some(Line::Added(line)) => style.paint(Tone::Good, &format!("+ {}", harmless(line))),
    });
    Ok(head.into_iter().chain(body).collect::<Vec<_>>().join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revisions::tests::revision;

    const PLAIN: Style = Style { colour: false, terminal: false };

    #[test]
    fn the_current_one_has_a_star() {
        let one = Revision { cause: Some("2.0".into()), pods: 2, ..revision(7, json!({})) };
        let text = list(&[revision(6, json!({})), one], "hash7", PLAIN, Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("6 ") && lines[2].starts_with("7 * ") && lines[2].ends_with("2.0"), "{text}");
    }

    #[test]
    fn a_difference_shows_the_lines_and_no_defaults() {
        let old = json!({"template": {"spec": {"nodeName": "a"}}, "nodeLoss": "Default"});
        let new = json!({"template": {"spec": {"nodeName": "b"}}});
        let text = difference("old", &old, "new", &new, PLAIN).unwrap();
        assert_eq!(text, "--- old\n+++ new\n  template:\n    spec:\n-     nodeName: a\n+     nodeName: b\n");
        assert_eq!(difference("old", &old, "new", &old, PLAIN).unwrap(), "old and new are the same\n");
    }

    #[test]
    fn one_revision_tells_what_it_holds() {
        let value = as_value(&revision(6, json!({"template": {}})), true, "hash7");
        assert_eq!(
            value,
            json!({"revision": 6, "hash": "hash6", "current": false, "pods": 0, "images": "", "spec": {"template": {}}})
        );
    }
}
