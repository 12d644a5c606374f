//! Names that users choose, and ids that never change (spec/rds.md §3).

use std::{fmt, str::FromStr};

use ids::Entropy;
use serde::{Deserialize, Serialize};

/// A DBClusterIdentifier, DBInstanceIdentifier or DBClusterSnapshotIdentifier, in lower case: 1 to 63 letters, digits
/// and hyphens (255 for snapshots), a letter first, no hyphen last, no two hyphens in a row.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier(String);

/// The text is not an identifier. `Display` is the rest of AWS's sentence after the parameter's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and \
     hyphens; and must not end with a hyphen or contain two consecutive hyphens."
)]
pub struct InvalidIdentifier(pub String);

impl Identifier {
    /// The longest name of a cluster or an instance.
    pub const LONGEST: usize = 63;
    /// The longest name of a snapshot.
    pub const LONGEST_SNAPSHOT: usize = 255;

    /// Reads an identifier of at most `longest` characters; upper case becomes lower case.
    ///
    /// # Errors
    /// [`InvalidIdentifier`] keeps the text as sent.
    pub fn parse(text: &str, longest: usize) -> Result<Self, InvalidIdentifier> {
        let ok = text.len() <= longest
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !text.ends_with('-')
            && !text.contains("--");
        ok.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| InvalidIdentifier(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Identifier {
    type Error = InvalidIdentifier;
    fn try_from(text: String) -> Result<Self, InvalidIdentifier> {
        Self::parse(&text, Self::LONGEST_SNAPSHOT)
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> String {
        identifier.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a resource id of the expected kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not a resource id of this kind")]
pub struct InvalidResourceId(pub String);

/// Letters and digits of base32.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8; 16] = b"0123456789abcdef";

macro_rules! resource_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $length:literal, $alphabet:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new id; never given twice.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; $length];
                entropy.fill(&mut bytes);
                let random = bytes.iter().map(|b| char::from($alphabet[usize::from(*b) % $alphabet.len()]));
                Self(String::from($prefix).chars().chain(random).collect())
            }

            /// The id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidResourceId;
            /// Checks the prefix and that nothing but letters and digits follows (the id names directories); the
            /// length is not checked, because AWS itself shows several.
            ///
            /// # Errors
            /// [`InvalidResourceId`] keeps the text.
            fn from_str(text: &str) -> Result<Self, InvalidResourceId> {
                let rest = text.strip_prefix($prefix).unwrap_or_default();
                let ok = (1..=64).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric());
                ok.then(|| Self(text.into())).ok_or_else(|| InvalidResourceId(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidResourceId;
            fn try_from(text: String) -> Result<Self, InvalidResourceId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

resource_id!(
    /// DbClusterResourceId: `cluster-` and 26 characters of base32. Immutable, never reused.
    ClusterResourceId, "cluster-", 26, BASE32
);
resource_id!(
    /// DbiResourceId: `db-` and 26 characters of base32. Immutable, never reused.
    InstanceResourceId, "db-", 26, BASE32
);
resource_id!(
    /// Our own immutable id of a snapshot, the name of its directory: `snap-` and 26 characters of base32.
    SnapshotResourceId, "snap-", 26, BASE32
);
resource_id!(
    /// Id of a sealed volume, as EBS writes it: `vol-` and 17 hex digits.
    VolumeId, "vol-", 17, HEX
);

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter;
    impl Entropy for Counter {
        fn fill(&self, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::try_from(i * 37 % 251).expect("below 251");
            }
        }
    }

    #[test]
    fn identifiers_are_lower_case_letters_digits_and_single_hyphens() {
        assert_eq!(Identifier::parse("Orders-1", 63).unwrap().as_str(), "orders-1");
        let long = "a".repeat(64);
        for bad in ["", "1a", "-a", "a-", "a--b", "a_b", "a b", "é", "a.b", long.as_str()] {
            assert!(Identifier::parse(bad, 63).is_err(), "{bad}");
        }
    }

    #[test]
    fn resource_ids_have_their_prefix_and_nothing_that_a_path_could_take_amiss() {
        let id = ClusterResourceId::generate(&Counter);
        assert_eq!(id.as_str().len(), "cluster-".len() + 26);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("db-CQYSMDPBRZ7BPMH7Y3RTDG5QY".parse::<InstanceResourceId>().is_ok());
        assert_eq!(VolumeId::generate(&Counter).as_str().len(), "vol-".len() + 17);
        for bad in ["", "db-", "cluster-A", "db-../x", "db-A/B", "DB-A"] {
            assert!(bad.parse::<InstanceResourceId>().is_err(), "{bad}");
        }
    }
}
