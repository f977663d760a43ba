//! Leases in any state: whatever the record says, another's is not taken before it has stood still for as long as it is to be respected.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::WatchEvent;

use super::{
    super::lease::{Next, Seen, State, Timing, step},
    read, seen,
};

const ME: &str = "me";
const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// A line is a look at the Lease, or an event of its watch; the first byte is how many seconds later that is.
pub fn leases(data: &[u8]) {
    let (mut state, begun) = (State::default(), Instant::now());
    let mut elapsed = Duration::ZERO;
    // Since when the version of now has stood still.
    let mut still: Option<(String, Duration)> = None;
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some((later, record)) = line.split_first() else { continue };
        elapsed += Duration::from_secs(u64::from(*later));
        let now = begun + elapsed;
        let event = serde_json::from_slice::<WatchEvent<Lease>>(record).ok().and_then(read);
        let what = match &event {
            Some(event) => event.clone(),
            None => seen(serde_json::from_slice::<Lease>(record).ok().as_ref()),
        };
        if let Seen::Record { version, .. } = &what {
            if still.as_ref().is_none_or(|(known, _)| known != version) {
                still = Some((version.clone(), elapsed));
            }
        } else if event.is_none() {
            still = None;
        }
        if event.is_some() {
            state.observe(&what, now);
            continue;
        }
        let next = step(&mut state, &what, ME, &TIMING, now);
        check(&what, &next, still.as_ref().map(|(_, since)| elapsed.saturating_sub(*since)));
        let until = if let Next::Wait { until } = next { Some(until) } else { None };
        assert!(TIMING.follow(now, until, 0.5) >= now || until.is_some_and(|until| until <= now));
    }
}

fn check(what: &Seen, next: &Next, still_for: Option<Duration>) {
    match (what, next) {
        (Seen::Absent, next) => assert_eq!(*next, Next::Create),
        (Seen::Record { holder, version, duration }, Next::Claim { version: claimed, takeover }) => {
            assert_eq!(claimed, version);
            let others = holder.as_deref().is_some_and(|holder| !holder.is_empty() && holder != ME);
            assert_eq!(*takeover, holder.as_deref() != Some(ME));
            let respected = duration.unwrap_or(TIMING.duration).min(Duration::from_secs(600));
            assert!(!others || still_for.is_some_and(|still| still >= respected), "{what:?} taken after {still_for:?}");
        }
        (Seen::Record { .. }, Next::Create) => unreachable!("created where one is"),
        (Seen::Record { .. }, Next::Wait { .. }) => {}
    }
}
