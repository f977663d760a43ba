//! Asking primaries that lie, stall and flood: bounded in time and memory, a failure of a known kind, and nobody else suffers.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Reading, auth, config,
    fake_primary::{Behaviour, Primaries, document, raw, using},
    pods,
};
use crate::signal::{Config, connection::may_be_dialled};

#[tokio::test]
async fn every_bad_answer_is_a_failure_of_its_kind_and_the_good_one_goes_on() {
    let good = document(1000, 1000);
    let with = |from: &str, to: &str| raw("200 OK", "", &good.replace(from, to));
    let truncated: Vec<u8> = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", good.len(), &good[..40]).into();
    let flip = |n: u64| document(n * 1000, if n.is_multiple_of(2) { 0 } else { u64::MAX });
    let rows = [
        (Behaviour::SlowLoris, "timeout"),
        (Behaviour::Silent, "timeout"),
        (Behaviour::Huge(100 << 20), "too_large"),
        (Behaviour::EndlessHead, "broken"),
        (Behaviour::Raw(truncated.into()), "broken"),
        (Behaviour::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec().into()), "broken"),
        (Behaviour::Raw([].into()), "broken"),
        (raw("302 Found", "location: http://127.0.0.99/v1/stats\r\n", ""), "status"),
        (raw("500 Internal Server Error", "", &good), "status"),
        (with("\"usageMicroseconds\":1000", "\"usageMicroseconds\":NaN"), "malformed"),
        (with("\"usageMicroseconds\":1000", "\"usageMicroseconds\":-1"), "malformed"),
        (with("\"usageMicroseconds\":1000", "\"usageMicroseconds\":1e308"), "malformed"),
        (raw("200 OK", "", &"[".repeat(100_000)), "malformed"),
        (raw("200 OK", "", ""), "malformed"),
        (with("\"version\":1", "\"version\":2"), "version"),
        (with("\"ready\":1", "\"ready\":4000000000"), "implausible"),
        (Behaviour::Answers(Arc::new(flip)), "implausible"),
    ];
    let mut primaries = Primaries::new().await;
    let mut seen = Vec::new();
    for (host, (behaviour, _)) in (10..).zip(&rows) {
        seen.push(primaries.add(host, behaviour.clone()).await);
    }
    let followed = primaries.add(99, using(100)).await;
    primaries.add(1, using(100)).await;
    let reading = Reading::start(config(primaries.port));
    let last = 10 + u8::try_from(rows.len()).unwrap();
    reading.handle.publish(&auth(), pods((10..last).chain([1])));
    for (host, (_, category)) in (10_u8..).zip(&rows) {
        let uid = format!("uid-{host}");
        let failed = |readings: &super::Readings| {
            let failure = readings.pods.get(uid.as_str()).and_then(|pod| pod.failure.as_ref());
            failure.is_some_and(|failure| failure.category == *category)
        };
        let readings = reading.until(&auth(), &format!("row {} to be {category}", host - 9), failed).await;
        assert!(readings.pods[uid.as_str()].cpu.is_none(), "{readings:?}");
    }
    let good = |readings: &super::Readings| readings.pods.get("uid-1").is_some_and(|pod| pod.cpu.is_some());
    reading.until(&auth(), "the good primary's rate", good).await;
    assert_eq!(followed.questions(), 0, "a redirect was followed");
    reading.stop().await;
}

#[tokio::test]
async fn of_a_hundred_megabytes_only_the_first_are_taken() {
    let mut primaries = Primaries::new().await;
    let seen = primaries.add(1, Behaviour::Huge(100 << 20)).await;
    let reading = Reading::start(Config { interval: Duration::from_secs(60), ..config(primaries.port) });
    reading.handle.publish(&auth(), pods([1]));
    reading.until(&auth(), "the failure", |readings| readings.pods.values().any(|pod| pod.failure.is_some())).await;
    reading.stop().await;
    // A mebibyte, and what the two socket buffers hold at most.
    let sent = seen.bytes_sent.load(Ordering::SeqCst);
    assert!(sent < 20 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn an_address_at_which_no_pod_can_be_is_not_dialled() {
    let mut primaries = Primaries::new().await;
    let seen = primaries.add(1, using(100)).await;
    let reading = Reading::start(Config { any_address: false, ..config(primaries.port) });
    reading.handle.publish(&auth(), pods([1]));
    let forbidden = |readings: &super::Readings| {
        readings
            .pods
            .values()
            .any(|pod| pod.failure.as_ref().is_some_and(|failure| failure.category == "forbidden_address"))
    };
    reading.until(&auth(), "the refusal", forbidden).await;
    assert_eq!(seen.connections(), 0);
    reading.stop().await;
}

#[test]
fn pods_have_ordinary_addresses() {
    let rows = [
        ("10.244.0.7", true),
        ("192.168.1.1", true),
        ("100.64.3.2", true),
        ("fd00:10:244::7", true),
        ("2001:db8::1", true),
        ("127.0.0.1", false),
        ("169.254.169.254", false), // the cloud's metadata service
        ("0.0.0.0", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("::1", false),
        ("::", false),
        ("fe80::1", false),
        ("ff02::1", false),
        ("::ffff:127.0.0.1", false), // the same in IPv6's clothes
        ("::ffff:169.254.169.254", false),
    ];
    for (address, expected) in rows {
        assert_eq!(may_be_dialled(address.parse::<IpAddr>().unwrap()), expected, "{address}");
    }
}
