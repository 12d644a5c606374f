//! What is told of a key (`KeyMetadata`, spec/kms.md §5).

use ids::Timestamp;
use kms::{Import, Key, KeySpec, KeyState, KeyUsage, Manager, Origin};
use serde::Serialize;

/// What is told of any key.
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
    key_usage: KeyUsage,
    key_state: KeyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<Timestamp>,
    origin: Origin,
    /// When imported material goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    key_manager: Manager,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_master_key_spec: Option<KeySpec>,
    key_spec: KeySpec,
    #[serde(flatten)]
    algorithms: Algorithms,
    multi_region: bool,
    /// Of symmetric keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<String>,
}

/// The algorithms of a key: the usage says in which member.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Algorithms {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_algorithms: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_algorithms: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_algorithms: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_agreement_algorithms: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    encapsulation_algorithms: Names,
}

type Names = Option<&'static [&'static str]>;

impl From<&Key> for Algorithms {
    fn from(key: &Key) -> Self {
        let names = Some(key.algorithms());
        match key.usage {
            KeyUsage::EncryptDecrypt => Self { encryption_algorithms: names, ..Self::default() },
            KeyUsage::SignVerify => Self { signing_algorithms: names, ..Self::default() },
            KeyUsage::GenerateVerifyMac => Self { mac_algorithms: names, ..Self::default() },
            KeyUsage::KeyAgreement => Self { key_agreement_algorithms: names, ..Self::default() },
            KeyUsage::EncapsulateDecapsulate => Self { encapsulation_algorithms: names, ..Self::default() },
        }
    }
}

/// Whether imported material goes by itself, as AWS says it.
pub const fn expiration_model(import: &Import) -> &'static str {
    if import.expires.is_some() { "KEY_MATERIAL_EXPIRES" } else { "KEY_MATERIAL_DOES_NOT_EXPIRE" }
}

/// The import of the current material, while that is there.
fn current_import(key: &Key) -> Option<&Import> {
    key.materials.last().and_then(|material| material.imported.as_ref()).filter(|import| import.present)
}

impl From<&Key> for KeyMetadata {
    fn from(key: &Key) -> Self {
        let imported = current_import(key);
        Self {
            account: key.name.account.to_string(),
            key_id: key.name.id.to_string(),
            arn: key.name.to_string(),
            creation_date: key.created,
            enabled: key.state == KeyState::Enabled,
            description: key.description.clone(),
            key_usage: key.usage,
            key_state: key.state,
            deletion_date: key.deletion,
            origin: key.origin,
            valid_to: imported.and_then(|import| import.expires),
            expiration_model: imported.map(expiration_model),
            key_manager: key.manager,
            customer_master_key_spec: key.spec.if_old(),
            key_spec: key.spec,
            algorithms: Algorithms::from(key),
            multi_region: false,
            current_key_material_id: (key.spec == KeySpec::Symmetric && !key.materials.is_empty())
                .then(|| key.current_material().to_owned()),
        }
    }
}
