//! What the primary decides, as a pure function: events and the time go in, effects come out. No IO, no clock, no
//! environment, no randomness; the loop around it (`run`) does what the effects say and reports what happened.

mod backoff;
mod effect;
mod event;
mod exit;
mod port;
mod readiness;
mod slot;
mod stop;
mod view;
mod warnings;

#[cfg(test)]
mod tests;

use std::time::Duration;

use primary_protocol::{Deaths, ReadyEvidence};

pub use backoff::Backoff;
use backoff::Jitter;
pub use effect::{Effect, Note};
pub use event::Event;
pub use exit::{Exit, signal_name};
use port::{Death, Gate, Port};
use slot::{Channel, Phase, Slot, Worker};
use stop::StopPlan;

pub use view::{Watch, milliseconds};
pub use warnings::Wording;

/// A time, measured from the start of the primary.
pub type Moment = Duration;

/// A worker that was ready for this long restarts without delay; back-off counts only deaths before that.
const SETTLED: Duration = Duration::from_secs(1);

/// After this long without being ready a worker is reported; it is left running, for it may just be slow.
pub const NEVER_READY: Duration = Duration::from_secs(30);

/// A Node program that has not even loaded its cluster module by then never got the channel, or is very slow.
const CHANNEL_SILENT_FACTOR: u32 = 10;

/// What the machine goes by; it does not change.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How many workers to keep.
    pub count: u32,
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// Alive that long counts as ready when nothing better is to be had.
    pub startup: Duration,
    /// How long workers may finish what is in flight.
    pub drain: Duration,
    /// How long to keep serving after the order to stop.
    pub endpoints_delay: Duration,
    /// Waits between forks.
    pub backoff: Backoff,
    /// Whether the primary opened a listening socket for the workers.
    pub listens: bool,
    /// Whether workers get Node's channel.
    pub channel: bool,
    /// Whether the signal to stop goes to a worker's whole group (its command is a shell around the program).
    pub stop_group: bool,
    /// Where the jitter starts from.
    pub seed: u64,
}

/// What makes a worker ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyRule {
    /// Node's `listening`, else `READY=1`, else alive for the start-up time.
    Auto,
    /// `READY=1`, or Node's `process.send('ready')`.
    Notify,
    /// At once.
    Immediate,
    /// A listening socket of its own, or Node's `listening`, or polling the inherited socket.
    Listening,
}

/// The state of the primary.
#[derive(Clone, Debug)]
pub struct Machine {
    policy: Policy,
    jitter: Jitter,
    slots: Vec<Slot>,
    port: Port,
    stop: Option<StopPlan>,
    deaths: Deaths,
    served: bool,
    finished: bool,
}

impl Machine {
    /// The state before the first event; the first [`Event::Tick`] forks.
    pub fn new(policy: Policy) -> Self {
        let slots = (1..=policy.count).map(Slot::new).collect();
        let port = Port::new(policy.listens);
        let jitter = Jitter::new(policy.seed);
        Self { policy, jitter, slots, port, stop: None, deaths: Deaths::default(), served: false, finished: false }
    }

    /// Takes one event in and says what to do.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.finished {
            return effects;
        }
        match event {
            Event::Tick => {}
            Event::Forked { slot, pid } => self.on_forked(slot, pid, now, &mut effects),
            Event::ForkFailed { slot, exit } => self.on_fork_failed(slot, exit, now, &mut effects),
            Event::Exited { pid, exit, out_of_memory, group_left } => {
                self.on_exited(pid, &exit, out_of_memory, group_left, now, &mut effects);
            }
            Event::GroupEnded { pid } => self.on_group_ended(pid),
            Event::Evidence { pid, evidence } => self.on_evidence(pid, evidence, now, &mut effects),
            Event::UsesListener { pid } => self.on_uses_listener(pid, now, &mut effects),
            Event::Online { pid } => {
                if let Some(worker) = self.worker_mut(pid) {
                    worker.channel = Channel::Online;
                }
            }
            Event::ChannelClosed { pid } => self.on_channel_closed(pid, now, &mut effects),
            Event::Opened => {
                self.port.on_opened();
                effects.push(Effect::Note(Note::PortReopened));
            }
            Event::OpenedFor { pid } => {
                self.port.on_opened();
                if let Some(worker) = self.worker_mut(pid) {
                    worker.with_listener = true;
                }
                effects.push(Effect::Note(Note::PortReopened));
            }
            Event::OpenFailed => self.port.on_open_failed(now),
            Event::Stop { signal } => self.on_stop(signal, now, &mut effects),
        }
        self.advance(now, &mut effects);
        effects
    }

    /// Everything that is due at this time, whatever the event was.
    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.advance_stop(now, effects);
        self.advance_readiness(now, effects);
        self.advance_trial(now, effects);
        self.advance_slots(now, effects);
        self.fork_due(now, effects);
        if self.finished {
            effects.push(Effect::Finish);
        }
    }

    fn fork_due(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let Phase::Waiting { until } = self.slots[index].phase else { continue };
            if until > now || self.is_draining() {
                continue;
            }
            let siblings: Vec<Moment> = self.slots.iter().filter_map(Slot::running_since).collect();
            let with_listener = match self.port.gate(index, now, &siblings, self.policy.count > 1) {
                Gate::Fork { with_listener } => with_listener,
                Gate::ReleaseAndFork => {
                    effects.push(Effect::Release);
                    effects.push(Effect::Note(Note::PortReleased));
                    false
                }
                Gate::Reopen => {
                    effects.push(Effect::Reopen);
                    return;
                }
                Gate::Wait(gate) => {
                    self.slots[index].gate = gate;
                    continue;
                }
            };
            let slot = &mut self.slots[index];
            slot.gate = None;
            slot.phase = Phase::Forking { since: now, with_listener };
            effects.push(Effect::Fork { slot: index, with_listener });
        }
    }

    fn on_forked(&mut self, index: usize, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Phase::Forking { with_listener, .. } = slot.phase else { return };
        slot.forks += 1;
        effects.push(Effect::Note(Note::Forked { slot: slot.number, pid, with_listener }));
        slot.phase = Phase::Starting(Worker::new(pid, now, with_listener, self.policy.channel));
        if self.policy.ready == ReadyRule::Immediate {
            self.become_ready(index, ReadyEvidence::Immediate, now, effects);
        }
    }

    fn on_fork_failed(&mut self, index: usize, exit: Exit, now: Moment, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        if !matches!(slot.phase, Phase::Forking { .. }) {
            return;
        }
        effects.push(Effect::Note(Note::ForkFailed { slot: slot.number, exit: exit.clone() }));
        slot.last_exit = Some(exit);
        if self.port.on_death(Death::of_nobody(index), now, false) {
            effects.push(Effect::Reopen);
        }
        self.back_off(index, now, effects);
    }

    /// Puts a slot into back-off after one more early death.
    fn back_off(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let jitter = self.jitter.next();
        let contested = self.port.is_contested();
        let slot = &mut self.slots[index];
        slot.failures = slot.failures.saturating_add(1);
        // While another worker has the port, forking soon cannot help.
        let failures = if contested { u32::MAX } else { slot.failures };
        let wait = self.policy.backoff.delay(failures, jitter);
        slot.phase = Phase::Waiting { until: now + wait };
        effects.push(Effect::Note(Note::BackOff { slot: slot.number, wait, failures: slot.failures }));
    }

    fn on_exited(
        &mut self,
        pid: u32,
        exit: &Exit,
        out_of_memory: bool,
        group_left: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.index_of(pid) else { return };
        let slot = &mut self.slots[index];
        let Some(worker) = slot.worker().cloned() else { return };
        let lived = now.saturating_sub(worker.since);
        let ready_for = slot.ready_for(now);
        effects.push(Effect::Note(Note::Exited {
            slot: slot.number,
            pid,
            exit: exit.clone(),
            lived,
            was_ready: ready_for.is_some(),
            out_of_memory,
        }));
        slot.last_exit = Some(exit.clone());
        if let Phase::Stopping(_, order) = slot.phase
            && (self.is_draining() || !order.by_itself)
        {
            let port_changes = self.on_stopped(index, pid, group_left, order, now, effects);
            if port_changes {
                effects.push(Effect::Reopen);
            }
            return;
        }
        let slot = &mut self.slots[index];
        slot.remember_death(now);
        let served = slot.has_served();
        exit.count(&mut self.deaths, ready_for.is_some(), out_of_memory);
        let another_runs = self.slots.iter().enumerate().any(|(other, slot)| other != index && slot.is_ready());
        let failed = exit.is_failure_of_its_own() && !out_of_memory;
        let death = Death { slot: index, had_listener: worker.with_listener, failed, served, lived };
        if self.port.on_death(death, now, another_runs) {
            effects.push(Effect::Reopen);
        }
        let slot = &mut self.slots[index];
        if lived >= self.policy.backoff.reset_after {
            slot.failures = 0;
        }
        if ready_for.is_some_and(|time| time >= SETTLED) {
            slot.phase = Phase::Waiting { until: now };
        } else {
            self.back_off(index, now, effects);
        }
    }

    fn index_of(&self, pid: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.pid() == Some(pid))
    }

    fn worker_mut(&mut self, pid: u32) -> Option<&mut Worker> {
        self.slots.iter_mut().find(|slot| slot.pid() == Some(pid)).and_then(Slot::worker_mut)
    }
}
