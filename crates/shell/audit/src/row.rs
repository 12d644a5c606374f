//! What the index keeps of a record. Every record passes through here: no more of it is read than that needs.

use ids::{AccountId, Region, Timestamp};
use serde::Deserialize;
use trail::{Record, Resource, UserIdentity, listed_names, names_by_members, resource_names};

/// The members that a lookup asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub user_identity: UserIdentity,
    pub event_time: Timestamp,
    pub event_source: String,
    pub event_name: String,
    pub aws_region: Region,
    #[serde(rename = "eventID")]
    pub event_id: String,
    pub read_only: bool,
    #[serde(default)]
    resources: Vec<Resource>,
    pub recipient_account_id: AccountId,
    /// Kinds and names of resources.
    #[serde(skip)]
    pub names: Vec<(String, String)>,
}

impl Row {
    /// # Errors
    /// For what is no record.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, serde_json::Error> {
        let mut row: Self = serde_json::from_slice(payload)?;
        row.names = if names_by_members(&row.event_source) {
            resource_names(&serde_json::from_slice::<Record>(payload)?)
        } else {
            listed_names(&row.resources)
        };
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_the_names_of_its_record() {
        for source in ["kms.amazonaws.com", "rds.amazonaws.com", "iam.amazonaws.com"] {
            let record = json!({
                "eventVersion": "1.11", "userIdentity": {"type": "Root", "sessionContext": {"a": [1]}},
                "eventTime": "2026-01-05T10:15:00Z", "eventSource": source, "eventName": "X",
                "awsRegion": "us-west-2", "sourceIPAddress": "127.0.0.1",
                "requestParameters": {"userName": "dba", "dBClusterIdentifier": "orders"}, "responseElements": null,
                "eventID": "e", "readOnly": true,
                "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key",
                               "ARN": "arn:aws:kms:us-west-2:111122223333:key/k1"}],
                "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
                "eventCategory": "Management"
            });
            let payload = record.to_string();
            let whole: Record = serde_json::from_value(record).unwrap();
            let row = Row::read(payload.as_bytes()).unwrap();
            assert_eq!(row.names, resource_names(&whole), "{source}");
            assert_eq!((row.user_identity.username(), row.event_time), (Some("root"), whole.event_time));
        }
    }
}
