//! Where a body ends, while it passes.

use super::http::{Chunks, Flaw, Length};

/// What is left of a body.
#[derive(Clone, Debug)]
pub struct Body(Left);

#[derive(Clone, Debug)]
enum Left {
    Nothing,
    Bytes(u64),
    Chunked(Box<Chunks>),
    /// Until the connection ends.
    All,
}

impl Body {
    pub fn new(length: Length) -> Self {
        Self(match length {
            Length::None => Left::Nothing,
            Length::Bytes(bytes) => Left::Bytes(bytes),
            Length::Chunked => Left::Chunked(Box::default()),
            Length::UntilClose => Left::All,
        })
    }

    /// How many of these bytes, the next ones, belong to it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        match &mut self.0 {
            Left::Nothing => Ok(0),
            Left::Bytes(left) => {
                let own = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= own as u64;
                if *left == 0 {
                    self.0 = Left::Nothing;
                }
                Ok(own)
            }
            Left::Chunked(chunks) => {
                let mut own = 0;
                while own < bytes.len() && !chunks.is_done() {
                    own += chunks.step(&bytes[own..])?.read;
                }
                if chunks.is_done() {
                    self.0 = Left::Nothing;
                }
                Ok(own)
            }
            Left::All => Ok(bytes.len()),
        }
    }

    /// The same, and writes what is data of them.
    pub fn take_data(&mut self, bytes: &[u8], to: &mut Vec<u8>) -> Result<usize, Flaw> {
        let Left::Chunked(chunks) = &mut self.0 else {
            let own = self.take(bytes)?;
            to.extend_from_slice(&bytes[..own]);
            return Ok(own);
        };
        let mut own = 0;
        while own < bytes.len() && !chunks.is_done() {
            let step = chunks.step(&bytes[own..])?;
            to.extend_from_slice(&bytes[own + step.data.0..own + step.data.1]);
            own += step.read;
        }
        if chunks.is_done() {
            self.0 = Left::Nothing;
        }
        Ok(own)
    }

    pub fn is_done(&self) -> bool {
        matches!(self.0, Left::Nothing)
    }

    /// Whether only the end of its connection ends it.
    pub fn is_until_close(&self) -> bool {
        matches!(self.0, Left::All)
    }

    /// The connection ended. Says whether the body is whole with that.
    pub fn end(&mut self) -> bool {
        let whole = matches!(self.0, Left::Nothing | Left::All);
        self.0 = Left::Nothing;
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_what_is_its_own_and_no_more() {
        let next = b"GET / HTTP/1.1\r\n";
        for (length, own) in
            [(Length::None, &b""[..]), (Length::Bytes(5), b"hello"), (Length::Chunked, b"5\r\nhello\r\n0\r\n\r\n")]
        {
            let bytes = [own, next].concat();
            let mut body = Body::new(length);
            assert_eq!(body.take(&bytes).unwrap(), own.len(), "{length:?}");
            assert!(body.is_done() && body.end());
            let (mut body, mut data) = (Body::new(length), Vec::new());
            assert_eq!(body.take_data(&bytes, &mut data).unwrap(), own.len());
            assert_eq!(data, if own.is_empty() { &b""[..] } else { b"hello" });
        }
        let mut body = Body::new(Length::UntilClose);
        assert_eq!((body.take(next).unwrap(), body.is_done()), (next.len(), false));
        assert!(body.end() && body.is_done());
    }

    #[test]
    fn one_that_ends_too_early_is_not_whole() {
        for (length, bytes) in [(Length::Bytes(5), &b"hell"[..]), (Length::Chunked, b"5\r\nhello\r\n0\r\n")] {
            let mut body = Body::new(length);
            body.take(bytes).unwrap();
            assert!(!body.is_done() && !body.end(), "{length:?}");
        }
    }
}
