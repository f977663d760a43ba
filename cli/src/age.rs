//! How long ago, in the two largest units that matter.

use jiff::Timestamp;

/// `now - then` as `42s`, `5m`, `3h20m`, `12d`; nothing where `then` is not known, `0s` where clocks differ.
pub fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map(|then| span(now.duration_since(then).as_secs())).unwrap_or_default()
}

/// Seconds in words.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |amount: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{amount}{unit}") } else { format!("{amount}{unit}{rest}{small}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 10 => with(hours, "h", minutes % 60, "m"),
        () if days < 3 => format!("{hours}h"),
        () if days < 10 => with(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        for (seconds, wanted) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (700, "11m"),
            (10_799, "179m"),
            (12_000, "3h20m"),
            (86_400, "24h"),
            (300_000, "3d11h"),
            (2_000_000, "23d"),
        ] {
            assert_eq!(span(seconds), wanted, "{seconds}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_age() {
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "");
    }
}
