//! Does what the machine says, and answers on Node's channels.

use std::os::fd::AsFd;

use primary_protocol::ReadyEvidence;
use serde_json::json;

use super::{Accepts, Child, Primary};
use crate::ipc::broker::Relayed;
use crate::ipc::channel::{self, Answer, ChannelEvent, Speaker};
use crate::ipc::message::{FromWorker, Query};
use crate::ipc::servers::{Main, wants_main};
use crate::ipc::tell;
use crate::launch::Given;
use crate::log::Level;
use crate::machine::{Effect, Event, Note};
use crate::{listener, note, notify, reap};

impl Primary {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Fork { slot, with_listener } => self.fork(slot, with_listener),
            Effect::Signal { pid, signal, group } => reap::send_signal(pid, signal, group),
            Effect::Disconnect { pid } => {
                if self.config.shutdown_message {
                    self.say(pid, Answer::words(tell::shutdown()));
                }
                self.say(pid, Answer::line(tell::disconnect()));
            }
            Effect::CloseDoor => self.close_door(),
            Effect::Steer(slots) => self.steer(&slots),
            Effect::Release => {
                if let Some(main) = self.main.take() {
                    main.sockets().for_each(|socket| self.passing.close(socket));
                }
                self.servers.forget_main();
            }
            Effect::Reopen => self.reopen(),
            Effect::Note(note) => {
                if let Some(queue) = &self.queue {
                    match note {
                        Note::Stopping { .. } | Note::Withdrawn => queue.part(true),
                        Note::Returned => queue.part(false),
                        _ => {}
                    }
                }
                let line = note::line(&note);
                self.log.write(line.level, &line.message, &line.fields);
            }
            Effect::Change(change) => {
                let line = note::change_line(&change);
                self.log.write(line.level, &line.message, &line.fields);
            }
            Effect::Finish => self.finished = true,
        }
    }

    fn fork(&mut self, slot: u32, with_listener: bool) {
        let notify = self.notify_socket(slot);
        self.open_socket_of(slot);
        let private = match self.private_sockets() {
            Ok(private) => private,
            Err(exit) => return self.pending.push_back(Event::ForkFailed { slot, exit }),
        };
        let inherits = with_listener && !self.is_passing();
        let main = self.main.as_ref().filter(|_| inherits).map(|main| main.of(slot).as_fd());
        let own = private.as_ref().map(|private| private.listener.as_fd());
        let watchdog = self.machine.settings().hang.map(|hang| hang.after);
        let port = private.as_ref().and_then(|private| Some(private.own.as_ref()?.address.port()));
        let given = Given { listener: own.or(main), port, notify: notify.as_deref(), watchdog };
        let launched = match self.launcher.launch(slot, &given) {
            Ok(launched) => launched,
            Err(exit) => return self.pending.push_back(Event::ForkFailed { slot, exit }),
        };
        let pid = launched.forked.pid.as_raw_nonzero().get().unsigned_abs();
        self.forked += 1;
        let id = self.forked;
        let (ears, tasks) = (&self.ears, &mut self.tasks);
        let served = launched.channel.map(|socket| channel::serve(socket, Speaker { pid, id }, ears.clone(), tasks));
        let outbox = served.transpose().unwrap_or_else(|error| {
            self.log.write(Level::Warning, &format!("worker {pid} has no channel: {error}"), &[]);
            None
        });
        self.admit_to_queue(id, launched.forked.pid, private.as_ref());
        let forked = launched.forked;
        let child = Child {
            forked,
            id,
            outbox,
            private,
            accepts: Accepts::NotYet,
            reported_drop: false,
            reported_flood: false,
        };
        self.children.insert(pid, child);
        self.probe.restart();
        self.pending.push_back(Event::Forked { slot, pid });
    }

    /// The socket on which a slot's workers say that they are ready; opened for the first of them.
    fn notify_socket(&mut self, slot: u32) -> Option<String> {
        if !self.notify.contains_key(&slot) {
            match notify::serve(slot, self.said.clone(), &mut self.tasks) {
                Ok(name) => self.notify.insert(slot, name),
                Err(error) => {
                    self.log.write(Level::Warning, &format!("slot {slot} has no NOTIFY_SOCKET: {error}"), &[]);
                    None
                }
            };
        }
        self.notify.get(&slot).cloned()
    }

    fn reopen(&mut self) {
        let Some(address) = self.config.listen else { return };
        match Main::open(address, self.config.balancing) {
            Ok(main) => {
                self.main = Some(main);
                self.keep_door_closed();
                self.pending.push_back(Event::Opened);
            }
            Err(error) => {
                let message = format!("--listen {address} cannot be opened again: {error}");
                self.log.write(Level::Warning, &message, &[("event", json!("reopenFailed"))]);
                self.pending.push_back(Event::OpenFailed);
            }
        }
    }

    /// Sends a line to a worker. A worker that does not read its answers loses its channel.
    pub(super) fn say(&mut self, pid: u32, answer: Answer) {
        let Some(child) = self.children.get(&pid) else { return };
        let sent = child.outbox.as_ref().is_some_and(|outbox| outbox.say(answer));
        if !sent {
            self.close_channel(pid);
            self.pending.push_back(Event::ChannelClosed { pid });
        }
    }

    /// A worker asks for the port that was let go: it does not bind it itself, so the primary takes it again.
    fn open_main_for(&mut self, pid: u32, query: &Query) {
        let wanted = self.config.listen.filter(|address| self.main.is_none() && wants_main(query, address.port()));
        // Where it cannot be opened, somebody else has it, and the worker gets the error that says so.
        if let Some(main) = wanted.and_then(|address| Main::open(address, self.config.balancing).ok()) {
            self.main = Some(main);
            self.feed(Event::OpenedFor { pid });
        }
    }

    pub(super) fn on_channel(&mut self, pid: u32, event: ChannelEvent) {
        let Some(child) = self.children.get_mut(&pid) else { return }; // it has ended, and was collected
        match event {
            // Its place is free when it has been taken in.
            ChannelEvent::Message(message, _place) => self.on_message(pid, message),
            ChannelEvent::Dropped if child.reported_drop => {}
            ChannelEvent::Dropped => {
                child.reported_drop = true;
                let message = format!("a message of worker {pid} is longer than 1 MiB and was dropped");
                self.log.write(Level::Warning, &message, &[("pid", json!(pid))]);
            }
            ChannelEvent::Closed(reason) => {
                self.close_channel(pid);
                if let Some(reason) = reason {
                    let message = format!("the channel of worker {pid} is closed: {reason}");
                    self.log.write(Level::Warning, &message, &[("pid", json!(pid))]);
                }
                self.feed(Event::ChannelClosed { pid });
            }
        }
    }

    fn on_message(&mut self, pid: u32, message: FromWorker) {
        match message {
            FromWorker::Online => self.feed(Event::Online { pid }),
            FromWorker::QueryServer(query) => {
                self.open_main_for(pid, &query);
                let answer = self.servers.answer(pid, &query, self.main_of(pid).as_ref());
                self.keep_door_closed();
                let along = answer.socket.is_some();
                self.say(pid, answer);
                self.admit(pid, &query, along);
            }
            FromWorker::Listening => {
                for socket in self.main.iter().flat_map(Main::sockets) {
                    listener::restore_backlog(socket);
                }
                // Behind Queue what it says is no evidence: another runtime's cluster module says so as well, and accepts from a socket of its own.
                if !self.knock_at_once(pid) {
                    self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Listening });
                }
            }
            FromWorker::Ready => self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Notify }),
            FromWorker::Close { key } => {
                if self.servers.close(pid, &key) {
                    self.note_closed(pid);
                }
                if let Some(child) = self.children.get(&pid) {
                    self.passing.dismiss(child.id, &key);
                }
            }
            FromWorker::ExitedAfterDisconnect { seq } => self.say(pid, Answer::line(tell::acknowledge(seq))),
            FromWorker::Handle => self.say(pid, Answer::line(tell::handle_answer(true))),
            FromWorker::AsksForSockets { key, question } => {
                self.say(pid, Answer::line(tell::no_sockets(question, &key)));
            }
            FromWorker::Metrics { id, metrics } => self.on_metrics(pid, id, metrics),
            FromWorker::Relay(relayed) => self.relay(pid, &relayed),
            // The first two are taken in where the channel is read.
            FromWorker::Answered { .. } | FromWorker::Arrived(_) | FromWorker::Other => {}
        }
    }

    /// A message of a worker for others.
    fn relay(&mut self, pid: u32, relayed: &Relayed) {
        let workers = self.children.iter().filter(|(_, child)| child.outbox.is_some()).map(|(pid, _)| *pid);
        for to in self.broker.route(pid, relayed, workers) {
            let Some(child) = self.children.get_mut(&to) else { continue };
            let passed_on = child.outbox.as_ref().is_some_and(|outbox| outbox.relay(relayed.line.clone()));
            if !passed_on && !child.reported_flood {
                child.reported_flood = true;
                let message = format!(
                    "worker {to} does not read messages of other workers as fast as they come: some are dropped"
                );
                self.log.write(Level::Warning, &message, &[("pid", json!(to))]);
            }
        }
    }
}
