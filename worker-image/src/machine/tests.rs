//! The machine by tables of events, and by random worlds that it must hold its promises in.

mod promises;
mod renewals;

use super::*;
use primary_protocol::{ReadyEvidence, ReplicaState, SlotState, WarningReason};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A machine, its clock, and process ids that count up from 100.
pub(super) struct Scenario {
    pub machine: Machine,
    pub now: Moment,
    next_pid: u32,
    /// Whether accept queues are empty as soon as the door is closed.
    nobody_waits: bool,
    /// Effects of the last step, and of the forks that it ordered.
    effects: Vec<Effect>,
}

pub(super) fn policy() -> Policy {
    Policy {
        ready: ReadyRule::Auto,
        listens: true,
        channel: false,
        stop_group: false,
        sockets: Sockets::Shared,
        slow_start: Duration::ZERO,
        starts_at_once: u32::MAX,
        seed: 1,
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        count: 2,
        adaptive: None,
        startup: SECOND,
        drain: 10 * SECOND,
        endpoints_delay: 5 * SECOND,
        backoff: Backoff { initial: 100 * MILLISECOND, max: 15 * SECOND, reset_after: 30 * SECOND },
        hang: None,
        recycle: Recycle::default(),
    }
}

impl Scenario {
    fn new(policy: Policy, settings: Settings) -> Self {
        let machine = Machine::new(policy, settings);
        let mut scenario =
            Self { machine, now: Duration::ZERO, next_pid: 100, nobody_waits: true, effects: Vec::new() };
        scenario.event(Event::Tick);
        scenario
    }

    /// Takes in an event, and lets every fork that follows succeed.
    fn event(&mut self, event: Event) -> &mut Self {
        self.effects.clear();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let effects = self.machine.step(event, self.now);
            for effect in &effects {
                match effect {
                    Effect::Fork { slot, .. } => {
                        events.push(Event::Forked { slot: *slot, pid: self.next_pid });
                        self.next_pid += 1;
                    }
                    Effect::Reopen => events.push(Event::Opened),
                    Effect::CloseDoor if self.nobody_waits => events.push(Event::Emptied),
                    _ => {}
                }
            }
            self.effects.extend(effects);
        }
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.event(Event::Tick)
    }

    fn exit(&mut self, pid: u32, exit: Exit) -> &mut Self {
        self.event(Event::Exited(Ended { pid, exit, out_of_memory: false, group_left: false }))
    }

    fn evidence(&mut self, pid: u32, evidence: ReadyEvidence) -> &mut Self {
        self.event(Event::Evidence { pid, evidence })
    }

    fn stop(&mut self) -> &mut Self {
        self.event(Event::Stop { signal: libc::SIGTERM })
    }

    fn states(&self) -> Vec<SlotState> {
        self.machine.slot_stats(self.now).iter().map(|slot| slot.state).collect()
    }

    fn pids(&self) -> Vec<u32> {
        self.machine.workers()
    }

    fn reasons(&self) -> Vec<WarningReason> {
        let wording = Wording { command: "prog".into(), port: Some(8000), inherits: true };
        self.machine.warnings(&wording, self.now).iter().map(|warning| warning.reason).collect()
    }

    fn forks(&self) -> Vec<bool> {
        let fork =
            |effect: &Effect| if let Effect::Fork { with_listener, .. } = effect { Some(*with_listener) } else { None };
        self.effects.iter().filter_map(fork).collect()
    }

    fn signals(&self) -> Vec<(u32, i32)> {
        let signal = |effect: &Effect| {
            if let Effect::Signal { pid, signal, .. } = effect { Some((*pid, *signal)) } else { None }
        };
        self.effects.iter().filter_map(signal).collect()
    }
}

#[test]
fn all_workers_are_forked_at_once_and_inherit_the_socket() {
    let scenario = Scenario::new(policy(), settings());
    assert_eq!(scenario.forks(), [true, true]);
    assert_eq!(scenario.pids(), [100, 101]);
    assert_eq!(scenario.machine.replica_state(), ReplicaState::Starting);
}

#[test]
fn no_more_start_at_a_time_than_there_are_processors() {
    let policy = Policy { starts_at_once: 2, ready: ReadyRule::Notify, ..policy() };
    let mut scenario = Scenario::new(policy.clone(), Settings { count: 5, ..settings() });
    assert_eq!(scenario.pids(), [100], "the first has a head start");
    scenario.after(40 * MILLISECOND);
    assert_eq!(scenario.pids(), [100, 101]);
    scenario.evidence(101, ReadyEvidence::Notify);
    assert_eq!(scenario.forks().len(), 1, "one is ready");
    assert_eq!(scenario.machine.next_due(), Some(200 * MILLISECOND));
    scenario.after(159 * MILLISECOND);
    assert_eq!(scenario.forks().len(), 0);
    scenario.after(MILLISECOND);
    assert_eq!(scenario.pids(), [100, 101, 102, 103], "whoever takes longer holds nobody up");
    let scenario = Scenario::new(Policy { ready: ReadyRule::Immediate, ..policy }, Settings { count: 5, ..settings() });
    assert_eq!(scenario.pids().len(), 5);
}

#[test]
fn evidence_of_readiness_by_rule() {
    use ReadyEvidence::{Alive, Immediate, Listening, Notify, OwnSocket};
    let cases = [
        (ReadyRule::Auto, Listening, true),
        (ReadyRule::Auto, Notify, true),
        (ReadyRule::Auto, OwnSocket, true),
        (ReadyRule::Notify, Notify, true),
        (ReadyRule::Notify, Listening, false),
        (ReadyRule::Listening, Listening, true),
        (ReadyRule::Listening, OwnSocket, true),
        (ReadyRule::Listening, Notify, false),
    ];
    for (ready, evidence, expected) in cases {
        let mut scenario = Scenario::new(Policy { ready, ..policy() }, settings());
        scenario.evidence(100, evidence);
        assert_eq!(scenario.states()[0] == SlotState::Ready, expected, "{ready:?} with {evidence:?}");
    }
    let scenario = Scenario::new(Policy { ready: ReadyRule::Immediate, ..policy() }, settings());
    assert_eq!(scenario.machine.slot_stats(scenario.now)[0].evidence, Some(Immediate));
    let mut scenario = Scenario::new(policy(), settings());
    scenario.after(SECOND);
    assert_eq!(scenario.machine.slot_stats(scenario.now)[0].evidence, Some(Alive), "nothing better within a second");
}

#[test]
fn a_node_worker_that_has_a_port_is_not_ready_by_being_alive() {
    let mut scenario = Scenario::new(Policy { channel: true, ..policy() }, settings());
    scenario.event(Event::Online { pid: 100 }).after(20 * SECOND);
    assert_eq!(scenario.states()[0], SlotState::Starting, "its cluster module runs, so it can say that it listens");
    assert_eq!(scenario.states()[1], SlotState::Ready, "it has no cluster module, so nothing better will come");
    scenario.after(10 * SECOND);
    assert_eq!(scenario.reasons(), [WarningReason::NeverReady]);
    scenario.evidence(100, ReadyEvidence::Listening);
    assert_eq!(scenario.reasons(), []);
}

#[test]
fn a_worker_that_was_ready_for_a_second_restarts_at_once() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.evidence(100, ReadyEvidence::Notify).after(SECOND);
    scenario.exit(100, Exit::Signal(libc::SIGKILL));
    assert_eq!(scenario.forks(), [true]);
    assert_eq!(scenario.machine.counts().restarts, 1);
    assert_eq!(scenario.machine.deaths().crashed, 1);
}

#[test]
fn early_deaths_back_off_and_are_a_crash_loop_from_the_third() {
    let mut scenario = Scenario::new(Policy { listens: false, ..policy() }, Settings { count: 1, ..settings() });
    for (failures, longest) in [(1, 100), (2, 150), (3, 225)] {
        let pid = scenario.pids()[0];
        scenario.exit(pid, Exit::Code(1));
        let wait = scenario.machine.slot_stats(scenario.now)[0].retry_milliseconds.unwrap();
        assert!((longest * 4 / 5..=longest).contains(&wait), "{wait} ms after failure {failures}");
        assert_eq!(scenario.reasons().contains(&WarningReason::CrashLoop), failures >= 3);
        scenario.after(Duration::from_millis(wait + 1));
        assert_eq!(scenario.forks().len(), 1);
    }
    assert_eq!(scenario.machine.deaths().never_ready, 3);
    scenario.after(SECOND).after(30 * SECOND);
    assert_eq!(scenario.reasons(), [], "half a minute ready is a recovery");
    let pid = scenario.pids()[0];
    scenario.exit(pid, Exit::Code(0));
    assert_eq!(scenario.machine.deaths().exited, 1);
}

#[test]
fn deaths_have_one_verdict_each() {
    let mut scenario =
        Scenario::new(Policy { ready: ReadyRule::Immediate, ..policy() }, Settings { count: 3, ..settings() });
    scenario.exit(100, Exit::Code(0));
    scenario.exit(101, Exit::Code(3));
    let (exit, group_left) = (Exit::Signal(libc::SIGKILL), false);
    scenario.event(Event::Exited(Ended { pid: 102, exit, out_of_memory: true, group_left }));
    let expected = Deaths { exited: 1, crashed: 1, never_ready: 0, out_of_memory: 1 };
    assert_eq!(scenario.machine.deaths(), expected);
    assert!(scenario.reasons().contains(&WarningReason::OutOfMemory), "{:?}", scenario.reasons());
}

#[test]
fn a_program_that_binds_its_port_itself_is_found_out_and_served() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.after(50 * MILLISECOND).exit(100, Exit::Code(1));
    scenario.after(10 * MILLISECOND).exit(101, Exit::Code(1));
    scenario.after(100 * MILLISECOND);
    assert!(scenario.effects.contains(&Effect::Release), "{:?}", scenario.effects);
    assert_eq!(scenario.forks(), [false], "one alone, without the socket");
    assert_eq!(scenario.machine.watch().own_socket, [102]);
    scenario.evidence(102, ReadyEvidence::OwnSocket);
    assert_eq!(scenario.forks(), [false], "the other one as well, now that it is known");
    assert_eq!(scenario.reasons(), []);
    scenario.after(50 * MILLISECOND).exit(103, Exit::Code(1));
    assert_eq!(scenario.reasons(), [WarningReason::PortBoundByWorker]);
    let wait = scenario.machine.slot_stats(scenario.now)[1].retry_milliseconds.unwrap();
    assert!(wait >= 12_000, "no hot forks: {wait} ms");
    assert_eq!(scenario.machine.counts().ready, 1);
    scenario.event(Event::Order(Order::Configure(Box::new(Settings { count: 1, ..settings() }))));
    assert_eq!(scenario.reasons(), [], "as the warning advises");
}

#[test]
fn with_reuseport_every_worker_binds_the_port_and_nobody_warns() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.exit(100, Exit::Code(1)).exit(101, Exit::Code(1)).after(100 * MILLISECOND);
    scenario.evidence(102, ReadyEvidence::OwnSocket).evidence(103, ReadyEvidence::OwnSocket);
    assert_eq!(scenario.machine.counts().ready, 2);
    assert_eq!(scenario.reasons(), []);
    scenario.after(2 * SECOND).exit(102, Exit::Signal(libc::SIGSEGV));
    assert_eq!(scenario.forks(), [false]);
}

#[test]
fn a_program_that_just_crashes_gets_the_socket_back() {
    let mut scenario = Scenario::new(policy(), Settings { count: 1, ..settings() });
    let mut forks = vec![];
    for _ in 0..6 {
        let pid = scenario.pids()[0];
        scenario.exit(pid, Exit::Code(1)).after(SECOND);
        forks.extend(scenario.forks());
        if scenario.pids().is_empty() {
            scenario.after(SECOND);
            forks.extend(scenario.forks());
        }
    }
    assert_eq!(forks, [false, true, false, true, false, true], "in turns");
    scenario.evidence(scenario.pids()[0], ReadyEvidence::Listening);
    assert!(scenario.machine.watch().own_socket.is_empty());
    for _ in 0..4 {
        let pid = scenario.pids()[0];
        scenario.exit(pid, Exit::Code(1)).after(16 * SECOND);
        assert_eq!(scenario.forks(), [true], "once it served with the socket, the socket stays");
    }
}

#[test]
fn one_crash_at_the_start_does_not_take_the_socket_from_its_healthy_siblings() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.after(50 * MILLISECOND).exit(100, Exit::Code(1));
    scenario.after(100 * MILLISECOND);
    assert_eq!(scenario.forks().len(), 0, "the sibling may be about to fail in the same way");
    scenario.after(500 * MILLISECOND);
    assert_eq!(scenario.forks(), [true], "it lives longer than that");
    scenario.event(Event::UsesListener { pid: 101 });
    assert_eq!(scenario.machine.watch(), Watch::default());
    let pid = scenario.pids()[0];
    scenario.exit(pid, Exit::Code(1)).exit(101, Exit::Code(1)).after(SECOND);
    assert_eq!(scenario.forks(), [true, true]);
}

#[test]
fn a_kill_from_outside_is_no_sign_of_a_taken_port() {
    let mut scenario = Scenario::new(policy(), Settings { count: 1, ..settings() });
    scenario.exit(100, Exit::Signal(libc::SIGKILL)).after(SECOND);
    assert_eq!(scenario.forks(), [true]);
}

#[test]
fn a_contested_port_is_looked_into_once_more_when_its_holder_ends() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.exit(100, Exit::Code(1)).exit(101, Exit::Code(1)).after(100 * MILLISECOND);
    scenario.evidence(102, ReadyEvidence::OwnSocket).exit(103, Exit::Code(1));
    scenario.after(2 * SECOND).exit(102, Exit::Code(1));
    assert_eq!(scenario.forks(), [true], "the program may have crashed for another reason the first time");
    scenario.exit(104, Exit::Code(1)).after(20 * SECOND);
    assert!(!scenario.forks()[0]);
    let pid = scenario.pids()[0];
    scenario.evidence(pid, ReadyEvidence::OwnSocket).exit(106, Exit::Code(1));
    scenario.after(2 * SECOND).exit(pid, Exit::Code(1));
    assert_eq!(scenario.forks(), [false], "settled");
}

#[test]
fn a_worker_on_trial_that_neither_binds_nor_ends_makes_room() {
    let mut scenario = Scenario::new(policy(), Settings { count: 1, ..settings() });
    scenario.exit(100, Exit::Code(1)).after(SECOND);
    scenario.after(11 * SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)]);
    scenario.exit(101, Exit::Signal(libc::SIGTERM)).after(SECOND);
    assert_eq!(scenario.forks(), [true]);
}

#[test]
fn stopping_serves_on_then_drains_then_kills() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify).after(SECOND).stop();
    assert_eq!(scenario.machine.replica_state(), ReplicaState::Draining);
    assert_eq!(scenario.signals(), [], "endpoints still lead here");
    scenario.exit(100, Exit::Signal(libc::SIGSEGV));
    assert_eq!(scenario.forks(), [true], "and somebody has to serve");
    scenario.after(5 * SECOND);
    assert_eq!(scenario.signals(), [(102, libc::SIGTERM), (101, libc::SIGTERM)]);
    scenario.exit(102, Exit::Signal(libc::SIGTERM));
    scenario.after(10 * SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGKILL)]);
    scenario.exit(101, Exit::Signal(libc::SIGKILL));
    assert!(scenario.effects.contains(&Effect::Finish));
    assert_eq!(scenario.machine.deaths(), Deaths { crashed: 1, ..Deaths::default() }, "what was asked for is no death");
}

#[test]
fn a_node_worker_is_asked_before_it_is_signalled() {
    let mut scenario = Scenario::new(
        Policy { channel: true, ..policy() },
        Settings { endpoints_delay: Duration::ZERO, count: 3, ..settings() },
    );
    for pid in [100, 101] {
        scenario.event(Event::Online { pid }).evidence(pid, ReadyEvidence::Listening);
    }
    scenario.stop();
    let asked: Vec<_> = scenario.effects.iter().filter(|effect| matches!(effect, Effect::Disconnect { .. })).collect();
    assert_eq!(asked, [&Effect::Disconnect { pid: 100 }, &Effect::Disconnect { pid: 101 }]);
    assert_eq!(scenario.signals(), [(102, libc::SIGTERM)], "it has nothing in flight");
    scenario.event(Event::ChannelClosed { pid: 100 });
    assert_eq!(scenario.signals(), [], "it may still do what its program does after `disconnect`");
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM)], "a timer may keep it");
    scenario.after(3 * SECOND);
    assert_eq!(scenario.signals(), []);
    scenario.after(SECOND);
    assert_eq!(scenario.signals(), [(101, libc::SIGTERM)], "half of its time is over");
    scenario.after(SECOND).event(Event::ChannelClosed { pid: 101 }).after(3 * SECOND);
    assert_eq!(scenario.signals(), [], "no worker gets it twice");
}

#[test]
fn who_waits_at_the_door_is_let_in_before_workers_are_told() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.nobody_waits = false;
    scenario.evidence(100, ReadyEvidence::Notify).evidence(101, ReadyEvidence::Notify).stop().after(5 * SECOND);
    assert!(scenario.effects.contains(&Effect::CloseDoor), "{:?}", scenario.effects);
    assert!(scenario.machine.watch().emptying);
    scenario.after(SECOND).exit(100, Exit::Signal(libc::SIGSEGV));
    assert_eq!((scenario.forks(), scenario.signals()), (vec![true], vec![]), "somebody has to accept them");
    scenario.event(Event::Emptied);
    assert_eq!(scenario.signals(), [(102, libc::SIGTERM), (101, libc::SIGTERM)]);
    assert!(!scenario.machine.watch().emptying);
}

#[test]
fn the_door_holds_the_end_up_while_those_behind_it_become_fewer_and_a_fifth_of_the_drain_time_where_they_do_not() {
    let mut scenario = Scenario::new(policy(), Settings { endpoints_delay: Duration::ZERO, ..settings() });
    scenario.nobody_waits = false;
    scenario.evidence(100, ReadyEvidence::Notify).stop().after(1999 * MILLISECOND);
    assert_eq!(scenario.signals(), []);
    assert_eq!(scenario.machine.next_due(), Some(2 * SECOND));
    scenario.after(MILLISECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM), (101, libc::SIGTERM)]);

    let mut scenario = Scenario::new(policy(), Settings { endpoints_delay: Duration::ZERO, ..settings() });
    scenario.nobody_waits = false;
    scenario.evidence(100, ReadyEvidence::Notify).stop();
    for connections in (1..8).rev() {
        scenario.event(Event::StillWaiting { connections }).after(SECOND);
        assert_eq!(scenario.signals(), [], "{connections} wait, and one fewer each second");
    }
    scenario.event(Event::StillWaiting { connections: 1 }).after(SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGTERM), (101, libc::SIGTERM)], "the last fifth is for finishing");

    let mut scenario = Scenario::new(policy(), settings());
    scenario.nobody_waits = false;
    scenario.evidence(100, ReadyEvidence::Notify).stop().after(6 * SECOND).stop();
    assert!(scenario.signals().contains(&(100, libc::SIGKILL)), "a second order means at once");

    let mut scenario = Scenario::new(policy(), Settings { endpoints_delay: Duration::ZERO, ..settings() });
    scenario.stop();
    assert!(!scenario.effects.contains(&Effect::CloseDoor), "nobody is ready, so nobody would accept");
}

#[test]
fn a_node_worker_that_leaves_by_itself_is_replaced_when_it_ended() {
    let mut scenario = Scenario::new(Policy { channel: true, ..policy() }, Settings { count: 1, ..settings() });
    scenario.event(Event::Online { pid: 100 }).evidence(100, ReadyEvidence::Listening).after(2 * SECOND);
    scenario.event(Event::ChannelClosed { pid: 100 });
    assert_eq!(scenario.states(), [SlotState::Stopping]);
    assert_eq!(scenario.machine.replica_state(), ReplicaState::Unavailable);
    scenario.exit(100, Exit::Code(0));
    assert_eq!(scenario.forks(), [true]);
    assert_eq!(scenario.machine.deaths().exited, 1);
    assert_eq!(scenario.machine.slot_stats(scenario.now)[0].state, SlotState::Starting);
}

#[test]
fn what_a_worker_leaves_behind_may_finish_until_the_deadline() {
    let mut scenario = Scenario::new(policy(), Settings { endpoints_delay: Duration::ZERO, count: 1, ..settings() });
    scenario.stop();
    assert!(scenario.machine.spares_group(100));
    let (exit, out_of_memory) = (Exit::Signal(libc::SIGTERM), false);
    scenario.event(Event::Exited(Ended { pid: 100, exit, out_of_memory, group_left: true }));
    assert_eq!(scenario.machine.lingering(), [100]);
    scenario.after(10 * SECOND);
    assert_eq!(scenario.signals(), [(100, libc::SIGKILL)]);
    scenario.event(Event::GroupEnded { pid: 100 });
    assert!(scenario.effects.contains(&Effect::Finish));
}

#[test]
fn a_second_order_to_stop_kills_at_once() {
    let mut scenario = Scenario::new(policy(), settings());
    scenario.stop().stop();
    assert_eq!(
        scenario.signals(),
        [(100, libc::SIGTERM), (101, libc::SIGTERM), (100, libc::SIGKILL), (101, libc::SIGKILL)]
    );
    scenario.after(2 * SECOND);
    assert!(scenario.effects.contains(&Effect::Finish), "not even an unkillable worker holds the primary up");
}

#[test]
fn a_command_that_is_not_there_is_said_and_tried_again() {
    let mut machine = Machine::new(policy(), Settings { count: 1, ..settings() });
    let effects = machine.step(Event::Tick, Duration::ZERO);
    assert_eq!(effects, [Effect::Fork { slot: 1, with_listener: true }]);
    machine.step(Event::ForkFailed { slot: 1, exit: Exit::NotExecuted("prog was not found".into()) }, Duration::ZERO);
    let warnings = machine.warnings(&Wording { command: "prog x".into(), port: None, inherits: true }, Duration::ZERO);
    assert_eq!(warnings[0].reason, WarningReason::CommandNotFound);
    assert!(warnings[0].message.contains("prog was not found"), "{}", warnings[0].message);
    let effects = machine.step(Event::Tick, SECOND);
    assert_eq!(effects, [Effect::Fork { slot: 1, with_listener: true }]);
}
