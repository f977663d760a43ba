//! A number of replicas, or a share of them: `2` or `25%`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A number of replicas (0 to 10000), or a share of the wanted ones (`0%` to `100%`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// This many.
    Count(u16),
    /// So many in a hundred.
    Percent(u8),
}

/// As many replicas as a WorkerCluster can have.
pub const MAX_COUNT: u16 = 10_000;

// === impl Amount ===

impl Amount {
    /// Replicas that this is of `whole`; a share is rounded up.
    #[must_use]
    pub fn of_rounded_up(self, whole: usize) -> usize {
        match self {
            Self::Count(count) => usize::from(count),
            Self::Percent(percent) => whole.saturating_mul(usize::from(percent)).div_ceil(100),
        }
    }

    /// Replicas that this is of `whole`; a share is rounded down.
    #[must_use]
    pub fn of_rounded_down(self, whole: usize) -> usize {
        match self {
            Self::Count(count) => usize::from(count),
            Self::Percent(percent) => whole.saturating_mul(usize::from(percent)) / 100,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let percent = text.strip_suffix('%')?;
        let plain = !percent.is_empty()
            && percent.bytes().all(|byte| byte.is_ascii_digit())
            && (percent == "0" || !percent.starts_with('0'));
        let percent = plain.then(|| percent.parse::<u8>().ok())??;
        (percent <= 100).then_some(Self::Percent(percent))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u16(*count),
            Self::Percent(percent) => serializer.serialize_str(&format!("{percent}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum IntOrString {
            Int(i64),
            String(String),
        }
        let (read, shown) = match IntOrString::deserialize(deserializer)? {
            IntOrString::Int(count) => {
                let read = u16::try_from(count).ok().filter(|count| *count <= MAX_COUNT).map(Self::Count);
                (read, count.to_string())
            }
            IntOrString::String(text) => (Self::parse(&text), format!("\"{text}\"")),
        };
        read.ok_or_else(|| {
            D::Error::custom(format!("{shown} must be a number from 0 to {MAX_COUNT}, or a share from 0% to 100%"))
        })
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 && self <= 10000 : self.matches('^([0-9]|[1-9][0-9]|100)%$')",
                "message": "must be a number of replicas from 0 to 10000, or a share from 0% to 100%"
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Amount, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_and_shares_are_read_and_written_alike() {
        for (json, amount) in [("0", Amount::Count(0)), ("3", Amount::Count(3)), ("\"25%\"", Amount::Percent(25))] {
            assert_eq!(read(json), Ok(amount));
            assert_eq!(serde_json::to_string(&amount).unwrap(), json);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_it_may_be() {
        for json in ["-1", "10001", "\"101%\"", "\"%\"", "\"+5%\"", "\"5\"", "\" 5%\"", "\"05%\""] {
            assert!(read(json).unwrap_err().contains("0% to 100%"), "{json}");
        }
    }

    #[test]
    fn a_share_is_rounded_as_asked() {
        let quarter = Amount::Percent(25);
        assert_eq!((quarter.of_rounded_up(5), quarter.of_rounded_down(5)), (2, 1));
        assert_eq!((quarter.of_rounded_up(0), Amount::Count(3).of_rounded_up(1)), (0, 3));
    }
}
