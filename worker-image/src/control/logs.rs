//! `primary ctl logs`: what the workers write. They write to the output that the primary was started with, and nothing stands in between: so the lines
//! are where that leads, and where that is no file, whoever holds the other end has them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::client::CtlError;
use crate::say;

/// How often a file is looked at that is followed.
const EVERY: Duration = Duration::from_millis(200);

/// So far back from its end a file is read for its last lines.
const BACK: u64 = 4 << 20;

/// What is written in one piece.
const PIECE: usize = 64 * 1024;

/// Prints the last lines, and goes on where that is wanted.
///
/// # Errors
/// Where the output is no file, with where it is to be found.
pub async fn run(primary_pid: u32, lines: usize, follow: bool) -> Result<(), CtlError> {
    let mut outputs: Vec<(PathBuf, (u64, u64))> = Vec::new();
    let found = [1, 2].map(|descriptor| file_of(primary_pid, descriptor));
    let none = found.iter().all(Result::is_err);
    for output in found {
        match output {
            // With `> file 2>&1` both lead to one.
            Ok(output) if outputs.iter().all(|(_, other)| *other != output.1) => outputs.push(output),
            Ok(_) => {}
            Err(error) if none => return Err(error),
            Err(error) => say::aside(format_args!("{error}; here is the rest")),
        }
    }
    let outputs: Vec<PathBuf> = outputs.into_iter().map(|(output, _)| output).collect();
    let refused = |file: &PathBuf, cause: io::Error| CtlError::Refused(format!("{}: {cause}", file.display()));
    let mut files = Vec::new();
    for output in &outputs {
        let mut file = File::open(output).map_err(|cause| refused(output, cause))?;
        let text = end_of(&mut file).map_err(|cause| refused(output, cause))?;
        if !print(last_lines(&text, lines))? {
            return Ok(());
        }
        files.push(file);
    }
    if !follow {
        return Ok(());
    }
    loop {
        for (file, output) in files.iter_mut().zip(&outputs) {
            let mut piece = vec![0; PIECE];
            let length = file.read(&mut piece).map_err(|cause| refused(output, cause))?;
            if !print(piece.get(..length).unwrap_or_default())? {
                return Ok(());
            }
            // It was cut off, as log rotation does: from its beginning again.
            let position = file.stream_position().unwrap_or(0);
            if file.metadata().is_ok_and(|now| now.len() < position) {
                file.seek(SeekFrom::Start(0)).map_err(|cause| refused(output, cause))?;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The file behind a descriptor of the primary, with its device and number.
fn file_of(pid: u32, descriptor: u32) -> Result<(PathBuf, (u64, u64)), CtlError> {
    let link = PathBuf::from(format!("/proc/{pid}/fd/{descriptor}"));
    let leads = std::fs::read_link(&link).map_err(|cause| CtlError::Refused(format!("{}: {cause}", link.display())))?;
    if let Some(file) = std::fs::metadata(&link).ok().filter(std::fs::Metadata::is_file) {
        return Ok((link, (file.dev(), file.ino()))); // by the descriptor, also where the file was renamed
    }
    Err(CtlError::Refused(elsewhere(&leads.to_string_lossy(), pid)))
}

/// Where lines are that are in no file.
fn elsewhere(leads: &str, pid: u32) -> String {
    let held = match leads {
        "/dev/null" => "it was started with its output thrown away (> /dev/null): start it with > FILE".to_string(),
        terminal if terminal.starts_with("/dev/") => {
            format!("its lines are on the terminal {terminal}, where it was started")
        }
        socket if socket.starts_with("socket:") => {
            format!(
                "its output is a socket, as under systemd: journalctl _PID={pid}, or journalctl -u UNIT for its workers as well"
            )
        }
        _ => "its output is a pipe: whoever started it has the lines (kubectl logs, docker logs)".to_string(),
    };
    format!("the workers write to the output of the primary, and {held}")
}

fn end_of(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BACK)))?;
    let mut text = Vec::new();
    file.take(BACK).read_to_end(&mut text)?;
    Ok(text)
}

/// The last so many lines.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let from = match lines {
        0 => text.len(),
        lines => ends.into_iter().nth(lines - 1).unwrap_or(0),
    };
    text.get(from..).unwrap_or_default()
}

/// `false` where nobody reads any more.
fn print(text: &[u8]) -> Result<bool, CtlError> {
    say::print(text).map_err(|error| CtlError::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
            ("\n\n\n", 1, "\n"),
        ] {
            assert_eq!(last_lines(text.as_bytes(), lines), expected.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn where_lines_are_that_are_in_no_file_is_told() {
        for (leads, words) in [
            ("/dev/null", "> FILE"),
            ("/dev/pts/3", "terminal /dev/pts/3"),
            ("socket:[1]", "journalctl"),
            ("pipe:[1]", "kubectl logs"),
        ] {
            assert!(elsewhere(leads, 7).contains(words), "{leads}");
        }
    }
}
