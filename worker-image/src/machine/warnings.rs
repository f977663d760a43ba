//! What the user should know and can act upon: the verdicts of the machine in words, with cause and next step.

use primary_protocol::{Warning, WarningReason};

use super::slot::{Channel, Phase, Slot};
use super::{Exit, Machine, Moment, NEVER_READY, ReadyRule, Sockets};

/// What the words need to know beside the machine's state.
#[derive(Clone, Debug)]
pub struct Wording {
    /// The command as the user gave it.
    pub command: String,
    /// The port of the primary's listening socket.
    pub port: Option<u16>,
    /// Whether workers inherit that socket.
    pub inherits: bool,
}

/// A message is no longer than this, as the protocol says.
const MESSAGE_MAX: usize = 1024;

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX - '…'.len_utf8()).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    message
}

impl Machine {
    /// The warnings that hold at this time, at most one of each reason.
    pub fn warnings(&self, wording: &Wording, now: Moment) -> Vec<Warning> {
        if self.stop.is_some() {
            return Vec::new();
        }
        [
            self.port_bound_by_worker(wording),
            self.command_not_found(wording),
            self.crash_loop(wording, now),
            self.never_ready(wording, now),
            self.out_of_memory(now),
            self.hung(now),
            self.over_memory(now),
        ]
        .into_iter()
        .flatten()
        .map(|warning| Warning { message: bounded(warning.message), ..warning })
        .collect()
    }

    fn out_of_memory(&self, now: Moment) -> Option<Warning> {
        let often = self.out_of_memory.within(now)?;
        let message = format!(
            "The kernel killed a worker for memory, {often}: the container reached its limit. Raise \
             resources.limits.memory, keep fewer workers (workers.count), or let workers give way before \
             (workers.recycle.memory, primary --recycle-memory)."
        );
        Some(Warning { reason: WarningReason::OutOfMemory, message })
    }

    fn hung(&self, now: Moment) -> Option<Warning> {
        let (often, hang) = (self.hung.within(now)?, self.settings.hang?);
        let message = format!(
            "Workers made no progress for {} s and were killed, {often}. What they leave in their log at the signal may \
             say what they wait for. If they are only slow, raise workers.hang.timeoutSeconds (primary \
             --hang-timeout-seconds).",
            hang.after.as_secs()
        );
        Some(Warning { reason: WarningReason::Hung, message })
    }

    /// Each worker once is what the limit is for; more often than there are workers is a leak.
    fn over_memory(&self, now: Moment) -> Option<Warning> {
        let workers = usize::try_from(self.desired()).unwrap_or(usize::MAX);
        let often = self.over_memory.within(now).filter(|often| often.more || often.count > workers)?;
        let raise = match self.settings.recycle.memory {
            Some(_) => "workers.recycle.memory (primary --recycle-memory)",
            None => "resources.limits.memory, which the container nearly reached",
        };
        let message = format!(
            "Workers take too much memory again and again, {often}, as a program does that leaks. Each gave way to a \
             fresh one; look for the leak, or raise {raise}."
        );
        Some(Warning { reason: WarningReason::OverMemory, message })
    }

    fn port_bound_by_worker(&self, wording: &Wording) -> Option<Warning> {
        let (true, Some(port)) = (self.port.is_contested(), wording.port) else { return None };
        let ready = self.slots.iter().filter(|slot| slot.is_ready()).count();
        let inherit = if wording.inherits {
            "Let it take the listening socket that it inherits (LISTEN_FDS=1, file descriptor 3), use"
        } else {
            "Let it listen by"
        };
        let message = format!(
            "The program binds port {port} itself, so one worker has it and the others cannot start ({ready} of {} \
             ready). {inherit} Node's cluster module, set SO_REUSEPORT on its socket, or set the number of workers to 1 \
             (workers.count: 1, primary -i 1).",
            self.desired()
        );
        Some(Warning { reason: WarningReason::PortBoundByWorker, message })
    }

    fn command_not_found(&self, wording: &Wording) -> Option<Warning> {
        let missing = |slot: &Slot| match (&slot.phase, &slot.last_exit) {
            (Phase::Waiting { .. } | Phase::Forking { .. }, Some(Exit::NotExecuted(why))) => Some(why.clone()),
            _ => None,
        };
        let why = self.slots.iter().find_map(missing)?;
        let message = format!(
            "The command cannot be started: {why}. Command: {}. Correct the command, or the image that should \
             contain it; it is tried again with growing waits.",
            wording.command
        );
        Some(Warning { reason: WarningReason::CommandNotFound, message })
    }

    fn crash_loop(&self, wording: &Wording, now: Moment) -> Option<Warning> {
        let looping =
            |slot: &&Slot| slot.is_crash_looping(now) && !matches!(slot.last_exit, None | Some(Exit::NotExecuted(_)));
        let contested = self.port.is_contested();
        let slots: Vec<&Slot> = self.slots.iter().filter(looping).collect();
        let worst = slots.iter().max_by_key(|slot| slot.failures)?;
        if contested && self.slots.iter().any(Slot::is_ready) {
            return None; // said by PortBoundByWorker, which knows why
        }
        let ended = worst.last_exit.as_ref()?;
        let message = format!(
            "Workers end again and again ({} of {} slots; slot {} ended with {ended}, {} times in a row before it \
             was ready). Look at the program's own log lines for the cause; it is started again with growing waits. \
             Command: {}.",
            slots.len(),
            self.desired(),
            worst.number,
            worst.failures,
            wording.command
        );
        Some(Warning { reason: WarningReason::CrashLoop, message })
    }

    fn never_ready(&self, wording: &Wording, now: Moment) -> Option<Warning> {
        let late = |slot: &&Slot| match &slot.phase {
            Phase::Starting(worker) => now.saturating_sub(worker.since) >= self.late_after(worker),
            _ => false,
        };
        let slots: Vec<&Slot> = self.slots.iter().filter(late).collect();
        let first = slots.first()?;
        let online = first.incumbent().is_some_and(|worker| worker.channel == Channel::Online);
        let awaited = match (self.policy.ready, wording.port) {
            (ReadyRule::Notify, _) => {
                "it has not sent READY=1 to NOTIFY_SOCKET, nor process.send('ready'). Send it, or set ready: Auto"
                    .to_string()
            }
            (ReadyRule::Http, _) => {
                "it gives no good answer (2xx or 3xx) to a request for --ready-path. Look what it answers, or give another path".to_string()
            }
            (ReadyRule::Listening, _) => "it does not listen. Let it listen, or set ready: Auto or Notify".to_string(),
            (_, Some(_)) if online && self.policy.sockets == Sockets::PerWorker => {
                "nothing of it takes a connection from the socket that it is given. Let it listen on PORT; Bun and Deno, which \
                 have a cluster module of their own, without Node's channel (workers.ipc: None, primary --ipc none)"
                    .to_string()
            }
            (_, Some(port)) if online => format!(
                "Node's cluster module runs in it, and no server of it listens. Let it listen on port {port}, or set \
                 ready: Immediate for a program that serves nothing"
            ),
            (_, Some(port)) => {
                format!("nothing of it listens on port {port}. Let it listen there, or correct the port")
            }
            (_, None) => "it gave no sign. Set ready: Immediate for a program that gives none".to_string(),
        };
        let message = format!(
            "{} of {} workers run for more than {} s and are not ready (slot {} first): {awaited}.",
            slots.len(),
            self.desired(),
            first.incumbent().map_or(NEVER_READY, |worker| self.late_after(worker)).as_secs(),
            first.number
        );
        Some(Warning { reason: WarningReason::NeverReady, message })
    }
}
