//! Small readers and writers of text: clipped messages, names from hashes.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Letters of names that Kubernetes itself generates: no vowels, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// At most `limit` bytes of `text`, cut at a character.
pub fn clip(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `text` on one line and without what moves a terminal's cursor or colours it: some of it is said by pods.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { Cow::Owned(text.replace(char::is_control, " ")) } else { Cow::Borrowed(text) }
}

/// An error with what caused it: kube's own words end with "client error (Connect)", and whoever reads a log looks for "connection refused".
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    said.dedup_by(|cause, said| said.contains(cause.as_str())); // some are said by what they caused
    said.join(": ")
}

/// Ten letters that stand for `parts`, the same in every version of this program.
pub fn short_hash(parts: &[&str]) -> String {
    let digest = digest(parts);
    digest.iter().take(10).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// A place on a circle for `text`, the same in every version of this program.
pub fn place(text: &str) -> u64 {
    digest(&[text]).iter().take(8).fold(0, |place, byte| place << 8 | u64::from(*byte))
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_change_between_versions() {
        assert_eq!(short_hash(&["a", "b"]), short_hash(&["a", "b"]));
        assert_ne!(short_hash(&["ab", ""]), short_hash(&["a", "b"]));
        assert_eq!(short_hash(&["x"]).len(), 10);
        assert_eq!(place("a"), 0x3b19_6fd4_907b_edf5);
    }

    #[test]
    fn what_a_pod_says_moves_no_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable("é"), "é");
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_none_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("the lease: {0}")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("client error")]
        struct Inner(#[source] std::io::Error);
        let error = Outer(Inner(std::io::Error::other("connection refused")));
        assert_eq!(causes(&error), "the lease: client error: connection refused");
    }

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("abc", 5), "abc");
    }
}
