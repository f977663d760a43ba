//! Workers that give way to fresh ones: reload, recycling, hangs, drains, another number of workers.

use super::*;
use crate::machine::replace::ReloadState;

/// Two workers that have been ready for two seconds: 100 and 101.
fn serving(settings: Settings) -> Scenario {
    let mut scenario = Scenario::new(policy(), settings);
    for pid in scenario.pids() {
        scenario.evidence(pid, ReadyEvidence::Notify);
    }
    scenario.after(2 * SECOND);
    scenario
}

impl Scenario {
    fn order(&mut self, order: Order) -> &mut Self {
        self.machine.check(&order).unwrap();
        self.event(Event::Order(order))
    }

    fn reload_state(&self) -> (u32, ReloadState) {
        let reload = self.machine.reload().unwrap();
        (reload.done, reload.state.clone())
    }

    /// Every worker is as large as that, and has used so much processor time.
    fn sampled(&mut self, memory: u64, cpu: Duration, unread: bool, waiting: u32) -> &mut Self {
        let sample = |pid| Sample {
            pid,
            memory: Some(memory),
            resident: Some(memory),
            cpu: Some(cpu),
            moved: Some(7),
            unread: Some(unread),
            waiting: None,
            served: None,
        };
        let workers = self.pids().into_iter().map(sample).collect();
        self.event(Event::Sampled(Samples {
            workers,
            free_memory: Some(1000),
            memory_limit: None,
            waiting: Some(waiting),
            taken: None,
        }))
    }

    fn ready(&self) -> u32 {
        self.machine.counts().ready
    }
}

#[test]
fn a_reload_replaces_one_after_the_other_and_capacity_stays() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 });
    assert_eq!(scenario.pids(), [100, 102, 101], "the successor is there before the old one is told");
    assert_eq!((scenario.signals(), scenario.ready()), (vec![], 2));
    scenario.evidence(102, ReadyEvidence::Notify).after(999 * MILLISECOND);
    assert_eq!((scenario.signals(), scenario.reload_state().0), (vec![], 0), "it has to stay ready");
    scenario.after(MILLISECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM)]);
    assert_eq!((scenario.ready(), scenario.reload_state()), (2, (1, ReloadState::Running)));
    assert_eq!(scenario.pids(), [102, 100, 101, 103], "the next begins while the first drains");
    scenario.exit(100, Exit::Signal(libc::SIGTERM)).evidence(103, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.reload_state(), (2, ReloadState::Done));
    scenario.exit(101, Exit::Code(0));
    assert_eq!(scenario.pids(), [102, 103]);
    assert_eq!(scenario.machine.counts().restarts, 0, "what was asked for is no restart");
    assert_eq!(scenario.machine.deaths(), Deaths::default());
    assert_eq!(scenario.machine.replaced().reloaded, 2);
}

#[test]
fn a_reload_of_several_at_a_time() {
    let mut scenario = serving(Settings { count: 4, ..settings() });
    scenario.order(Order::Reload { at_once: 3 });
    assert_eq!(scenario.forks().len(), 3);
    scenario.evidence(104, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.forks().len(), 1);
}

#[test]
fn a_reload_of_several_begins_no_more_than_the_memory_holds() {
    let mut scenario = serving(Settings { count: 4, ..settings() });
    scenario.sampled(450, SECOND, false, 0).order(Order::Reload { at_once: 4 });
    assert_eq!((scenario.forks().len(), scenario.signals()), (2, vec![]), "1000 are free");
    scenario.evidence(104, ReadyEvidence::Notify).after(SECOND);
    assert_eq!((scenario.forks().len(), scenario.signals()), (1, vec![(100, libc::SIGTERM)]));
    let mut scenario = serving(Settings { count: 4, ..settings() });
    scenario.sampled(600, SECOND, false, 0).order(Order::Reload { at_once: 4 });
    assert_eq!((scenario.forks().len(), scenario.signals()), (1, vec![]));
    scenario.evidence(104, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.forks().len(), 1, "the first one drains, and there is room for one all the same");
    scenario.sampled(1001, SECOND, false, 0).evidence(105, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)]);
    assert_eq!(scenario.forks().len(), 0, "none now: those that leave make room, and nobody leaves first");
    scenario.exit(100, Exit::Code(0)).exit(101, Exit::Code(0));
    assert_eq!(scenario.signals(), [(102, libc::SIGTERM)], "nobody leaves any more who would make room");
}

#[test]
fn a_reload_stops_where_a_fresh_worker_ends_soon_after_it_was_ready() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).evidence(102, ReadyEvidence::Listening).after(900 * MILLISECOND);
    scenario.exit(102, Exit::Code(3));
    assert!(matches!(scenario.reload_state(), (0, ReloadState::Failed(_))), "{:?}", scenario.reload_state());
    assert_eq!((scenario.pids(), scenario.ready()), (vec![100, 101], 2), "the old ones serve on");

    let mut scenario = serving(settings());
    scenario.sampled(1001, SECOND, false, 0).order(Order::Reload { at_once: 1 }).exit(100, Exit::Code(0));
    scenario.evidence(102, ReadyEvidence::Listening).after(900 * MILLISECOND).exit(102, Exit::Code(3));
    assert!(matches!(scenario.reload_state(), (0, ReloadState::Failed(_))), "without room for two as well");
    assert_eq!(scenario.ready(), 1, "the other old one serves on");
}

#[test]
fn a_reload_whose_fresh_worker_fails_keeps_the_old_ones() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).exit(102, Exit::Code(3));
    let (done, state) = scenario.reload_state();
    assert!(matches!(&state, ReloadState::Failed(why) if why.contains("exit code 3")), "{state:?}");
    assert_eq!((done, scenario.pids(), scenario.ready()), (0, vec![100, 101], 2));
    scenario.after(100 * SECOND);
    assert_eq!(scenario.forks(), Vec::<bool>::new(), "until somebody orders it again");
    scenario.order(Order::Reload { at_once: 1 });
    assert_eq!(scenario.forks(), [true]);
}

#[test]
fn a_fresh_worker_that_says_nothing_is_ended_after_half_a_minute() {
    let mut scenario = Scenario::new(Policy { ready: ReadyRule::Notify, ..policy() }, settings());
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify).after(SECOND);
    scenario.order(Order::Reload { at_once: 1 }).after(30 * SECOND);
    assert_eq!(scenario.signals(), [(102, libc::SIGTERM)]);
    assert!(matches!(scenario.reload_state().1, ReloadState::Failed(_)));
    assert_eq!(scenario.ready(), 2);
    let patient = Settings { startup: 100 * SECOND, ..settings() };
    let mut scenario = Scenario::new(Policy { ready: ReadyRule::Notify, ..policy() }, patient);
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify).after(SECOND);
    scenario.order(Order::Reload { at_once: 1 }).after(999 * SECOND);
    assert_eq!(scenario.reload_state(), (0, ReloadState::Running), "ten start-up times, where those are longer");
}

#[test]
fn the_successor_takes_the_place_of_an_incumbent_that_dies_meanwhile() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).exit(100, Exit::Signal(libc::SIGSEGV));
    assert_eq!((scenario.pids(), scenario.forks()), (vec![102, 101], vec![]));
    scenario.evidence(102, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.reload_state(), (1, ReloadState::Running));
    assert_eq!(scenario.machine.deaths().crashed, 1);
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).evidence(102, ReadyEvidence::Notify);
    scenario.exit(100, Exit::Signal(libc::SIGSEGV));
    assert_eq!(
        (scenario.ready(), scenario.pids()),
        (2, vec![102, 101]),
        "one that is ready is so in its place as well"
    );
}

#[test]
fn the_successor_takes_the_place_of_an_incumbent_that_hangs_or_leaves_meanwhile() {
    let mut scenario = Scenario::new(Policy { ready: ReadyRule::Notify, ..policy() }, watchful());
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify).after(2 * SECOND);
    scenario.event(Event::Alive { pid: 100 }).order(Order::Reload { at_once: 1 }).after(10 * SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGQUIT)]);
    assert_eq!(scenario.pids(), [102, 100, 101]);
    scenario.exit(100, Exit::Signal(libc::SIGQUIT));
    assert_eq!(scenario.forks(), Vec::<bool>::new(), "there is one already");
    let mut scenario = Scenario::new(Policy { channel: true, ..policy() }, Settings { count: 1, ..settings() });
    scenario.event(Event::Online { pid: 100 }).evidence(100, ReadyEvidence::Listening).after(2 * SECOND);
    scenario.order(Order::Reload { at_once: 1 }).event(Event::ChannelClosed { pid: 100 });
    scenario.exit(100, Exit::Code(0));
    assert_eq!((scenario.pids(), scenario.forks()), (vec![101], vec![]));
    scenario.evidence(101, ReadyEvidence::Listening).after(SECOND);
    assert_eq!(scenario.reload_state(), (1, ReloadState::Done));
}

#[test]
fn a_reload_is_over_where_nothing_is_left_to_replace() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).order(Order::Drain { slot: Some(2) });
    scenario.evidence(102, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.reload_state(), (2, ReloadState::Done), "a drained slot needs no fresh worker");
    let mut scenario = serving(Settings { count: 1, ..settings() });
    scenario.order(Order::Drain { slot: Some(1) }).order(Order::Reload { at_once: 1 });
    assert_eq!(scenario.reload_state(), (0, ReloadState::Done), "nobody runs");
}

#[test]
fn a_second_reload_begins_anew() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).evidence(102, ReadyEvidence::Notify).after(SECOND);
    scenario.order(Order::Reload { at_once: 1 });
    assert_eq!(scenario.signals(), [(103, libc::SIGTERM)], "what it loaded may be old already");
    assert_eq!((scenario.machine.reload().unwrap().id, scenario.reload_state().0), (2, 0));
}

#[test]
fn where_only_one_can_have_the_port_the_old_one_leaves_first() {
    let mut scenario = Scenario::new(policy(), Settings { count: 1, ..settings() });
    scenario.exit(100, Exit::Code(1)).after(SECOND);
    scenario.evidence(101, ReadyEvidence::OwnSocket).after(2 * SECOND);
    scenario.order(Order::Reload { at_once: 1 });
    assert_eq!((scenario.signals(), scenario.forks()), (vec![(101, libc::SIGTERM)], vec![]));
    scenario.exit(101, Exit::Code(0));
    assert_eq!(scenario.forks(), [false]);
    scenario.evidence(102, ReadyEvidence::OwnSocket).after(SECOND);
    assert_eq!(scenario.reload_state(), (1, ReloadState::Done));
}

fn steered_to(shares: &[(u32, u32)]) -> Effect {
    Effect::Steer(shares.iter().map(|(slot, weight)| Share { slot: *slot, weight: *weight }).collect())
}

#[test]
fn a_fresh_worker_gets_a_quarter_more_with_each_quarter_of_its_slow_start() {
    let policy = Policy { ready: ReadyRule::Notify, sockets: Sockets::PerSlot, slow_start: 8 * SECOND, ..policy() };
    let mut scenario = Scenario::new(policy, settings());
    scenario.evidence(100, ReadyEvidence::Notify);
    assert!(scenario.effects.contains(&steered_to(&[(1, 1)])), "alone it has all: {:?}", scenario.effects);
    scenario.after(20 * SECOND).evidence(101, ReadyEvidence::Notify);
    assert!(scenario.effects.contains(&steered_to(&[(1, 4), (2, 1)])), "{:?}", scenario.effects);
    for weight in 2..=4 {
        let due = scenario.machine.next_due().unwrap();
        assert_eq!(due, scenario.now + 2 * SECOND, "the next step");
        scenario.after(2 * SECOND);
        assert!(scenario.effects.contains(&steered_to(&[(1, 4), (2, weight)])), "{weight}: {:?}", scenario.effects);
    }
    scenario.after(20 * SECOND);
    assert!(!scenario.effects.iter().any(|effect| matches!(effect, Effect::Steer(_))), "{:?}", scenario.effects);
}

/// Slot and process of each that is not told yet.
fn untold(scenario: &Scenario) -> Vec<(u32, u32)> {
    scenario.machine.watch().untold.iter().map(|untold| (untold.slot, untold.pid)).collect()
}

#[test]
fn a_worker_that_dies_while_its_replica_ends_is_replaced_where_requests_wait_here() {
    for (sockets, replaced) in [(Sockets::PerWorker, true), (Sockets::Shared, false)] {
        let settings = Settings { count: 1, drain: 10 * SECOND, endpoints_delay: 5 * SECOND, ..settings() };
        let mut scenario = Scenario::new(Policy { sockets, ..policy() }, settings);
        scenario.nobody_waits = false;
        scenario.evidence(100, ReadyEvidence::OwnSocket).after(20 * SECOND).stop();
        scenario.after(SECOND).exit(100, Exit::Signal(libc::SIGKILL));
        assert_eq!(scenario.pids().len(), usize::from(replaced), "{sockets:?}: while it serves on");
        if replaced {
            scenario.after(5 * SECOND);
            assert!(scenario.effects.contains(&Effect::CloseDoor), "{:?}", scenario.effects);
            scenario.evidence(101, ReadyEvidence::OwnSocket).after(SECOND).exit(101, Exit::Signal(libc::SIGKILL));
            assert_eq!(scenario.pids(), [102], "and while those that wait are answered");
        }
    }
}

#[test]
fn behind_the_queue_connections_of_another_protocol_keep_a_worker_for_half_of_the_end() {
    let settings = Settings { drain: 10 * SECOND, endpoints_delay: Duration::ZERO, ..settings() };
    let mut scenario = Scenario::new(Policy { sockets: Sockets::PerWorker, ..policy() }, settings);
    scenario.event(Event::Online { pid: 100 }).evidence(100, ReadyEvidence::Listening);
    scenario.evidence(101, ReadyEvidence::OwnSocket).stop();
    let begun = scenario.now;
    let waits: Vec<_> =
        scenario.machine.watch().untold.iter().map(|untold| untold.upgraded_until.saturating_sub(begun)).collect();
    assert_eq!(waits, [5 * SECOND; 2]);
    scenario.after(5 * SECOND).event(Event::NobodyWaits { pid: 100 });
    assert!(scenario.effects.contains(&Effect::Disconnect { pid: 100 }), "{:?}", scenario.effects);
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM)], "the rest of its time is for its program's goodbye");
    scenario.after(2 * SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)], "one with requests has its last words");
}

#[test]
fn with_sockets_of_their_own_a_worker_that_leaves_accepts_first_who_waits_for_it() {
    let mut scenario =
        Scenario::new(Policy { sockets: Sockets::PerSlot, ..policy() }, Settings { drain: 3 * SECOND, ..settings() });
    assert!(scenario.effects.contains(&steered_to(&[(1, 4), (2, 4)])), "nobody is ready: {:?}", scenario.effects);
    scenario.evidence(100, ReadyEvidence::Notify);
    assert!(scenario.effects.contains(&steered_to(&[(1, 4)])), "{:?}", scenario.effects);
    scenario.evidence(101, ReadyEvidence::Notify).order(Order::Drain { slot: Some(1) });
    assert!(scenario.effects.contains(&steered_to(&[(2, 4)])), "{:?}", scenario.effects);
    assert_eq!((scenario.signals(), untold(&scenario)), (vec![], vec![(1, 100)]));
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), []);
    scenario.event(Event::NobodyWaits { pid: 100 });
    assert_eq!(scenario.signals()[0], (100, libc::SIGTERM));

    let mut scenario = Scenario::new(Policy { sockets: Sockets::PerSlot, ..policy() }, settings());
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify);
    scenario.order(Order::Configure(Box::new(Settings { count: 1, ..settings() })));
    assert_eq!((scenario.signals(), untold(&scenario)), (vec![], vec![(2, 101)]), "one too many has to as well");
    scenario.after(4 * SECOND);
    assert_eq!(scenario.signals(), []);
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)], "and holds it up for half of its time at the most");
    assert!(scenario.machine.attends(2));
    scenario.exit(101, Exit::Signal(libc::SIGTERM));
    assert!(scenario.machine.attends(1) && !scenario.machine.attends(2), "nobody accepts any more who waits there");
}

#[test]
fn a_worker_over_its_memory_is_replaced_before_it_drains() {
    let mut scenario = serving(Settings { recycle: Recycle { memory: Some(100), ..Recycle::default() }, ..settings() });
    assert!(scenario.machine.watch().samples);
    scenario.sampled(100, SECOND, false, 0);
    assert_eq!(scenario.forks().len(), 0, "at the limit is not over it");
    scenario.sampled(101, SECOND, false, 0);
    assert_eq!(scenario.forks().len(), 1, "one at a time");
    scenario.evidence(102, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM)]);
    assert_eq!((scenario.ready(), scenario.machine.replaced().over_memory), (2, 1));
}

#[test]
fn workers_that_pass_their_limit_again_and_again_are_told_of() {
    let recycle = Recycle { memory: Some(100), ..Recycle::default() };
    let mut scenario = serving(Settings { count: 1, recycle, ..settings() });
    for expected in [vec![], vec![WarningReason::OverMemory]] {
        let old = scenario.pids()[0];
        scenario.sampled(101, SECOND, false, 0);
        let fresh = *scenario.pids().last().unwrap();
        scenario.evidence(fresh, ReadyEvidence::Notify).after(SECOND).exit(old, Exit::Code(0)).after(SECOND);
        assert_eq!(scenario.reasons(), expected);
    }
}

#[test]
fn without_room_for_two_a_worker_over_its_memory_leaves_first() {
    let mut scenario = serving(Settings { recycle: Recycle { memory: Some(100), ..Recycle::default() }, ..settings() });
    scenario.sampled(1001, SECOND, false, 0);
    assert_eq!((scenario.signals(), scenario.forks()), (vec![(100, libc::SIGTERM)], vec![]));
    scenario.exit(100, Exit::Code(0));
    assert_eq!(scenario.forks(), [true]);
    assert_eq!(scenario.signals(), [], "the other one waits for its turn");
}

#[test]
fn in_a_container_that_is_nearly_full_the_one_that_has_grown_the_most_gives_way() {
    let recycle = Recycle { container_percent: Some(85), ..Recycle::default() };
    let mut scenario = serving(Settings { recycle, ..settings() });
    let sampled = |scenario: &mut Scenario, memory: [u64; 2], used: u64| {
        let pids = scenario.pids();
        let sample = |(pid, memory): (&u32, u64)| Sample {
            pid: *pid,
            // While somebody watches it is less.
            memory: Some(memory / 2),
            resident: Some(memory),
            cpu: None,
            moved: None,
            unread: None,
            waiting: None,
            served: None,
        };
        let workers = pids.iter().zip(memory).map(sample).collect();
        let (limit, free) = (Some(10_000), Some(10_000 - used));
        scenario.event(Event::Sampled(Samples {
            workers,
            free_memory: free,
            memory_limit: limit,
            waiting: None,
            taken: None,
        }));
        scenario.forks().len()
    };
    assert_eq!(sampled(&mut scenario, [4000, 4000], 9000), 0, "they have just begun, and need so much");
    scenario.after(30 * SECOND);
    assert_eq!(sampled(&mut scenario, [2000, 2000], 4000), 0);
    assert_eq!(sampled(&mut scenario, [2900, 2900], 9000), 0, "a fresh one would be nearly as large");
    assert_eq!(sampled(&mut scenario, [3000, 4000], 8400), 0, "there is room");
    assert_eq!(sampled(&mut scenario, [3000, 4000], 8500), 0, "no room for two: it leaves first");
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)]);
    scenario.exit(101, Exit::Code(0));
    let fresh = *scenario.pids().last().unwrap();
    scenario.evidence(fresh, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(sampled(&mut scenario, [9000, 100], 9100), 0);
    assert_eq!(scenario.signals(), [], "not one after another");
    scenario.after(60 * SECOND);
    sampled(&mut scenario, [9000, 100], 9100);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM)]);
    assert_eq!(scenario.reasons(), [], "no more often than there are workers");
    // All leak alike, and none has grown by half when there is nothing left.
    let recycle = Recycle { container_percent: Some(85), ..Recycle::default() };
    let mut scenario = serving(Settings { recycle, ..settings() });
    scenario.after(30 * SECOND);
    sampled(&mut scenario, [3800, 3800], 7700);
    sampled(&mut scenario, [4700, 4700], 9499);
    assert_eq!(scenario.signals(), []);
    sampled(&mut scenario, [3900, 4100], 9500);
    assert_eq!(scenario.signals(), [], "they are large, and do not grow");
    sampled(&mut scenario, [4700, 4701], 9500);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)], "before the kernel kills all of them");
}

#[test]
fn workers_of_one_age_do_not_all_go_at_once() {
    let age = Some(1000 * SECOND);
    let mut scenario = serving(Settings { count: 2, recycle: Recycle { age, ..Recycle::default() }, ..settings() });
    let due = scenario.machine.next_due().unwrap();
    assert!((900 * SECOND..1000 * SECOND).contains(&due), "{due:?}");
    scenario.after(due.saturating_sub(scenario.now));
    assert_eq!(scenario.forks().len(), 1);
    scenario.evidence(102, ReadyEvidence::Notify).after(SECOND);
    assert_eq!(scenario.machine.replaced().over_age, 1);
}

fn watchful() -> Settings {
    Settings { hang: Some(Hang { after: 10 * SECOND, signal: libc::SIGQUIT }), ..settings() }
}

#[test]
fn a_worker_that_breaks_its_promise_hangs() {
    let mut scenario = serving(watchful());
    scenario.event(Event::Alive { pid: 100 }).after(9 * SECOND);
    assert_eq!(scenario.signals(), []);
    scenario.event(Event::Alive { pid: 100 }).after(10 * SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGQUIT)]);
    assert_eq!(scenario.states(), [SlotState::Stopping, SlotState::Ready]);
    scenario.after(5 * SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGKILL)]);
    scenario.exit(100, Exit::Signal(libc::SIGKILL));
    assert_eq!(scenario.forks(), [true]);
    assert_eq!((scenario.machine.replaced().hung, scenario.machine.counts().restarts), (1, 1));
    assert_eq!(scenario.reasons(), [WarningReason::Hung], "it is told for a while");
    scenario.evidence(102, ReadyEvidence::Notify).after(601 * SECOND);
    assert_eq!(scenario.reasons(), []);
}

#[test]
fn a_worker_is_held_to_the_time_that_it_was_asked_for_when_it_was_forked() {
    let slow = Hang { after: 60 * SECOND, signal: libc::SIGQUIT };
    let mut scenario = serving(Settings { hang: Some(slow), ..settings() });
    scenario.event(Event::Alive { pid: 100 }).order(Order::Configure(Box::new(watchful()))).after(59 * SECOND);
    assert_eq!(scenario.signals(), [], "it was told to speak once a minute");
    assert_eq!(scenario.machine.next_due(), Some(scenario.now + SECOND));
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGQUIT)]);
    scenario.exit(100, Exit::Signal(libc::SIGQUIT));
    scenario.evidence(102, ReadyEvidence::Notify).event(Event::Alive { pid: 102 }).after(10 * SECOND);
    assert_eq!(scenario.signals(), [(102, libc::SIGQUIT)], "and its successor each ten seconds");
}

#[test]
fn who_waits_for_one_worker_alone_is_no_work_of_the_others() {
    let mut scenario = serving(watchful());
    for _ in 0..12 {
        let sample = |(pid, waiting)| Sample {
            pid,
            memory: None,
            resident: None,
            cpu: Some(SECOND),
            moved: Some(7),
            unread: Some(false),
            waiting: Some(waiting),
            served: None,
        };
        let workers = [(100, 0), (101, 1)].into_iter().map(sample).collect();
        scenario.event(Event::Sampled(Samples { workers, waiting: Some(1), ..Samples::default() }));
        scenario.after(SECOND);
        match scenario.signals()[..] {
            [] => {}
            [(101, libc::SIGQUIT)] => return,
            ref others => panic!("{others:?}"),
        }
    }
    panic!("the worker whose queue does not move was not found out: {:?}", scenario.states());
}

#[test]
fn no_progress_counts_only_with_work_in_flight() {
    let mut scenario = serving(watchful());
    for _ in 0..30 {
        scenario.sampled(1, SECOND, false, 0).after(SECOND);
        assert_eq!(scenario.signals(), [], "idle is not hung");
    }
    for second in 2..30 {
        scenario.sampled(1, second * SECOND, true, 5).after(SECOND);
        assert_eq!(scenario.signals(), [], "busy is not hung");
    }
    for _ in 0..10 {
        scenario.sampled(1, 29 * SECOND, true, 0).after(SECOND);
    }
    assert_eq!(scenario.signals(), [(100, libc::SIGQUIT), (101, libc::SIGQUIT)]);
}

#[test]
fn a_worker_that_starts_slowly_does_not_hang() {
    let mut scenario = Scenario::new(Policy { ready: ReadyRule::Notify, ..policy() }, watchful());
    scenario.event(Event::Alive { pid: 100 }).after(25 * SECOND);
    assert_eq!(scenario.signals(), []);
    scenario.evidence(100, ReadyEvidence::Notify).after(9 * SECOND);
    assert_eq!(scenario.signals(), [], "the time counts from when it was ready");
}

#[test]
fn a_drained_slot_stays_empty_until_it_is_undrained() {
    let mut scenario = serving(settings());
    scenario.order(Order::Drain { slot: Some(2) });
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)]);
    scenario.exit(101, Exit::Code(0)).after(100 * SECOND);
    assert_eq!((scenario.pids(), scenario.states()), (vec![100], vec![SlotState::Ready, SlotState::Stopped]));
    scenario.order(Order::Undrain { slot: Some(2) });
    assert_eq!(scenario.forks(), [true]);
    assert_eq!(scenario.machine.counts().restarts, 0);
    let wrong = scenario.machine.check(&Order::Drain { slot: Some(7) }).unwrap_err();
    assert_eq!(wrong.to_string(), "there is no worker slot 7: the slots are 1, 2");
}

#[test]
fn a_drained_replica_serves_on_and_is_not_ready() {
    let mut scenario = serving(settings());
    scenario.order(Order::Drain { slot: None });
    assert_eq!((scenario.machine.replica_state(), scenario.signals()), (ReplicaState::Draining, vec![]));
    scenario.order(Order::Undrain { slot: None });
    assert_eq!(scenario.machine.replica_state(), ReplicaState::Serving);
}

#[test]
fn another_number_of_workers() {
    let mut scenario = serving(settings());
    scenario.order(Order::Configure(Box::new(Settings { count: 4, ..settings() })));
    assert_eq!(scenario.pids(), [100, 101, 102, 103]);
    scenario.evidence(102, ReadyEvidence::Notify);
    scenario.order(Order::Configure(Box::new(Settings { count: 2, ..settings() })));
    assert_eq!(scenario.signals(), [(103, libc::SIGTERM), (102, libc::SIGTERM)], "the one that is not ready first");
    scenario.exit(103, Exit::Code(0)).exit(102, Exit::Code(0));
    assert_eq!(scenario.states(), [SlotState::Ready, SlotState::Ready]);
    scenario.order(Order::Configure(Box::new(Settings { count: 3, ..settings() })));
    assert_eq!(scenario.machine.slot_stats(scenario.now).iter().map(|slot| slot.slot).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(scenario.machine.counts().restarts, 0);
}

#[test]
fn the_number_follows_the_load_between_its_bounds() {
    let adaptive = Some(Adaptive { min: 1, max: 3 });
    let mut scenario = serving(Settings { adaptive, ..settings() });
    let mut cpu = Duration::ZERO;
    let mut run = |scenario: &mut Scenario, seconds: u32, share: f64| {
        for _ in 0..seconds {
            cpu += SECOND.mul_f64(share);
            scenario.sampled(1, cpu, false, 0);
            for pid in scenario.pids() {
                scenario.evidence(pid, ReadyEvidence::Notify);
            }
            scenario.after(SECOND);
        }
        scenario.machine.counts().desired
    };
    assert_eq!(run(&mut scenario, 3, 0.9), 2, "not for a burst");
    assert_eq!(run(&mut scenario, 20, 0.9), 3, "up to the most");
    assert_eq!(run(&mut scenario, 40, 0.6), 3, "two would have to do 0.9 each");
    assert_eq!(run(&mut scenario, 25, 0.1), 3, "half a minute first");
    assert_eq!(run(&mut scenario, 80, 0.1), 1, "down to the least");
}

#[test]
fn connections_that_wait_ask_for_a_worker_whatever_the_processor_does() {
    let mut scenario = serving(Settings { adaptive: Some(Adaptive { min: 2, max: 4 }), ..settings() });
    for second in 0..6 {
        scenario.sampled(1, second * MILLISECOND, false, 3).after(SECOND);
    }
    assert_eq!(scenario.machine.counts().desired, 3);
}

#[test]
fn workers_that_wait_for_others_are_busy_where_the_primary_gives_out_requests() {
    let mut scenario = serving(Settings { adaptive: Some(Adaptive { min: 1, max: 2 }), ..settings() });
    let run = |scenario: &mut Scenario, seconds: u32, taken: u32| {
        for _ in 0..seconds {
            let workers = scenario.pids().into_iter().map(|pid| Sample {
                pid,
                memory: None,
                resident: None,
                cpu: Some(Duration::ZERO),
                moved: Some(7),
                unread: Some(false),
                waiting: None,
                served: None,
            });
            let samples =
                Samples { workers: workers.collect(), taken: Some(taken), waiting: Some(0), ..Samples::default() };
            scenario.event(Event::Sampled(samples));
            for pid in scenario.pids() {
                scenario.evidence(pid, ReadyEvidence::Notify);
            }
            scenario.after(SECOND);
        }
        scenario.machine.counts().desired
    };
    assert_eq!(run(&mut scenario, 20, 80), 2, "no processor time, and four fifths of the places");
    assert_eq!(run(&mut scenario, 60, 60), 2, "one alone would have 60 % of its places taken");
    assert_eq!(run(&mut scenario, 60, 40), 1);
}

#[test]
fn no_order_is_taken_when_the_replica_stops() {
    let mut scenario = serving(settings());
    scenario.order(Order::Reload { at_once: 1 }).stop();
    assert!(scenario.machine.check(&Order::Reload { at_once: 1 }).is_err());
    scenario.after(5 * SECOND);
    let told: Vec<u32> = scenario.signals().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(told, [102, 100, 101], "the successor as well");
}

#[test]
fn a_worker_that_has_answered_as_many_requests_as_it_may_gives_way() {
    let recycle = Recycle { requests: Some(1000), ..Recycle::default() };
    let mut scenario = serving(Settings { count: 1, recycle, ..settings() });
    assert!(scenario.machine.watch().samples);
    let mut served = |requests| {
        let sample = Sample {
            pid: 100,
            memory: None,
            resident: None,
            cpu: None,
            moved: None,
            unread: None,
            waiting: None,
            served: Some(requests),
        };
        scenario.event(Event::Sampled(Samples { workers: vec![sample], ..Samples::default() }));
        scenario.forks().len()
    };
    assert_eq!((served(899), served(1000)), (0, 1), "a tenth earlier at the most");
    scenario.evidence(101, ReadyEvidence::Notify).after(SECOND);
    assert_eq!((scenario.signals(), scenario.machine.replaced().over_requests), (vec![(100, libc::SIGTERM)], 1));
}

#[test]
fn a_program_that_may_take_its_time_is_not_told_of_before_that_is_over() {
    let slow = Settings { startup: 60 * SECOND, ..settings() };
    let mut scenario = Scenario::new(Policy { ready: ReadyRule::Notify, ..policy() }, slow);
    scenario.after(60 * SECOND);
    assert_eq!(scenario.reasons(), []);
    scenario.after(SECOND);
    assert_eq!(scenario.reasons(), [WarningReason::NeverReady]);
}
