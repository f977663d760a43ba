//! Asks other replicas how many requests they have room for, while requests wait here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::desk::Peer;
use super::front::Front;
use super::http::{HOP, Hop, ROOM};
use super::stream::Stream;
use super::table::Place;

/// How often they are asked.
const EVERY: Duration = Duration::from_millis(50);

/// One that takes longer is taken to have none.
const PATIENCE: Duration = Duration::from_millis(500);

/// So many are asked at a time, each in turn.
const AT_A_TIME: usize = 8;

/// An answer's head is not longer.
const HEAD_MAX: usize = 1024;

/// Asks for as long as this is polled.
pub async fn ask_around(front: Rc<Front>) {
    let mut turn = 0_usize;
    // Those that have not answered yet; one that is silent holds up no other.
    let asked = Rc::new(RefCell::new(BTreeSet::new()));
    loop {
        if front.desk.waiting() == 0 {
            front.desk.queued().notified().await;
        }
        tokio::time::sleep(EVERY).await;
        if front.desk.waiting() == 0 {
            continue;
        }
        let peers = front.desk.peers();
        let count = peers.len().min(AT_A_TIME);
        let next = peers.into_iter().cycle().skip(turn).take(count);
        turn = turn.wrapping_add(count) % 1024;
        for peer in next {
            if !asked.borrow_mut().insert(peer.id.clone()) {
                continue;
            }
            let (front, asked) = (front.clone(), asked.clone());
            tokio::task::spawn_local(async move {
                let room = timeout(PATIENCE, ask(&front, &peer)).await.ok().flatten();
                asked.borrow_mut().remove(&peer.id);
                front.desk.has_room(&peer.id, room.unwrap_or_default());
            });
        }
    }
}

async fn ask(front: &Front, peer: &Peer) -> Option<u32> {
    let place = Place::Peer(peer.id.clone());
    let idle = front.pool.borrow_mut().take(&place, false);
    let mut stream = match idle {
        Some(stream) => stream,
        None => connect(peer).await?,
    };
    let room = room(front, peer, &mut stream).await?;
    front.pool.borrow_mut().put(place, stream);
    Some(room)
}

/// A new connection to another replica, which has shown that it is that one, and how many requests it has room for: nothing of a client's is sent
/// before, since an address may be another pod's by now.
pub async fn greet(front: &Front, peer: &Peer, connecting: Duration, greeting: Duration) -> Option<(Stream, u32)> {
    let mut stream = timeout(connecting, connect(peer)).await.ok()??;
    let room = timeout(greeting, room(front, peer, &mut stream)).await.ok()??;
    Some((stream, room))
}

async fn connect(peer: &Peer) -> Option<Stream> {
    let stream = Stream::connect(peer.address).await.ok()?;
    stream.watch_peer();
    Some(stream)
}

async fn room(front: &Front, peer: &Peer, stream: &mut Stream) -> Option<u32> {
    let says = Hop::Ask.says(&front.desk.own());
    let words = format!("OPTIONS * HTTP/1.1\r\nhost: {}\r\n{HOP}: {says}\r\n\r\n", peer.address);
    stream.write_all(words.as_bytes()).await.ok()?;
    let mut head = BytesMut::with_capacity(HEAD_MAX);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_MAX || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    said(&head, &peer.id)
}

/// What the answer says; nothing where it is another's.
fn said(head: &[u8], peer: &str) -> Option<u32> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.strip_prefix("HTTP/1.1 204 ")?.lines();
    let (room, by) = lines.find_map(|line| line.strip_prefix(ROOM)?.strip_prefix(": ")?.split_once(' '))?;
    if by == peer { room.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {

    #[test]
    fn only_a_replicas_own_answer_says_how_much_room_it_has() {
        for (head, said) in [
            ("HTTP/1.1 204 No Content\r\nworkercluster-room: 12 one\r\n\r\n", Some(12)),
            ("HTTP/1.1 204 No Content\r\nworkercluster-room: 12 two\r\n\r\n", None),
            ("HTTP/1.1 204 No Content\r\nworkercluster-room: 12\r\n\r\n", None),
            ("HTTP/1.1 204 No Content\r\nallow: GET\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nworkercluster-room: 12 one\r\n\r\n", None),
            ("HTTP/1.1 204 No Content\r\nworkercluster-room: -1 one\r\n\r\n", None),
        ] {
            assert_eq!(super::said(head.as_bytes(), "one"), said, "{head}");
        }
    }
}
