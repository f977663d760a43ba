//! How single values are read from the command line and the environment: each error says what is possible.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::Count;
use crate::machine::{Adaptive, signal_number};

/// More workers than this in one pod are a typing error.
const MAX_COUNT: u32 = 1024;

/// A day: longer waits are a typing error, and sums of them must not overflow.
const MAX_SECONDS: u64 = 86_400;

/// A year: a worker may grow old.
const MAX_AGE_SECONDS: u64 = 365 * 86_400;

/// Below this no program of any language starts; such a limit is a typing error (`256` for `256Mi`).
const MIN_MEMORY: u64 = 1 << 20;

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") || text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        Self::number(text)
            .map(Self::Fixed)
            .ok_or_else(|| format!("give a number from 1 to {MAX_COUNT}, or `max` for the CPU limit"))
    }
}

impl Count {
    fn number(text: &str) -> Option<NonZeroU32> {
        text.parse::<NonZeroU32>().ok().filter(|number| number.get() <= MAX_COUNT)
    }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= MAX_SECONDS);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("give whole seconds from 0 to {MAX_SECONDS}"))
}

pub fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse::<u64>().ok().filter(|milliseconds| *milliseconds <= MAX_SECONDS * 1000);
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| format!("give whole milliseconds from 0 to {}", MAX_SECONDS * 1000))
}

pub fn age(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| (1..=MAX_AGE_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("give whole seconds from 1 to {MAX_AGE_SECONDS}"))
}

pub fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("give whole seconds from 1 to {MAX_SECONDS}"))
}

/// `2-8`
pub fn adaptive(text: &str) -> Result<Adaptive, String> {
    let bounds = text.split_once('-').and_then(|(min, max)| Some((Count::number(min)?, Count::number(max)?)));
    match bounds {
        Some((min, max)) if min <= max => Ok(Adaptive { min: min.get(), max: max.get() }),
        _ => Err(format!("give the least and the most, as in 2-8, from 1 to {MAX_COUNT}")),
    }
}

/// Bytes as Kubernetes writes them (`256Mi`, `1Gi`, and `500M` for millions, which PM2 means otherwise), or just a number.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "k" | "K" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes >= MIN_MEMORY)
        .ok_or_else(|| "give a size of at least 1Mi, as in 256Mi, 1Gi or 200M".to_string())
}

/// What stands in a request's first line.
pub fn path(text: &str) -> Result<String, String> {
    let plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain
        .then(|| text.to_string())
        .ok_or_else(|| "give a path that begins with / and has no spaces, as /healthz".to_string())
}

/// The name of a cookie.
pub fn cookie(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let good = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    good.then(|| text.to_string())
        .ok_or_else(|| "give the name of a cookie: from 1 to 64 letters, digits, _, . and -, as `worker`".to_string())
}

pub fn signal(text: &str) -> Result<i32, String> {
    signal_number(text)
        .ok_or_else(|| "give the name of a signal that can end a program, as SIGABRT or QUIT".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("256Mi", Some(256 << 20)),
            ("1Gi", Some(1 << 30)),
            ("200M", Some(200_000_000)),
            ("1G", Some(1_000_000_000)),
            ("2048K", Some(2_048_000)),
            ("1048576", Some(1 << 20)),
            ("256", None),
            ("1.5Gi", None),
            ("Mi", None),
            ("99999999999999999999Gi", None),
            ("20000000000Gi", None),
            ("-1Mi", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn bounds_are_the_least_and_the_most() {
        assert_eq!(adaptive("2-8"), Ok(Adaptive { min: 2, max: 8 }));
        for text in ["8-2", "0-4", "4", "1-", "1-2000", "-1-3"] {
            assert!(adaptive(text).is_err_and(|why| why.contains("as in 2-8")), "{text}");
        }
    }
}
