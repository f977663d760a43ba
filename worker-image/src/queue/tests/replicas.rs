//! Two replicas that help each other, and requests that are answered together.

use primary_protocol::remote;

use super::super::affinity::Affinity;
use super::super::http::Paths;
use super::*;

/// Two replicas that know each other, changed so.
async fn two(limits: Limits, change: impl Fn(Front) -> Front) -> (Place, Place) {
    let one = place_of(change(Front::new(Desk::new(limits, "a".into()), false))).await;
    let two = place_of(change(Front::new(Desk::new(limits, "b".into()), false))).await;
    for place in [&one, &two] {
        place.desk.meet(&list(&[("a", one.port), ("b", two.port)]));
    }
    (one, two)
}

fn list(members: &[(&str, SocketAddr)]) -> remote::Peers {
    let peer =
        |(id, address): &(&str, SocketAddr)| remote::Peer { id: (*id).into(), address: *address, leaving: false };
    remote::Peers { revision: format!("{members:?}"), members: members.iter().map(peer).collect(), all: 2 }
}

fn slow(milliseconds: u64) -> Script {
    Script { after: Duration::from_millis(milliseconds), ..OK }
}

fn together(front: Front) -> Front {
    Front { together: Paths::new(vec!["/same".into(), "/mine".into()]), ..front }
}

async fn all(place: &Place, count: usize, request: &str) -> Vec<String> {
    futures::future::join_all((0..count).map(|_| place.ask(request))).await
}

fn post(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn what_waits_goes_to_a_replica_that_has_room() {
    run(async {
        let (one, two) = two(LIMITS, |front| front).await;
        one.worker(1, slow(1500)).await;
        let heard = two.worker(1, OK).await;
        one.desk.choose([1].into());
        two.desk.choose([1].into());
        let (first, second) = (get("/first"), get("/second"));
        let both = async {
            let (first, second) = tokio::join!(one.ask(&first), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let begun = std::time::Instant::now();
                (one.ask(&second).await, begun.elapsed())
            });
            assert!(first.contains("200 OK") && second.0.contains("200 OK"), "{first} {second:?}");
            assert!(second.1 < Duration::from_secs(1), "it did not wait for the first: {:?}", second.1);
        };
        both.await;
        let heard = heard.borrow();
        assert_eq!(heard.len(), 1);
        // Who asked is said by the replica that the client came to.
        assert!(heard[0].contains("/second") && heard[0].contains("x-forwarded-for: 127.0.0.9\r\n"), "{}", heard[0]);
        assert!(!heard[0].contains("workercluster-hop"), "{}", heard[0]);
        assert_eq!((one.desk.seen().counts.roamed, two.desk.seen().counts.roamed), (1, 0));
    })
    .await;
}

/// A worker that dies of its first request.
async fn mortal(place: &Place, worker: WorkerId) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = place.desk.clone();
    desk.admit(worker, listener.local_addr().unwrap(), None);
    spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 64]).await;
        desk.forget(worker);
    });
}

#[tokio::test]
async fn what_workers_die_of_kills_no_more_of_them_where_another_replica_asks() {
    run(async {
        let (one, two) = two(LIMITS, |front| front).await;
        one.worker(1, slow(1000)).await;
        one.desk.choose([1].into());
        for worker in 1..=5 {
            mortal(&two, worker).await;
        }
        two.desk.choose((1..=5).collect());
        let (first, deadly) = (get("/first"), get("/deadly"));
        let (first, deadly) = tokio::join!(one.ask(&first), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            one.ask(&deadly).await
        });
        assert!(first.contains("200 OK") && deadly.starts_with("HTTP/1.1 502"), "{first} {deadly}");
        assert_eq!(two.desk.seen().loads.len(), 2, "three died of it, as many as of one that came to it at once");
        assert_eq!(two.desk.seen().counts.told.deadly, 1);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_with_another_replica_is_waited_for_at_the_end() {
    run(async {
        let (one, two) = two(LIMITS, |front| front).await;
        one.worker(1, slow(200)).await;
        two.worker(1, slow(600)).await;
        one.desk.choose([1].into());
        two.desk.choose([1].into());
        let (first, second) = (get("/first"), get("/second"));
        let ends = async {
            tokio::time::sleep(Duration::from_millis(450)).await;
            assert!(!one.desk.is_busy(1) && one.desk.waiting() == 0 && one.desk.holds_requests());
        };
        let (first, second, ()) = tokio::join!(
            one.ask(&first),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                one.ask(&second).await
            },
            ends
        );
        assert!(first.contains("200 OK") && second.contains("200 OK"));
        assert!(!one.desk.holds_requests());
    })
    .await;
}

#[tokio::test]
async fn nobody_but_a_replica_says_that_a_request_was_passed_on() {
    run(async {
        let (one, _two) = two(LIMITS, |front| front).await;
        let heard = one.worker(1, OK).await;
        one.desk.choose([1].into());
        for hop in ["owner", "overflow b", "ask b"] {
            let forged =
                get("/").replace("Host", &format!("workercluster-hop: {hop}\r\nX-Forwarded-For: 6.6.6.6\r\nHost"));
            let answer = one.ask(&forged).await;
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("workercluster-hop: full"), "{answer}");
        }
        assert!(heard.borrow().is_empty());
        // A replica that is not known here goes on alone: as the other side of this.
        let stranger = place_of(Front::new(Desk::new(LIMITS, "c".into()), false)).await;
        let worker = stranger.worker(1, slow(300)).await;
        stranger.desk.choose([1].into());
        stranger.desk.meet(&list(&[("c", stranger.port), ("a", one.port)]));
        one.desk.meet(&list(&[]));
        stranger.desk.has_room(&"a".into(), 5);
        let answers = all(&stranger, 3, &get("/")).await;
        assert!(answers.iter().all(|answer| answer.contains("200 OK")), "{answers:?}");
        assert_eq!((worker.borrow().len(), heard.borrow().len()), (3, 0));
    })
    .await;
}

#[tokio::test]
async fn what_finds_no_room_anywhere_waits_where_it_came() {
    run(async {
        let (one, two) = two(LIMITS, |front| front).await;
        one.worker(1, slow(400)).await;
        two.worker(1, slow(400)).await;
        one.desk.choose([1].into());
        two.desk.choose([1].into());
        // It is said to have room, and has none.
        let request = get("/busy");
        let busy = two.ask(&request);
        let asked = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            one.desk.has_room(&"b".into(), 5);
            all(&one, 3, &get("/")).await
        };
        let (busy, answers) = tokio::join!(busy, asked);
        assert!(busy.contains("200 OK") && answers.iter().all(|answer| answer.contains("200 OK")), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn the_same_at_the_same_time_is_carried_out_once_for_all_replicas() {
    run(async {
        let (one, two) = two(Limits { waiting: 300, ..LIMITS }, together).await;
        let heard = [one.worker(1, slow(300)).await, two.worker(1, slow(300)).await];
        one.desk.choose([1].into());
        two.desk.choose([1].into());
        let request = post("/same", "Authorization: x\r\n", "user=1");
        let (first, second) = tokio::join!(all(&one, 50, &request), all(&two, 50, &request));
        for answer in first.iter().chain(&second) {
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
        }
        assert_eq!(heard.iter().map(|heard| heard.borrow().len()).sum::<usize>(), 1);
        let counts = [one.desk.seen().counts, two.desk.seen().counts];
        // One of the two asked the other one: that one led for both.
        assert_eq!(counts.iter().map(|counts| counts.merged).sum::<u64>(), 49 + 50, "{counts:?}");
        assert_eq!(counts.iter().map(|counts| counts.alone).sum::<u64>(), 0);
    })
    .await;
}

#[tokio::test]
async fn who_differs_in_anything_that_matters_is_never_answered_together() {
    run(async {
        let place = place_of(together(Front::new(Desk::new(Limits { cap: 9, ..LIMITS }, String::new()), false))).await;
        let heard = place.worker(1, slow(200)).await;
        place.desk.choose([1].into());
        let requests = [
            post("/same", "Authorization: x\r\n", "a"),
            post("/same", "Authorization: y\r\n", "a"),
            post("/same", "Authorization: x\r\n", "b"),
            post("/same", "Authorization: x\r\nCookie: c\r\n", "a"),
            post("/same?q", "Authorization: x\r\n", "a"),
            post("/other", "Authorization: x\r\n", "a"),
            post("/other", "Authorization: x\r\n", "a"),
        ];
        let answers = futures::future::join_all(requests.iter().map(|request| place.ask(request))).await;
        assert!(answers.iter().all(|answer| answer.contains("200 OK")), "{answers:?}");
        assert_eq!((heard.borrow().len(), place.desk.seen().counts.merged), (7, 0));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_sets_a_cookie_is_for_one_alone() {
    run(async {
        let place = place_of(together(Front::new(Desk::new(LIMITS, String::new()), false))).await;
        let says = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\n\r\nok";
        let heard = place.worker(1, Script { says, ..slow(100) }).await;
        place.desk.choose([1].into());
        let answers = all(&place, 4, &get("/mine")).await;
        assert!(answers.iter().all(|answer| answer.ends_with("ok") && answer.contains("session=1")), "{answers:?}");
        assert_eq!((heard.borrow().len(), place.desk.seen().counts.merged), (4, 0));
        let free = Front { shares_credentials: true, ..together(Front::new(Desk::new(LIMITS, String::new()), false)) };
        let place = place_of(free).await;
        let heard = place.worker(1, Script { says, ..slow(100) }).await;
        place.desk.choose([1].into());
        let answers = all(&place, 4, &get("/mine")).await;
        assert!(answers.iter().all(|answer| answer.contains("session=1")));
        assert_eq!((heard.borrow().len(), place.desk.seen().counts.merged), (1, 3));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_goes_on_is_one_clients_as_it_comes() {
    run(async {
        let place = place_of(together(Front::new(Desk::new(Limits { cap: 4, ..LIMITS }, String::new()), false))).await;
        let says = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n";
        let heard = place.worker(1, Script { says, ..OK }).await;
        place.desk.choose([1].into());
        let mut clients = [place.client().await, place.client().await];
        for client in &mut clients {
            client.write_all(get("/same").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.windows(5).any(|five| five == b"first") {
                assert!(client.read_buf(&mut answer).await.unwrap() > 0, "it has no end, and is not waited for");
            }
        }
        assert_eq!(heard.borrow().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn the_first_may_leave_and_the_others_have_their_answer_all_the_same() {
    run(async {
        let place = place_of(together(Front::new(Desk::new(LIMITS, String::new()), false))).await;
        let heard = place.worker(1, slow(400)).await;
        place.desk.choose([1].into());
        let mut first = place.client().await;
        first.write_all(get("/same").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let request = get("/same");
        let second = place.ask(&request);
        let leaves = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(socket_without_linger(first));
        };
        let (answer, ()) = tokio::join!(second, leaves);
        assert!(answer.ends_with("ok"), "{answer}");
        assert_eq!(heard.borrow().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn where_all_have_closed_their_side_nobody_works_for_them() {
    run(async {
        let place = place_of(together(Front::new(Desk::new(LIMITS, "a".into()), false))).await;
        let heard = place.worker(1, slow(2500)).await;
        place.desk.choose([1].into());
        let (first, same) = (get("/first"), post("/same", "", "user=1"));
        let leaves = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut client = place.client().await;
            client.write_all(same.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert!(answer.is_empty(), "{answer:?}");
        };
        let (first, ()) = tokio::join!(place.ask(&first), leaves);
        assert!(first.contains("200 OK"));
        assert!(place.ask(&get("/last")).await.contains("200 OK"));
        assert!(!heard.borrow().iter().any(|one| one.contains("/same")), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_cannot_be_reached_leaves_each_to_do_it_for_itself() {
    run(async {
        let (one, two) = two(LIMITS, together).await;
        let heard = [one.worker(1, slow(200)).await, two.worker(1, slow(200)).await];
        one.desk.choose([1].into());
        two.desk.choose([1].into());
        // Nobody is there by now.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for (place, own, other) in [(&one, "a", "b"), (&two, "b", "a")] {
            place.desk.meet(&list(&[(own, place.port), (other, gone)]));
        }
        let request = get("/same");
        let (first, second) = tokio::join!(all(&one, 5, &request), all(&two, 5, &request));
        assert!(first.iter().chain(&second).all(|answer| answer.ends_with("ok")), "{first:?} {second:?}");
        assert_eq!(heard.iter().map(|heard| heard.borrow().len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(
            one.desk.seen().counts.alone + two.desk.seen().counts.alone,
            1,
            "one of the two was to ask the other"
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_comes_back_to_its_worker_also_by_the_other_replica() {
    run(async {
        let affinity = |front: Front| Front { affinity: Some(Affinity { cookie: "to".into(), began: 1 }), ..front };
        let (one, two) = two(Limits { cap: 4, ..LIMITS }, affinity).await;
        for worker in 1..=3 {
            one.worker(worker, OK).await;
            two.worker(worker, OK).await;
        }
        one.desk.choose([1, 2, 3].into());
        two.desk.choose([1, 2, 3].into());
        let first = one.ask(&get("/")).await;
        let cookie =
            first.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
        let with = get("/").replace("Host", &format!("Cookie: {cookie}\r\nHost"));
        let served = |place: &Place| place.desk.seen().loads.iter().map(|load| load.served).collect::<Vec<_>>();
        let mut before = served(&one);
        let its = before.iter().position(|served| *served == 1).unwrap();
        for place in [&one, &two, &one, &two, &one] {
            let answer = place.ask(&with).await;
            assert!(answer.contains("200 OK") && !answer.contains("set-cookie"), "{answer}");
            before[its] += 1;
            assert_eq!((served(&one), served(&two)), (before.clone(), vec![0, 0, 0]));
        }
        // Its replica is to leave: as long as the worker lives, its client comes to it, whatever it asks.
        one.desk.part(true);
        let posted = with.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
        for request in [&with, &posted] {
            let answer = two.ask(request).await;
            assert!(answer.contains("200 OK") && !answer.contains("set-cookie"), "{answer}");
            before[its] += 1;
            assert_eq!((served(&one), served(&two)), (before.clone(), vec![0, 0, 0]));
        }
        one.desk.part(false);
        // Its worker leaves: it gets another, and a cookie for that one.
        let left = u64::try_from(its).unwrap() + 1;
        one.desk.choose((1..=3).filter(|worker| *worker != left).collect());
        let answer = one.ask(&with).await;
        assert!(answer.contains("set-cookie: to=") && !answer.contains(cookie), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn connections_end_with_an_answer_after_a_replica_has_come() {
    run(async {
        let place = place_of(Front::new(Desk::new(LIMITS, "a".into()), false)).await;
        place.worker(1, OK).await;
        place.desk.choose([1].into());
        let mut old = place.client().await;
        assert!(!once(&mut old).await.contains("close"));
        place.front.spread.set(Some(tokio::time::Instant::now()));
        assert!(!once(&mut old).await.contains("close"), "not at once: who balances does not know of it yet");
        let mut new = place.client().await;
        let begun = std::time::Instant::now();
        while !once(&mut old).await.contains("connection: close") {
            assert!(begun.elapsed() < Duration::from_secs(20), "it goes on for ever");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(old.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(!once(&mut new).await.contains("close"), "one that came after stays");
    })
    .await;
}

/// One request on a connection that goes on.
async fn once(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        assert!(client.read_buf(&mut answer).await.unwrap() > 0);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn each_of_those_that_are_told_the_same_is_counted() {
    run(async {
        let limits = Limits { wait: Duration::from_millis(100), ..LIMITS };
        let place = place_of(together(Front::new(Desk::new(limits, String::new()), false))).await;
        let desk = place.desk.clone();
        spawn_local(async move {
            loop {
                desk.expire();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let answers = futures::future::join_all((0..3).map(|_| async { place.ask(&get("/same")).await })).await;
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 503")), "{answers:?}");
        let counts = place.desk.seen().counts;
        assert_eq!((counts.told, counts.merged), (Told { late: 3, ..Told::default() }, 0));
    })
    .await;
}
