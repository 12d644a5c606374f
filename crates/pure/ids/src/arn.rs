//! Amazon Resource Names: `arn:partition:service:region:account:resource`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A resource name, in its six parts. Region and account may be empty (`arn:aws:iam::…`, `arn:aws:s3:::…`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    pub partition: String,
    pub service: String,
    pub region: String,
    pub account: String,
    pub resource: String,
}

/// The text does not have the six parts of an ARN.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not an ARN")]
pub struct InvalidArn(pub String);

impl Arn {
    /// An ARN of partition `aws`.
    pub fn aws(service: &str, region: &str, account: &str, resource: impl Into<String>) -> Self {
        Self {
            partition: "aws".into(),
            service: service.into(),
            region: region.into(),
            account: account.into(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl FromStr for Arn {
    type Err = InvalidArn;
    /// # Errors
    /// [`InvalidArn`] if a part is missing, or the partition, service or resource is empty.
    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned);
        let invalid = || InvalidArn(text.into());
        if next().as_deref() != Some("arn") {
            return Err(invalid());
        }
        let (Some(partition), Some(service), Some(region), Some(account), Some(resource)) =
            (next(), next(), next(), next(), next())
        else {
            return Err(invalid());
        };
        if partition.is_empty() || service.is_empty() || resource.is_empty() {
            return Err(invalid());
        }
        Ok(Self { partition, service, region, account, resource })
    }
}

impl TryFrom<String> for Arn {
    type Error = InvalidArn;
    fn try_from(text: String) -> Result<Self, InvalidArn> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_keeps_its_colons() {
        let arn: Arn = "arn:aws:rds:us-west-2:111122223333:cluster-snapshot:rds:x".parse().unwrap();
        assert_eq!(arn.resource, "cluster-snapshot:rds:x");
        assert_eq!(arn.to_string(), "arn:aws:rds:us-west-2:111122223333:cluster-snapshot:rds:x");
    }

    #[test]
    fn missing_parts_are_refused() {
        for bad in [
            "",
            "arn",
            "arn:aws:kms",
            "arn:aws:kms:r:a",
            "arn:aws:kms:r:a:",
            "arn::kms:r:a:x",
            "x:aws:kms:r:a:b",
        ] {
            assert!(bad.parse::<Arn>().is_err(), "{bad}");
        }
    }
}
