//! Lines about workers that are replaced although they have not died.

use serde_json::json;

use super::Line;
use crate::log::Level::{Info, Warning};
use crate::machine::{Change, milliseconds};

/// The line of such a change.
pub fn line(change: &Change) -> Line {
    match change {
        Change::Leaving { slot, pid, reason } => {
            let fields = vec![
                ("event", json!("leaving")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("reason", json!(format!("{reason:?}"))),
            ];
            Line::new(Info, format!("slot {slot}: worker {pid} is asked to leave: {}", reason.words()), fields)
        }
        Change::Replaced { slot, pid, old, reason } => {
            let of = old.map(|old| format!(" of worker {old}")).unwrap_or_default();
            let why = reason.map(|reason| format!(" ({})", reason.words())).unwrap_or_default();
            let fields =
                vec![("event", json!("replaced")), ("slot", json!(slot)), ("pid", json!(pid)), ("old", json!(old))];
            Line::new(Info, format!("slot {slot}: worker {pid} takes the place{of}{why}"), fields)
        }
        Change::OverMemory { slot, pid, memory, limit } => {
            let fields = vec![
                ("event", json!("overMemory")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("bytes", json!(memory)),
                ("limit", json!(limit)),
            ];
            let message = format!("slot {slot}: worker {pid} uses {memory} bytes, more than {limit}, and is replaced");
            Line::new(Warning, message, fields)
        }
        Change::ContainerFull { slot, pid, memory, used, limit } => {
            let fields = vec![
                ("event", json!("containerFull")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("bytes", json!(memory)),
                ("used", json!(used)),
                ("limit", json!(limit)),
            ];
            let message = format!(
                "slot {slot}: the container uses {used} of {limit} bytes; worker {pid} has grown the most, to {memory}, and is replaced"
            );
            Line::new(Warning, message, fields)
        }
        Change::Hung { slot, pid, silent, promised } => {
            let seconds = silent.as_secs();
            let what = if *promised {
                "has not sent WATCHDOG=1"
            } else {
                "has used no processor time and moved no byte with work waiting"
            };
            let fields = vec![
                ("event", json!("hung")),
                ("slot", json!(slot)),
                ("pid", json!(pid)),
                ("milliseconds", json!(milliseconds(*silent))),
            ];
            Line::new(
                Warning,
                format!("slot {slot}: worker {pid} {what} for {seconds} s: it hangs and is ended"),
                fields,
            )
        }
        Change::RenewalFailed { slot, reason } => {
            let fields = vec![("event", json!("renewalFailed")), ("slot", json!(slot))];
            let message =
                format!("slot {slot}: the fresh worker did not get ready ({}); the old one stays", reason.words());
            Line::new(Warning, message, fields)
        }
        Change::Reloading { slots, at_once } => {
            let fields = vec![("event", json!("reloading")), ("workers", json!(slots)), ("atOnce", json!(at_once))];
            Line::new(Info, format!("reloading {slots} workers, {at_once} at a time"), fields)
        }
        Change::Reloaded { slots } => {
            let fields = vec![("event", json!("reloaded")), ("workers", json!(slots))];
            Line::new(Info, format!("all {slots} workers are fresh"), fields)
        }
        Change::ReloadFailed { done, slots, why } => {
            let fields = vec![
                ("event", json!("reloadFailed")),
                ("done", json!(done)),
                ("workers", json!(slots)),
                ("reason", json!(why)),
            ];
            let message = format!("the reload ends after {done} of {slots} workers, the others stay: {why}");
            Line::new(Warning, message, fields)
        }
    }
}
