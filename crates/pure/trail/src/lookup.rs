//! Finding records as LookupEvents does (spec/trail.md §5).

use serde_json::{Map, Value};

use crate::record::{Record, Resource};

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

/// Members of parameters and answers that name a resource, and the kind of it.
const NAMING: [(&str, &str, &str); 14] = [
    ("rds.amazonaws.com", "dBClusterIdentifier", DB_CLUSTER),
    ("rds.amazonaws.com", "sourceDBClusterIdentifier", DB_CLUSTER),
    ("rds.amazonaws.com", "dBClusterArn", DB_CLUSTER),
    ("rds.amazonaws.com", "dBInstanceIdentifier", DB_INSTANCE),
    ("rds.amazonaws.com", "dBInstanceArn", DB_INSTANCE),
    ("rds.amazonaws.com", "dBClusterSnapshotIdentifier", DB_CLUSTER_SNAPSHOT),
    ("rds.amazonaws.com", "snapshotIdentifier", DB_CLUSTER_SNAPSHOT),
    ("rds.amazonaws.com", "dBClusterSnapshotArn", DB_CLUSTER_SNAPSHOT),
    ("iam.amazonaws.com", "userName", "AWS::IAM::User"),
    ("iam.amazonaws.com", "accessKeyId", "AWS::IAM::AccessKey"),
    ("iam.amazonaws.com", "roleName", "AWS::IAM::Role"),
    ("iam.amazonaws.com", "policyName", "AWS::IAM::Policy"),
    ("iam.amazonaws.com", "policyArn", "AWS::IAM::Policy"),
    ("sts.amazonaws.com", "roleArn", "AWS::IAM::Role"),
];
const DB_CLUSTER: &str = "AWS::RDS::DBCluster";
const DB_INSTANCE: &str = "AWS::RDS::DBInstance";
const DB_CLUSTER_SNAPSHOT: &str = "AWS::RDS::DBClusterSnapshot";

/// Whether parameters and answers of a source name resources (`kms.amazonaws.com` lists all of its own).
pub fn names_by_members(event_source: &str) -> bool {
    NAMING.iter().any(|(source, ..)| *source == event_source)
}

/// Types and names by which a record's resources are found, each once: a key by its ARN and by its bare id;
/// what RDS and IAM work on by the names in parameters and answer, as their records list no resources.
pub fn resource_names(record: &Record) -> Vec<(String, String)> {
    let mut names = listed_names(&record.resources);
    let mut add = |kind: &str, name: &str| add(&mut names, kind, name);
    let response = record.response_elements.as_ref().and_then(Value::as_object);
    // The answers of IAM wrap what they tell in one member: `user`, `accessKey`.
    let wrapped = response.into_iter().flat_map(Map::values).filter_map(Value::as_object);
    for members in record.request_parameters.as_ref().into_iter().chain(response).chain(wrapped) {
        for (source, member, kind) in NAMING {
            let name = members.get(member).and_then(Value::as_str).filter(|_| record.event_source == source);
            name.into_iter().for_each(|name| add(kind, name));
        }
    }
    names
}

/// Those of the resources that a record lists.
pub fn listed_names(resources: &[Resource]) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for resource in resources {
        add(&mut names, &resource.kind, &resource.arn);
        let after_account = resource.arn.splitn(6, ':').nth(5).unwrap_or_default();
        if let Some((_, id)) = after_account.split_once(['/', ':']) {
            add(&mut names, &resource.kind, id);
        }
    }
    names
}

fn add(names: &mut Vec<(String, String)>, kind: &str, name: &str) {
    if !names.iter().any(|(k, n)| k == kind && n == name) {
        names.push((kind.into(), name.into()));
    }
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

    #[test]
    fn clusters_and_users_are_found_by_what_parameters_and_answers_name() {
        let mut record = record();
        record.resources.clear();
        record.event_source = "rds.amazonaws.com".into();
        record.request_parameters = serde_json::json!({"dBClusterIdentifier": "orders"}).as_object().cloned();
        record.response_elements = Some(serde_json::json!({
            "dBClusterIdentifier": "orders", "dBClusterArn": "arn:aws:rds:us-west-2:111122223333:cluster:orders",
        }));
        let kind = "AWS::RDS::DBCluster".to_owned();
        let arn = "arn:aws:rds:us-west-2:111122223333:cluster:orders".to_owned();
        assert_eq!(resource_names(&record), [(kind.clone(), "orders".to_owned()), (kind, arn)]);
        record.event_source = "iam.amazonaws.com".into();
        record.request_parameters = None;
        record.response_elements = Some(serde_json::json!({"user": {"userName": "dba"}}));
        assert_eq!(resource_names(&record), [("AWS::IAM::User".to_owned(), "dba".to_owned())]);
    }
}
