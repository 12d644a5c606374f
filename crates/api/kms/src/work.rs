//! What is due by the clock: deletions at the end of their waiting period, automatic rotations.

use envelope::{KeyMaterial, SystemEntropy, material_id};
use ids::Timestamp;
use kms::{Key, KeyName, Material, RotationType};
use serde_json::{Map, Value, json};
use trail::{Resource, ServiceEvent};
use wire::Fault;

use crate::{
    registry::{Kms, still_there},
    target::KEY,
};

/// Carries out everything that is due now. Safe to repeat.
///
/// # Errors
/// The first thing that could not be written; the rest is tried again the next time.
pub async fn run_due(kms: &Kms, now: Timestamp) -> Result<(), Fault> {
    for name in kms.due(now) {
        let entry = still_there(kms, &name)?;
        if entry.key.deletion_due(now) {
            delete(kms, &name, now).await?;
        } else if entry.key.rotation_due(now) {
            rotate(kms, &name, RotationType::Automatic, now).await?;
        }
    }
    Ok(())
}

async fn delete(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    let mut change = kms.begin(None).await?;
    if !still_there(kms, name)?.key.deletion_due(now) {
        return Ok(());
    }
    tell(kms, name, "DeleteKey", None, now).await?;
    change.delete_key(name).await?;
    change.commit().await
}

/// Rotates a key if that is still due, and tells the trail.
pub(crate) async fn rotate(kms: &Kms, name: &KeyName, kind: RotationType, now: Timestamp) -> Result<(), Fault> {
    let mut change = kms.begin(None).await?;
    let entry = still_there(kms, name)?;
    if kind == RotationType::Automatic && !entry.key.rotation_due(now) {
        return Ok(());
    }
    let (key, material) = rotated(&entry.key, kind, now);
    let details = rotation_details(&key, kind);
    tell(kms, name, "RotateKey", Some(details), now).await?;
    change.rotate(&entry, key, material).await?;
    change.commit().await
}

/// A key with a new current material.
pub(crate) fn rotated(key: &Key, kind: RotationType, now: Timestamp) -> (Key, KeyMaterial) {
    let material = KeyMaterial::generate(&SystemEntropy);
    let id = hex::encode(material_id(&key.name.to_string(), &material));
    let mut key = key.clone();
    key.rotate(id, kind, now);
    (key, material)
}

/// `serviceEventDetails` of a rotation that has just happened to `key`.
pub(crate) fn rotation_details(key: &Key, kind: RotationType) -> Map<String, Value> {
    let id = |material: Option<&Material>| material.map(|m| m.id.clone());
    let details = json!({
        "rotationType": kind, "keyOrigin": "AWS_KMS",
        "previousKeyMaterialId": id(key.materials.iter().rev().nth(1)),
        "currentKeyMaterialId": key.current_material(), "keyId": key.name.id,
    });
    details.as_object().cloned().unwrap_or_default()
}

/// Records what the service does by itself, before it is done: no change without a record.
pub(crate) async fn tell(
    kms: &Kms,
    name: &KeyName,
    event: &str,
    details: Option<Map<String, Value>>,
    at: Timestamp,
) -> Result<(), Fault> {
    let resource = Resource { account_id: name.account.clone(), kind: KEY.into(), arn: name.to_string() };
    let event = ServiceEvent {
        event_id: uuid::Uuid::new_v4().to_string(),
        at,
        source: "kms.amazonaws.com".into(),
        name: event.into(),
        region: name.region.clone(),
        account: name.account.clone(),
        resources: vec![resource],
        details,
    };
    kms.trail.append(event.into()).await.map_err(Fault::internal)
}
