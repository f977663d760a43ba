//! Who holds the port: the primary, which hands its listening socket to every worker, or a program that insists on
//! binding the port itself. Decides by what workers die of, because a program's intention cannot be read anywhere.
//!
//! A worker that is given the socket, does not use it and ends with an error may have failed to bind a port that the
//! primary holds, or may just be broken. So, when no worker is left running and none has ever shown that it serves
//! with the primary's socket, the primary lets go of the port and forks *one* worker without it:
//! it binds the port: the program binds for itself, and every further worker is forked without the socket;
//! it ends as well: it was broken for another reason, and the next attempt is made with the socket again.
//! Once a worker served with the primary's socket, the socket is never given up.

use std::time::Duration;

use super::Moment;

/// Added to the time after which a sibling should have failed in the same way.
const SIBLING_GRACE: Duration = Duration::from_millis(500);

/// Nobody waits longer for the fate of siblings.
const SIBLING_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a program gets beyond three times the life of its predecessor to bind the port itself.
const TRIAL_GRACE: Duration = Duration::from_secs(10);

/// Who holds the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// No port was given.
    None,
    /// The primary, for the workers.
    Held(Held),
    /// Nobody for the moment: one worker is to show whether it binds the port itself.
    Trial(Trial),
    /// The primary is opening the port again.
    Opening {
        /// See [`Own::rechecked`].
        rechecked: bool,
    },
    /// A worker, which bound it itself.
    Own(Own),
}

/// The primary holds the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// A worker has shown that it serves with the primary's socket.
    pub proven: bool,
    suspicion: Option<Suspicion>,
    rechecked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspicion {
    since: Moment,
    lived: Duration,
}

/// One worker is to show whether it binds the port itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The slot of this worker; `None` until it is forked.
    pub slot: Option<u32>,
    lived: Duration,
    since: Moment,
    rechecked: bool,
    /// Its time is over; it was told to stop.
    over: bool,
}

/// A worker bound the port itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Another worker ended before it was ready while one held the port.
    pub contested: bool,
    /// The diagnosis was made twice; it is not doubted any more.
    pub rechecked: bool,
}

/// Whether a slot may fork now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Fork, with or without the primary's socket.
    Fork {
        /// Whether the worker inherits it.
        with_listener: bool,
    },
    /// Let go of the port and fork without it.
    ReleaseAndFork,
    /// Open the port again, then ask once more.
    Reopen,
    /// Ask again at this time, or when another worker's fate is known.
    Wait(Option<Moment>),
}

/// The end of a worker, as far as it tells about the port.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// The slot it was in.
    pub slot: u32,
    /// Whether it had inherited the primary's socket.
    pub had_listener: bool,
    /// Whether it ended with an error of its own, as opposed to a kill from outside.
    pub failed: bool,
    /// Whether it had shown that it serves (more than being alive).
    pub served: bool,
    /// How long it lived.
    pub lived: Duration,
}

impl Death {
    /// No worker ended that tells anything, but the slot is empty.
    pub fn of_nobody(slot: u32) -> Self {
        Self { slot, had_listener: false, failed: false, served: false, lived: Duration::ZERO }
    }
}

impl Port {
    /// The port before the first fork.
    pub fn new(listens: bool) -> Self {
        if listens { Self::Held(Held::default()) } else { Self::None }
    }

    /// Whether a slot whose wait is over may fork. `siblings` are the fork times of the workers that run.
    pub fn gate(&mut self, slot: u32, now: Moment, siblings: &[Moment], contenders: bool) -> Gate {
        match self {
            Self::None => Gate::Fork { with_listener: false },
            Self::Opening { .. } => Gate::Wait(None),
            Self::Held(held) => {
                let Some(suspicion) = held.suspicion.filter(|_| !held.proven) else {
                    return Gate::Fork { with_listener: true };
                };
                if siblings.is_empty() {
                    let trial = Trial {
                        slot: Some(slot),
                        lived: suspicion.lived,
                        since: now,
                        rechecked: held.rechecked,
                        over: false,
                    };
                    *self = Self::Trial(trial);
                    return Gate::ReleaseAndFork;
                }
                // Siblings that are to fail in the same way have done so by then.
                let fate = siblings.iter().map(|since| *since + suspicion.lived.mul_f64(1.5) + SIBLING_GRACE).max();
                let until = fate.unwrap_or(now).min(suspicion.since + SIBLING_WAIT_MAX);
                if now < until {
                    return Gate::Wait(Some(until));
                }
                held.suspicion = None;
                Gate::Fork { with_listener: true }
            }
            Self::Trial(trial) => match trial.slot {
                Some(taken) if taken != slot => Gate::Wait(None),
                _ => {
                    trial.slot = Some(slot);
                    trial.since = now;
                    Gate::Fork { with_listener: false }
                }
            },
            Self::Own(own) => {
                if own.contested && !own.rechecked && siblings.is_empty() && contenders {
                    *self = Self::Opening { rechecked: true };
                    return Gate::Reopen;
                }
                Gate::Fork { with_listener: false }
            }
        }
    }

    /// A worker showed that it serves: `Listening`, `Notify`, or its own socket.
    pub fn on_served(&mut self, slot: u32, had_listener: bool) {
        match self {
            Self::Held(held) if had_listener => {
                held.proven = true;
                held.suspicion = None;
            }
            Self::Trial(trial) if trial.slot == Some(slot) => {
                *self = Self::Own(Own { contested: false, rechecked: trial.rechecked });
            }
            _ => {}
        }
    }

    /// A worker ended by itself or by a kill from outside. Says whether the primary is to open the port again.
    pub fn on_death(&mut self, death: Death, now: Moment, another_runs: bool) -> bool {
        match self {
            Self::Held(held) => {
                if death.had_listener && death.failed && !death.served && !held.proven {
                    let lived = held.suspicion.map_or(death.lived, |earlier| earlier.lived.max(death.lived));
                    held.suspicion = Some(Suspicion { since: now, lived });
                }
                false
            }
            Self::Trial(trial) if trial.slot == Some(death.slot) => {
                *self = Self::Opening { rechecked: trial.rechecked };
                true
            }
            Self::Own(own) => {
                own.contested |= death.failed && !death.served && another_runs;
                false
            }
            _ => false,
        }
    }

    /// The port was opened again.
    pub fn on_opened(&mut self) {
        let rechecked = match self {
            Self::Opening { rechecked } => *rechecked,
            Self::Trial(trial) => trial.rechecked,
            Self::Own(own) => own.rechecked,
            Self::None | Self::Held(_) => return,
        };
        *self = Self::Held(Held { rechecked, ..Held::default() });
    }

    /// The port could not be opened again: somebody has it, so try without.
    pub fn on_open_failed(&mut self, now: Moment) {
        if let Self::Opening { rechecked } = *self {
            *self = Self::Trial(Trial { slot: None, lived: Duration::ZERO, since: now, rechecked, over: false });
        }
    }

    /// When the worker on trial has had its time.
    pub fn trial_ends(&self) -> Option<(u32, Moment)> {
        match self {
            Self::Trial(Trial { slot: Some(slot), lived, since, over: false, .. }) => {
                Some((*slot, *since + *lived * 3 + TRIAL_GRACE))
            }
            _ => None,
        }
    }

    /// The worker on trial neither ended nor bound the port: it is to be taken as it is.
    pub fn accept_trial(&mut self) {
        if let Self::Trial(trial) = self {
            *self = Self::Own(Own { contested: false, rechecked: trial.rechecked });
        }
    }

    /// The worker on trial had its time and is told to stop.
    pub fn give_up_trial(&mut self) {
        if let Self::Trial(trial) = self {
            trial.over = true;
        }
    }

    /// Whether a worker that is forked beside another inherits the primary's socket; `None` while nothing may be forked
    /// beside another, because one worker is to show whether it binds the port.
    pub fn for_successor(&self) -> Option<bool> {
        match self {
            Self::None | Self::Own(_) => Some(false),
            Self::Held(_) => Some(true),
            Self::Trial(_) | Self::Opening { .. } => None,
        }
    }

    /// Whether a worker holds the port.
    pub fn is_owned(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Whether slots whose wait is over are held back until another worker's fate is known.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Opening { .. } | Self::Trial(Trial { slot: Some(_), .. }))
    }

    /// Whether a worker has to bind the port itself to be of use.
    pub fn wants_own_socket(&self) -> bool {
        matches!(self, Self::Trial(_) | Self::Own(_))
    }

    /// Whether it is still open that a worker uses the primary's socket.
    pub fn wants_proof(&self) -> bool {
        matches!(self, Self::Held(held) if !held.proven)
    }

    /// One worker is wanted from now on: whatever others wanted of the port, nobody wants it any more.
    pub fn forget_contest(&mut self) {
        if let Self::Own(own) = self {
            own.contested = false;
        }
    }

    /// Whether several workers want a port that only one can have.
    pub fn is_contested(&self) -> bool {
        matches!(self, Self::Own(own) if own.contested)
    }
}
