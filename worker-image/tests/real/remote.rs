//! Orders over the network: who may give them, and that no worker is restarted for what needs no fresh one.

use std::io::{Read, Write};
use std::net::TcpStream;

use primary_protocol::Stats;
use primary_protocol::remote::{
    CONFIG_PATH, NONCE_HEADER, NONCE_PATH, Nonce, POD_HEADER, SIGNATURE_HEADER, hex, signed_text,
};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::harness::{PATIENCE, Primary, Setup, program, ready_pids};

const POD: &str = "3f1c-pod";

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn run(count: u32) -> Primary {
    let public = hex(key(1).public_key().as_ref());
    let setup = Setup::new(count).env("WORKERCLUSTER_CONTROL_KEYS", &public).env("WORKERCLUSTER_POD_UID", POD);
    setup.env("WORKERCLUSTER_CONFIG_REVISION", "first").run(&["node", &program("cluster.js")])
}

fn nonce(primary: &Primary) -> String {
    let (code, body) = primary.ask(NONCE_PATH).unwrap();
    assert_eq!(code, 200);
    serde_json::from_str::<Nonce>(&body).unwrap().nonce
}

/// Puts an order with these headers; gives code and body.
fn put(primary: &Primary, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", primary.admin_port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    let head = format!(
        "PUT {CONFIG_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

/// Orders it as the operator would.
fn order(primary: &Primary, body: &str) -> (u16, String) {
    let nonce = nonce(primary);
    let signature = hex(key(1).sign(&signed_text(POD, &nonce, body.as_bytes())).as_ref());
    put(primary, &[(POD_HEADER, POD), (NONCE_HEADER, &nonce), (SIGNATURE_HEADER, &signature)], body)
}

#[test]
fn settings_change_while_workers_run() {
    let primary = run(2);
    let before = ready_pids(&primary.wait_ready(2));
    assert_eq!(primary.stats().told.unwrap().revision, "first");
    let (code, body) = order(&primary, r#"{"revision": "second", "workers": {"count": 3}}"#);
    assert_eq!(code, 200, "{body}");
    assert_eq!(serde_json::from_str::<Stats>(&body).unwrap().told.unwrap().revision, "second");
    let stats = primary.wait_ready(3);
    assert!(before.iter().all(|pid| ready_pids(&stats).contains(pid)), "nobody was restarted");

    let (code, body) =
        order(&primary, r#"{"revision": "third", "workers": {"count": 3, "recycle": {"memory": "12"}}}"#);
    assert!(code == 409 && body.starts_with("workers.recycle: give a size"), "{code} {body}");
    let (code, body) = order(&primary, r#"{"revision": "third", "workers": {"future": 1}}"#);
    assert!(code == 409 && body.contains("future"), "{code} {body}");
    assert_eq!(primary.stats().told.unwrap().revision, "second", "all of it, or nothing");
}

#[test]
fn a_replica_leaves_and_comes_back_whatever_becomes_of_the_settings() {
    let primary = run(1);
    primary.wait_ready(1);
    for (drained, workers) in [(true, r#"{"future": 1}"#), (false, r#"{"restart": {"initialMilliseconds": 60000}}"#)] {
        let (code, body) =
            order(&primary, &format!(r#"{{"revision": "x", "workers": {workers}, "drained": {drained}}}"#));
        let stats = primary.stats();
        assert_eq!((code, stats.drained, &*stats.told.unwrap().revision), (409, drained, "first"), "{body}");
    }
}

#[test]
fn a_reload_is_carried_out_once_and_a_drain_until_it_is_taken_back() {
    let primary = run(2);
    let before = ready_pids(&primary.wait_ready(2));
    let reload = r#"{"revision": "r", "workers": {"count": 2}, "drained": true, "reload": {"id": "one", "atOnce": 2}}"#;
    for _ in 0..2 {
        assert_eq!(order(&primary, reload).0, 200);
    }
    let stats =
        primary.wait_stats("the end of the reload", |stats| stats.reload.as_ref().is_some_and(|reload| reload.ended));
    assert_eq!((stats.reload.unwrap().number, stats.replaced.reloaded, stats.drained), (1, 2, true));
    assert!(ready_pids(&primary.wait_ready(2)).iter().all(|pid| !before.contains(pid)));
    assert_eq!(primary.ask("/readyz").unwrap().0, 503);
    assert_eq!(order(&primary, r#"{"revision": "s", "workers": {"count": 2}}"#).0, 200);
    assert_eq!(primary.ask("/readyz").unwrap().0, 200);
    assert_eq!(primary.stats().told.unwrap().reload.as_deref(), Some("one"));
}

#[test]
fn whoever_may_not_is_refused_and_counted() {
    let primary = run(1);
    primary.wait_ready(1);
    let body = r#"{"revision": "evil", "workers": {"count": 9}}"#;
    let given = nonce(&primary);
    let by = |seed: u8, pod: &str| hex(key(seed).sign(&signed_text(pod, &given, body.as_bytes())).as_ref());
    let (good, foreign, other) = (by(1, POD), by(1, "other"), by(2, POD));
    assert_eq!(put(&primary, &[], body).0, 403);
    assert_eq!(
        put(&primary, &[(POD_HEADER, "other"), (NONCE_HEADER, &given), (SIGNATURE_HEADER, &foreign)], body).0,
        403
    );
    assert_eq!(put(&primary, &[(POD_HEADER, POD), (NONCE_HEADER, &given), (SIGNATURE_HEADER, &other)], body).0, 403);
    assert_eq!(put(&primary, &[(POD_HEADER, POD), (NONCE_HEADER, "1.1.00"), (SIGNATURE_HEADER, &good)], body).0, 403);
    let headers = [(POD_HEADER, POD), (NONCE_HEADER, given.as_str()), (SIGNATURE_HEADER, good.as_str())];
    assert_eq!(put(&primary, &headers, &body.replace('9', "8")).0, 403);
    assert_eq!(primary.stats().workers.desired, 1, "nothing was done");
    assert_eq!(put(&primary, &headers, body).0, 200);
    let (code, why) = put(&primary, &headers, body);
    assert!(code == 403 && why.contains("used before"), "{code} {why}");
    let orders = primary.stats().orders;
    let counted: Vec<(&str, u64)> = orders.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(
        counted,
        [("foreign", 1), ("replayed", 1), ("unknown_nonce", 1), ("unsigned", 1), ("wrong_signature", 2)]
    );
    assert_eq!(orders.taken, 1);
    let (_, metrics) = primary.ask("/metrics").unwrap();
    assert!(metrics.contains("workercluster_primary_orders_refused_total{reason=\"wrong_signature\"} 2"), "{metrics}");
    primary.wait_log("an order over the network was refused");

    let closed = Setup::new(1).run(&["node", &program("cluster.js")]);
    closed.wait_ready(1);
    let (code, why) = put(&closed, &headers, body);
    assert!(code == 403 && why.contains("--control-keys"), "{code} {why}");
}

#[test]
fn what_people_see_of_workers_is_to_be_had_without_the_command() {
    let primary = run(1);
    primary.wait_ready(1);
    let (code, body) = primary.ask("/v1/workers").unwrap();
    assert!(code == 200 && body.contains("\"processes\":[{") && !body.contains("cluster.js"), "{body}");
}
