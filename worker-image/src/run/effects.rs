//! Does what the machine says, and answers on Node's channels.

use std::os::fd::AsFd;

use primary_protocol::ReadyEvidence;
use serde_json::json;

use super::{Child, Primary, open_main};
use crate::ipc::channel::{self, Answer, ChannelEvent};
use crate::ipc::message::{self, FromWorker, Query};
use crate::ipc::servers::wants_main;
use crate::log::Level;
use crate::machine::{Effect, Event};
use crate::{listener, note, notify, reap};

impl Primary {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Fork { slot, with_listener } => self.fork(slot, with_listener),
            Effect::Signal { pid, signal, group } => reap::send_signal(pid, signal, group),
            Effect::Disconnect { pid } => self.say(pid, Answer { bytes: message::disconnect(), socket: None }),
            Effect::Release => {
                self.main = None;
                self.servers.forget_main();
            }
            Effect::Reopen => self.reopen(),
            Effect::Note(note) => {
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
        let listener = self.main.as_ref().filter(|_| with_listener).map(|main| main.socket.as_fd());
        let launched = match self.launcher.launch(slot, listener, notify.as_deref()) {
            Ok(launched) => launched,
            Err(exit) => return self.pending.push_back(Event::ForkFailed { slot, exit }),
        };
        let pid = launched.forked.pid.as_raw_nonzero().get().unsigned_abs();
        let events = &self.channel_events;
        let served = launched.channel.map(|socket| channel::serve(socket, pid, events.clone(), &mut self.tasks));
        let answers = served.transpose().unwrap_or_else(|error| {
            self.log.write(Level::Warning, &format!("worker {pid} has no channel: {error}"), &[]);
            None
        });
        self.children.insert(pid, Child { forked: launched.forked, answers, reported_drop: false });
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
        match open_main(address) {
            Ok(main) => {
                self.main = Some(main);
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
    fn say(&mut self, pid: u32, answer: Answer) {
        let Some(child) = self.children.get_mut(&pid) else { return };
        let sent = child.answers.as_ref().is_some_and(|answers| answers.try_send(answer).is_ok());
        if !sent {
            child.answers = None;
            self.pending.push_back(Event::ChannelClosed { pid });
        }
    }

    /// A worker asks for the port that was let go: it does not bind it itself, so the primary takes it again.
    fn open_main_for(&mut self, pid: u32, query: &Query) {
        let wanted = self.config.listen.filter(|address| self.main.is_none() && wants_main(query, address.port()));
        // Where it cannot be opened, somebody else has it, and the worker gets the error that says so.
        if let Some(main) = wanted.and_then(|address| open_main(address).ok()) {
            self.main = Some(main);
            self.feed(Event::OpenedFor { pid });
        }
    }

    pub(super) fn on_channel(&mut self, pid: u32, event: ChannelEvent) {
        let Some(child) = self.children.get_mut(&pid) else { return }; // it has ended, and was collected
        match event {
            ChannelEvent::Message(message) => self.on_message(pid, message),
            ChannelEvent::Dropped if child.reported_drop => {}
            ChannelEvent::Dropped => {
                child.reported_drop = true;
                let message = format!("a message of worker {pid} is longer than 1 MiB and was dropped");
                self.log.write(Level::Warning, &message, &[("pid", json!(pid))]);
            }
            ChannelEvent::Closed(reason) => {
                child.answers = None;
                if let Some(reason) = reason {
                    let message = format!("the channel of worker {pid} is closed: {reason}");
                    self.log.write(Level::Warning, &message, &[("pid", json!(pid))]);
                }
                self.feed(Event::ChannelClosed { pid });
            }
        }
    }

    fn on_message(&mut self, pid: u32, message: FromWorker) {
        let line = |bytes| Answer { bytes, socket: None };
        match message {
            FromWorker::Online => self.feed(Event::Online { pid }),
            FromWorker::QueryServer(query) => {
                self.open_main_for(pid, &query);
                let answer = self.servers.answer(pid, &query, self.main.as_ref());
                self.say(pid, answer);
            }
            FromWorker::Listening => {
                if let Some(main) = &self.main {
                    listener::restore_backlog(&main.socket);
                }
                self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Listening });
            }
            FromWorker::Ready => self.feed(Event::Evidence { pid, evidence: ReadyEvidence::Notify }),
            FromWorker::Close { key } => self.servers.close(pid, &key),
            FromWorker::ExitedAfterDisconnect { seq } => self.say(pid, line(message::acknowledge(seq))),
            FromWorker::Handle => self.say(pid, line(message::handle_answer(true))),
            FromWorker::Other => {}
        }
    }
}
