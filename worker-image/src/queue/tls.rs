//! Whether a worker speaks TLS: most programs that do say nothing to plain HTTP, and close the connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::stream::Stream;

const PATIENCE: Duration = Duration::from_secs(1);

/// A whole `ClientHello` of TLS 1.2 (RFC 5246 7.4.1.2) with two cipher suites and no extensions: whoever speaks TLS answers it with a handshake or
/// an alert, and nobody else answers like that.
const HELLO: [u8; 52] = {
    let mut hello = [0x57; 52]; // any bytes will do for its random
    let (head, tail) = ([22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3], [0, 0, 4, 0xc0, 0x2f, 0xc0, 0x2b, 1, 0]);
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    let mut at = 0;
    while at < tail.len() {
        hello[hello.len() - tail.len() + at] = tail[at];
        at += 1;
    }
    hello
};

/// Asks it.
pub async fn is_spoken_at(address: SocketAddr) -> bool {
    timeout(PATIENCE, ask(address)).await.ok().flatten().unwrap_or(false)
}

async fn ask(address: SocketAddr) -> Option<bool> {
    let mut stream = Stream::connect(address).await.ok()?;
    stream.write_all(&HELLO).await.ok()?;
    let mut start = [0; 2];
    stream.read_exact(&mut start).await.ok()?;
    Some(matches!(start, [21 | 22, 3]))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_hello_is_as_long_as_it_says() {
        let [_, _, _, high, low, body @ ..] = &HELLO[..] else { panic!("it is longer") };
        assert_eq!(usize::from(u16::from_be_bytes([*high, *low])), body.len());
        assert_eq!(usize::from(body[3]), body.len() - 4);
        assert_eq!(body[4 + 2 + 32..][..2], [0, 0], "no session, and the suites' length");
    }

    #[tokio::test]
    async fn only_who_answers_as_tls_does_speaks_it() {
        for (answer, speaks) in
            [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false), (b"\x15\x03\x03\x00\x02\x02\x28", true), (b"", false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let answers = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_exact(&mut [0; HELLO.len()]).await.unwrap();
                stream.write_all(answer).await.unwrap();
            };
            let (is_spoken, ()) = tokio::join!(is_spoken_at(address), answers);
            assert_eq!(is_spoken, speaks, "{answer:?}");
        }
    }
}
