//! Cuts the channel's byte stream into lines, bounded: a worker cannot make the primary grow.

/// A longer line is thrown away. Node has no limit; what the primary has to understand is far shorter.
pub const MAX_LINE: usize = 1 << 20;

/// What was cut off.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One line, without its end.
    Line(&'a [u8]),
    /// The end of a line that was longer than [`MAX_LINE`].
    TooLong,
}

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    /// The rest of the current line is thrown away.
    skipping: bool,
}

impl Lines {
    /// Takes the bytes of one read and hands every line that is whole now to `take`, in order.
    pub fn push<E>(&mut self, mut bytes: &[u8], mut take: impl FnMut(Frame<'_>) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (rest_of_line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.skipping || self.partial.len() + rest_of_line.len() > MAX_LINE {
                self.skipping = false;
                self.partial = Vec::new();
                take(Frame::TooLong)?;
            } else if self.partial.is_empty() {
                take(Frame::Line(rest_of_line))?;
            } else {
                self.partial.extend_from_slice(rest_of_line);
                let line = std::mem::take(&mut self.partial); // also gives a large line's memory back
                take(Frame::Line(&line))?;
            }
        }
        if !self.skipping {
            if self.partial.len() + bytes.len() > MAX_LINE {
                self.skipping = true;
                self.partial = Vec::new();
            } else {
                self.partial.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            let taken: Result<(), Infallible> = lines.push(chunk, |frame| {
                seen.push(match frame {
                    Frame::Line(line) => Some(line.to_vec()),
                    Frame::TooLong => None,
                });
                Ok(())
            });
            taken.unwrap();
            assert!(lines.partial.len() <= MAX_LINE);
        }
        seen
    }

    #[test]
    fn a_line_that_is_too_long_is_thrown_away_and_the_next_is_read() {
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(cut(&[&long, b"y\nz\n"]), [None, Some(b"z".to_vec())]);
        let fits = vec![b'x'; MAX_LINE];
        assert_eq!(cut(&[&fits, b"\n"]), [Some(fits.clone())]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(text in "[a-c\n]{0,80}", cuts in prop::collection::vec(0_usize..80, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let mut expected: Vec<Option<Vec<u8>>> = text.split('\n').map(|line| Some(line.as_bytes().to_vec())).collect();
            expected.pop();
            prop_assert_eq!(cut(&chunks), expected);
        }

        #[test]
        fn any_bytes_are_taken_without_harm(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            cut(&chunks);
        }
    }
}
