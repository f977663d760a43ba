use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { cap: 1, waiting: 3, wait: Duration::from_secs(10), deaths: 2 };

fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

/// A table with so many workers, numbered from 1, all of which get requests.
fn table(limits: Limits, workers: u64) -> Table<Ticket> {
    let mut table = Table::new(limits);
    for worker in 1..=workers {
        table.admit(worker, at(0));
    }
    table.choose((1..=workers).collect(), at(0));
    table
}

impl Table<Ticket> {
    fn comes(&mut self, now: Moment) -> (Ticket, Asked) {
        let ticket = self.number();
        (ticket, self.ask(ticket, 0, now, || ticket))
    }
}

fn turns(turns: &[Turn<Ticket>]) -> Vec<(Ticket, WorkerId)> {
    turns.iter().map(|turn| (turn.ticket, turn.worker)).collect()
}

#[test]
fn who_comes_first_gets_the_worker_that_is_free_first() {
    let mut table = table(LIMITS, 2);
    assert_eq!(table.comes(at(0)).1, Asked::Now(1));
    assert_eq!(table.comes(at(0)).1, Asked::Now(2));
    assert_eq!((table.comes(at(0)), table.comes(at(1))), ((3, Asked::Waits), (4, Asked::Waits)));
    assert_eq!((table.waiting(), table.oldest(at(5))), (2, Some(at(5))));
    assert_eq!(turns(&table.done(2, at(0), at(2))), [(3, 2)]);
    assert_eq!(turns(&table.done(1, at(0), at(2))), [(4, 1)]);
    assert_eq!(turns(&table.done(1, at(0), at(3))), []);
    assert_eq!(
        table.loads().map(|load| (load.in_flight, load.served, load.idle_since)).collect::<Vec<_>>(),
        [(0, 2, Some(at(3))), (1, 1, None)]
    );
}

#[test]
fn of_several_that_have_room_the_emptiest_and_the_longest_rested_is_next() {
    let mut table = table(Limits { cap: 3, ..LIMITS }, 3);
    let given: Vec<Asked> = (0..6).map(|_| table.comes(at(0)).1).collect();
    assert_eq!(given, [1, 2, 3, 1, 2, 3].map(Asked::Now));
    table.done(2, at(0), at(1));
    table.done(2, at(0), at(1));
    assert_eq!(table.comes(at(1)).1, Asked::Now(2));
    assert_eq!(table.comes(at(1)).1, Asked::Now(2), "one with one, and two with two");
}

#[test]
fn as_many_wait_as_may_and_no_longer_than_they_may() {
    let mut table = table(LIMITS, 1);
    table.comes(at(0));
    for second in 1..=3 {
        assert_eq!(table.comes(at(second)).1, Asked::Waits);
    }
    assert_eq!(table.comes(at(4)).1, Asked::Refused(Refusal::Full));
    assert_eq!(table.expires(), Some(at(11)));
    assert_eq!(table.expire(at(10)).0, []);
    assert_eq!(table.expire(at(12)).0, [(2, 2), (3, 3)]);
    assert_eq!(turns(&table.done(1, at(0), at(14))), [], "it has waited for as long as it may, and is told that");
    assert_eq!(table.comes(at(14)).1, Asked::Now(1), "and is in nobody's way");
    assert_eq!(table.expire(at(14)).0, [(4, 4)]);
    table.done(1, at(0), at(14));
    let counts = table.counts();
    assert_eq!((counts.arrived, counts.full, counts.late), (6, 1, 3));
    assert_eq!(table.comes(at(14)).1, Asked::Now(1));
}

#[test]
fn a_request_whose_worker_died_stands_before_all_that_came_after_it() {
    let mut table = table(LIMITS, 2);
    let (first, _) = table.comes(at(0));
    table.comes(at(0));
    for _ in 0..3 {
        table.comes(at(1));
    }
    table.forget(1);
    assert_eq!(table.ask(first, 1, at(2), || first), Asked::Waits, "also where as many wait as may");
    assert_eq!(turns(&table.done(2, at(0), at(3))), [(first, 2)]);
    assert_eq!(table.counts().returned, 1);
}

#[test]
fn a_request_that_kills_workers_is_not_given_to_all_of_them() {
    let mut table = table(LIMITS, 3);
    let (ticket, _) = table.comes(at(0));
    table.forget(1);
    assert_eq!(table.ask(ticket, 1, at(0), || ticket), Asked::Now(2));
    table.forget(2);
    assert_eq!(table.ask(ticket, 2, at(0), || ticket), Asked::Now(3));
    table.forget(3);
    assert_eq!(table.ask(ticket, 3, at(0), || ticket), Asked::Refused(Refusal::Deadly));
}

#[test]
fn a_worker_that_is_to_leave_gets_nothing_new_and_finishes_what_it_has() {
    let mut table = table(Limits { cap: 2, ..LIMITS }, 2);
    table.comes(at(0));
    table.comes(at(0));
    assert_eq!(table.choose([2].into(), at(1)), []);
    assert!(table.is_busy(1));
    assert_eq!(table.comes(at(1)).1, Asked::Now(2));
    assert_eq!(table.comes(at(1)).1, Asked::Waits);
    assert_eq!(turns(&table.done(1, at(0), at(2))), []);
    assert!(!table.is_busy(1));
    table.admit(3, at(3));
    assert_eq!(turns(&table.choose([2, 3].into(), at(3))), [(4, 3)], "the new one takes who waits");
}

#[test]
fn a_connection_of_another_protocol_leaves_room_for_requests() {
    let mut table = table(LIMITS, 1);
    table.comes(at(0));
    table.comes(at(0));
    assert_eq!(turns(&table.upgraded(1, at(1))), [(2, 1)]);
    assert_eq!(table.loads().map(|load| (load.in_flight, load.upgraded)).collect::<Vec<_>>(), [(1, 1)]);
    table.closed(1);
    assert_eq!(table.loads().map(|load| load.upgraded).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let mut table = table(LIMITS, 1);
    for _ in 0..3 {
        table.comes(at(0));
    }
    assert_eq!(turns(&table.leave(2, at(0))), []);
    table.leave(2, at(0));
    assert_eq!((turns(&table.done(1, at(0), at(1))), table.counts().left), (vec![(3, 1)], 1));
}

#[test]
fn demand_is_the_sum_over_time_of_what_waits_and_what_is_with_workers() {
    let mut table = table(LIMITS, 1);
    assert_eq!(table.demand(at(5)), at(0));
    table.comes(at(5));
    table.comes(at(6));
    assert_eq!(table.demand(at(8)), at(1 + 2 * 2), "one for a second, then two");
    table.done(1, at(5), at(9));
    assert_eq!(table.demand(at(10)), at(5 + 2 + 1));
    table.forget(1);
    assert_eq!(table.demand(at(20)), at(8), "what a dead worker had comes back by itself");
}

#[test]
fn a_larger_cap_lets_those_in_who_wait() {
    let mut table = table(LIMITS, 1);
    for _ in 0..3 {
        table.comes(at(0));
    }
    assert_eq!(turns(&table.limit(Limits { cap: 2, ..LIMITS }, at(1))), [(2, 1)]);
    assert_eq!(turns(&table.limit(LIMITS, at(1))), [], "a smaller one takes nothing back");
    assert_eq!(turns(&table.done(1, at(0), at(2))), []);
    assert_eq!(turns(&table.done(1, at(0), at(2))), [(3, 1)]);
}

#[derive(Clone, Debug)]
enum Happening {
    Comes,
    Done(usize),
    Dies(u64),
    Born,
    Drains(u64),
    Leaves(usize),
    Later(u64),
    Looked,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Comes),
        4 => any::<usize>().prop_map(Happening::Done),
        1 => (1_u64..9).prop_map(Happening::Dies),
        1 => Just(Happening::Born),
        1 => (1_u64..9).prop_map(Happening::Drains),
        1 => any::<usize>().prop_map(Happening::Leaves),
        1 => (0_u64..12).prop_map(Happening::Later),
        1 => Just(Happening::Looked),
    ]
}

proptest! {
    /// No request is lost or given twice, none waits while a worker has room, none overtakes another, and no worker has more than it may.
    #[test]
    fn every_request_has_one_place(cap in 1_u32..4, happenings in proptest::collection::vec(happening(), 0..80)) {
        let mut table = table(Limits { cap, waiting: 5, ..LIMITS }, 2);
        let (mut now, mut born) = (at(0), 2);
        let (mut alive, mut chosen): (BTreeSet<u64>, BTreeSet<u64>) = ([1, 2].into(), [1, 2].into());
        let mut with: Vec<(Ticket, WorkerId, u32)> = Vec::new();
        let (mut waits, mut deaths): (BTreeMap<Ticket, Moment>, BTreeMap<Ticket, u32>) = Default::default();
        for happening in happenings {
            let mut given = Vec::new();
            match happening {
                Happening::Comes => match table.comes(now) {
                    (ticket, Asked::Now(worker)) => with.push((ticket, worker, 0)),
                    (ticket, Asked::Waits) => { waits.insert(ticket, now); }
                    (_, Asked::Refused(why)) => prop_assert!(why == Refusal::Full && waits.len() >= 5, "{:?} with {}", why, waits.len()),
                },
                Happening::Done(which) if !with.is_empty() => {
                    let (_, worker, _) = with.remove(which % with.len());
                    given = table.done(worker, at(0), now);
                }
                Happening::Dies(worker) if alive.remove(&worker) => {
                    chosen.remove(&worker);
                    table.forget(worker);
                    given = table.choose(chosen.clone(), now);
                    let (lost, kept): (Vec<_>, Vec<_>) = with.into_iter().partition(|(_, with, _)| *with == worker);
                    with = kept;
                    for (ticket, _, _) in lost {
                        let died = deaths.entry(ticket).or_default();
                        *died += 1;
                        match table.ask(ticket, *died, now, || ticket) {
                            Asked::Now(worker) => with.push((ticket, worker, *died)),
                            Asked::Waits => { waits.insert(ticket, now); }
                            Asked::Refused(why) => prop_assert_eq!((why, *died), (Refusal::Deadly, 3)),
                        }
                    }
                }
                Happening::Born => {
                    born += 1;
                    alive.insert(born);
                    chosen.insert(born);
                    table.admit(born, now);
                    given = table.choose(chosen.clone(), now);
                }
                Happening::Drains(worker) => {
                    chosen.remove(&worker);
                    given = table.choose(chosen.clone(), now);
                }
                Happening::Leaves(which) if !waits.is_empty() => {
                    let ticket = *waits.keys().nth(which % waits.len()).unwrap();
                    waits.remove(&ticket);
                    given = table.leave(ticket, now);
                }
                Happening::Later(seconds) => now += at(seconds),
                Happening::Looked => {
                    let (late, turns) = table.expire(now);
                    for (ticket, _) in late {
                        prop_assert!(waits.remove(&ticket).is_some_and(|since| now >= since + LIMITS.wait), "{} is told that it waited for too long, and does not wait", ticket);
                    }
                    given = turns;
                }
                _ => {}
            }
            let mut last = 0;
            for turn in given {
                prop_assert!(waits.remove(&turn.ticket).is_some(), "{} gets a worker, and does not wait", turn.ticket);
                prop_assert!(turn.ticket > last, "{} is overtaken by {}", turn.ticket, last);
                last = turn.ticket;
                with.push((turn.ticket, turn.worker, 0));
            }
            prop_assert_eq!(table.waiting(), waits.len());
            for worker in &alive {
                let has = u32::try_from(with.iter().filter(|(_, with, _)| with == worker).count()).unwrap();
                prop_assert!(has <= cap, "worker {} has {}", worker, has);
                let late = waits.values().all(|since| now >= *since + LIMITS.wait);
                prop_assert!(late || !chosen.contains(worker) || has == cap, "{} has room, and {:?} wait", worker, waits);
                prop_assert_eq!(table.is_busy(*worker), has > 0);
            }
            prop_assert!(with.iter().all(|(_, worker, _)| alive.contains(worker)));
        }
    }
}
