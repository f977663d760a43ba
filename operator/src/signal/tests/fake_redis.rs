//! Redis servers that lie, stall and flood.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{Reading, auth, config, ip, queues};
use crate::signal::target::{Endpoint, Query, QueueSource};

/// A server that answers everything with the same bytes, so many times.
struct Server {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(bytes: Vec<u8>, times: usize) -> Self {
        let listener = TcpListener::bind((ip(1), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (counter, mut tasks) = (sent.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 4096];
                while let Ok(1..) = stream.read(&mut question).await {
                    for _ in 0..times {
                        if stream.write_all(&bytes).await.is_err() {
                            break;
                        }
                        counter.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                    }
                }
            }
        });
        Self { address, sent, _tasks: tasks }
    }

    fn source(&self) -> QueueSource {
        let endpoint = Endpoint { address: self.address.to_string().into(), database: 0, password: None };
        QueueSource { endpoint, query: Query::List { key: "jobs".into() } }
    }
}

#[tokio::test]
async fn a_server_that_lies_is_unknown_and_bounded() {
    let huge_bulk = format!("${}\r\n", 200 << 20).into_bytes();
    let rows = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1, 1 << 20),
        (b"+OK\r\n".to_vec(), 3, 1 << 20), // LLEN answered with a status
        (b":-5\r\n".to_vec(), 3, 1 << 20),
        (b"$18446744073709551615\r\n".to_vec(), 1, 1 << 20),
        ([huge_bulk, vec![b'x'; 1 << 16]].concat(), 3200, 24 << 20), // 200 MB: the budget, and what two socket buffers hold
        (b"*1\r\n".repeat(100_000), 1, 8 << 20),                     // arrays in arrays in arrays
        (vec![], 1, 0),                                              // silence
    ];
    for (number, (bytes, times, most)) in rows.into_iter().enumerate() {
        let server = Server::start(bytes, times).await;
        let reading = Reading::start(config(1));
        reading.handle.publish(&auth(), queues([server.source()]));
        let failed = |readings: &super::Readings| readings.queues.values().any(|queue| queue.failure.is_some());
        let readings = reading.until(&auth(), &format!("row {} to fail", number + 1), failed).await;
        assert!(readings.queues[&server.source()].length.is_none(), "row {}: {readings:?}", number + 1);
        reading.stop().await;
        let sent = server.sent.load(Ordering::SeqCst);
        assert!(sent <= most, "row {}: {sent} bytes were taken", number + 1);
    }
}

#[tokio::test]
async fn servers_beyond_the_limit_are_told_so_and_the_others_are_read() {
    let server = Server::start(b":5\r\n".to_vec(), 1).await;
    let database = |database| {
        let source = server.source();
        QueueSource { endpoint: Endpoint { database, ..source.endpoint }, query: source.query }
    };
    let reading = Reading::start(config(1));
    reading.handle.publish(&auth(), queues((0..300).map(database)));
    let told = |readings: &super::Readings| {
        let failures = readings.queues.values().filter_map(|queue| queue.failure.as_ref());
        failures.filter(|failure| failure.category == "too_many_servers").count() == 300 - 256
    };
    reading.until(&auth(), "44 to be refused", told).await;
    reading.stop().await;
}
