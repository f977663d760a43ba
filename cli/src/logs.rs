//! Lines of many pods as one text: which comes next, and how it is marked.

use std::{cmp::Reverse, collections::BinaryHeap};

use jiff::Timestamp;

use crate::style::{Style, Tone};

/// A line as the kubelet tells it: when it was written, and the line itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub at: Option<Timestamp>,
    pub text: Vec<u8>,
}

// === impl Line ===

impl Line {
    /// Reads `2026-11-29T04:00:00.123456789Z words`. A line without a time (the kubelet's own words) is one all the same.
    pub fn read(raw: &[u8]) -> Self {
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        let end = raw.iter().position(|byte| *byte == b' ').unwrap_or(raw.len());
        let (time, text) = (&raw[..end], raw.get(end + 1..).unwrap_or_default());
        match str::from_utf8(time).ok().and_then(|time| time.parse().ok()) {
            Some(at) => Self { at: Some(at), text: text.into() },
            None => Self { at: None, text: raw.into() },
        }
    }

    /// As it is printed. What the program wrote is passed on byte by byte, colours, JSON and other encodings too: it is the user's own program.
    pub fn print(&self, prefix: &str, timestamps: bool) -> Vec<u8> {
        let at = self.at.filter(|_| timestamps).map(|at| format!("{at} ")).unwrap_or_default();
        [prefix.as_bytes(), at.as_bytes(), &self.text, b"\n"].concat()
    }
}

/// When a line was written, which text it is of, and what it says.
type Waiting = (Option<Timestamp>, usize, Vec<u8>);

/// The first line of each of several texts, oldest first; of each text the order is kept.
#[derive(Default)]
pub struct Merge(BinaryHeap<Reverse<Waiting>>);

// === impl Merge ===

impl Merge {
    /// Takes the next line of text number `source`.
    pub fn put(&mut self, source: usize, line: Line) {
        self.0.push(Reverse((line.at, source, line.text)));
    }

    /// The oldest line and whose it is: that text is to be asked for its next one.
    pub fn take(&mut self) -> Option<(usize, Line)> {
        let Reverse((at, source, text)) = self.0.pop()?;
        Some((source, Line { at, text }))
    }
}

/// When lines are marked with their pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Prefix {
    /// On a terminal, where there is more than one pod
    #[default]
    Auto,
    Always,
    Never,
}

/// Colours of pods, in turn.
const TONES: [Tone; 4] = [Tone::Good, Tone::Warn, Tone::Bold, Tone::Dim];

// === impl Prefix ===

impl Prefix {
    /// The mark of the pod that is number `index` of `all`. In a pipe there is none unless it is asked for: it would break lines of JSON.
    pub fn of(self, cluster: &str, pod: &str, index: usize, all: usize, style: Style) -> String {
        let marked = match self {
            Self::Auto => style.terminal && all > 1,
            Self::Always => true,
            Self::Never => false,
        };
        if !marked {
            return String::new();
        }
        let short = pod.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-')).unwrap_or(pod);
        format!("{} ", style.paint(TONES[index % TONES.len()], &format!("[{short}]")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, text: &str) -> Line {
        Line::read(format!("2026-11-29T04:00:{second:02}.5Z {text}\n").as_bytes())
    }

    #[test]
    fn a_line_is_a_time_and_what_was_written() {
        let read = Line::read(b"2026-11-29T04:00:00.123456789Z {\"level\":\"info\"}\n");
        assert_eq!(read.text, b"{\"level\":\"info\"}");
        assert_eq!(read.print("", false), b"{\"level\":\"info\"}\n");
        assert_eq!(read.print("[a] ", true), b"[a] 2026-11-29T04:00:00.123456789Z {\"level\":\"info\"}\n");
        assert_eq!(Line::read(b"2026-11-29T04:00:00Z ").text, b"", "an empty line");
        assert_eq!(Line::read(b"").text, b"", "nothing at all");
        let odd = Line::read(b"unable to retrieve container logs for x\n");
        assert_eq!((odd.at, odd.text.as_slice()), (None, b"unable to retrieve container logs for x".as_slice()));
    }

    #[test]
    fn what_is_no_utf8_is_passed_on_as_it_is() {
        let read = Line::read(b"2026-11-29T04:00:00Z gr\xfcn\r\n");
        assert_eq!(read.print("", false), b"gr\xfcn\r\n");
    }

    #[test]
    fn lines_of_several_pods_come_in_the_order_in_which_they_were_written() {
        let mut texts = [vec![line(1, "a1"), line(4, "a4")], vec![line(2, "b2"), line(2, "b2 too")], vec![]];
        let mut merge = Merge::default();
        for (source, text) in texts.iter_mut().enumerate() {
            if !text.is_empty() {
                merge.put(source, text.remove(0));
            }
        }
        let mut merged = Vec::new();
        while let Some((source, line)) = merge.take() {
            merged.push(line.text);
            if !texts[source].is_empty() {
                merge.put(source, texts[source].remove(0));
            }
        }
        assert_eq!(merged, [b"a1".as_slice(), b"b2", b"b2 too", b"a4"]);
    }

    #[test]
    fn a_mark_is_the_pods_own_part_of_its_name_and_never_breaks_a_pipe() {
        let (pipe, terminal) = (Style { colour: false, terminal: false }, Style { colour: false, terminal: true });
        assert_eq!(Prefix::Auto.of("web", "web-x7k2p", 0, 2, pipe), "");
        assert_eq!(Prefix::Auto.of("web", "web-x7k2p", 0, 1, terminal), "");
        assert_eq!(Prefix::Auto.of("web", "web-x7k2p", 0, 2, terminal), "[x7k2p] ");
        assert_eq!(Prefix::Always.of("web", "web-x7k2p", 0, 1, pipe), "[x7k2p] ");
        assert_eq!(Prefix::Never.of("web", "web-x7k2p", 0, 2, terminal), "");
    }
}
