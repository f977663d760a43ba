//! How long a reconcile works itself. The rest of its time it waits: for the API server, for its turn under our own limits, or for a
//! processor: what others take of a busy machine is not counted, so that it slows nothing down further.

use std::{future::poll_fn, pin::pin, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// A future's output, and for how long it was worked on.
pub async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut busy = Duration::ZERO;
    let output = poll_fn(|context| {
        let begun = processor_time();
        let polled = future.as_mut().poll(context);
        // A poll stays on its thread.
        busy += processor_time().saturating_sub(begun);
        polled
    })
    .await;
    (output, busy)
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Works until the thread has had so much of a processor.
    fn work(time: Duration) {
        let until = processor_time() + time;
        while processor_time() < until {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn work_counts_and_waiting_does_not() {
        let begun = Instant::now();
        let (output, busy) = timed(async {
            work(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(200)).await;
            std::thread::sleep(Duration::from_millis(100));
            work(Duration::from_millis(20));
            7
        })
        .await;
        assert_eq!(output, 7);
        assert!(busy >= Duration::from_millis(40) && busy + Duration::from_millis(250) < begun.elapsed(), "{busy:?}");
    }
}
