//! Orders over the network, from any bytes.

use std::time::Duration;

use primary_protocol::remote::Wanted;

use super::{Guard, Refusal, Signed, settings};
use crate::count::Processors;
use crate::machine::{Backoff, Recycle, Settings};

const PROCESSORS: Processors =
    Processors { limit_millicores: Some(2000), request_millicores: 0, affinity: 2, in_container: true };

/// Nobody without the key is let in, whatever the headers are; and what an order says is bounded settings, or words.
pub fn order(data: &[u8]) {
    let key = "00".repeat(32).parse();
    assert!(key.is_ok());
    let mut guard = Guard::new(key.into_iter().collect(), "pod".to_string(), [1; 32]);
    let now = Duration::from_secs(1);
    let nonce = guard.nonce(now);
    let words = String::from_utf8_lossy(data);
    let mut words = words.splitn(3, '\n').map(ToString::to_string);
    let (pod, other, signature) = (words.next(), words.next(), words.next());
    for nonce in [Some(nonce), other] {
        for pod in [Some("pod".to_string()), pod.clone()] {
            let order = Signed { pod, nonce: nonce.clone(), signature: signature.clone(), body: data.to_vec() };
            assert!(guard.check(&order, now).is_err_and(|refusal| refusal != Refusal::Replayed), "it was never taken");
        }
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(data) else { return };
    let written = serde_json::to_vec(&wanted).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<Wanted>(&written).ok(), Some(wanted.clone()));
    let second = Duration::from_secs(1);
    let standing = Settings {
        count: 1,
        adaptive: None,
        startup: second,
        drain: second,
        endpoints_delay: second,
        backoff: Backoff::default(),
        hang: None,
        recycle: Recycle::default(),
    };
    match settings(&wanted.workers, &standing, PROCESSORS) {
        Ok(settings) => assert!((1..=1024).contains(&settings.count) && settings.first_count() <= 1024),
        Err(words) => assert!(words.starts_with("workers."), "{words}"),
    }
}
