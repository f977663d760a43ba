//! A request to the admin port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::admin;

/// Whatever comes, the connection ends, and what is answered is HTTP.
pub(super) fn request(data: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let (asks, mut asked) = mpsc::channel::<admin::Ask>(1);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = admin::connection(ours, asks);
        let answering = async {
            while let Some(ask) = asked.recv().await {
                let _ = ask.reply.send(None);
            }
        };
        let asking = async {
            let (mut read, mut write) = tokio::io::split(theirs);
            let writing = async {
                let _ = write.write_all(data).await;
                let _ = write.shutdown().await;
            };
            let mut said = Vec::new();
            let ((), read) = tokio::join!(writing, read.read_to_end(&mut said));
            assert!(read.is_err() || said.is_empty() || said.starts_with(b"HTTP/1."));
        };
        tokio::join!(serving, answering, asking);
    });
}
