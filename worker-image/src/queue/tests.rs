//! Clients and workers over real sockets of this machine.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::around::ask_around;
use super::desk::Desk;
use super::front::{Front, serve};
use super::table::{Limits, Told, WorkerId};

mod replicas;

const LIMITS: Limits = Limits { cap: 1, waiting: 10, wait: Duration::from_secs(5), deaths: 2 };

/// A primary's data path with a port.
struct Place {
    desk: Desk,
    front: Rc<Front>,
    port: SocketAddr,
}

async fn place(limits: Limits) -> Place {
    place_of(Front::new(Desk::new(limits, String::new()), false)).await
}

async fn place_of(front: Front) -> Place {
    let (desk, front) = (front.desk.clone(), Rc::new(front));
    spawn_local(ask_around(front.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap();
    let serving = front.clone();
    spawn_local(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            spawn_local(serve(serving.clone(), stream, peer));
        }
    });
    Place { desk, front, port }
}

/// What a worker does with each connection: reads up to the end of a head, says its words, and goes on or closes.
#[derive(Clone, Copy)]
struct Script {
    says: &'static [u8],
    after: Duration,
    closes: bool,
}

const OK: Script =
    Script { says: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", after: Duration::ZERO, closes: false };

/// What a worker has read.
type Heard = Rc<RefCell<Vec<String>>>;

impl Place {
    async fn worker(&self, worker: WorkerId, script: Script) -> Heard {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.desk.admit(worker, listener.local_addr().unwrap(), None);
        let heard = Heard::default();
        let log = heard.clone();
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                spawn_local(work(stream, script, log.clone()));
            }
        });
        heard
    }

    /// At an address where no replica is: those are at 127.0.0.1.
    async fn client(&self) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 9], 0))).unwrap();
        socket.connect(self.port).await.unwrap()
    }

    /// Everything that comes back for these bytes until the connection ends.
    async fn ask(&self, bytes: &str) -> String {
        let mut client = self.client().await;
        client.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await.expect("an end").ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn work(mut stream: TcpStream, script: Script, heard: Heard) {
    let mut read = Vec::new();
    loop {
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        // What follows the head within a moment is its body.
        while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(20), stream.read_buf(&mut read)).await {}
        heard.borrow_mut().push(String::from_utf8_lossy(&read).into_owned());
        read.clear();
        tokio::time::sleep(script.after).await;
        stream.write_all(script.says).await.unwrap();
        if script.closes {
            return;
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_request_goes_to_a_worker_and_its_answer_back() {
    run(async {
        let place = place(LIMITS).await;
        let heard = place.worker(1, OK).await;
        place.desk.choose([1].into());
        let answer = place.ask(&get("/a")).await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok");
        let heard = heard.borrow().concat();
        assert!(heard.starts_with("GET /a HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 127.0.0.9\r\n"), "{heard}");
        assert_eq!(place.desk.seen().loads[0].served, 1);
    })
    .await;
}

#[tokio::test]
async fn requests_one_behind_the_other_on_a_connection_are_answered_in_order() {
    run(async {
        let place = place(LIMITS).await;
        let heard = place.worker(1, OK).await;
        place.desk.choose([1].into());
        let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let two = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = place.ask(&[one, two, chunked, &get("/4")].concat()).await;
        assert_eq!(answer.matches("200 OK").count(), 4, "{answer}");
        let heard = heard.borrow();
        let paths: Vec<&str> = heard.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
        assert_eq!(paths, ["/1", "/2", "/3", "/4"]);
        assert!(heard[1].ends_with("\r\n\r\nhello") && heard[2].ends_with("5\r\nhello\r\n0\r\n\r\n"), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn who_comes_while_all_are_busy_waits_for_the_first_that_is_free() {
    run(async {
        let place = place(LIMITS).await;
        let slow = place.worker(1, Script { after: Duration::from_millis(300), ..OK }).await;
        let quick = place.worker(2, OK).await;
        place.desk.choose([1, 2].into());
        let asked = (0..8).map(|_| get("/")).collect::<Vec<_>>();
        let answers = futures::future::join_all(asked.iter().map(|request| place.ask(request))).await;
        assert!(answers.iter().all(|answer| answer.contains("200 OK")), "{answers:?}");
        assert_eq!((slow.borrow().len(), quick.borrow().len()), (1, 7));
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_worker_dies_goes_to_another_unless_it_may_have_been_carried_out() {
    run(async {
        let place = place(LIMITS).await;
        let dead = place.worker(1, Script { says: b"", closes: true, ..OK }).await;
        let alive = place.worker(2, OK).await;
        place.desk.choose([1, 2].into());
        let answer = place.ask(&get("/again")).await;
        assert!(answer.contains("200 OK"), "{answer}");
        assert_eq!((dead.borrow().len(), alive.borrow().len()), (1, 1));
        place.desk.choose([1].into());
        let answer = place.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("may have been carried out"), "{answer}");
        let answer = place.ask(&get("/deadly")).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("closed it without an answer"), "{answer}");
        assert_eq!(dead.borrow().len(), 1 + 1 + 2);
        assert!(place.ask("GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"), "no Host");
        let told = place.desk.seen().counts.told;
        assert_eq!(told, Told { broken: 2, invalid_request: 1, ..Told::default() });
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_the_clients_connection_and_is_not_begun_anew() {
    run(async {
        let place = place(LIMITS).await;
        let heard = place
            .worker(1, Script { says: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", closes: true, ..OK })
            .await;
        place.desk.choose([1].into());
        let answer = place.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.ends_with("half"), "{answer}");
        assert_eq!(heard.borrow().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_dies_within_the_head_of_its_answer_is_said_to_have_died() {
    run(async {
        let place = place(LIMITS).await;
        let script = Script { says: b"HTTP/1.1 200 OK\r\nConte", after: Duration::from_millis(200), closes: true };
        let heard = place.worker(1, script).await;
        place.desk.choose([1].into());
        let desk = place.desk.clone();
        spawn_local(async move {
            while heard.borrow().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            desk.forget(1);
        });
        let answer = place.ask(&get("/")).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("died"), "{answer}");
        assert_eq!(place.desk.seen().counts.told, Told { died: 1, ..Told::default() });
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_ends_with_the_workers_connection_is_chunked_for_who_knows_chunks() {
    run(async {
        let place = place(LIMITS).await;
        place.worker(1, Script { says: b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nall of it", closes: true, ..OK }).await;
        place.desk.choose([1].into());
        let answer = place.ask(&get("/")).await;
        assert!(
            answer.contains("transfer-encoding: chunked\r\n") && answer.ends_with("9\r\nall of it\r\n0\r\n\r\n"),
            "{answer}"
        );
        let answer = place.ask("GET / HTTP/1.0\r\n\r\n").await;
        assert!(!answer.contains("chunked") && answer.ends_with("\r\n\r\nall of it"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn too_many_and_too_late_are_told_with_when_to_come_again() {
    run(async {
        let place = place(Limits { waiting: 1, wait: Duration::from_millis(100), ..LIMITS }).await;
        place.worker(1, Script { after: Duration::from_millis(500), ..OK }).await;
        place.desk.choose([1].into());
        let desk = place.desk.clone();
        spawn_local(async move {
            loop {
                desk.expire();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let asked = (0..3).map(|_| get("/")).collect::<Vec<_>>();
        let answers = futures::future::join_all(asked.iter().map(|request| place.ask(request))).await;
        let refused: Vec<_> = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503")).collect();
        assert!(refused.len() == 2 && refused.iter().all(|answer| answer.contains("retry-after: 1")), "{answers:?}");
        let counts = place.desk.seen().counts;
        assert_eq!((counts.told.full, counts.told.late), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_left_is_not_worked_for_and_a_worker_that_works_for_one_is_not_free() {
    run(async {
        let place = place(LIMITS).await;
        let heard = place.worker(1, Script { after: Duration::from_millis(300), ..OK }).await;
        place.desk.choose([1].into());
        let mut first = place.client().await;
        first.write_all(get("/first").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut second = place.client().await;
        second.write_all(get("/second").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(place.desk.seen().waiting, 1);
        drop(second);
        let linger = socket_without_linger(first);
        drop(linger);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((place.desk.seen().waiting, place.desk.is_busy(1)), (0, true));
        let answer = place.ask(&get("/third")).await;
        assert!(answer.contains("200 OK"), "{answer}");
        let heard = heard.borrow();
        let paths: Vec<&str> = heard.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
        assert_eq!(paths, ["/first", "/third"]);
    })
    .await;
}

/// Its end is a reset: the client is gone, and has not only nothing more to say.
fn socket_without_linger(stream: TcpStream) -> TcpStream {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    stream
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_leaves_its_place() {
    run(async {
        let place = place(LIMITS).await;
        let says = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst";
        place.worker(1, Script { says, ..OK }).await;
        place.desk.choose([1].into());
        let mut client = place.client().await;
        let asks = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        client.write_all(asks).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"first") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
        let load = place.desk.seen().loads[0];
        assert_eq!((load.in_flight, load.upgraded), (0, 1));
        // The worker of these tests takes what looks like a head for a request, and answers it.
        client.write_all(b"x\r\n\r\n").await.unwrap();
        answer.clear();
        while !answer.ends_with(b"first") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
    })
    .await;
}

/// A worker that tells each connection how many bytes of a body came before the end of its chunks or before so many; for one request each.
async fn counting_worker(place: &Place, worker: WorkerId, until: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    place.desk.admit(worker, listener.local_addr().unwrap(), None);
    spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn_local(async move {
                let mut read = Vec::new();
                let mut told_to_go_on = false;
                let ended = |read: &[u8]| {
                    let head = read.windows(4).position(|four| four == b"\r\n\r\n");
                    head.is_some_and(|head| read[head..].ends_with(b"\r\n0\r\n\r\n") || read.len() - head - 4 >= until)
                };
                while !ended(&read) {
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if !told_to_go_on && read.windows(7).any(|seven| seven == b"expect:") {
                        told_to_go_on = true;
                        tokio::time::sleep(Duration::from_millis(100)).await; // the client does not wait for so long
                        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                    }
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall").await.unwrap();
            });
        }
    });
}

#[tokio::test]
async fn the_end_of_a_body_that_comes_while_nobody_wants_it_is_not_forgotten() {
    run(async {
        let large = "x".repeat(300_000);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        for (fields, parts) in [
            // It comes while the request stands in line.
            ("Transfer-Encoding: chunked\r\n", ["5\r\nhello\r\n", "0\r\n\r\n"]),
            // It comes although nobody said that it may.
            ("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", ["5\r\nhello\r\n", "0\r\n\r\n"]),
            // There is no room for all of it.
            ("Content-Length: 300000\r\n", [&large[..100_000], &large[100_000..]]),
        ] {
            let place = place(LIMITS).await;
            place.worker(1, slow_one()).await;
            counting_worker(&place, 2, 300_000).await;
            place.desk.choose([1].into());
            let mut other = place.client().await;
            other.write_all(get("/other").as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut client = place.client().await;
            client.write_all(format!("{head}{fields}\r\n").as_bytes()).await.unwrap();
            for part in parts {
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.write_all(part.as_bytes()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            place.desk.choose([2].into());
            let mut answer = String::new();
            let read = tokio::time::timeout(Duration::from_secs(5), client.read_to_string(&mut answer)).await;
            assert!(read.is_ok() && answer.ends_with("all"), "{fields}: {read:?} {answer}");
        }
    })
    .await;
}

fn slow_one() -> Script {
    Script { after: Duration::from_secs(2), ..OK }
}

#[tokio::test]
async fn a_client_that_closed_its_side_and_is_given_nothing_has_left() {
    run(async {
        let place = place(LIMITS).await;
        place.worker(1, slow_one()).await;
        place.desk.choose([1].into());
        let mut client = place.client().await;
        client.write_all(get("/").as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_millis(1500), client.read_to_end(&mut answer)).await;
        assert!(read.is_ok() && answer.is_empty(), "two windows are over before its answer: {read:?}");
        assert!(place.desk.is_busy(1), "it is not free before it is done with it");
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_takes_no_connection_for_a_while_costs_nobody_a_request() {
    run(async {
        let place = place(LIMITS).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        place.desk.admit(1, address, None);
        place.desk.choose([1].into());
        let looks = place.desk.clone();
        spawn_local(async move {
            loop {
                looks.expire();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let listens = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            place.worker(2, OK).await; // a new one in its place, at another address
            place.desk.relocate(1, place.desk.address(2).unwrap());
        };
        let (answer, ()) = tokio::join!(place.ask(post), listens);
        assert!(answer.contains("200 OK"), "{answer}");
        assert_eq!(place.desk.seen().counts.returned, 0, "nobody died of it");
        // Where another is free, it goes there at once.
        place.desk.relocate(1, address);
        place.desk.choose([1, 2].into());
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            assert!(place.ask(post).await.contains("200 OK"));
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_slow_to_take_its_answer_holds_no_worker() {
    run(async {
        let place = place(LIMITS).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 40_000);
        let says: &'static [u8] = Box::leak((head + &"x".repeat(40_000)).into_bytes().into_boxed_slice());
        place.worker(1, Script { says, ..OK }).await;
        place.desk.choose([1].into());
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut slow = socket.connect(place.port).await.unwrap();
        // Answers that it does not read fill what the kernel holds for it; the last one is held here.
        let mut asked = 0;
        while place.desk.seen().loads[0].served == asked && asked < 500 {
            slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            asked += 1;
            for _ in 0..50 {
                if place.desk.seen().loads[0].served == asked {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        assert!(!place.desk.is_busy(1), "the last one that it was given has come back as a whole");
        assert!(place.ask(&get("/")).await.contains("200 OK"));
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_only_writes_is_cut_off_when_its_client_has_left() {
    run(async {
        let place = place(LIMITS).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        place.desk.admit(1, listener.local_addr().unwrap(), None);
        place.desk.choose([1].into());
        let mut client = place.client().await;
        client.write_all(get("/").as_bytes()).await.unwrap();
        let (mut worker, _) = listener.accept().await.unwrap();
        worker.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await.unwrap();
        let mut some = [0; 32];
        assert_ne!(client.read(&mut some).await.unwrap(), 0);
        drop(client);
        let mut written = 0;
        while let Ok(count) = worker.write(&[b'x'; 16 * 1024]).await {
            written += count;
            assert!(written < 64 << 20, "it would go on for ever");
        }
        assert!(place.desk.is_busy(1), "it has just noticed");
        while place.desk.is_busy(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_answers_have_no_memory_left_a_slow_client_has_its_worker_and_the_answer_all_the_same() {
    run(async {
        let place = place(LIMITS).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 40_000);
        let says: &'static [u8] = Box::leak((head + &"x".repeat(40_000)).into_bytes().into_boxed_slice());
        place.worker(1, Script { says, ..OK }).await;
        place.desk.choose([1].into());
        let all = place.front.answers.available_permits();
        let _gone = place.front.answers.clone().try_acquire_many_owned(u32::try_from(all).unwrap()).unwrap();
        for _ in 0..3 {
            let answer = place.ask(&get("/")).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.len() > 40_000);
        }
        assert_eq!((place.desk.seen().loads[0].served, place.desk.is_busy(1)), (3, false));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_no_worker_sees_it() {
    run(async {
        let place = place(LIMITS).await;
        let heard = place.worker(1, OK).await;
        place.desk.choose([1].into());
        for (request, status) in [
            ("hello\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
            ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ] {
            let answer = place.ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("connection: close"),
                "{answer}"
            );
        }
        let answer = place.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(answer.ends_with("use HTTP/1.1."), "{answer}");
        assert!(heard.borrow().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_body_of_any_size_flows_both_ways() {
    run(async {
        let place = place(LIMITS).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        place.desk.admit(1, listener.local_addr().unwrap(), None);
        place.desk.choose([1].into());
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.windows(4).any(|four| four == b"\r\n\r\n") {
                stream.read_buf(&mut read).await.unwrap();
            }
            let at = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
            stream.write_all(&read[at..]).await.unwrap();
            tokio::io::copy(&mut tokio::io::split(stream).0, &mut tokio::io::sink()).await.unwrap();
        });
        let mut client = place.client().await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
        client.write_all(&vec![b'x'; 100_000]).await.unwrap();
        // It gives as much as it gets; nothing of it is held for long.
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    })
    .await;
}
