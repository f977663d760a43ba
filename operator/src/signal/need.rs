//! How many places the requests of one replica need, from two documents of its primary. `docs/design/0020-demand.md` says why.

use std::time::Duration;

use primary_protocol::Requests;

use super::stats::MOST_PLACES;

/// What waits is to be worked off within this time: about as long as a pod takes that is there for it.
const WORKED_OFF_MILLISECONDS: f64 = 3000.0;

/// Milliseconds between two documents of which a mean is taken: whole milliseconds say nothing of a shorter time.
const SHORTEST_MEAN: f64 = 100.0;

/// Requests at a time, of one replica. Both together are at most those that are there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    /// As many as there would be if none had to wait.
    pub lasting: f64,
    /// So many more for a while, to work off what waits.
    pub backlog: f64,
}

impl Need {
    /// What one document alone says: all that are there.
    pub(super) fn at_once(told: &Requests) -> Self {
        Self {
            lasting: (f64::from(told.waiting) + f64::from(told.in_flight)).min(f64::from(MOST_PLACES)),
            backlog: 0.0,
        }
    }

    /// What there was in the time between two documents of one primary. `None` where it is too short, or the figures are of two primaries.
    ///
    /// Where none waits, those that are there are needed (Little's law). Where some wait: arrivals by the time that workers have each, and for each that waits
    /// as much of a place as its service takes of the time in which it is to be served. Those that workers have count as much at least: of long requests
    /// hardly any come, and short ones may be the last of those that waited. Where no service has ended for ten seconds nobody knows how long one takes,
    /// and each needs a whole place.
    pub(super) fn between(was: &Requests, is: &Requests, time: Duration) -> Option<Self> {
        let time = Some(time.as_secs_f64() * 1000.0).filter(|time| *time >= SHORTEST_MEAN)?;
        let there = number(is.demand_milliseconds.checked_sub(was.demand_milliseconds)?) / time;
        let there = Some(there).filter(|mean| mean.is_finite())?.min(f64::from(MOST_PLACES));
        let service =
            is.recent.and_then(|recent| recent.service_milliseconds).filter(|each| each.is_finite() && *each >= 0.0);
        let Some(service) = service.filter(|_| was.waiting > 0 || is.waiting > 0) else {
            return Some(Self { lasting: there, backlog: 0.0 });
        };
        let own = |requests: &Requests| requests.arrived.saturating_sub(requests.merged);
        let arrivals = number(own(is).saturating_sub(own(was))) / time;
        let with_workers = f64::midpoint(f64::from(was.in_flight), f64::from(is.in_flight));
        let share = (service / WORKED_OFF_MILLISECONDS).min(1.0);
        let lasting = (arrivals * service).max(with_workers * share).min(there);
        let backlog = f64::from(is.waiting) * share;
        Some(Self { lasting, backlog: backlog.min(there - lasting) })
    }
}

fn number(value: u64) -> f64 {
    u32::try_from(value).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use primary_protocol::Recent;

    use super::*;

    /// Sum of those that were there, how many came, wait and are with workers, and how long each was with one, in milliseconds.
    fn told(demand: u64, arrived: u64, waiting: u32, in_flight: u32, service: Option<f64>) -> Requests {
        let recent = Some(Recent { service_milliseconds: service, ..Recent::default() });
        Requests { demand_milliseconds: demand, arrived, waiting, in_flight, recent, ..Requests::default() }
    }

    /// Within a second.
    fn need(was: &Requests, is: &Requests) -> (f64, f64) {
        let Need { lasting, backlog } = Need::between(was, is, Duration::from_secs(1)).unwrap();
        (lasting, backlog)
    }

    #[test]
    fn where_none_waits_what_is_there_is_what_is_needed() {
        let (was, is) = (told(0, 0, 0, 2, Some(400.0)), told(2500, 90, 0, 3, Some(400.0)));
        assert_eq!(need(&was, &is), (2.5, 0.0));
    }

    #[test]
    fn what_waits_needs_a_place_for_as_long_as_it_is_served() {
        // 25 a second of 400 ms each are 10 at a time, whatever waits; 30 that wait need 4 places for three seconds.
        let (was, is) = (told(0, 0, 20, 4, Some(400.0)), told(30_000, 25, 30, 4, Some(400.0)));
        assert_eq!(need(&was, &is), (10.0, 4.0));
    }

    #[test]
    fn what_is_worked_off_is_no_lasting_need() {
        // All of forty places are busy with what waited before they were there.
        let (was, is) = (told(0, 0, 100, 40, Some(300.0)), told(110_000, 10, 20, 40, Some(300.0)));
        assert_eq!(need(&was, &is), (4.0, 2.0));
    }

    #[test]
    fn what_takes_longer_than_it_may_wait_needs_a_place_each() {
        let (was, is) = (told(0, 0, 6, 4, Some(30_000.0)), told(10_000, 0, 6, 4, Some(30_000.0)));
        assert_eq!(need(&was, &is), (4.0, 6.0));
        let nothing_ended = (told(0, 0, 6, 4, None), told(10_000, 0, 6, 4, None));
        assert_eq!(need(&nothing_ended.0, &nothing_ended.1), (10.0, 0.0));
    }

    #[test]
    fn no_more_is_needed_than_is_there() {
        for (arrived, service) in
            [(0, 0.0), (0, 1e300), (1_000_000, 400.0), (u64::MAX, 1e300), (5, -1.0), (5, f64::NAN)]
        {
            let (was, is) = (told(0, 0, 7, 4, Some(service)), told(11_000, arrived, 7, 4, Some(service)));
            let (lasting, backlog) = need(&was, &is);
            assert!(
                lasting >= 0.0 && backlog >= 0.0 && lasting + backlog <= 11.0,
                "{arrived}, {service}: {lasting}, {backlog}"
            );
        }
    }

    #[test]
    fn those_that_share_an_answer_are_not_counted() {
        let (was, mut is) = (told(0, 0, 1, 4, Some(400.0)), told(30_000, 1000, 1, 4, Some(400.0)));
        is.merged = 985;
        assert_eq!(need(&was, &is), (6.0, 0.4 / 3.0));
    }

    #[test]
    fn documents_of_two_primaries_or_of_one_moment_say_nothing() {
        let (young, old) = (told(0, 0, 0, 0, None), told(8000, 0, 0, 0, None));
        assert_eq!(Need::between(&old, &young, Duration::from_secs(1)), None);
        assert_eq!(Need::between(&young, &old, Duration::from_millis(99)), None);
    }
}
