//! One try of a request at another replica.

use std::time::Duration;

use bytes::BytesMut;

use super::answer::Answer;
use super::around::greet;
use super::attempt::{Tried, after_leaving, switch};
use super::client::Client;
use super::desk::{Away, Peer};
use super::download::Download;
use super::exchange::{End, Exchange, deliver};
use super::front::Front;
use super::http::{Flaw, HOP, Hop, Request};
use super::lead::{Next, next};
use super::table::{Place, Refusal};
use super::upload::Upload;

/// Another replica takes a connection at once, since its kernel does that; one that takes longer is taken to be gone.
const PEER_TIME: Duration = Duration::from_secs(1);

/// What it has room for it may say later: a thousand clients may have come to it at the same time.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// And so is one whose machine does not even acknowledge what it is sent for so long.
const PEER_SILENCE: Duration = Duration::from_secs(5);

/// Has another replica answer a request, if that one has room; it is `away` as long.
pub async fn pass_on(
    front: &Front,
    client: &mut Client,
    request: &Request,
    upload: &mut Upload,
    peer: &Peer,
    why: Hop,
    away: &mut Away,
) -> Tried {
    upload.add(format!("{HOP}: {}\r\n", why.says(&front.desk.own())).as_bytes());
    let place = Place::Peer(peer.id.clone());
    while !front.is_shunned(&peer.id) {
        // What may not be sent twice is not sent where the other side may be about to close.
        let repeats = upload.can_be_repeated(request.may_be_sent_again());
        let idle = if repeats { front.pool.borrow_mut().take(&place, false) } else { None };
        let used = idle.is_some();
        let mut stream = match idle {
            Some(stream) => stream,
            None => match greet(front, peer, PEER_TIME, GREETING_TIME).await {
                Some((stream, 0)) if why == Hop::Overflow => {
                    front.pool.borrow_mut().put(place, stream);
                    break;
                }
                Some((stream, _)) => stream,
                None => {
                    front.shun(&peer.id);
                    break;
                }
            },
        };
        // In line it may be silent, and take no more than fits in its buffers, for as long as a request may wait.
        stream.end_unanswered(if upload.is_whole() { PEER_SILENCE } else { front.desk.patience() + PEER_SILENCE });
        let mut download = Download::new(BytesMut::new(), Vec::new());
        let exchange = Exchange::new(client, &mut stream, request, upload, &mut download, &front.desk, None);
        match exchange.run().await {
            End::Died if !upload.may_be_sent_again(request.may_be_sent_again()) => return Tried::Answer(Answer::Lost),
            // A connection that was idle may end at any time.
            End::Died if used => upload.rewind(),
            End::Died => break,
            // What was sent of it is not here any more.
            End::Full if !upload.may_be_sent_again(true) => {
                return Tried::Answer(Answer::Refused(Refusal::Full));
            }
            End::Full => {
                if download.leaves_connection() && upload.is_done() {
                    front.pool.borrow_mut().put(place.clone(), stream);
                }
                break;
            }
            End::Switched => {
                stream.end_unanswered(Duration::ZERO); // as the system has it
                away.upgrade();
                switch(client, stream, download).await;
                return Tried::Over(Next::End);
            }
            End::Done => {
                if download.leaves_connection() && upload.is_done() {
                    front.pool.borrow_mut().put(place, stream);
                }
                let taken = deliver(client, &mut download).await;
                return Tried::Over(if taken { next(client, request, upload, &download) } else { Next::Reset });
            }
            End::Wrong(Flaw::Short) => return Tried::Answer(Answer::Lost),
            End::Wrong(flaw) => return Tried::Answer(Answer::Wrong(flaw)),
            End::Bad(flaw) => return Tried::Answer(Answer::Bad(flaw)),
            End::Cut => return Tried::Over(Next::Reset),
            End::Left => return Tried::Over(after_leaving(&download)),
        }
    }
    upload.add(b"");
    // Until it says otherwise.
    front.desk.has_room(&peer.id, 0);
    Tried::Untaken
}
