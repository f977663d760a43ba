//! A watch, passed on line by line: each line can be held, repeated, torn or replaced.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, StreamExt};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    answer::{Aborted, Answer, Reply},
    controls::Setting,
};
use crate::{fault::Action, operator::Life};

/// What the API server says where a version is too old to go on from.
const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}"#;
/// Pieces that wait for a connection that is slow.
const PIECES: usize = 64;
/// A line that a crash comes with is written out in this time.
const WRITTEN: Duration = Duration::from_millis(2);

/// Lines on their way to the operator.
struct Pump {
    shared: Shared,
    life: Life,
    class: String,
    waiting: VecDeque<(Instant, Piece)>,
    /// No line comes before this.
    not_before: Instant,
    /// All lines so far.
    past: Vec<Bytes>,
    /// A line was the last by what happened to it.
    over: bool,
}

/// What goes to the operator.
enum Piece {
    Line(Bytes),
    /// The last, and how it ends.
    End(Result<Bytes, Bytes>),
    /// The operator is killed with it.
    Crash(Option<Bytes>),
}

/// The watch as it goes to the operator.
pub fn pump(shared: Shared, life: Life, class: String, response: Response<Body>) -> Reply {
    let (parts, body) = response.into_parts();
    let (pieces, received) = mpsc::channel::<Result<Frame<Bytes>, Aborted>>(PIECES);
    let pump = Pump {
        shared,
        life,
        class,
        waiting: VecDeque::new(),
        not_before: Instant::now(),
        past: Vec::new(),
        over: false,
    };
    tokio::spawn(pump.run(lines(body), pieces));
    let stream =
        futures::stream::unfold(received, async |mut received| received.recv().await.map(|piece| (piece, received)));
    let mut reply = Response::new(Answer::Stream(Bytes::new(), StreamBody::new(stream).boxed_unsync()));
    *reply.status_mut() = parts.status;
    for (name, value) in &parts.headers {
        if name == http::header::CONTENT_TYPE {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    reply
}

/// The lines of a body, each with its end.
fn lines(body: Body) -> impl Stream<Item = Bytes> + Send {
    let pieces = body.into_data_stream();
    futures::stream::unfold((pieces.boxed(), Vec::<u8>::new()), async |(mut pieces, mut rest)| {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let later = rest.split_off(end + 1);
                return Some((Bytes::from(rest), (pieces, later)));
            }
            match pieces.next().await {
                Some(Ok(piece)) => rest.extend_from_slice(&piece),
                Some(Err(_)) | None => return None,
            }
        }
    })
}

// === impl Pump ===

impl Pump {
    async fn run(
        mut self,
        lines: impl Stream<Item = Bytes> + Send,
        pieces: mpsc::Sender<Result<Frame<Bytes>, Aborted>>,
    ) {
        let mut lines = std::pin::pin!(lines);
        let mut setting = self.shared.controls.follow();
        let mut ended = false;
        loop {
            let held = setting.borrow_and_update().frozen.contains_key(&self.class);
            let next = self.waiting.front().map(|(at, _)| *at).filter(|_| !held);
            tokio::select! {
                line = lines.next(), if !ended => {
                    ended = !line.is_some_and(|line| self.take(line, &setting));
                    if ended && !self.over {
                        self.push(&setting, Piece::End(Ok(Bytes::new())));
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let Some((_, piece)) = self.waiting.pop_front() else { continue };
                    if !self.send(piece, &pieces).await {
                        return;
                    }
                }
                changed = setting.changed() => if changed.is_err() { return },
                () = pieces.closed() => return,
            }
        }
    }

    fn push(&mut self, setting: &tokio::sync::watch::Receiver<Setting>, piece: Piece) {
        let due = match &piece {
            Piece::Line(line) => self.shared.controls.due(&self.class, line),
            _ => Instant::now() + setting.borrow().delay,
        };
        let before = self.waiting.back().map_or(due, |(at, _)| *at); // never out of order
        self.waiting.push_back((due.max(before).max(self.not_before), piece));
    }

    /// Takes a line in; `false` where it was the last.
    fn take(&mut self, line: Bytes, setting: &tokio::sync::watch::Receiver<Setting>) -> bool {
        let action = self.shared.state.line(&self.class);
        self.past.push(line.clone());
        let mut last = None;
        match action {
            None => self.push(setting, Piece::Line(line)),
            Some(Action::Freeze(time) | Action::Delay(time)) => {
                self.not_before = self.not_before.max(Instant::now() + time);
                self.push(setting, Piece::Line(line));
            }
            Some(Action::Repeat) => {
                self.push(setting, Piece::Line(line.clone()));
                self.push(setting, Piece::Line(line));
            }
            Some(Action::Replay) => {
                for line in self.past.clone() {
                    self.push(setting, Piece::Line(line));
                }
                self.push(setting, Piece::Line(line));
            }
            Some(Action::Cut) => last = Some(Piece::End(Ok(Bytes::new()))),
            Some(Action::Expire) => last = Some(Piece::End(Ok(format!("{EXPIRED}\n").into()))),
            Some(Action::CrashBefore | Action::CrashUnanswered) => last = Some(Piece::Crash(None)),
            Some(Action::CrashAfter) => last = Some(Piece::Crash(Some(line))),
            // Whatever else happens to a connection breaks it.
            Some(_) => last = Some(Piece::End(Err(line.slice(..line.len() / 2)))),
        }
        self.over = last.is_some();
        if let Some(last) = last {
            self.push(setting, last);
        }
        !self.over
    }

    /// Sends a piece; `false` where nothing more is to come.
    async fn send(&self, piece: Piece, pieces: &mpsc::Sender<Result<Frame<Bytes>, Aborted>>) -> bool {
        let line = async |line: Bytes| line.is_empty() || pieces.send(Ok(Frame::data(line))).await.is_ok();
        match piece {
            Piece::Line(bytes) => line(bytes).await,
            Piece::End(Ok(bytes)) => {
                line(bytes).await;
                false
            }
            Piece::End(Err(bytes)) => {
                line(bytes).await;
                let _ = pieces.send(Err(Aborted::Closed)).await;
                false
            }
            Piece::Crash(bytes) => {
                if let Some(bytes) = bytes {
                    line(bytes).await;
                    self.shared.trigger.close(self.life);
                    tokio::time::sleep(WRITTEN).await;
                }
                self.shared.trigger.kill(self.life);
                false
            }
        }
    }
}
