//! A chunked body (RFC 9112 7.1), read strictly: what two programs could read in two ways ends it with an error.

use super::Flaw;
use super::field::{LENGTH_MAX, MAX_FIELDS, is_end_to_end, is_hop_by_hop};

/// The most bytes that the line of a chunk's size may have, its extensions included; nobody is known to use those.
const MAX_SIZE_LINE: usize = 256;

/// The most bytes of all trailer fields.
const MAX_TRAILERS: usize = 8192;

/// Where in a chunked body the reader stands.
#[derive(Clone, Debug)]
pub struct Chunks {
    state: State,
    /// What came of a line that is not whole yet.
    line: Vec<u8>,
    trailer_bytes: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line of a size.
    Size,
    /// So many bytes of data are left.
    Data(u64),
    /// At the end of a chunk's data, `\r\n`, of which so many bytes came.
    DataEnd(usize),
    /// In a trailer field, or in the empty line after the last.
    Trailer,
    Done,
}

/// A part of the body as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes were read.
    pub read: usize,
    /// These of them, counted from the first that was read, are data; the others are framing.
    pub data: (usize, usize),
    /// The body ends with them.
    pub done: bool,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size, line: Vec::new(), trailer_bytes: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Reads on, at the most to the end of one piece of data or of the body. It reads all that it is given where nothing of these comes first.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Flaw> {
        let mut read = 0;
        loop {
            let left = &bytes[read..];
            match self.state {
                State::Done => return Ok(Step { read, data: (read, read), done: true }),
                _ if left.is_empty() => return Ok(Step { read, data: (read, read), done: false }),
                State::Data(size) => {
                    let have = usize::try_from(size).unwrap_or(usize::MAX).min(left.len());
                    let rest = size - have as u64;
                    self.state = if rest == 0 { State::DataEnd(0) } else { State::Data(rest) };
                    return Ok(Step { read: read + have, data: (read, read + have), done: false });
                }
                State::DataEnd(came) => {
                    if left[0] != b"\r\n"[came] {
                        return Err(Flaw::Chunk);
                    }
                    read += 1;
                    self.state = if came == 1 { State::Size } else { State::DataEnd(1) };
                }
                State::Size => {
                    read += self.line(left, MAX_SIZE_LINE)?;
                    if let Some(line) = self.whole_line() {
                        self.state = match size(&line)? {
                            0 => State::Trailer,
                            size => State::Data(size),
                        };
                    }
                }
                State::Trailer => {
                    let had = read;
                    read += self.line(left, MAX_TRAILERS)?;
                    self.trailer_bytes += read - had;
                    if self.trailer_bytes > MAX_TRAILERS {
                        return Err(Flaw::Trailer);
                    }
                    if let Some(line) = self.whole_line() {
                        if line == b"\r\n" {
                            self.state = State::Done;
                        } else {
                            self.trailers += 1;
                            check_trailer(&line, self.trailers)?;
                        }
                    }
                }
            }
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes up to the end of a line, or all; says how many.
    fn line(&mut self, bytes: &[u8], most: usize) -> Result<usize, Flaw> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        if self.line.len() + end > most {
            return Err(Flaw::Chunk);
        }
        self.line.extend_from_slice(&bytes[..end]);
        Ok(end)
    }

    fn whole_line(&mut self) -> Option<Vec<u8>> {
        (self.line.last() == Some(&b'\n')).then(|| std::mem::take(&mut self.line))
    }
}

/// What a line says of a chunk's size. A lone CR or LF ends a line for some programs and not for others: each is a flaw wherever it stands.
fn size(line: &[u8]) -> Result<u64, Flaw> {
    let line = line.strip_suffix(b"\r\n").ok_or(Flaw::Chunk)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, extension) = line.split_at(digits);
    let fits = (1..=16).contains(&digits);
    let after_is_known = matches!(extension.first(), None | Some(b';'));
    let plain = extension.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte));
    if !(fits && after_is_known && plain) {
        return Err(Flaw::Chunk);
    }
    let number = std::str::from_utf8(number).map_err(|_| Flaw::Chunk)?;
    u64::from_str_radix(number, 16).ok().filter(|size| *size <= LENGTH_MAX).ok_or(Flaw::Chunk)
}

/// A trailer field may say nothing that decides where a message ends or who sent it (RFC 9110 6.5.1).
fn check_trailer(line: &[u8], count: usize) -> Result<(), Flaw> {
    let mut fields = [httparse::EMPTY_HEADER; 1];
    let mut whole = line.to_vec();
    whole.extend_from_slice(b"\r\n");
    let bare = line.strip_suffix(b"\r\n").ok_or(Flaw::Trailer)?;
    match httparse::parse_headers(&whole, &mut fields) {
        Ok(httparse::Status::Complete((_, [field])))
            if count <= MAX_FIELDS
                && !bare.contains(&b'\r')
                && !is_hop_by_hop(field.name)
                && !is_end_to_end(field.name)
                && !field.name.contains('_') =>
        {
            Ok(())
        }
        _ => Err(Flaw::Trailer),
    }
}

/// The line before a chunk of this size.
pub fn write_size(to: &mut Vec<u8>, size: usize) {
    to.extend_from_slice(format!("{size:x}\r\n").as_bytes());
}

/// What stands after the last chunk of a body without trailers.
pub const LAST: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body in pieces of this size: its data, and how much was read.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), Flaw> {
        let (mut chunks, mut data, mut at) = (Chunks::default(), Vec::new(), 0);
        while at < bytes.len() && !chunks.is_done() {
            let part = &bytes[at..bytes.len().min(at + piece)];
            let step = chunks.step(part)?;
            assert!(step.read > 0 || step.done, "it goes on");
            data.extend_from_slice(&part[step.data.0..step.data.1]);
            at += step.read;
        }
        Ok((data, at, chunks.is_done()))
    }

    #[test]
    fn a_body_is_read_to_its_end_and_not_further() {
        let body = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\n";
        for piece in 1..body.len() {
            let (data, at, done) = read(body, piece).unwrap();
            assert_eq!((data.as_slice(), done), (&b"hello world"[..], true), "pieces of {piece}");
            assert_eq!(&body[at..], b"GET / HTTP/1.1\r\n");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_flaw() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b";a\r\nhello\r\n0\r\n\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"11111111111111111\r\nhello\r\n0\r\n\r\n",
            b"8000000000000000\r\nhello\r\n0\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0\r\nHost: other\r\n\r\n",
            b"0\r\nX_Forwarded_For: other\r\n\r\n",
            b"0\r\nno field\r\n\r\n",
            b"0\r\n folded: yes\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\n",
        ] {
            assert!(read(body, body.len()).is_err(), "{}", String::from_utf8_lossy(body));
            assert!(read(body, 1).is_err(), "{} in single bytes", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let long = [b"5;".as_slice(), &[b'x'; 300]].concat();
        assert_eq!(read(&long, 7).unwrap_err(), Flaw::Chunk);
        let trailers = [b"0\r\n".to_vec(), b"X-Field: value\r\n".repeat(1000)].concat();
        assert!(read(&trailers, 1000).is_err());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6), piece in 1_usize..50) {
            let mut body = Vec::new();
            for chunk in &data {
                write_size(&mut body, chunk.len());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(LAST);
            let (read, at, done) = read(&body, piece).unwrap();
            prop_assert_eq!((read, at, done), (data.concat(), body.len(), true));
        }

        #[test]
        fn nothing_makes_it_stand_still(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            let _ = read(&bytes, piece);
        }
    }
}
