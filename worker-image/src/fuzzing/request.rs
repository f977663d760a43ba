//! A request to the admin port.

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
                let _ = ask.reply.send(admin::Reply::Alive);
            }
        };
        tokio::join!(serving, answering, decoders::answers_http(theirs, data));
    });
}
