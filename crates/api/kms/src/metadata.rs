//! What is told of a key (`KeyMetadata`, spec/kms.md §5).

use ids::Timestamp;
use kms::{Key, KeyState, Manager, SYMMETRIC};
use serde::Serialize;

/// The members of a symmetric key for encryption.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    account: String,
    /// The bare id.
    key_id: String,
    arn: String,
    creation_date: Timestamp,
    enabled: bool,
    description: String,
    key_usage: &'static str,
    key_state: KeyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<Timestamp>,
    origin: &'static str,
    key_manager: Manager,
    customer_master_key_spec: &'static str,
    key_spec: &'static str,
    encryption_algorithms: [&'static str; 1],
    multi_region: bool,
    current_key_material_id: String,
}

impl From<&Key> for KeyMetadata {
    fn from(key: &Key) -> Self {
        let (spec, usage) = SYMMETRIC;
        Self {
            account: key.name.account.to_string(),
            key_id: key.name.id.to_string(),
            arn: key.name.to_string(),
            creation_date: key.created,
            enabled: key.state == KeyState::Enabled,
            description: key.description.clone(),
            key_usage: usage,
            key_state: key.state,
            deletion_date: key.deletion,
            origin: "AWS_KMS",
            key_manager: key.manager,
            customer_master_key_spec: spec,
            key_spec: spec,
            encryption_algorithms: [crate::crypt::ALGORITHM],
            multi_region: false,
            current_key_material_id: key.current_material().to_owned(),
        }
    }
}
