//! Who used a key, for which database, and how: records grouped for people (`strongroom why`).

use std::collections::BTreeMap;

use ids::Timestamp;
use serde_json::Value;

use crate::record::Record;

/// What the uses in a group have in common.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Purpose {
    /// The encryption context as `key=value`, sorted; empty where a call had none.
    pub context: String,
    /// User ARN, `… via rds.amazonaws.com`, or the service.
    pub principal: String,
    pub operation: String,
    /// The error code, if the calls were refused.
    pub refused: Option<String>,
}

/// How often and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uses {
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Groups the uses of the key named by `arn`.
pub fn uses<'a>(records: impl IntoIterator<Item = &'a Record>, arn: &str) -> BTreeMap<Purpose, Uses> {
    let mut groups: BTreeMap<Purpose, Uses> = BTreeMap::new();
    for record in records.into_iter().filter(|r| r.resources.iter().any(|resource| resource.arn == arn)) {
        let purpose = Purpose {
            context: context(record),
            principal: principal(record),
            operation: record.event_name.clone(),
            refused: record.error_code.clone(),
        };
        let at = record.event_time;
        let uses = groups.entry(purpose).or_insert(Uses { count: 0, first: at, last: at });
        uses.count += 1;
        uses.first = uses.first.min(at);
        uses.last = uses.last.max(at);
    }
    groups
}

fn principal(record: &Record) -> String {
    let identity = &record.user_identity;
    let service = identity.invoked_by.as_deref();
    match (identity.arn.as_deref().or(identity.principal_id.as_deref()), service) {
        (Some(who), Some(service)) => format!("{who} via {service}"),
        (Some(who), None) => who.into(),
        (None, service) => service.unwrap_or("unknown").into(),
    }
}

fn context(record: &Record) -> String {
    let Some(parameters) = &record.request_parameters else { return String::new() };
    let constraints = parameters.get("constraints").and_then(Value::as_object);
    let places = [
        parameters.get("encryptionContext"),
        parameters.get("destinationEncryptionContext"),
        parameters.get("sourceEncryptionContext"),
        constraints.and_then(|c| c.get("encryptionContextSubset")),
        constraints.and_then(|c| c.get("encryptionContextEquals")),
    ];
    let Some(pairs) = places.into_iter().flatten().find_map(Value::as_object) else { return String::new() };
    let mut pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort();
    pairs.join(" ")
}
