//! Who used a key, for which database, and how: records grouped for people (`strongroom why`).

use std::collections::BTreeMap;

use ids::Timestamp;
use serde_json::{Map, Value};

use crate::record::Record;

/// What the uses in a group have in common.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Purpose {
    /// Empty where a call had none.
    pub encryption_context: BTreeMap<String, String>,
    /// The ARN of a user, a role's session or a root user; a service that acts by itself.
    pub principal: String,
    /// The service that called for the principal.
    pub via: Option<String>,
    pub operation: String,
}

/// How often and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Uses {
    /// All of them, refused ones too.
    pub count: u64,
    /// How many were refused, by error code.
    pub refused: BTreeMap<String, u64>,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// The uses of one key, and the names of the databases that they were for.
#[derive(Clone, Debug)]
pub struct KeyUses {
    key_arn: String,
    groups: BTreeMap<Purpose, Uses>,
    databases: BTreeMap<String, String>,
}

impl KeyUses {
    /// None yet.
    pub fn of(key_arn: &str) -> Self {
        Self { key_arn: key_arn.into(), groups: BTreeMap::new(), databases: BTreeMap::new() }
    }

    /// Takes a record in, whatever it tells of.
    pub fn add(&mut self, record: &Record) {
        self.learn_names(record);
        // The owner's copy of a foreign call tells less than the caller's.
        let copy = record.user_identity.kind.as_deref() == Some("AWSAccount");
        if copy || !concerns(record, &self.key_arn) {
            return;
        }
        let at = record.event_time;
        let uses = self.groups.entry(purpose(record)).or_insert_with(|| Uses {
            count: 0,
            refused: BTreeMap::new(),
            first: at,
            last: at,
        });
        uses.count += 1;
        uses.first = uses.first.min(at);
        uses.last = uses.last.max(at);
        if let Some(code) = &record.error_code {
            *uses.refused.entry(code.clone()).or_default() += 1;
        }
    }

    /// The groups, those of one database together.
    pub const fn groups(&self) -> &BTreeMap<Purpose, Uses> {
        &self.groups
    }

    /// The name that a cluster or instance had last, by its resource id (`cluster-…`, `db-…`).
    pub fn database(&self, resource_id: &str) -> Option<&str> {
        self.databases.get(resource_id).map(String::as_str)
    }

    /// Answers of RDS tell which resource id belongs to which name.
    fn learn_names(&mut self, record: &Record) {
        let Some(answer) = record.response_elements.as_ref().and_then(Value::as_object) else { return };
        for (id, name) in
            [("dbClusterResourceId", "dBClusterIdentifier"), ("dbiResourceId", "dBInstanceIdentifier")]
        {
            if let (Some(id), Some(name)) = (text(answer, id), text(answer, name)) {
                self.databases.insert(id.into(), name.into());
            }
        }
    }
}

/// A denial lists no resources, and its text names the key.
fn concerns(record: &Record, key_arn: &str) -> bool {
    let named = |text: &String| text.split_whitespace().any(|word| word == key_arn);
    record.resources.iter().any(|resource| resource.arn == key_arn)
        || (record.error_code.is_some() && record.error_message.as_ref().is_some_and(named))
}

fn purpose(record: &Record) -> Purpose {
    let identity = &record.user_identity;
    let service = identity.invoked_by.clone();
    let who = identity.arn.clone().or_else(|| identity.principal_id.clone());
    let (principal, via) = match (who, service) {
        (Some(who), service) => (who, service),
        (None, Some(service)) => (service, None),
        (None, None) => ("unknown".into(), None),
    };
    Purpose { encryption_context: context(record), principal, via, operation: record.event_name.clone() }
}

fn context(record: &Record) -> BTreeMap<String, String> {
    let Some(parameters) = &record.request_parameters else { return BTreeMap::new() };
    let constraints = parameters.get("constraints").and_then(Value::as_object);
    let places = [
        parameters.get("encryptionContext"),
        parameters.get("destinationEncryptionContext"),
        parameters.get("sourceEncryptionContext"),
        constraints.and_then(|c| c.get("encryptionContextSubset")),
        constraints.and_then(|c| c.get("encryptionContextEquals")),
    ];
    let pairs = places.into_iter().flatten().find_map(Value::as_object);
    let texts = pairs.into_iter().flatten();
    texts.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/k1";

    fn record(time: &str, changes: Value) -> Record {
        let mut record = json!({
            "eventVersion": "1.11", "userIdentity": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"},
            "eventTime": time, "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
            "awsRegion": "us-west-2", "sourceIPAddress": "rds.amazonaws.com",
            "requestParameters": {"encryptionContext": {"aws:rds:db-id": "db-A", "aws:ebs:id": "vol-1"}},
            "responseElements": null, "eventID": "e", "readOnly": true,
            "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY}],
            "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
            "eventCategory": "Management"
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    fn user() -> Value {
        json!({"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/dba", "invokedBy": "rds.amazonaws.com"})
    }

    #[test]
    fn uses_are_grouped_by_who_how_and_for_what() {
        let mut uses = KeyUses::of(KEY);
        uses.add(&record("2026-01-05T10:00:00Z", json!({})));
        uses.add(&record("2026-01-05T09:00:00Z", json!({})));
        uses.add(&record("2026-01-05T11:00:00Z", json!({"errorCode": "DisabledException"})));
        uses.add(&record("2026-01-05T10:00:00Z", json!({"userIdentity": user()})));
        let other = json!([{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "arn:other"}]);
        uses.add(&record("2026-01-05T10:00:00Z", json!({"resources": other})));
        let groups: Vec<_> = uses.groups().iter().collect();
        let [(by_user, _), (by_service, told)] = groups[..] else { panic!("{groups:?}") };
        assert_eq!(by_user.principal, "arn:aws:iam::111122223333:user/dba");
        assert_eq!(by_user.via.as_deref(), Some("rds.amazonaws.com"));
        assert_eq!((by_service.principal.as_str(), &by_service.via), ("rds.amazonaws.com", &None));
        assert_eq!(by_service.encryption_context["aws:ebs:id"], "vol-1");
        assert_eq!((told.count, told.refused["DisabledException"]), (3, 1));
        assert_eq!(told.first.iso8601_seconds(), "2026-01-05T09:00:00Z");
        assert_eq!(told.last.iso8601_seconds(), "2026-01-05T11:00:00Z");
    }

    #[test]
    fn a_denial_counts_though_it_lists_no_resource() {
        let mut uses = KeyUses::of(KEY);
        let denied = |arn: &str| {
            let message =
                format!("User: u is not authorized to perform: kms:Decrypt on resource: {arn} because no");
            json!({"resources": [], "requestParameters": null, "errorCode": "AccessDenied", "errorMessage": message})
        };
        uses.add(&record("2026-01-05T10:00:00Z", denied(KEY)));
        uses.add(&record("2026-01-05T10:00:00Z", denied(&format!("{KEY}2"))));
        let told: Vec<_> = uses.groups().values().collect();
        assert_eq!((told.len(), told[0].count, told[0].refused["AccessDenied"]), (1, 1, 1));
    }

    #[test]
    fn a_foreign_use_counts_once_and_databases_are_named_by_the_answers_of_rds() {
        let mut uses = KeyUses::of(KEY);
        uses.add(&record("2026-01-05T10:00:00Z", json!({"userIdentity": {"type": "AWSAccount"}})));
        assert!(uses.groups().is_empty());
        let answer = json!({"dBInstanceIdentifier": "orders-1", "dbiResourceId": "db-A"});
        uses.add(&record("2026-01-05T10:00:00Z", json!({"resources": [], "responseElements": answer})));
        assert_eq!(uses.database("db-A"), Some("orders-1"));
        assert_eq!(uses.database("db-B"), None);
    }
}
