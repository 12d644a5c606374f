//! Instants: milliseconds since 1970-01-01T00:00:00Z.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant, in whole milliseconds since the Unix epoch. In JSON: epoch seconds with a millisecond
/// fraction (`1593622000.191`), as AWS JSON 1.1 has it; ISO 8601 text is read as well.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

/// The text is not an ISO 8601 instant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not a timestamp")]
pub struct InvalidTimestamp(pub String);

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant plus a span; saturates.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant minus a span; saturates.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `2026-01-02T03:04:05.678Z`, as RDS writes instants.
    pub fn iso8601(self) -> String {
        format!("{:.3}", self.civil())
    }

    /// `2026-01-02T03:04:05Z`, as CloudTrail and IAM write instants.
    pub fn iso8601_seconds(self) -> String {
        Self(self.as_secs() * 1000).civil().to_string()
    }

    /// `20260102T030405Z`, as signatures write instants.
    pub fn basic(self) -> String {
        self.iso8601_seconds().replace(['-', ':'], "")
    }

    /// Reads ISO 8601 (`2026-01-02T03:04:05.678Z`, with any offset), or the signature's `20260102T030405Z`.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] keeps the text.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp(text.into());
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond())).map_err(|_| invalid())
    }

    fn civil(self) -> jiff::Timestamp {
        let last = jiff::Timestamp::MAX.as_millisecond();
        let first = jiff::Timestamp::MIN.as_millisecond();
        jiff::Timestamp::from_millisecond(self.0.clamp(first, last))
            .expect("clamped to the range that jiff holds")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Exact to the millisecond: an f64 holds 2^53, far more than any instant here.
        #[expect(clippy::cast_precision_loss, reason = "instants are far below 2^53")]
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("epoch seconds or an ISO 8601 instant")
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(seconds.saturating_mul(1000)))
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
                self.visit_i64(i64::try_from(seconds).map_err(E::custom)?)
            }
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
                Ok(Timestamp((seconds * 1000.0).round() as i64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_the_forms_of_aws() {
        let t = Timestamp::from_millis(1_767_323_045_678);
        assert_eq!(t.iso8601(), "2026-01-02T03:04:05.678Z");
        assert_eq!(t.iso8601_seconds(), "2026-01-02T03:04:05Z");
        assert_eq!(t.basic(), "20260102T030405Z");
        assert_eq!(Timestamp::parse("2026-01-02T03:04:05.678Z"), Ok(t));
        assert_eq!(Timestamp::parse("20260102T030405Z"), Ok(Timestamp::from_millis(1_767_323_045_000)));
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn json_has_epoch_seconds_with_milliseconds() {
        let t = Timestamp::from_millis(1_593_622_000_191);
        assert_eq!(serde_json::to_string(&t).unwrap(), "1593622000.191");
        for text in ["1593622000.191", "\"2020-07-01T16:46:40.191Z\""] {
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap(), t, "{text}");
        }
        assert_eq!(serde_json::from_str::<Timestamp>("7").unwrap(), Timestamp::from_millis(7000));
    }
}
