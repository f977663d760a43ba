//! Taking a stats document apart. What a whole server can do wrong is in `hostile.rs`.

use proptest::prelude::*;

use super::fake_primary::document;
use crate::signal::{error::ScrapeError, stats::decode};

fn changed(from: &str, to: &str) -> Result<primary_protocol::Stats, ScrapeError> {
    let good = document(1000, 1000);
    assert!(good.contains(from));
    decode(good.replace(from, to).as_bytes())
}

fn with(field: &str) -> Result<primary_protocol::Stats, ScrapeError> {
    changed("{\"version\":1", &format!("{{{field},\"version\":1"))
}

#[test]
fn a_good_document_is_read_and_what_is_new_in_it_ignored() {
    let stats = with(r#""somethingNew":{"a":[1,2]}"#).unwrap();
    assert_eq!((stats.uptime_milliseconds, stats.cpu.unwrap().usage_microseconds), (1000, 1000));
}

#[test]
fn of_each_pod_only_what_is_used_is_kept() {
    let slots = vec![r#"{"slot":1,"state":"Ready","restarts":0,"lastExit":"exit code 1"}"#; 1024].join(",");
    let stats = with(&format!(r#""slots":[{slots}],"listeners":[{{"address":"[::]:8000"}}]"#)).unwrap();
    assert_eq!((stats.slots.capacity(), stats.listeners.capacity()), (0, 0));
}

#[test]
fn of_the_slots_those_are_kept_in_which_workers_last_died() {
    let slot = |number: u32, state: &str, up: &str, exit: &str| {
        format!(r#"{{"slot":{number},"state":"{state}",{up}"restarts":1,"lastExit":"{exit}"}}"#)
    };
    let slots = [
        slot(1, "Stopped", "", "exit code 1"),
        slot(2, "Ready", r#""upMilliseconds":9000,"#, "exit code 2"),
        slot(3, "Ready", r#""upMilliseconds":500,"#, "signal 9 (SIGKILL)"),
        slot(4, "Ready", r#""upMilliseconds":100,"#, "exit code 0"),
    ];
    let kept = |deaths: &str| {
        let good = document(1000, 1000).replace(r#""exited":0,"crashed":0"#, deaths);
        let body = good.replace("{\"version\":1", &format!(r#"{{"slots":[{}],"version":1"#, slots.join(",")));
        decode(body.as_bytes()).unwrap().slots.iter().map(|slot| slot.slot).collect::<Vec<_>>()
    };
    assert_eq!(kept(r#""exited":1,"crashed":2"#), [3, 4]);
    assert_eq!(kept(r#""exited":0,"crashed":2"#), [3], "the other was asked to leave");
}

#[test]
fn another_version_is_named_even_if_nothing_else_is_known_of_it() {
    assert_eq!(decode(br#"{"version":7}"#), Err(ScrapeError::Version(7)));
}

#[test]
fn figures_that_cannot_be_true_are_refused() {
    let slot = r#"{"slot":1,"state":"Ready","restarts":0}"#;
    let many = |one: &str, count: usize| vec![one; count].join(",");
    let long = "x".repeat(1025);
    let rows = [
        with(&format!(r#""slots":[{}]"#, many(slot, 4097))),
        with(&format!(r#""listeners":[{}]"#, many(r#"{"address":"[::]:8000"}"#, 257))),
        with(&format!(r#""warnings":[{}]"#, many(r#"{"reason":"CrashLoop","message":""}"#, 9))),
        with(&format!(r#""warnings":[{{"reason":"CrashLoop","message":"{long}"}}]"#)),
        with(&format!(r#""listeners":[{{"address":"{long}"}}]"#)),
        changed("0.1.0", &long),
        changed("\"uptimeMilliseconds\":1000", "\"uptimeMilliseconds\":18446744073709551615"),
        changed("\"desired\":1", "\"desired\":5000"),
        changed("\"ready\":1", "\"ready\":2"), // of one that runs
    ];
    for (number, result) in rows.into_iter().enumerate() {
        assert!(matches!(result, Err(ScrapeError::Implausible(_))), "row {}: {result:?}", number + 1);
    }
}

#[test]
fn what_is_passed_on_of_a_complaint_is_short() {
    let body = format!(r#"{{"version":"{}"}}"#, "x".repeat(500_000));
    let error = decode(body.as_bytes()).unwrap_err();
    assert!(matches!(error, ScrapeError::Malformed(_)));
    assert!(error.to_string().len() < 300, "{error}");
}

proptest! {
    #[test]
    fn no_body_is_too_strange(body in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = decode(&body);
    }

    #[test]
    fn no_change_of_a_good_document_is_too_strange(at in 0..300_usize, byte in any::<u8>(), cut in 0..300_usize) {
        let mut body = document(1000, 1000).into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let _ = decode(&body[..body.len() - cut % body.len()]);
    }
}
