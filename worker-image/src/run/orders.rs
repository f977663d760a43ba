//! What comes over the control socket, made an order of the machine, or refused with what is possible.

use crate::config::Count;
use crate::control::{Document, Task};
use crate::count::{self, Processors};
use crate::machine::{Order, Settings};

/// The order that is meant.
///
/// # Errors
/// In words: what does not belong to this order, what is missing, or what stands against it.
pub(super) fn order(
    task: Task,
    document: &Document,
    settings: &Settings,
    processors: Processors,
) -> Result<Order, String> {
    refuse_foreign(task, document)?;
    match task {
        Task::Reload => match document.at_once.unwrap_or(1) {
            0 => Err("atOnce: give a number from 1".to_string()),
            at_once => Ok(Order::Reload { at_once }),
        },
        Task::Drain => Ok(Order::Drain { slot: document.slot }),
        Task::Undrain => Ok(Order::Undrain { slot: document.slot }),
        Task::Scale => {
            let count = document.count.as_deref().ok_or("count: say how many workers, or `max`")?;
            let count: Count = count.parse().map_err(|why| format!("count: {why}"))?;
            if let Some(adaptive) = settings.adaptive {
                return Err(format!(
                    "the number of workers follows the load, between {} and {} (--adaptive): start without it to set a number",
                    adaptive.min, adaptive.max
                ));
            }
            let count = count::resolve(count, processors);
            Ok(Order::Configure(Box::new(Settings { count, ..settings.clone() })))
        }
    }
}

fn refuse_foreign(task: Task, document: &Document) -> Result<(), String> {
    let foreign = [
        ("atOnce", document.at_once.is_some(), task == Task::Reload),
        ("slot", document.slot.is_some(), matches!(task, Task::Drain | Task::Undrain)),
        ("count", document.count.is_some(), task == Task::Scale),
    ];
    match foreign.iter().find(|(_, given, known)| *given && !known) {
        Some((field, ..)) => Err(format!("{field}: {} does not know this field", task.path())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::{Adaptive, Backoff, Recycle};

    const PROCESSORS: Processors =
        Processors { limit_millicores: Some(3000), request_millicores: 0, affinity: 8, in_container: true };

    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            count: 2,
            adaptive: None,
            startup: second,
            drain: second,
            endpoints_delay: second,
            backoff: Backoff { initial: second, max: second, reset_after: second },
            hang: None,
            recycle: Recycle::default(),
        }
    }

    #[test]
    fn a_document_becomes_an_order() {
        let given =
            |task, document: &str| order(task, &serde_json::from_str(document).unwrap(), &settings(), PROCESSORS);
        assert_eq!(given(Task::Reload, "{}"), Ok(Order::Reload { at_once: 1 }));
        assert_eq!(given(Task::Reload, r#"{"atOnce": 3}"#), Ok(Order::Reload { at_once: 3 }));
        assert_eq!(given(Task::Drain, r#"{"slot": 2}"#), Ok(Order::Drain { slot: Some(2) }));
        assert_eq!(given(Task::Undrain, "{}"), Ok(Order::Undrain { slot: None }));
        for (count, number) in [("5", 5), ("max", 3)] {
            let expected = Order::Configure(Box::new(Settings { count: number, ..settings() }));
            assert_eq!(given(Task::Scale, &format!(r#"{{"count": "{count}"}}"#)), Ok(expected));
        }
    }

    #[test]
    fn what_is_not_meant_for_an_order_is_refused_with_its_field() {
        let cases = [
            (Task::Reload, r#"{"atOnce": 0}"#, "atOnce"),
            (Task::Reload, r#"{"slot": 1}"#, "slot"),
            (Task::Drain, r#"{"count": "1"}"#, "count"),
            (Task::Scale, "{}", "count"),
            (Task::Scale, r#"{"count": "0"}"#, "from 1"),
        ];
        for (task, document, words) in cases {
            let refused = order(task, &serde_json::from_str(document).unwrap(), &settings(), PROCESSORS);
            assert!(refused.as_ref().is_err_and(|why| why.contains(words)), "{document}: {refused:?}");
        }
        let adaptive = Settings { adaptive: Some(Adaptive { min: 1, max: 4 }), ..settings() };
        let document = Document { count: Some("2".into()), ..Document::default() };
        assert!(order(Task::Scale, &document, &adaptive, PROCESSORS).is_err_and(|why| why.contains("between 1 and 4")));
        assert!(
            serde_json::from_str::<Document>(r#"{"sloot": 1}"#).is_err_and(|why| why.to_string().contains("sloot"))
        );
    }
}
