use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::workers::REST;
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
        (ticket, self.ask(ticket, Why::New, Wants::default(), now, || ticket))
    }

    /// One that another replica may have as well.
    fn roams(&mut self, now: Moment) -> (Ticket, Asked) {
        let ticket = self.number();
        (ticket, self.ask(ticket, Why::New, Wants { roams: true, ..Wants::default() }, now, || ticket))
    }

    /// One that wants this worker.
    fn wants(&mut self, worker: WorkerId, now: Moment) -> (Ticket, Asked) {
        let ticket = self.number();
        (ticket, self.ask(ticket, Why::New, Wants { worker: Some(worker), ..Wants::default() }, now, || ticket))
    }
}

fn now(worker: WorkerId) -> Asked {
    Asked::Now(Place::Worker(worker))
}

fn turns(turns: &[Turn<Ticket>]) -> Vec<(Ticket, WorkerId)> {
    let worker = |place: &Place| match place {
        Place::Worker(worker) => *worker,
        Place::Peer(peer) => panic!("{peer} is no worker"),
    };
    turns.iter().map(|turn| (turn.ticket, worker(&turn.place))).collect()
}

#[test]
fn who_comes_first_gets_the_worker_that_is_free_first() {
    let mut table = table(LIMITS, 2);
    assert_eq!(table.comes(at(0)).1, now(1));
    assert_eq!(table.comes(at(0)).1, now(2));
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
    assert_eq!(given, [1, 2, 3, 1, 2, 3].map(now));
    table.done(2, at(0), at(1));
    table.done(2, at(0), at(1));
    assert_eq!(table.comes(at(1)).1, now(2));
    assert_eq!(table.comes(at(1)).1, now(2), "one with one, and two with two");
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
    assert_eq!(table.comes(at(14)).1, now(1), "and is in nobody's way");
    assert_eq!(table.expire(at(14)).0, [(4, 4)]);
    table.done(1, at(0), at(14));
    let counts = table.counts();
    assert_eq!(counts.arrived, 6);
    assert_eq!(table.comes(at(14)).1, now(1));
}

#[test]
fn a_request_whose_worker_died_stands_before_all_that_came_after_it() {
    let mut table = table(LIMITS, 2);
    let (first, _) = table.comes(at(0));
    table.comes(at(0));
    for _ in 0..3 {
        table.comes(at(1));
    }
    table.forget(1, at(2));
    assert_eq!(
        table.ask(first, Why::Back(1), Wants::default(), at(2), || first),
        Asked::Waits,
        "also where as many wait as may"
    );
    assert_eq!(turns(&table.done(2, at(0), at(3))), [(first, 2)]);
    assert_eq!(table.counts().returned, 1);
}

#[test]
fn a_request_that_kills_workers_is_not_given_to_all_of_them() {
    let mut table = table(LIMITS, 3);
    let (ticket, _) = table.comes(at(0));
    table.forget(1, at(2));
    assert_eq!(table.ask(ticket, Why::Back(1), Wants::default(), at(0), || ticket), now(2));
    table.forget(2, at(2));
    assert_eq!(table.ask(ticket, Why::Back(2), Wants::default(), at(0), || ticket), now(3));
    table.forget(3, at(2));
    assert_eq!(table.ask(ticket, Why::Back(3), Wants::default(), at(0), || ticket), Asked::Refused(Refusal::Deadly));
}

#[test]
fn a_worker_that_is_to_leave_gets_nothing_new_and_finishes_what_it_has() {
    let mut table = table(Limits { cap: 2, ..LIMITS }, 2);
    table.comes(at(0));
    table.comes(at(0));
    assert_eq!(table.choose([2].into(), at(1)), []);
    assert!(table.is_busy(1));
    assert_eq!(table.comes(at(1)).1, now(2));
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
    table.forget(1, at(10));
    assert_eq!(table.demand(at(20)), at(8), "what a dead worker had comes back by itself");
}

#[test]
fn those_who_wait_for_one_worker_are_demand_as_far_as_others_could_serve_them() {
    let mut table = table(LIMITS, 2);
    assert_eq!(table.wants(2, at(0)).1, now(2));
    table.wants(2, at(0));
    table.wants(2, at(0));
    let cap = LIMITS.cap;
    assert_eq!(table.demand(at(1)), at(1 + u64::from(cap.min(2))), "more replicas would not shorten that line");
}

#[test]
fn who_wants_one_worker_waits_for_it_and_for_no_other() {
    let mut table = table(LIMITS, 2);
    assert_eq!(table.wants(2, at(0)).1, now(2));
    assert_eq!(table.wants(2, at(0)).1, Asked::Waits);
    assert_eq!(table.comes(at(0)).1, now(1), "worker 1 is nobody's in particular");
    assert_eq!(table.comes(at(0)).1, Asked::Waits);
    assert_eq!(turns(&table.done(1, at(0), at(1))), [(4, 1)]);
    assert_eq!(turns(&table.done(2, at(0), at(1))), [(2, 2)]);
    assert_eq!(table.wants(2, at(1)).1, Asked::Waits);
    assert_eq!(turns(&table.done(1, at(1), at(2))), []);
    assert_eq!(turns(&table.forget(2, at(2))), [(5, 1)], "it is dead, and any will do");
    assert_eq!(table.wants(2, at(3)).1, Asked::Waits, "for any");
    assert_eq!(turns(&table.done(1, at(2), at(3))), [(6, 1)]);
}

#[test]
fn another_replica_is_given_what_nobody_here_is_free_for() {
    let mut table = table(LIMITS, 1);
    let (here, there): (PeerId, PeerId) = ("b".into(), "c".into());
    table.meet([here.clone(), there.clone()]);
    assert_eq!(table.roams(at(0)).1, now(1));
    assert_eq!(table.comes(at(0)).1, Asked::Waits);
    assert_eq!(table.roams(at(0)).1, Asked::Waits, "nothing is known of them");
    let given = table.has_room(&there, 2, at(1));
    assert_eq!(given, [Turn { ticket: 3, place: Place::Peer(there.clone()), who: 3 }], "2 does not roam");
    assert_eq!(table.roams(at(1)).1, Asked::Now(Place::Peer(there)));
    assert_eq!(table.roams(at(1)).1, Asked::Waits, "it was taken to have room for two");
    let wants = Wants { roams: true, ..Wants::default() };
    assert_eq!(table.ask(3, Why::Untaken(at(0)), wants, at(2), || 3), Asked::Waits);
    assert_eq!(table.oldest(at(2)), Some(at(2)), "it has waited all the time");
    table.leave(3, at(2));
    table.roamed(at(1), at(2));
    table.meet([here.clone()]);
    assert_eq!(table.counts().roamed, 1);
    assert_eq!(table.has_room(&"gone".into(), 9, at(1)), []);
    assert_eq!(turns(&table.done(1, at(0), at(2))), [(2, 1)], "and the first here is still the first");
}

#[test]
fn a_guest_gets_a_worker_that_is_free_and_does_not_wait() {
    let mut table = table(Limits { cap: 2, ..LIMITS }, 1);
    assert_eq!(table.room(), 2);
    let ticket = table.number();
    assert_eq!(table.visit(ticket, Wants::default(), at(0)), Some(1));
    table.comes(at(0));
    let ticket = table.number();
    assert_eq!((table.room(), table.visit(ticket, Wants::default(), at(0))), (0, None));
    table.comes(at(0));
    assert_eq!(turns(&table.done(1, at(0), at(1))), [(4, 1)]);
    table.done(1, at(0), at(1));
    table.done(1, at(0), at(1));
    assert_eq!(table.room(), 2);
}

#[derive(Clone, Debug)]
enum Happening {
    Comes(Wants),
    Done(usize),
    Dies(u64),
    Born,
    Drains(u64),
    Leaves(usize),
    Later(u64),
    Looked,
    Room(u32),
    /// The other replica had no room for one that it was given.
    Untaken(usize),
    /// A worker did not take one that it was given.
    Refused(usize),
    /// A worker is chosen that is dead by now.
    Late(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let worker = || proptest::option::of(1_u64..5);
    let wants = (worker(), worker(), any::<bool>()).prop_map(|(worker, not, roams)| Wants { worker, not, roams });
    prop_oneof![
        2 => Just(Happening::Comes(Wants::default())),
        2 => wants.prop_map(Happening::Comes),
        4 => any::<usize>().prop_map(Happening::Done),
        1 => (1_u64..9).prop_map(Happening::Dies),
        1 => Just(Happening::Born),
        1 => (1_u64..9).prop_map(Happening::Drains),
        1 => any::<usize>().prop_map(Happening::Leaves),
        1 => (0_u64..12).prop_map(Happening::Later),
        1 => Just(Happening::Looked),
        1 => (0_u32..3).prop_map(Happening::Room),
        1 => any::<usize>().prop_map(Happening::Untaken),
        1 => any::<usize>().prop_map(Happening::Refused),
        1 => (1_u64..9).prop_map(Happening::Late),
    ]
}

/// What a table is held to.
struct Model {
    cap: u32,
    alive: BTreeSet<WorkerId>,
    chosen: BTreeSet<WorkerId>,
    /// Those that rest, and until when.
    rests: BTreeMap<WorkerId, Moment>,
    with: Vec<(Ticket, WorkerId)>,
    waits: BTreeMap<Ticket, (Moment, Wants)>,
    wants: BTreeMap<Ticket, Wants>,
    room: u32,
    away: Vec<(Ticket, Wants)>,
}

impl Model {
    fn has(&self, worker: WorkerId) -> u32 {
        u32::try_from(self.with.iter().filter(|(_, with)| *with == worker).count()).unwrap()
    }

    fn is_free(&self, worker: WorkerId) -> bool {
        self.chosen.contains(&worker) && self.has(worker) < self.cap && !self.rests.contains_key(&worker)
    }

    /// What is still wanted: a worker that gets no requests is wanted no more.
    fn settled(&self, wants: Wants) -> Wants {
        Wants { worker: wants.worker.filter(|worker| self.chosen.contains(worker)), ..wants }
    }

    fn settle(&mut self) {
        let settled: Vec<_> = self.waits.iter().map(|(ticket, (_, wants))| (*ticket, self.settled(*wants))).collect();
        for (ticket, wants) in settled {
            self.waits.get_mut(&ticket).unwrap().1 = wants;
        }
    }

    /// A request is given to somebody who may have it.
    fn given(&mut self, ticket: Ticket, wants: Wants, place: &Place) -> Result<(), TestCaseError> {
        match place {
            Place::Worker(worker) => {
                prop_assert!(self.is_free(*worker), "{} has no room", worker);
                prop_assert!(wants.worker.is_none_or(|wanted| wanted == *worker), "{} is not {:?}", worker, wants);
                let others = || self.alive.iter().any(|other| other != worker && self.is_free(*other));
                prop_assert!(
                    wants.worker.is_some() || wants.not != Some(*worker) || !others(),
                    "{} did not answer it",
                    worker
                );
                self.with.push((ticket, *worker));
            }
            Place::Peer(_) => {
                prop_assert!(
                    wants.roams && wants.worker.is_none() && self.room > 0,
                    "{} at a peer: {:?}",
                    ticket,
                    wants
                );
                prop_assert!(!self.alive.iter().any(|worker| self.is_free(*worker)), "somebody here is free");
                self.room -= 1;
                self.away.push((ticket, wants));
            }
        }
        Ok(())
    }

    fn asked(
        &mut self,
        ticket: Ticket,
        wants: Wants,
        asked: Asked,
        now: Moment,
    ) -> Result<Option<Refusal>, TestCaseError> {
        let wants = self.settled(wants);
        match asked {
            Asked::Now(place) => self.given(ticket, wants, &place)?,
            Asked::Waits => {
                self.waits.insert(ticket, (now, wants));
            }
            Asked::Refused(why) => return Ok(Some(why)),
        }
        Ok(None)
    }
}

#[test]
fn one_that_a_worker_did_not_answer_goes_to_another_if_one_has_room() {
    let mut table = table(Limits { cap: 2, ..LIMITS }, 2);
    let not = Wants { not: Some(1), ..Wants::default() };
    assert_eq!([table.comes(at(0)).1, table.comes(at(0)).1], [now(1), now(2)]);
    table.untaken(1, at(0));
    let ticket = table.number();
    assert_eq!(table.ask(ticket, Why::Back(0), not, at(0), || ticket), now(2), "1 is emptier");
    let ticket = table.number();
    assert_eq!(table.ask(ticket, Why::Back(0), not, at(0), || ticket), now(1), "no other has room");
}

#[test]
fn a_worker_that_takes_no_connection_rests_and_is_tried_again() {
    let mut table = table(LIMITS, 2);
    let one = table.number();
    assert_eq!(table.ask(one, Why::New, Wants::default(), at(0), || one), Asked::Now(Place::Worker(1)));
    table.rest(1, at(0));
    assert_eq!(table.untaken(1, at(0)), []);
    assert_eq!(table.ask(one, Why::Untaken(at(0)), Wants::default(), at(0), || one), Asked::Now(Place::Worker(2)));
    let two = table.number();
    assert_eq!(table.ask(two, Why::New, Wants::default(), at(0), || two), Asked::Waits, "the other rests");
    assert_eq!(table.expires(), Some(REST), "it is looked at again when it has");
    assert_eq!(table.expire(REST).1, [Turn { ticket: two, place: Place::Worker(1), who: two }]);
    assert!(table.loads().all(|load| load.served == 0), "nothing was answered");
    assert_eq!(table.taken().service.counts().iter().sum::<u64>(), 0);
    assert_eq!(table.taken().wait.counts().iter().sum::<u64>(), 2, "one for each request");
}

proptest! {
    /// No request is lost or given twice, none waits while somebody has room whom it wants, none overtakes another that wants the same, and no
    /// worker has more than it may.
    #[test]
    fn every_request_has_one_place(cap in 1_u32..4, happenings in proptest::collection::vec(happening(), 0..80)) {
        let mut table = table(Limits { cap, waiting: 5, ..LIMITS }, 2);
        let peer: PeerId = "peer".into();
        table.meet([peer.clone()]);
        let (mut now, mut born) = (at(0), 2);
        let mut deaths: BTreeMap<Ticket, u32> = BTreeMap::new();
        let mut model = Model {
            cap, alive: [1, 2].into(), chosen: [1, 2].into(), rests: BTreeMap::new(), with: Vec::new(), waits: BTreeMap::new(), wants: BTreeMap::new(), room: 0, away: Vec::new(),
        };
        for happening in happenings {
            let mut given = Vec::new();
            let (mut lost, mut refused) = (Vec::new(), Vec::new());
            match happening {
                Happening::Comes(wants) => {
                    let ticket = table.number();
                    model.wants.insert(ticket, wants);
                    let asked = table.ask(ticket, Why::New, wants, now, || ticket);
                    if let Some(why) = model.asked(ticket, wants, asked, now)? {
                        prop_assert!(why == Refusal::Full && model.waits.len() >= 5, "{:?} with {}", why, model.waits.len());
                    }
                }
                Happening::Done(which) if !model.with.is_empty() => {
                    let (_, worker) = model.with.remove(which % model.with.len());
                    given = table.done(worker, at(0), now);
                }
                Happening::Dies(worker) if model.alive.remove(&worker) => {
                    model.chosen.remove(&worker);
                    let all = std::mem::take(&mut model.with);
                    (lost, model.with) = all.into_iter().partition(|(_, with)| *with == worker);
                    model.rests.remove(&worker);
                    given = table.forget(worker, now);
                }
                Happening::Born => {
                    born += 1;
                    model.alive.insert(born);
                    model.chosen.insert(born);
                    table.admit(born, now);
                    given = table.choose(model.chosen.clone(), now);
                }
                Happening::Drains(worker) => {
                    model.chosen.remove(&worker);
                    given = table.choose(model.chosen.clone(), now);
                }
                Happening::Leaves(which) if !model.waits.is_empty() => {
                    let ticket = *model.waits.keys().nth(which % model.waits.len()).unwrap();
                    model.waits.remove(&ticket);
                    given = table.leave(ticket, now);
                }
                Happening::Later(seconds) => now += at(seconds),
                Happening::Refused(which) if !model.with.is_empty() => {
                    let (ticket, worker) = model.with.remove(which % model.with.len());
                    table.rest(worker, now);
                    model.rests.insert(worker, now + REST);
                    given = table.untaken(worker, now);
                    refused.push(ticket);
                }
                Happening::Looked => {
                    model.rests.retain(|_, until| *until > now);
                    let (late, turns) = table.expire(now);
                    for (ticket, _) in late {
                        prop_assert!(model.waits.remove(&ticket).is_some_and(|(since, _)| now >= since + LIMITS.wait), "{} is told that it waited for too long, and does not wait", ticket);
                    }
                    given = turns;
                }
                Happening::Untaken(which) if !model.away.is_empty() => {
                    let (ticket, wants) = model.away.swap_remove(which % model.away.len());
                    let asked = table.ask(ticket, Why::Untaken(now), wants, now, || ticket);
                    prop_assert_eq!(model.asked(ticket, wants, asked, now)?, None, "it was let in before");
                }
                Happening::Late(worker) if !model.alive.contains(&worker) => {
                    let mut chosen = model.chosen.clone();
                    chosen.insert(worker);
                    given = table.choose(chosen, now);
                }
                Happening::Room(room) => {
                    model.room = room;
                    given = table.has_room(&peer, room, now);
                }
                _ => {}
            }
            model.settle();
            let mut last = 0;
            for turn in given {
                let waited = model.waits.remove(&turn.ticket);
                prop_assert!(waited.is_some() && turn.who == turn.ticket, "{} gets a worker, and does not wait", turn.ticket);
                prop_assert!(turn.ticket > last, "{} is overtaken by {}", turn.ticket, last);
                last = turn.ticket;
                model.given(turn.ticket, waited.unwrap().1, &turn.place)?;
            }
            for ticket in refused {
                let wants = Wants { worker: None, ..model.wants[&ticket] };
                model.wants.insert(ticket, wants);
                let asked = table.ask(ticket, Why::Untaken(now), wants, now, || ticket);
                prop_assert_eq!(model.asked(ticket, wants, asked, now)?, None, "it was let in before");
            }
            for (ticket, _) in lost {
                let died = deaths.entry(ticket).or_default();
                *died += 1;
                let wants = model.wants[&ticket];
                let asked = table.ask(ticket, Why::Back(*died), wants, now, || ticket);
                if let Some(why) = model.asked(ticket, wants, asked, now)? {
                    prop_assert_eq!((why, *died), (Refusal::Deadly, 3));
                }
            }
            prop_assert_eq!(table.waiting(), model.waits.len());
            let in_time: Vec<Wants> = model.waits.values().filter(|(since, _)| now < *since + LIMITS.wait).map(|(_, wants)| *wants).collect();
            for wants in in_time {
                let somebody = match wants.worker {
                    Some(worker) => model.is_free(worker),
                    None => model.alive.iter().any(|worker| model.is_free(*worker)) || (wants.roams && model.room > 0),
                };
                prop_assert!(!somebody, "{:?} waits, and somebody has room", wants);
            }
            for worker in &model.alive {
                prop_assert!(model.has(*worker) <= cap, "worker {} has {}", worker, model.has(*worker));
                prop_assert_eq!(table.is_busy(*worker), model.has(*worker) > 0);
            }
            prop_assert!(model.with.iter().all(|(_, worker)| model.alive.contains(worker)));
        }
    }
}
