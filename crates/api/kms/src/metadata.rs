//! What is told of a key (`KeyMetadata`, spec/kms.md §5).

use ids::Timestamp;
use kms::{Import, Key, KeyName, KeySpec, KeyState, KeyUsage, Manager, MultiRegion, Origin};
use serde::Serialize;

use crate::registry::Kms;

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
    /// Of a primary that waits for the deletion of its replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_deletion_window_in_days: Option<u32>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_region_configuration: Option<MultiRegionConfiguration>,
    /// Of symmetric keys whose material is here alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_key_store_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xks_key_configuration: Option<XksKeyConfiguration>,
}

/// The external key behind a key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct XksKeyConfiguration {
    id: String,
}

/// A multi-Region key and all that are related to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionConfiguration {
    multi_region_key_type: MultiRegion,
    primary_key: RelatedKey,
    replica_keys: Vec<RelatedKey>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RelatedKey {
    arn: String,
    region: String,
}

impl From<&KeyName> for RelatedKey {
    fn from(name: &KeyName) -> Self {
        Self { arn: name.to_string(), region: name.region.to_string() }
    }
}

impl MultiRegionConfiguration {
    fn of(kms: &Kms, key: &Key) -> Option<Self> {
        let multi_region_key_type = key.multi_region?;
        let others = kms.others(&key.name);
        let all = others.iter().map(|entry| &entry.key).chain([key]);
        let (replicas, primaries): (Vec<_>, Vec<_>) = all.partition(|related| related.is_replica());
        let mut replicas: Vec<_> = replicas.into_iter().map(|replica| &replica.name).collect();
        replicas.sort();
        Some(Self {
            multi_region_key_type,
            primary_key: primaries.first().map_or(&key.name, |primary| &primary.name).into(),
            replica_keys: replicas.into_iter().map(RelatedKey::from).collect(),
        })
    }
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

/// The id of the current material, of keys that tell it.
pub fn told_material(key: &Key) -> Option<&str> {
    let tells = key.spec == KeySpec::Symmetric && key.external.is_none() && !key.materials.is_empty();
    tells.then(|| key.current_material())
}

/// The import of the current material, while that is there.
fn current_import(key: &Key) -> Option<&Import> {
    key.materials.last().and_then(|material| material.imported.as_ref()).filter(|import| import.present)
}

impl KeyMetadata {
    /// What is told of a key, there already or about to be.
    pub fn of(kms: &Kms, key: &Key) -> Self {
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
            pending_deletion_window_in_days: key.deletion_window,
            origin: key.origin,
            valid_to: imported.and_then(|import| import.expires),
            expiration_model: imported.map(expiration_model),
            key_manager: key.manager,
            customer_master_key_spec: key.spec.if_old(),
            key_spec: key.spec,
            algorithms: Algorithms::from(key),
            multi_region: key.multi_region.is_some(),
            multi_region_configuration: MultiRegionConfiguration::of(kms, key),
            current_key_material_id: told_material(key).map(str::to_owned),
            custom_key_store_id: key.external.as_ref().map(|external| external.store.clone()),
            xks_key_configuration: key
                .external
                .as_ref()
                .map(|external| XksKeyConfiguration { id: external.id.clone() }),
        }
    }
}
