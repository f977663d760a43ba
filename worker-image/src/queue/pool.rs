//! Connections to workers and other replicas that wait for the next request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::stream::Stream;
use super::table::Place;

/// A connection that was idle for longer is not used again: the worker may be about to close it (gunicorn after 2 s, Node and uvicorn after 5), and
/// a request that meets that could not be told from one that was begun. A new one costs 30 µs.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Pool(BTreeMap<Place, Vec<(Stream, Instant)>>);

impl Pool {
    /// The one that was used last; `once` for a request that may not be sent twice, for which the kernel is asked in this moment whether the other end
    /// is still there.
    pub fn take(&mut self, place: &Place, once: bool) -> Option<Stream> {
        let idle = self.0.get_mut(place)?;
        let fresh = idle.pop().filter(|(_, since)| since.elapsed() < FRESH);
        if fresh.is_none() {
            idle.clear(); // those below it are older
        }
        // What came while it was idle is no answer to the next request: the worker closed it, or said too much.
        fresh.map(|(stream, _)| stream).filter(|stream| stream.is_silent() && (!once || stream.is_open()))
    }

    pub fn put(&mut self, place: Place, stream: Stream) {
        self.0.entry(place).or_default().push((stream, Instant::now()));
    }

    /// Closes what is not to be used again.
    pub fn sweep(&mut self) {
        self.0.retain(|_, idle| {
            idle.retain(|(_, since)| since.elapsed() < FRESH);
            !idle.is_empty()
        });
    }
}
