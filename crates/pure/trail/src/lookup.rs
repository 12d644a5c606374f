//! Finding records as LookupEvents does (spec/trail.md §5).

use crate::record::Record;

/// The one attribute that a lookup may name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attribute {
    EventId(String),
    EventName(String),
    ReadOnly(String),
    Username(String),
    ResourceType(String),
    ResourceName(String),
    EventSource(String),
    AccessKeyId(String),
}

/// The attribute's name is none of LookupEvents'.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not an attribute to look up by")]
pub struct UnknownAttribute(pub String);

impl Attribute {
    /// # Errors
    /// [`UnknownAttribute`].
    pub fn new(key: &str, value: String) -> Result<Self, UnknownAttribute> {
        Ok(match key {
            "EventId" => Self::EventId(value),
            "EventName" => Self::EventName(value),
            "ReadOnly" => Self::ReadOnly(value),
            "Username" => Self::Username(value),
            "ResourceType" => Self::ResourceType(value),
            "ResourceName" => Self::ResourceName(value),
            "EventSource" => Self::EventSource(value),
            "AccessKeyId" => Self::AccessKeyId(value),
            _ => return Err(UnknownAttribute(key.into())),
        })
    }

    /// Exact and case-sensitive.
    pub fn matches(&self, record: &Record) -> bool {
        match self {
            Self::EventId(wanted) => record.event_id == *wanted,
            Self::EventName(wanted) => record.event_name == *wanted,
            Self::ReadOnly(wanted) => record.read_only.to_string() == *wanted,
            Self::Username(wanted) => record.username() == Some(wanted),
            Self::ResourceType(wanted) => resource_names(record).iter().any(|(kind, _)| kind == wanted),
            Self::ResourceName(wanted) => resource_names(record).iter().any(|(_, name)| name == wanted),
            Self::EventSource(wanted) => record.event_source == *wanted,
            Self::AccessKeyId(wanted) => record.user_identity.access_key_id.as_ref() == Some(wanted),
        }
    }
}

/// Types and names by which a record's resources are found: a key by its ARN and by its bare id, everything
/// else by its ARN and by the identifier at its end.
pub fn resource_names(record: &Record) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for resource in &record.resources {
        names.push((resource.kind.clone(), resource.arn.clone()));
        let after_account = resource.arn.splitn(6, ':').nth(5).unwrap_or_default();
        if let Some((_, id)) = after_account.split_once(['/', ':']) {
            names.push((resource.kind.clone(), id.to_owned()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        serde_json::from_value(serde_json::json!({
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "userName": "dba", "accessKeyId": "AKIA1"},
            "eventTime": "2026-01-05T10:15:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
            "awsRegion": "us-west-2", "sourceIPAddress": "127.0.0.1", "requestParameters": null,
            "responseElements": null, "eventID": "e1", "readOnly": true,
            "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key",
                           "ARN": "arn:aws:kms:us-west-2:111122223333:key/k1"}],
            "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
            "eventCategory": "Management"
        }))
        .unwrap()
    }

    #[test]
    fn every_attribute_matches_exactly() {
        for (key, value) in [
            ("EventId", "e1"),
            ("EventName", "Decrypt"),
            ("ReadOnly", "true"),
            ("Username", "dba"),
            ("ResourceType", "AWS::KMS::Key"),
            ("ResourceName", "k1"),
            ("ResourceName", "arn:aws:kms:us-west-2:111122223333:key/k1"),
            ("EventSource", "kms.amazonaws.com"),
            ("AccessKeyId", "AKIA1"),
        ] {
            assert!(Attribute::new(key, value.into()).unwrap().matches(&record()), "{key}");
            assert!(!Attribute::new(key, value.to_uppercase() + "x").unwrap().matches(&record()), "{key}");
        }
        assert!(Attribute::new("Nonsense", String::new()).is_err());
    }
}
