//! How long a reconcile works itself. The rest of its time it waits: for the API server, or for its turn under our own limits.

use std::{
    future::poll_fn,
    pin::pin,
    time::{Duration, Instant},
};

/// A future's output, and for how long it was worked on.
pub async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut busy = Duration::ZERO;
    let output = poll_fn(|context| {
        let begun = Instant::now();
        let polled = future.as_mut().poll(context);
        busy += begun.elapsed();
        polled
    })
    .await;
    (output, busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_counts_and_waiting_does_not() {
        let (output, busy) = timed(async {
            std::thread::sleep(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::thread::sleep(Duration::from_millis(20));
            7
        })
        .await;
        assert_eq!(output, 7);
        assert!(busy >= Duration::from_millis(40) && busy < Duration::from_millis(300), "{busy:?}");
    }
}
