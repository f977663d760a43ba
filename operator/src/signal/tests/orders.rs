//! Orders: told once, signed for this pod and this nonce, told again where a primary forgets, and not by whoever does not lead.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use primary_protocol::remote::{Peers, Told, Wanted, signed_text, unhex};
use ring::signature::{ED25519, UnparsedPublicKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Reading, auth, config, fake_primary::document, ip, pod};
use crate::{
    leader::{Fence, fence::Moment},
    remote::Signer,
    signal::{Order, OrderError, Targets, Voice},
};

/// A primary that takes orders.
#[derive(Default)]
struct Primary {
    told: String,
    /// The name of the list that it knows.
    peers: Option<String>,
    /// What it says to an order that it does not take.
    refusal: Option<&'static str>,
    nonces: u64,
    orders: Vec<String>,
    uptime: u64,
}

/// One request: its first line, its headers, its body.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<(String, String)>, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().map(ToOwned::to_owned);
    let first = lines.next()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, headers, body))
}

async fn serve(listener: TcpListener, primary: Arc<Mutex<Primary>>, key: [u8; 32]) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let primary = primary.clone();
        tokio::spawn(async move {
            while let Some((first, headers, body)) = request(&mut stream).await {
                let (status, answer) = answer(&mut primary.lock().unwrap(), &key, &first, &headers, &body);
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn answer(
    primary: &mut Primary,
    key: &[u8; 32],
    first: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> (u16, String) {
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).unwrap();
    primary.uptime += 1000;
    if first.starts_with("GET /v1/nonce") {
        primary.nonces += 1;
        return (200, format!(r#"{{"nonce":"n{}"}}"#, primary.nonces));
    }
    if first.starts_with("PUT /v1/config") {
        let signature: [u8; 64] = unhex(header("workercluster-signature")).unwrap();
        let (pod, nonce) = (header("workercluster-pod"), header("workercluster-nonce"));
        assert_eq!((pod, nonce), ("uid-1", &*format!("n{}", primary.nonces)), "for this pod, and this nonce");
        assert!(UnparsedPublicKey::new(&ED25519, key).verify(&signed_text(pod, nonce, body), &signature).is_ok());
        primary.orders.push(String::from_utf8(body.to_vec()).unwrap());
        if let Some(refusal) = primary.refusal {
            return (409, refusal.to_owned());
        }
        let wanted: Wanted = serde_json::from_slice(body).unwrap();
        (primary.told, primary.peers) = (wanted.revision, wanted.peers.map(|peers| peers.revision));
    }
    let stats = document(primary.uptime, 0);
    let told = Told {
        revision: primary.told.clone(),
        reload: None,
        peers: primary.peers.clone(),
        peers_age_milliseconds: None,
    };
    let told = serde_json::to_string(&told).unwrap();
    (200, format!(r#"{},"told":{told}}}"#, stats.strip_suffix('}').unwrap()))
}

/// Readers with one primary at the first address, that tell it something.
async fn start(leads: bool) -> (Reading, Arc<Mutex<Primary>>) {
    let signer = Signer::from_seed(&"05".repeat(32)).unwrap();
    let key = unhex(&signer.public_key()).unwrap();
    let listener = TcpListener::bind(SocketAddr::new(ip(1), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let primary = Arc::<Mutex<Primary>>::default();
    tokio::spawn(serve(listener, primary.clone(), key));
    let fence = Fence::default();
    if leads {
        fence.open(1, Moment::now().after(Duration::from_secs(600)));
    }
    (Reading::start_with(config(port), Some(Voice { signer, pass: fence.pass(1) })), primary)
}

fn order(revision: &str) -> Targets {
    order_with(revision, None)
}

fn order_with(revision: &str, peers: Option<&str>) -> Targets {
    let peers = peers.map(|revision| Peers { revision: revision.into(), ..Peers::default() });
    let order = Order::new(&Wanted { revision: revision.into(), peers, ..Wanted::default() });
    Targets { pods: vec![pod(1)], orders: [(pod(1).uid, Arc::new(order))].into(), ..Targets::default() }
}

#[tokio::test]
async fn a_primary_is_told_once_and_again_where_it_forgets_or_something_else_is_wanted() {
    let (reading, primary) = start(true).await;
    reading.handle.publish(&auth(), order("one"));
    let told = |revision: &'static str| {
        move |readings: &super::Readings| {
            let stats = readings.pods.get("uid-1").and_then(|reading| reading.stats.as_ref());
            stats.is_some_and(|(stats, _)| stats.told.as_ref().is_some_and(|told| told.revision == revision))
        }
    };
    reading.until(&auth(), "the first order", told("one")).await;
    reading.rounds(&auth(), 3).await;
    assert_eq!(primary.lock().unwrap().orders, [r#"{"revision":"one"}"#]);
    // As one that was started anew.
    primary.lock().unwrap().told = "start".into();
    reading.until_true("the same order again", || primary.lock().unwrap().orders.len() == 2).await;
    reading.handle.publish(&auth(), order("two"));
    reading.until(&auth(), "the second order", told("two")).await;
    assert_eq!(primary.lock().unwrap().orders.len(), 3);
    reading.stop().await;
}

#[tokio::test]
async fn a_primary_is_told_whom_it_knows_and_again_where_that_changes_or_it_forgets() {
    let (reading, primary) = start(true).await;
    let known = |name: &'static str| {
        move |readings: &super::Readings| {
            let stats = readings.pods.get("uid-1").and_then(|reading| reading.stats.as_ref());
            let told = stats.and_then(|(stats, _)| stats.told.as_ref());
            told.is_some_and(|told| told.revision == "one" && told.peers.as_deref() == Some(name))
        }
    };
    // As one that was made with the settings, and knows nobody yet.
    primary.lock().unwrap().told = "one".into();
    reading.handle.publish(&auth(), order_with("one", Some("p")));
    reading.until(&auth(), "the first list", known("p")).await;
    reading.rounds(&auth(), 3).await;
    assert_eq!(primary.lock().unwrap().orders.len(), 1);
    reading.handle.publish(&auth(), order_with("one", Some("q")));
    reading.until(&auth(), "the second list", known("q")).await;
    primary.lock().unwrap().peers = None;
    reading.until_true("the same list again", || primary.lock().unwrap().orders.len() == 3).await;
    reading.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_with_the_primarys_words() {
    let (reading, primary) = start(true).await;
    primary.lock().unwrap().refusal = Some("workers.future: not known");
    reading.handle.publish(&auth(), order("one"));
    let refused = |readings: &super::Readings| {
        let order = readings.pods.get("uid-1").and_then(|reading| reading.order.clone());
        order == Some(OrderError::Refused("workers.future: not known".into()))
    };
    reading.until(&auth(), "the refusal", refused).await;
    reading.rounds(&auth(), 10).await;
    assert!(refused(&reading.handle.readings(&auth())), "it still holds");
    assert_eq!(primary.lock().unwrap().orders.len(), 1, "and is not asked for each time");
    primary.lock().unwrap().refusal = None;
    reading.until(&auth(), "the order after all", |readings| readings.pods["uid-1"].order.is_none()).await;
    reading.stop().await;
}

#[tokio::test]
async fn whoever_does_not_lead_tells_nobody_anything() {
    let (reading, primary) = start(false).await;
    reading.handle.publish(&auth(), order("one"));
    let fenced = |readings: &super::Readings| {
        readings.pods.get("uid-1").is_some_and(|reading| reading.order == Some(OrderError::Fenced))
    };
    reading.until(&auth(), "the fence", fenced).await;
    assert_eq!(primary.lock().unwrap().orders.len(), 0);
    reading.stop().await;
}
