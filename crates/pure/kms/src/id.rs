//! Names of keys as requests give them (spec/kms.md §2).

use std::{fmt, str::FromStr};

use ids::{AccountId, Arn, Region};
use serde::{Deserialize, Serialize};

/// Id of a KMS key: a UUID, or `mrk-` and 32 hex digits.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// What the id of a multi-Region key begins with.
const MULTI_REGION: &str = "mrk-";

/// The text is no key id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Invalid keyId '{0}'")]
pub struct InvalidKeyId(pub String);

impl KeyId {
    /// A new id from 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        Self(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }

    /// A new id of a multi-Region key from 16 random bytes: its related keys have the same.
    pub fn multi_region_from_random(bytes: [u8; 16]) -> Self {
        let uuid = Self::from_random(bytes).0;
        Self(format!("{MULTI_REGION}{}", uuid.replace('-', "")))
    }

    /// Whether keys in several regions can have it.
    pub fn is_multi_region(&self) -> bool {
        self.0.starts_with(MULTI_REGION)
    }

    /// The least of all ids that are made here.
    pub fn first() -> Self {
        Self::from_random([0; 16])
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    /// # Errors
    /// [`InvalidKeyId`] keeps the text as sent, so that the answer can quote it.
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
        let groups: Vec<&str> = text.split('-').collect();
        let uuid = groups.len() == 5
            && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| hex(group, length));
        let multi_region = text.strip_prefix(MULTI_REGION).is_some_and(|rest| hex(rest, 32));
        (uuid || multi_region).then(|| Self(text.into())).ok_or_else(|| InvalidKeyId(text.into()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;
    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

/// A key in its account and region: what its ARN says.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KeyName {
    pub account: AccountId,
    pub region: Region,
    pub id: KeyId,
}

impl KeyName {
    /// `arn:aws:kms:<region>:<account>:key/<id>`
    pub fn arn(&self) -> Arn {
        Arn::aws("kms", self.region.as_str(), self.account.as_str(), format!("key/{}", self.id))
    }

    /// The key with the same id in another region.
    #[must_use]
    pub fn in_region(&self, region: &Region) -> Self {
        Self { region: region.clone(), ..self.clone() }
    }

    /// What is common to the names of all related keys: an ARN without a region for a multi-Region key, that of
    /// the key for any other.
    pub fn shared(&self) -> String {
        if !self.id.is_multi_region() {
            return self.to_string();
        }
        Arn::aws("kms", "", self.account.as_str(), format!("key/{}", self.id)).to_string()
    }

    /// Whether the key that has this name can open what the key with that ARN has sealed: it is the same one, or one
    /// related to it.
    pub fn is_related_to(&self, arn: &str) -> bool {
        let related = || arn.parse::<Arn>().ok()?.region.parse().ok().map(|region| self.in_region(&region));
        self.to_string() == arn
            || self.id.is_multi_region() && related().is_some_and(|name| name.to_string() == arn)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arn().fmt(f)
    }
}

/// An alias in its account and region.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AliasName {
    pub account: AccountId,
    pub region: Region,
    /// With its prefix: `alias/orders`.
    pub name: String,
}

impl AliasName {
    /// `arn:aws:kms:<region>:<account>:alias/<name>`
    pub fn arn(&self) -> Arn {
        Arn::aws("kms", self.region.as_str(), self.account.as_str(), self.name.clone())
    }

    /// Whether the alias is one of an AWS service.
    pub fn is_reserved(&self) -> bool {
        self.name.starts_with("alias/aws/")
    }
}

/// What a `KeyId` parameter names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    Key(KeyName),
    Alias(AliasName),
}

/// Why a `KeyId` parameter names nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadName {
    #[error(transparent)]
    Id(#[from] InvalidKeyId),
    #[error("Invalid arn {0}")]
    OtherRegion(String),
    #[error("{0} is not an ARN of a KMS key or alias")]
    Arn(String),
}

/// Reads a `KeyId` parameter; a bare id or alias means the caller's account and the endpoint's region.
///
/// # Errors
/// [`BadName`], with the texts of spec/kms.md §2.
pub fn read_name(text: &str, account: &AccountId, region: &Region) -> Result<Named, BadName> {
    if let Ok(arn) = text.parse::<Arn>() {
        let bad = || BadName::Arn(text.into());
        if (arn.partition.as_str(), arn.service.as_str()) != ("aws", "kms") {
            return Err(bad());
        }
        if arn.region != region.as_str() {
            return Err(BadName::OtherRegion(arn.region));
        }
        let (account, region) = (arn.account.parse().map_err(|_| bad())?, region.clone());
        return match arn.resource.split_once('/') {
            Some(("key", id)) => Ok(Named::Key(KeyName { account, region, id: id.parse()? })),
            Some(("alias", name)) if !name.is_empty() => {
                Ok(Named::Alias(AliasName { account, region, name: arn.resource }))
            }
            _ => Err(bad()),
        };
    }
    let (account, region) = (account.clone(), region.clone());
    if text.starts_with("alias/") {
        return Ok(Named::Alias(AliasName { account, region, name: text.into() }));
    }
    Ok(Named::Key(KeyName { account, region, id: text.parse()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn read(text: &str) -> Result<String, String> {
        let named = read_name(text, &"111122223333".parse().unwrap(), &"us-west-2".parse().unwrap());
        named
            .map(|named| match named {
                Named::Key(key) => key.to_string(),
                Named::Alias(alias) => alias.arn().to_string(),
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_a_name_is_read() {
        let key = format!("arn:aws:kms:us-west-2:111122223333:key/{ID}");
        assert_eq!(read(ID), Ok(key.clone()));
        assert_eq!(read(&key), Ok(key));
        let alias = "arn:aws:kms:us-west-2:111122223333:alias/orders";
        assert_eq!(read("alias/orders"), Ok(alias.into()));
        assert_eq!(read(alias), Ok(alias.into()));
        assert!(read("mrk-1234abcd12ab34cd56ef1234567890ab").is_ok());
        assert_eq!(read("orders"), Err("Invalid keyId 'orders'".into()));
        assert_eq!(
            read(&format!("arn:aws:kms:eu-west-1:111122223333:key/{ID}")),
            Err("Invalid arn eu-west-1".into())
        );
        assert!(read("arn:aws:rds:us-west-2:111122223333:cluster:x").is_err());
        assert!(read(&format!("arn:aws-cn:kms:us-west-2:111122223333:key/{ID}")).is_err());
    }

    #[test]
    fn new_ids_are_well_formed() {
        assert!(KeyId::from_random([0xff; 16]).as_str().parse::<KeyId>().is_ok());
        assert_eq!(KeyId::from_random([0; 16]).as_str(), "00000000-0000-4000-8000-000000000000");
        let shared = KeyId::multi_region_from_random([0xff; 16]);
        assert!(shared.as_str().parse::<KeyId>().is_ok_and(|id| id.is_multi_region()));
        assert_eq!(shared.as_str(), "mrk-ffffffffffff4fffbfffffffffffffff");
    }

    #[test]
    fn keys_with_one_multi_region_id_in_one_account_are_related_and_no_others() {
        let name = |region: &str, id: &str| KeyName {
            account: "111122223333".parse().unwrap(),
            region: region.parse().unwrap(),
            id: id.parse().unwrap(),
        };
        let shared = "mrk-1234abcd12ab34cd56ef1234567890ab";
        let (here, there) = (name("us-west-2", shared), name("eu-west-1", shared));
        assert!(here.is_related_to(&here.to_string()) && here.is_related_to(&there.to_string()));
        assert_eq!((here.shared(), here.in_region(&there.region)), (there.shared(), there.clone()));
        assert_eq!(here.shared(), format!("arn:aws:kms::111122223333:key/{shared}"));
        let (single, other) = (name("us-west-2", ID), name("eu-west-1", ID));
        assert!(single.is_related_to(&single.to_string()) && !single.is_related_to(&other.to_string()));
        assert_eq!(single.shared(), single.to_string());
        for foreign in [
            there.to_string().replace("111122223333", "444455556666"),
            there.to_string().replace("arn:aws:", "arn:aws-cn:"),
            there.to_string().replace("eu-west-1", ""),
            there.to_string().replace("mrk-1", "mrk-2"),
            String::new(),
        ] {
            assert!(!here.is_related_to(&foreign), "{foreign}");
        }
    }
}
