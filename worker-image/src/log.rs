//! The primary's own log: one line for each event to stderr, written by a thread, so that a reader who does not read
//! cannot stop the primary. Workers' lines do not come this way: they inherit stdout and stderr.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::config::LogFormat;

/// Lines that may wait for the writer; further ones are dropped and counted.
const QUEUE: usize = 256;

/// How long the end of the primary waits for the last lines.
const FLUSH: Duration = Duration::from_millis(500);

/// Takes the log's lines.
#[derive(Debug)]
pub struct Log {
    lines: Option<SyncSender<String>>,
    done: Receiver<()>,
    json: bool,
    name: Option<String>,
    dropped: u64,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// The user should look.
    Warning,
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(format: LogFormat, name: Option<String>) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel::<String>(QUEUE);
        let (end, done) = sync_channel(1);
        // 64 KiB: the thread does nothing but write.
        std::thread::Builder::new().name("log".to_string()).stack_size(64 * 1024).spawn(move || {
            for line in queue {
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
            let _ = end.send(());
        })?;
        let json = match format {
            LogFormat::Json => true,
            LogFormat::Plain => false,
            LogFormat::Auto => !std::io::stderr().is_terminal(),
        };
        Ok(Self { lines: Some(lines), done, json, name, dropped: 0 })
    }

    /// Writes one line: the words, and the same as fields for machines.
    pub fn write(&mut self, level: Level, message: &str, fields: &[(&str, Value)]) {
        let line = if self.json { self.json_line(level, message, fields) } else { plain_line(level, message) };
        let Some(lines) = &self.lines else { return };
        if lines.try_send(line).is_err() {
            self.dropped += 1;
        } else if self.dropped > 0 {
            let note = format!("primary: {} log lines were dropped, because nobody read them\n", self.dropped);
            if lines.try_send(note).is_ok() {
                self.dropped = 0;
            }
        }
    }

    fn json_line(&self, level: Level, message: &str, fields: &[(&str, Value)]) -> String {
        let mut object = Map::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        object.insert("time".to_string(), json!(timestamp(now)));
        object.insert("level".to_string(), json!(if level == Level::Info { "info" } else { "warning" }));
        object.insert("logger".to_string(), json!("primary"));
        if let Some(name) = &self.name {
            object.insert("name".to_string(), json!(name));
        }
        object.insert("message".to_string(), json!(message));
        object.extend(fields.iter().map(|(key, value)| ((*key).to_string(), value.clone())));
        format!("{}\n", Value::Object(object))
    }

    /// Waits a moment for the last lines to be written.
    pub fn finish(mut self) {
        self.lines = None;
        let _ = self.done.recv_timeout(FLUSH);
    }
}

fn plain_line(level: Level, message: &str) -> String {
    let mark = if level == Level::Info { "" } else { "warning: " };
    format!("primary: {mark}{message}\n")
}

/// RFC 3339 in UTC with milliseconds, from the time since 1970 (days to date after Howard Hinnant's `civil_from_days`).
fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let millisecond = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(Duration::from_secs(seconds)), expected);
        }
    }
}
