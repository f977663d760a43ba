//! What the decoders of the operator and the primary have in common under test: `tests/fuzz` makes up bytes for them, and their unit tests replay
//! the inputs that are kept in `tests/fuzz/corpus`.

use std::{fs, io, panic::catch_unwind, path::Path};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Takes the bytes.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub take: fn(&[u8]),
    /// Most memory that it may have at a time for one input, in MiB.
    pub most_mib: usize,
}

/// Gives each decoder the inputs that are kept for it: they found something once, or show the way. What is in them must not break anything
/// again.
///
/// # Errors
/// Where an input cannot be read, a decoder has none, or one broke on it.
pub fn replay(targets: &[Target]) -> Result<(), String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for Target { name, take, .. } in targets {
        let folder = corpus.join(name);
        let said = |error: io::Error| format!("{}: {error}", folder.display());
        let mut count = 0;
        for input in fs::read_dir(&folder).map_err(said)? {
            let path = input.map_err(said)?.path();
            let bytes = fs::read(&path).map_err(said)?;
            catch_unwind(|| take(&bytes)).map_err(|_| format!("{name} broke on {}", path.display()))?;
            count += 1;
        }
        if count == 0 {
            return Err(format!("{} has no input", folder.display()));
        }
    }
    Ok(())
}

/// Sends bytes and no more, and reads what comes back until the other side ends the connection.
///
/// # Errors
/// Where the connection breaks.
pub async fn exchange<S: AsyncRead + AsyncWrite>(stream: S, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        // Who has heard enough may close before all is sent.
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let mut said = Vec::new();
    let ((), read) = tokio::join!(writing, read.read_to_end(&mut said));
    read.map(|_| said)
}

/// Whatever is sent to a server of HTTP, the connection ends, and what is answered is HTTP.
///
/// # Panics
/// Where it is something else.
pub async fn answers_http<S: AsyncRead + AsyncWrite>(stream: S, bytes: &[u8]) {
    let said = exchange(stream, bytes).await.unwrap_or_default();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&said));
}
