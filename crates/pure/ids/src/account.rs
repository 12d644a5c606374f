//! Account ids (12 digits) and region names (`us-west-2`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An AWS account id: exactly twelve ASCII digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

/// The text is not twelve digits.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not an account id of twelve digits")]
pub struct InvalidAccountId(pub String);

/// A region name: lower-case letters, digits and hyphens, 3 to 32 characters, beginning with a letter.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

/// The text is not a region name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not a region name")]
pub struct InvalidRegion(pub String);

macro_rules! text_type {
    ($name:ident, $error:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}
text_type!(AccountId, InvalidAccountId);
text_type!(Region, InvalidRegion);

impl FromStr for AccountId {
    type Err = InvalidAccountId;
    /// # Errors
    /// [`InvalidAccountId`] unless the text is exactly twelve ASCII digits.
    fn from_str(text: &str) -> Result<Self, InvalidAccountId> {
        let ok = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        ok.then(|| Self(text.into())).ok_or_else(|| InvalidAccountId(text.into()))
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;
    /// # Errors
    /// [`InvalidRegion`] for anything but lower-case letters, digits and hyphens after a letter.
    fn from_str(text: &str) -> Result<Self, InvalidRegion> {
        let ok = (3..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| Self(text.into())).ok_or_else(|| InvalidRegion(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_is_twelve_digits() {
        assert!("111122223333".parse::<AccountId>().is_ok());
        for bad in ["", "11112222333", "1111222233334", "11112222333a", "１11122223333"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_region_has_lower_case_letters_digits_and_hyphens() {
        assert!("us-west-2".parse::<Region>().is_ok());
        for bad in ["", "us", "US-WEST-2", "1us-west", "us west", "us_west_2"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
