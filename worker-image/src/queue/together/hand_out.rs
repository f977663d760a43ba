//! A client gets the answer that was made for all.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::timeout;

use super::flights::Shared;
use super::{PIECE, or_gone};
use crate::queue::client::Client;
use crate::queue::download::Download;
use crate::queue::front::Front;
use crate::queue::http::Request;
use crate::queue::lead::{Next, next};
use crate::queue::upload::Upload;

/// A client that takes longer over such a piece is let go.
const PIECE_TIME: Duration = Duration::from_secs(60);

/// Gives a client the answer that was made for all, written for this one.
pub async fn hand_out(
    front: &Front,
    client: &mut Client,
    request: &Request,
    upload: &mut Upload,
    shared: Shared,
    mut rest: Option<DuplexStream>,
) -> Next {
    let Shared { mut came, held } = shared;
    let mut held = Some(held);
    let mut download = Download::new(BytesMut::new(), Vec::new());
    while !download.is_done() {
        if came.is_empty()
            && let Some(more) = &mut rest
        {
            held = None; // what was kept has gone out, and the rest is kept by nobody
            let mut piece = BytesMut::with_capacity(PIECE);
            let reads = more.read_buf(&mut piece);
            let reads = std::pin::pin!(reads);
            let Some(read) = or_gone(client, upload.own(), reads).await else { return Next::End };
            if matches!(read, Ok(1..)) {
                came = piece.freeze();
            } else {
                rest = None;
            }
        }
        let closes = front.desk.closes() || client.is_last;
        let piece = came.split_to(came.len().min(PIECE));
        let taken = if piece.is_empty() {
            download.end(request, closes)
        } else {
            download.inbox.extend_from_slice(&piece);
            download.take(request, closes)
        };
        if taken.is_err() {
            return Next::Reset; // it broke off, and the client must not take it for whole
        }
        let gives = std::future::poll_fn(|cx| download.poll(&mut client.stream, cx));
        if !matches!(timeout(PIECE_TIME, gives).await, Ok(Ok(()))) {
            return Next::Reset;
        }
    }
    drop(held);
    next(client, request, upload, &download)
}
