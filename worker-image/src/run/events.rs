//! What the loop waits for, and how it becomes events of the machine.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use primary_protocol::ReadyEvidence;
use rustix::process::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Primary;
use crate::admin::Ask;
use crate::ipc::channel::ChannelEvent;
use crate::log::Level;
use crate::machine::{Ended, Event, Exit, Role};
use crate::notify::Said;
use crate::reap;

/// The loop turns at least so often, so that a missed event cannot stop it for long.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Ended processes that are collected before the loop looks at anything else.
const REAP_AT_ONCE: usize = 256;

/// The signals that mean something to the primary.
pub(super) struct Signals {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// Images of httpd stop with this; on a terminal it means another size.
    window: Option<Signal>,
    hangup: Signal,
    /// The primary was started from a terminal, whose end is the end of the primary.
    on_terminal: bool,
    user_1: Signal,
    user_2: Signal,
}

enum Arrived {
    Child,
    Stop(i32),
    Forward(i32),
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let is_init = std::process::id() == 1;
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            window: if is_init { Some(signal(SignalKind::window_change())?) } else { None },
            hangup: signal(SignalKind::hangup())?,
            on_terminal: std::io::stdin().is_terminal(),
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Arrived {
        let window = async {
            match &mut self.window {
                Some(window) => window.recv().await,
                None => std::future::pending().await,
            }
        };
        // Workers get the signal that an image's STOPSIGNAL chose for them; SIGINT from a terminal means SIGTERM.
        tokio::select! {
            _ = self.child.recv() => Arrived::Child,
            _ = self.terminate.recv() => Arrived::Stop(libc::SIGTERM),
            _ = self.interrupt.recv() => Arrived::Stop(libc::SIGTERM),
            _ = self.quit.recv() => Arrived::Stop(libc::SIGQUIT),
            _ = window => Arrived::Stop(libc::SIGWINCH),
            _ = self.hangup.recv() => if self.on_terminal { Arrived::Stop(libc::SIGTERM) } else { Arrived::Forward(libc::SIGHUP) },
            _ = self.user_1.recv() => Arrived::Forward(libc::SIGUSR1),
            _ = self.user_2.recv() => Arrived::Forward(libc::SIGUSR2),
        }
    }
}

/// Everything that the loop waits for.
pub(super) struct Inputs {
    pub signals: Signals,
    pub channel_messages: mpsc::Receiver<(u32, ChannelEvent)>,
    pub what_is_said: mpsc::Receiver<Said>,
    pub asked: mpsc::Receiver<Ask>,
}

impl Primary {
    /// Turns until everything ended.
    pub(super) async fn turn(&mut self, mut inputs: Inputs) {
        self.feed(Event::Tick);
        while !self.finished {
            let wake = self.next_wake();
            tokio::select! {
                arrived = inputs.signals.next() => match arrived {
                    Arrived::Child => self.reap(),
                    Arrived::Stop(signal) => self.feed(Event::Stop { signal }),
                    Arrived::Forward(signal) => self.forward(signal),
                },
                Some((pid, event)) = inputs.channel_messages.recv() => self.on_channel(pid, event),
                Some(said) = inputs.what_is_said.recv() => self.on_said(said),
                Some(ask) = inputs.asked.recv() => self.answer(ask),
                Some(ended) = self.tasks.join_next() => self.on_task_ended(ended),
                // Should the kernel have told of no end, it is seen all the same.
                () = tokio::time::sleep_until(wake.into()) => self.unreaped = true,
            }
            if self.unreaped {
                self.reap();
            }
            self.feed(Event::Tick);
            self.look_if_due();
            self.look_at_the_door_if_due();
            self.look_at_untold_if_due();
            self.turn_away_if_due();
            self.knock_if_due();
            self.send_whole_pages();
            self.sample_if_due();
            self.follow_the_limit_if_due();
            // Where something is always due the wait above is none, and whoever serves the ports would wait until tokio
            // ends the turn by itself, after 128 of ours.
            tokio::task::yield_now().await;
        }
    }

    /// The next time at which something is due without an event.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        if self.unreaped {
            return now;
        }
        let due = self.machine.next_due().map(|due| self.started + due);
        let latest = now + LONGEST_WAIT;
        [
            due,
            self.knocks.due(),
            self.probe.due(),
            self.door.due(),
            self.steering.due(),
            self.gathering.due(),
            self.next_sample(),
            Some(self.resize.due()),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(latest)
        .min(latest)
    }

    /// Collects ended processes. SIGCHLD comes once for several.
    fn reap(&mut self) {
        self.unreaped = false;
        for _ in 0..REAP_AT_ONCE {
            let (machine, children) = (&self.machine, &self.children);
            let before = |pid: Pid| {
                let number = pid.as_raw_nonzero().get().unsigned_abs();
                // What a dead worker leaves behind would keep its port and its memory.
                if children.contains_key(&number) && !machine.spares_group(number) {
                    reap::kill_group(pid);
                }
            };
            let Some(ended) = reap::next(before) else { return };
            self.on_ended(ended);
        }
        self.unreaped = true; // more may be left: come back for them after whatever else is due
    }

    fn on_ended(&mut self, ended: reap::Ended) {
        let pid = ended.pid.as_raw_nonzero().get().unsigned_abs();
        if let Some(child) = self.children.remove(&pid) {
            self.servers.forget(pid);
            self.passing.ended(child.id);
            self.forget_in_queue(child.id);
            self.gathering.forget(pid);
            self.broker.forget(pid);
            let exit = child.forked.exec_error().map_or(ended.exit, |error| {
                Exit::NotExecuted(format!("the system refused to execute the program: {error}"))
            });
            let out_of_memory = exit == Exit::Signal(libc::SIGKILL) && self.samples.killed_for_memory();
            let group_left = reap::group_exists(ended.pid);
            self.feed(Event::Exited(Ended { pid, exit, out_of_memory, group_left }));
        }
        for pid in self.machine.lingering() {
            let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if !group.is_some_and(reap::group_exists) {
                self.feed(Event::GroupEnded { pid });
            }
        }
    }

    /// Passes on what programs reload or print their state at. A worker that starts has no handler yet, and would end by it.
    fn forward(&mut self, signal: i32) {
        for seen in self.machine.seen().iter().filter(|seen| seen.role == Role::Ready) {
            reap::send_signal(seen.pid, signal, false);
        }
    }

    fn on_said(&mut self, said: Said) {
        // A message of the slot's last worker, or of a stranger, says nothing about those that are there.
        let Some(pid) = self.machine.speaker(said.slot, said.group) else { return };
        if said.words.ready {
            self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Notify });
        }
        if said.words.alive {
            self.feed(Event::Alive { pid });
        }
    }

    fn on_task_ended(&mut self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            self.log.write(Level::Warning, &format!("a task of the primary ended: {error}"), &[]);
        }
    }
}
