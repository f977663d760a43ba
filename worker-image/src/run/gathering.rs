//! Asks the workers for what they measure, and answers whoever wants the metrics when all have said it, or it takes too long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Primary;
use crate::admin::Reply;
use crate::gather::{self, Metric};
use crate::ipc::channel::Answer;
use crate::ipc::tell;

/// A worker that is busy for longer is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question that was not answered in this time is not waited for any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// So many pages at a time; who comes then gets the primary's own metrics alone.
const MAX_PAGES: usize = 8;

/// Pages that wait for workers.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    asked: u64,
    /// Workers that have not answered their last question, and when that was: a blocked one is not asked again and again.
    open: BTreeMap<u32, Instant>,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    id: u64,
    until: Instant,
    awaited: BTreeSet<u32>,
    got: Vec<Vec<Vec<Metric>>>,
    reply: oneshot::Sender<Reply>,
}

impl Gathering {
    pub fn due(&self) -> Option<Instant> {
        self.pages.iter().map(|page| page.until).min()
    }

    /// A worker ended.
    pub fn forget(&mut self, pid: u32) {
        self.open.remove(&pid);
    }

    fn may_ask(&self, pid: u32) -> bool {
        self.open.get(&pid).is_none_or(|asked| asked.elapsed() >= FORGOTTEN_AFTER)
    }
}

impl Primary {
    /// Somebody wants all metrics.
    pub(super) fn gather(&mut self, reply: oneshot::Sender<Reply>) {
        let workers: Vec<u32> = self.machine.online();
        if !self.config.gather || workers.is_empty() || self.gathering.pages.len() >= MAX_PAGES {
            return self.send_page(&[], reply);
        }
        self.gathering.asked = self.gathering.asked.wrapping_add(1);
        let id = self.gathering.asked;
        let mut awaited = BTreeSet::new();
        for pid in workers.into_iter().filter(|pid| self.gathering.may_ask(*pid)) {
            let outbox = self.children.get(&pid).and_then(|child| child.outbox.as_ref());
            // Who is not asked is left out; no worker loses its channel for a question.
            if outbox.is_some_and(|outbox| outbox.ask(Answer::words(tell::metrics_request(id)))) {
                awaited.insert(pid);
            }
        }
        let now = Instant::now();
        self.gathering.open.extend(awaited.iter().map(|pid| (*pid, now)));
        self.gathering.pages.push(Page { id, until: now + PATIENCE, awaited, got: Vec::new(), reply });
        self.send_whole_pages();
    }

    /// A worker says what it measures; nothing where it could not.
    pub(super) fn on_metrics(&mut self, pid: u32, id: u64, metrics: Vec<Vec<Metric>>) {
        self.gathering.open.remove(&pid);
        if let Some(page) = self.gathering.pages.iter_mut().find(|page| page.id == id)
            && page.awaited.remove(&pid)
        {
            page.got.push(metrics);
        }
        self.send_whole_pages();
    }

    /// Answers those that have all, or wait for too long.
    pub(super) fn send_whole_pages(&mut self) {
        let (now, alive) = (Instant::now(), self.machine.online());
        let is_whole = |page: &mut Page| now >= page.until || page.awaited.iter().all(|pid| !alive.contains(pid));
        let whole: Vec<Page> = self.gathering.pages.extract_if(.., is_whole).collect();
        for page in whole {
            self.send_page(&page.got, page.reply);
        }
    }

    fn send_page(&mut self, got: &[Vec<Vec<Metric>>], reply: oneshot::Sender<Reply>) {
        let workers = gather::text(got);
        let _ = reply.send(Reply::Metrics(Box::new(self.shown()), workers)); // who asked may be gone
    }
}
