//! Why a call was allowed or denied: what a record keeps of each question that the policies were asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One question and its answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// `kms:Decrypt`
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    pub allowed: bool,
    /// Whether a grant on the key covered it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub granted: bool,
    /// The statement that denied, or those that had to allow and did.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by: Vec<DecidedBy>,
    /// Of a denial: `because no identity-based policy allows the kms:Decrypt action`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Of a denial: statements that would have allowed it if something had been different.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub near_misses: Vec<NearMiss>,
    /// Of a denial: the condition keys that the request had, in lower case, with their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub context: BTreeMap<String, Vec<String>>,
}

/// A statement of a policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidedBy {
    /// `identity-based policy`, `resource-based policy`, `permissions boundary`, `session policy`.
    pub kind: String,
    /// `arn:aws:iam::111122223333:policy/ops`, `inline policy use of role/app`, `key policy`.
    pub policy: String,
    /// Its `Sid`, or its number: `#1`.
    pub statement: String,
}

/// A statement that speaks of the caller and the action and does not apply.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    #[serde(flatten)]
    pub statement: DecidedBy,
    /// `Resource`, or the conditions that do not hold with what the request has.
    pub why: Vec<String>,
}
