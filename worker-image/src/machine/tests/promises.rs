//! Random worlds: whatever workers, users and the kernel do, the machine keeps its promises.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What happens to a machine.
#[derive(Clone, Debug)]
enum Happening {
    Time(u64),
    Exit(Index, i32),
    Kill(Index),
    LeaveGroup(Index),
    Evidence(Index, ReadyEvidence),
    UsesListener(Index),
    Online(Index),
    ChannelClosed(Index),
    AsksForPort(Index),
    Alive(Index),
    Sampled(u64, bool),
    Reload(u32),
    Drain(u32),
    Undrain(u32),
    Withdraw(bool),
    Count(u32),
    Emptied,
    SlotEmptied(u32),
    Stop,
}

fn happening() -> impl Strategy<Value = Happening> {
    let evidence =
        prop::sample::select(vec![ReadyEvidence::Listening, ReadyEvidence::Notify, ReadyEvidence::OwnSocket]);
    prop_oneof![
        6 => (0_u64..40_000).prop_map(Happening::Time),
        6 => (0_u64..300).prop_map(Happening::Time),
        6 => (any::<Index>(), 0..2).prop_map(|(which, code)| Happening::Exit(which, code)),
        2 => any::<Index>().prop_map(Happening::Kill),
        1 => any::<Index>().prop_map(Happening::LeaveGroup),
        3 => (any::<Index>(), evidence).prop_map(|(which, evidence)| Happening::Evidence(which, evidence)),
        1 => any::<Index>().prop_map(Happening::UsesListener),
        3 => any::<Index>().prop_map(Happening::Online),
        1 => any::<Index>().prop_map(Happening::ChannelClosed),
        1 => any::<Index>().prop_map(Happening::AsksForPort),
        1 => any::<Index>().prop_map(Happening::Alive),
        2 => (0_u64..3, any::<bool>()).prop_map(|(large, waits)| Happening::Sampled(large, waits)),
        2 => (1_u32..4).prop_map(Happening::Reload),
        2 => (1_u32..6).prop_map(Happening::Drain),
        2 => (1_u32..6).prop_map(Happening::Undrain),
        1 => any::<bool>().prop_map(Happening::Withdraw),
        2 => (1_u32..6).prop_map(Happening::Count),
        1 => Just(Happening::Emptied),
        1 => (1_u32..6).prop_map(Happening::SlotEmptied),
        1 => Just(Happening::Stop),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let rules = vec![ReadyRule::Auto, ReadyRule::Notify, ReadyRule::Immediate, ReadyRule::Listening];
    let sockets = vec![Sockets::Shared, Sockets::PerSlot, Sockets::PerWorker];
    let sockets = prop::sample::select(sockets);
    let numbers = (0_u64..9, 1_u32..5, any::<u64>());
    (prop::sample::select(rules), any::<bool>(), any::<bool>(), sockets, numbers).prop_map(
        |(ready, listens, channel, sockets, (slow, starts_at_once, seed))| {
            let slow_start = Duration::from_secs(slow);
            Policy { ready, listens, channel, sockets, slow_start, starts_at_once, seed, ..policy() }
        },
    )
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let adaptive = prop::option::of((1_u32..3, 0_u32..3));
    let recycle = (prop::option::of(Just(1_u64)), prop::option::of(1_u64..100));
    (1_u32..5, adaptive, prop::option::of(1_u64..20), recycle, 0_u64..20, 0_u64..8).prop_map(
        |(count, adaptive, hang, (memory, age), drain, delay)| Settings {
            count,
            adaptive: adaptive.map(|(min, more)| Adaptive { min, max: min + more }),
            hang: hang.map(|after| Hang { after: Duration::from_secs(after), signal: libc::SIGABRT }),
            recycle: Recycle { memory, container_percent: Some(85), age: age.map(Duration::from_secs), requests: None },
            drain: Duration::from_secs(drain),
            endpoints_delay: Duration::from_secs(delay),
            ..settings()
        },
    )
}

/// The world around a machine: which processes exist, and whether the port is open.
struct World {
    machine: Machine,
    policy: Policy,
    now: Moment,
    alive: BTreeSet<u32>,
    /// Groups whose leader is gone.
    groups: BTreeSet<u32>,
    forked: u64,
    collected: u64,
    open: bool,
    stopped_at: Option<Moment>,
    stops: u32,
    finished: bool,
}

impl World {
    fn new(policy: Policy, settings: Settings) -> Self {
        Self {
            machine: Machine::new(policy.clone(), settings),
            open: policy.listens,
            policy,
            now: Duration::ZERO,
            alive: BTreeSet::new(),
            groups: BTreeSet::new(),
            forked: 0,
            collected: 0,
            stopped_at: None,
            stops: 0,
            finished: false,
        }
    }

    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.machine.step(event, self.now) {
                assert!(!self.finished, "{effect:?} after the end");
                self.perform(&effect, &mut events);
            }
        }
        self.check();
    }

    fn perform(&mut self, effect: &Effect, events: &mut VecDeque<Event>) {
        match *effect {
            Effect::Fork { slot, with_listener } => {
                assert!(!with_listener || self.open, "a closed socket cannot be inherited");
                self.forked += 1;
                if self.forked.is_multiple_of(7) {
                    self.collected += 1;
                    events.push_back(Event::ForkFailed { slot, exit: Exit::NotExecuted("no".into()) });
                    return;
                }
                let pid = u32::try_from(self.forked).unwrap();
                self.alive.insert(pid);
                events.push_back(Event::Forked { slot, pid });
            }
            Effect::Signal { pid, signal: libc::SIGKILL, group: true } => {
                if self.alive.remove(&pid) {
                    self.collected += 1;
                    let exit = Exit::Signal(libc::SIGKILL);
                    events.push_back(Event::Exited(Ended { pid, exit, out_of_memory: false, group_left: false }));
                }
                if self.groups.remove(&pid) {
                    events.push_back(Event::GroupEnded { pid });
                }
            }
            // Some doors have nobody waiting at them, others somebody for ever.
            Effect::CloseDoor if self.forked.is_multiple_of(2) => events.push_back(Event::Emptied),
            Effect::Steer(ref slots) => {
                assert!(self.policy.sockets == Sockets::PerSlot && !slots.is_empty());
                assert!(slots.iter().all(|share| share.weight > 0), "{slots:?}");
            }
            // Workers need not obey.
            Effect::CloseDoor
            | Effect::Signal { .. }
            | Effect::Disconnect { .. }
            | Effect::Note(_)
            | Effect::Change(_) => {}
            Effect::Release => {
                assert!(self.open && self.alive.is_empty(), "the socket is given up only when nobody can be using it");
                self.open = false;
            }
            Effect::Reopen => {
                assert!(!self.open);
                if self.forked.is_multiple_of(5) {
                    events.push_back(Event::OpenFailed);
                } else {
                    self.open = true;
                    events.push_back(Event::Opened);
                }
            }
            Effect::Finish => self.finished = true,
        }
    }

    fn check(&self) {
        // A slot has one worker, one that is to take its place, and two that leave; no slot is there for nothing.
        for slot in self.machine.slot_stats(self.now) {
            let here = self.machine.seen().into_iter().filter(|seen| seen.slot == slot.slot).count();
            assert!(here <= 4, "{here} processes in slot {}", slot.slot);
        }
        let serving = |seen: &crate::machine::view::Seen| matches!(seen.role, Role::Starting | Role::Ready);
        let counted = self.machine.seen().iter().filter(|seen| serving(seen)).count();
        assert!(counted <= usize::try_from(self.machine.counts().desired).unwrap(), "more workers than desired");
        if self.finished {
            return;
        }
        let known: BTreeSet<u32> = self.machine.workers().into_iter().collect();
        assert!(known.is_subset(&self.alive), "{known:?} are gone");
        for slot in self.machine.slot_stats(self.now) {
            let wait = Duration::from_millis(slot.retry_milliseconds.unwrap_or_default());
            assert!(wait <= Duration::from_secs(30), "slot {} waits {wait:?}", slot.slot);
        }
    }

    fn happen(&mut self, happening: &Happening) {
        let pick = |which: &Index, from: &BTreeSet<u32>| {
            let all: Vec<u32> = from.iter().copied().collect();
            (!all.is_empty()).then(|| *which.get(&all))
        };
        let worker = match happening {
            Happening::Exit(which, _)
            | Happening::Kill(which)
            | Happening::LeaveGroup(which)
            | Happening::Evidence(which, _)
            | Happening::UsesListener(which)
            | Happening::Online(which)
            | Happening::ChannelClosed(which)
            | Happening::Alive(which)
            | Happening::AsksForPort(which) => match pick(which, &self.alive) {
                Some(pid) => pid,
                None => return,
            },
            _ => 0,
        };
        match happening {
            Happening::Time(milliseconds) => self.wait(Duration::from_millis(*milliseconds)),
            Happening::Exit(_, code) => self.end(worker, Exit::Code(*code), false),
            Happening::Kill(_) => self.end(worker, Exit::Signal(libc::SIGKILL), false),
            Happening::LeaveGroup(_) => self.end(worker, Exit::Code(1), true),
            Happening::Evidence(_, evidence) => self.feed(Event::Evidence { pid: worker, evidence: *evidence }),
            Happening::UsesListener(_) => self.feed(Event::UsesListener { pid: worker }),
            Happening::Online(_) => self.feed(Event::Online { pid: worker }),
            Happening::ChannelClosed(_) => self.feed(Event::ChannelClosed { pid: worker }),
            Happening::AsksForPort(_) if self.open || !self.policy.listens => {}
            Happening::AsksForPort(_) => {
                self.open = true;
                self.feed(Event::OpenedFor { pid: worker });
            }
            Happening::Alive(_) => self.feed(Event::Alive { pid: worker }),
            Happening::Sampled(large, waits) => self.sample(*large, *waits),
            Happening::Reload(at_once) => self.order(Order::Reload { at_once: *at_once }),
            Happening::Drain(slot) => self.order(Order::Drain { slot: Some(*slot) }),
            Happening::Undrain(slot) => self.order(Order::Undrain { slot: Some(*slot) }),
            Happening::Withdraw(true) => self.order(Order::Drain { slot: None }),
            Happening::Withdraw(false) => self.order(Order::Undrain { slot: None }),
            Happening::Count(count) => {
                let settings = Settings { count: *count, ..self.machine.settings().clone() };
                self.order(Order::Configure(Box::new(settings)));
            }
            Happening::Emptied => self.feed(Event::Emptied),
            Happening::SlotEmptied(slot) => {
                let untold = self.machine.watch().untold;
                for one in untold.iter().filter(|one| one.slot == *slot) {
                    self.feed(Event::NobodyWaits { pid: one.pid });
                }
            }
            Happening::Stop => {
                self.stopped_at = self.stopped_at.or(Some(self.now));
                self.stops += 1;
                self.feed(Event::Stop { signal: libc::SIGTERM });
            }
        }
    }

    fn order(&mut self, order: Order) {
        if self.machine.check(&order).is_ok() {
            self.feed(Event::Order(order));
        }
    }

    /// Every worker is as large as that, does nothing, and perhaps has something to do.
    fn sample(&mut self, memory: u64, waits: bool) {
        let sample = |pid: &u32| Sample {
            pid: *pid,
            memory: Some(memory),
            resident: Some(memory),
            cpu: Some(Duration::from_secs(1)),
            moved: Some(1),
            unread: Some(waits),
            waiting: None,
            served: None,
        };
        let workers = self.alive.iter().map(sample).collect();
        self.feed(Event::Sampled(Samples {
            workers,
            free_memory: Some(1),
            memory_limit: Some(100),
            waiting: Some(u32::from(waits)),
            taken: None,
        }));
    }

    fn end(&mut self, pid: u32, exit: Exit, leaves_group: bool) {
        // As the loop does it: the rest of a group is killed before its leader is collected, unless it may finish.
        let group_left = leaves_group && self.machine.spares_group(pid);
        self.alive.remove(&pid);
        self.collected += 1;
        if group_left {
            self.groups.insert(pid);
        }
        self.feed(Event::Exited(Ended { pid, exit, out_of_memory: false, group_left }));
    }

    /// Lets time pass, stopping wherever the machine asked to be called.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.machine.next_due().filter(|due| *due <= until && !self.finished) {
            self.now = self.now.max(due);
            self.feed(Event::Tick);
            if let Some(next) = self.machine.next_due().filter(|_| !self.finished) {
                assert!(next > self.now, "it is {:?}, and the machine wants {next:?} again", self.now);
            }
            turns += 1;
            assert!(turns < 10_000, "the loop spins");
        }
        self.now = until;
        self.feed(Event::Tick);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_fork_is_collected_and_every_drain_ends(
        policy in any_policy(),
        settings in any_settings(),
        happenings in prop::collection::vec(happening(), 0..80),
    ) {
        let mut world = World::new(policy.clone(), settings.clone());
        world.feed(Event::Tick);
        for happening in &happenings {
            if !world.finished {
                world.happen(happening);
            }
        }
        if !world.finished && world.stopped_at.is_none() {
            world.happen(&Happening::Stop);
        }
        let longest = settings.endpoints_delay + settings.drain + Duration::from_secs(3);
        let deadline = world.stopped_at.unwrap_or_default() + longest;
        if !world.finished {
            world.wait(deadline.saturating_sub(world.now));
        }
        prop_assert!(world.finished, "still there {longest:?} after the order to stop: {:?}", world.machine);
        prop_assert!(world.alive.is_empty(), "left behind: {:?}", world.alive);
        prop_assert!(world.groups.is_empty(), "groups left behind: {:?}", world.groups);
        prop_assert_eq!(world.forked, world.collected);
    }
}

proptest! {
    // Each of them lives through minutes.
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_whose_program_works_becomes_ready_whatever_happened_before(
        policy in any_policy(),
        settings in any_settings(),
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new(policy.clone(), settings.clone());
        world.feed(Event::Tick);
        for happening in happenings.iter().filter(|happening| !matches!(happening, Happening::Stop)) {
            world.happen(happening);
        }
        // From here on nothing is asked of workers but to serve.
        let usual = Settings { adaptive: None, hang: None, recycle: Recycle::default(), ..world.machine.settings().clone() };
        let count = usual.count;
        world.order(Order::Configure(Box::new(usual)));
        for slot in world.machine.slot_stats(world.now) {
            world.order(Order::Undrain { slot: Some(slot.slot) });
        }
        for _ in 0..200 {
            let evidence = if policy.ready == ReadyRule::Listening { ReadyEvidence::Listening } else { ReadyEvidence::Notify };
            for pid in world.machine.workers() {
                world.feed(Event::Evidence { pid, evidence });
            }
            world.wait(Duration::from_secs(1));
        }
        prop_assert_eq!(world.machine.counts().ready, count, "{:?}", world.machine);
    }
}
