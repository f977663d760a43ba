//! What the primary decides, as a pure function: events and the time go in, effects come out. No IO, no clock, no
//! environment, no randomness; the loop around it (`run`) does what the effects say and reports what happened.

mod backoff;
mod count;
mod death;
mod effect;
mod event;
mod exit;
mod fork;
mod leave;
mod order;
mod port;
mod readiness;
mod reason;
mod recent;
mod replace;
mod settings;
mod slot;
mod steering;
mod stop;
mod view;
mod vitals;
mod warnings;

#[cfg(test)]
mod tests;

use std::time::Duration;

use primary_protocol::{Deaths, Replaced};

pub use backoff::Backoff;
use backoff::Jitter;
use count::Adaptation;
pub use death::Ended;
pub use effect::{Change, Effect, Note};
pub use event::Event;
pub use exit::{Exit, signal_name, signal_number};
pub use order::Order;
use port::Port;
pub use reason::Reason;
use recent::Recent;
pub use replace::{Reload, ReloadState};
pub use settings::{Adaptive, Hang, Policy, Recycle, Settings, Sockets};
use slot::{Channel, Phase, Slot, Worker};
pub use steering::{Share, Untold};
use stop::StopPlan;
pub use view::{Role, Watch, milliseconds};
pub use vitals::{Sample, Samples};
pub use warnings::Wording;

/// A time, measured from the start of the primary.
pub type Moment = Duration;

/// A worker that was ready for this long restarts without delay; back-off counts only deaths before that.
const SETTLED: Duration = Duration::from_secs(1);

/// After this long without being ready a worker is reported; it is left running, for it may just be slow.
pub const NEVER_READY: Duration = Duration::from_secs(30);

/// A Node program that has not even loaded its cluster module by then never got the channel, or is very slow.
const CHANNEL_SILENT_FACTOR: u32 = 10;

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
    /// A good answer to a request that asks whether it is ready.
    Http,
}

/// The state of the primary.
#[derive(Clone, Debug)]
pub struct Machine {
    policy: Policy,
    settings: Settings,
    jitter: Jitter,
    /// In the order of their numbers.
    slots: Vec<Slot>,
    port: Port,
    stop: Option<StopPlan>,
    reload: Option<Reload>,
    adaptation: Adaptation,
    /// Not ready by order.
    withdrawn: bool,
    /// What the container's memory limit left when workers were last looked at.
    free_memory: Option<u64>,
    /// Whether the container has a memory limit, once that was looked at.
    limited: Option<bool>,
    deaths: Deaths,
    replaced: Replaced,
    hung: Recent,
    over_memory: Recent,
    out_of_memory: Recent,
    /// When a worker last gave way because the container was nearly full.
    relieved_at: Option<Moment>,
    /// The slots that get new connections, as last said, and when their shares were looked at.
    steered_to: Vec<Share>,
    shares_at: Moment,
    served: bool,
    finished: bool,
}

impl Machine {
    /// The state before the first event; the first [`Event::Tick`] forks.
    pub fn new(policy: Policy, settings: Settings) -> Self {
        let count = settings.first_count();
        Self {
            jitter: Jitter::new(policy.seed),
            slots: (1..=count).map(|number| Slot::new(number, Duration::ZERO)).collect(),
            port: Port::new(policy.listens && policy.sockets != Sockets::PerWorker),
            policy,
            settings,
            stop: None,
            reload: None,
            adaptation: Adaptation::new(count),
            withdrawn: false,
            free_memory: None,
            limited: None,
            deaths: Deaths::default(),
            replaced: Replaced::default(),
            hung: Recent::default(),
            over_memory: Recent::default(),
            out_of_memory: Recent::default(),
            relieved_at: None,
            steered_to: Vec::new(),
            shares_at: Moment::ZERO,
            served: false,
            finished: false,
        }
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
            Event::Exited(ended) => self.on_exited(&ended, now, &mut effects),
            Event::GroupEnded { pid } => self.on_group_ended(pid, now, &mut effects),
            Event::Evidence { pid, evidence } => self.on_evidence(pid, evidence, now, &mut effects),
            Event::UsesListener { pid } => self.on_uses_listener(pid, now, &mut effects),
            Event::Alive { pid } => self.on_alive(pid, now),
            Event::Sampled(samples) => self.on_samples(&samples, now, &mut effects),
            Event::Order(order) => self.on_order(order, now, &mut effects),
            Event::Online { pid } => {
                if let Some(worker) = self.worker_mut(pid) {
                    worker.channel = Channel::Online;
                }
            }
            Event::ChannelClosed { pid } => self.on_channel_closed(pid, now),
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
            Event::Emptied => self.on_emptied(now),
            Event::NobodyWaits { pid } => self.on_nobody_waits(pid, now),
            Event::StillWaiting { connections } => self.on_still_waiting(connections, now),
        }
        self.advance(now, &mut effects);
        effects
    }

    /// Everything that is due at this time, whatever the event was.
    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.advance_stop(now, effects);
        self.advance_readiness(now, effects);
        self.settle_renewed(now, effects);
        self.advance_trial(now, effects);
        self.end_late_renewals(now, effects);
        self.advance_verdicts(now, effects);
        self.advance_count(now, effects);
        self.advance_renewals(now, effects);
        self.tell_untold(now, effects);
        self.advance_leaving(now, effects);
        self.fork_due(now, effects);
        self.advance_steering(now, effects);
        self.forget_surplus();
        if self.finished {
            effects.push(Effect::Finish);
        }
    }

    /// A worker on trial that had its time without binding the port: where only a socket counts it makes room for
    /// an attempt with the primary's; else it is taken as it is.
    fn advance_trial(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some((number, _)) = self.port.trial_ends().filter(|(_, at)| now >= *at) else { return };
        let index = self.slots.iter().position(|slot| slot.number == number);
        match index.map(|index| (index, &self.slots[index].phase)) {
            Some((index, Phase::Starting(_))) => {
                self.port.give_up_trial();
                self.vacate(index, slot::Vacancy::Handover, Reason::Trial, now, effects);
            }
            Some((_, Phase::Ready(..))) => self.port.accept_trial(),
            _ => self.port.give_up_trial(), // it is about to end by itself
        }
    }

    fn index_of(&self, pid: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.place_of(pid).is_some())
    }

    fn worker_mut(&mut self, pid: u32) -> Option<&mut Worker> {
        self.slots.iter_mut().find_map(|slot| slot.worker_mut(pid))
    }
}
