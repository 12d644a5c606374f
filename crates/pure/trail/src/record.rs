//! A CloudTrail record, in CloudTrail's own field layout (spec/trail.md §1, §2).

use ids::{AccountId, Region, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::authorization::Authorization;

/// The layout that records here follow.
pub const EVENT_VERSION: &str = "1.11";

/// One record. Field order is that of AWS's examples.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub event_version: String,
    pub user_identity: UserIdentity,
    /// When the call ended, to the second.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub event_time: Timestamp,
    /// `kms.amazonaws.com`
    pub event_source: String,
    pub event_name: String,
    pub aws_region: Region,
    #[serde(rename = "sourceIPAddress")]
    pub source_ip_address: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_message: Option<String>,
    pub request_parameters: Option<Map<String, Value>>,
    pub response_elements: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub additional_event_data: Option<Map<String, Value>>,
    /// Service events have none.
    #[serde(rename = "requestID", skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
    #[serde(rename = "eventID")]
    pub event_id: String,
    pub read_only: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub resources: Vec<Resource>,
    pub event_type: EventType,
    pub management_event: bool,
    pub recipient_account_id: AccountId,
    #[serde(rename = "sharedEventID", skip_serializing_if = "Option::is_none", default)]
    pub shared_event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_event_details: Option<Map<String, Value>>,
    pub event_category: String,
    /// What the policies were asked for the call, and why they said what they said. For the operator of the server
    /// (`strongroom explain`) and for DecodeAuthorizationMessage; CloudTrail's own records have no such member.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub authorization: Vec<Authorization>,
}

/// Who made a call.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity {
    /// `IAMUser`, `AssumedRole`, `Root`, `AWSService`, `AWSAccount`; service events have none.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account_id: Option<AccountId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_context: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invoked_by: Option<String>,
}

/// A resource that a call concerned.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub account_id: AccountId,
    /// `AWS::KMS::Key`
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(rename = "ARN")]
    pub arn: String,
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum EventType {
    AwsApiCall,
    AwsServiceEvent,
}

/// What a service does by itself, on a timer: the end of a waiting period, a rotation.
#[derive(Clone, Debug)]
pub struct ServiceEvent {
    pub event_id: String,
    pub at: Timestamp,
    /// `kms.amazonaws.com`
    pub source: String,
    /// `RotateKey`
    pub name: String,
    pub region: Region,
    pub account: AccountId,
    pub resources: Vec<Resource>,
    pub details: Option<Map<String, Value>>,
}

impl From<ServiceEvent> for Record {
    fn from(event: ServiceEvent) -> Self {
        let internal = || Some("AWS Internal".to_owned());
        Self {
            event_version: EVENT_VERSION.into(),
            user_identity: UserIdentity {
                account_id: Some(event.account.clone()),
                invoked_by: internal(),
                ..UserIdentity::default()
            },
            event_time: event.at,
            event_source: event.source,
            event_name: event.name,
            aws_region: event.region,
            source_ip_address: "AWS Internal".into(),
            user_agent: internal(),
            error_code: None,
            error_message: None,
            request_parameters: None,
            response_elements: None,
            additional_event_data: None,
            request_id: None,
            event_id: event.event_id,
            read_only: false,
            resources: event.resources,
            event_type: EventType::AwsServiceEvent,
            management_event: true,
            recipient_account_id: event.account,
            shared_event_id: None,
            service_event_details: event.details,
            event_category: "Management".into(),
            authorization: Vec::new(),
        }
    }
}

impl Record {
    /// The record as CloudTrail would tell it.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.authorization.clear();
        self
    }

    /// As [`UserIdentity::username`].
    pub fn username(&self) -> Option<&str> {
        self.user_identity.username()
    }
}

impl UserIdentity {
    /// The name that LookupEvents finds a caller by: the user's, the session's, `root`; none for services
    /// (spec/trail.md §5).
    pub fn username(&self) -> Option<&str> {
        match self.kind.as_deref() {
            Some("IAMUser") => self.user_name.as_deref(),
            Some("Root") => Some("root"),
            Some("AssumedRole" | "FederatedUser") => {
                self.principal_id.as_deref()?.split_once(':').map(|(_, s)| s)
            }
            _ => None,
        }
    }
}

/// `DBClusterIdentifier` → `dBClusterIdentifier`: only the first letter is lowered (spec/trail.md §1).
pub fn lower_camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}

/// Lowers the first letter of every member name, down to the last structure. Keys of maps that are data
/// (encryption contexts, tags) must not pass through here.
pub fn lower_camel_members(value: Value, is_map: &impl Fn(&str) -> bool) -> Value {
    match value {
        Value::Object(members) => {
            let lowered = members.into_iter().map(|(name, member)| {
                let member = if is_map(&name) { member } else { lower_camel_members(member, is_map) };
                (lower_camel(&name), member)
            });
            Value::Object(lowered.collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| lower_camel_members(item, is_map)).collect())
        }
        other => other,
    }
}

/// `Jan 2, 2026, 3:04:05 PM`: an instant inside parameters and answers (spec/trail.md §1).
pub fn written_date(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let iso = at.iso8601_seconds();
    let number = |from: usize, to: usize| {
        iso.get(from..to).and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0)
    };
    let (month, day, hour) = (number(5, 7), number(8, 10), number(11, 13));
    let half = if hour < 12 { "AM" } else { "PM" };
    let month = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    let (year, minutes) = (iso.get(..4).unwrap_or_default(), iso.get(13..19).unwrap_or_default());
    format!("{month} {day}, {year}, {}{minutes} {half}", (hour + 11) % 12 + 1)
}

fn write_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.iso8601_seconds())
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Timestamp::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_the_format_read_and_write_back() {
        let text = r#"{"eventVersion":"1.11","userIdentity":{"type":"AWSService","invokedBy":"rds.amazonaws.com"},"eventTime":"2026-01-05T10:15:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"us-west-2","sourceIPAddress":"rds.amazonaws.com","userAgent":"rds.amazonaws.com","requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"additionalEventData":{"keyMaterialId":"96"},"requestID":"r","eventID":"e","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(record.username(), None);
    }

    #[test]
    fn dates_inside_a_record_are_written_for_people() {
        for (iso, written) in [
            ("2026-01-02T03:04:05Z", "Jan 2, 2026, 3:04:05 AM"),
            ("2022-08-10T22:38:27Z", "Aug 10, 2022, 10:38:27 PM"),
            ("2026-12-31T00:00:00Z", "Dec 31, 2026, 12:00:00 AM"),
            ("2026-12-31T12:00:00Z", "Dec 31, 2026, 12:00:00 PM"),
        ] {
            assert_eq!(written_date(Timestamp::parse(iso).unwrap()), written);
        }
    }

    #[test]
    fn only_the_first_letter_is_lowered_and_maps_keep_their_keys() {
        assert_eq!(lower_camel("DBClusterIdentifier"), "dBClusterIdentifier");
        let value = json!({"KeyId": "k", "EncryptionContext": {"Key": "V"}, "Tags": [{"TagKey": "A"}]});
        let lowered = lower_camel_members(value, &|name| name == "EncryptionContext");
        assert_eq!(
            lowered,
            json!({"keyId": "k", "encryptionContext": {"Key": "V"}, "tags": [{"tagKey": "A"}]})
        );
    }
}
