//! What the service does by itself: deletions at the end of their waiting period, the end of imported material,
//! automatic rotations.

use front::Call;
use ids::Timestamp;
use kms::{Key, KeyName, Origin, RotationType};
use serde_json::{Map, Value, json};
use trail::{Record, Resource, ServiceEvent};
use wire::Fault;

use crate::{fault, material::Material, registry::Kms, target::KEY};

/// Carries out everything that is due now. Safe to repeat.
///
/// # Errors
/// The first thing that could not be written; everything else was tried, and the next time tries again.
pub async fn run_due(kms: &Kms, now: Timestamp) -> Result<(), Fault> {
    let mut outcome = Ok(());
    for name in kms.due(now) {
        outcome = outcome.and(delete_if_due(kms, &name, now).await);
        outcome = outcome.and(expire_if_due(kms, &name, now).await);
        outcome = outcome.and(rotate_if_due(kms, &name, now).await);
    }
    outcome
}

async fn delete_if_due(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    let event = Event::new("DeleteKey", name, now);
    let mut change = kms.begin(event.id()).await?;
    if !kms.key(name).is_some_and(|entry| entry.key.deletion_due(now)) {
        return Ok(());
    }
    event
        .around(kms, async {
            change.delete_key(name).await?;
            change.commit().await
        })
        .await
}

async fn expire_if_due(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    let event = Event::new("DeleteExpiredKeyMaterial", name, now);
    let mut change = kms.begin(event.id()).await?;
    let Some(entry) = kms.key(name).filter(|entry| entry.key.expiry_due(now)) else { return Ok(()) };
    let mut key = entry.key.clone();
    let expired = key.expire(now);
    event
        .around(kms, async {
            change.lose(&entry, key, &expired).await?;
            change.commit().await
        })
        .await
}

async fn rotate_if_due(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    let mut event = Event::new("RotateKey", name, now);
    let mut change = kms.begin(event.id()).await?;
    let Some(entry) = kms.key(name).filter(|entry| entry.key.rotation_due(now)) else { return Ok(()) };
    let mut key = entry.key.clone();
    let material = Material::generate(key.spec).await?;
    let id = material.id(name);
    key.rotate(id, RotationType::Automatic, now);
    event.tells(rotation(&key, RotationType::Automatic));
    event
        .around(kms, async {
            change.rotate(&entry, key, material).await?;
            change.commit().await
        })
        .await
}

/// Rotates a key because a call asks for it. The rotation itself is an event of the service's own.
///
/// # Errors
/// As the table of states says, past the limit, and next to an automatic rotation.
pub async fn rotate_on_demand(
    kms: &Kms,
    call: &Call,
    name: &KeyName,
    check: impl FnOnce(&Key) -> Result<(), Fault> + Send,
) -> Result<(), Fault> {
    let mut change = kms.begin(&call.event_id).await?;
    let entry = kms.still_there(name)?;
    check(&entry.key)?;
    let mut key = entry.key.clone();
    let material = match key.origin {
        Origin::AwsKms => {
            let material = Material::generate(key.spec).await?;
            key.rotate(material.id(name), RotationType::OnDemand, call.now);
            Some(material)
        }
        Origin::External => {
            key.rotate_to_pending(call.now).map_err(|refusal| fault::refused(name, &refusal))?;
            None
        }
    };
    let mut event = Event::new("RotateKey", name, call.now);
    event.tells(rotation(&key, RotationType::OnDemand));
    event
        .around(kms, async {
            change.mark(event.id()).await?;
            match material {
                Some(material) => change.rotate(&entry, key, material).await?,
                None => change.put_key(&entry, key).await?,
            }
            change.commit().await
        })
        .await
}

/// `serviceEventDetails` of a rotation that has just happened to `key`.
fn rotation(key: &Key, kind: RotationType) -> Map<String, Value> {
    let id = |material: Option<&kms::Material>| material.map(|m| m.id.clone());
    let details = json!({
        "rotationType": kind, "keyOrigin": key.origin,
        "previousKeyMaterialId": id(key.materials.iter().rev().nth(1)),
        "currentKeyMaterialId": key.current_material(), "keyId": key.name.id,
    });
    details.as_object().cloned().unwrap_or_default()
}

/// What the trail says of something that the service does by itself.
pub struct Event(Record);

impl Event {
    /// Something done to a key.
    pub fn new(what: &str, key: &KeyName, at: Timestamp) -> Self {
        let resource = Resource { account_id: key.account.clone(), kind: KEY.into(), arn: key.to_string() };
        let event = ServiceEvent {
            event_id: uuid::Uuid::new_v4().to_string(),
            at,
            source: "kms.amazonaws.com".into(),
            name: what.into(),
            region: key.region.clone(),
            account: key.account.clone(),
            resources: vec![resource],
            details: None,
        };
        Self(event.into())
    }

    pub fn id(&self) -> &str {
        &self.0.event_id
    }

    /// Adds details.
    pub fn tells(&mut self, details: Map<String, Value>) {
        self.0.service_event_details = Some(details);
    }

    /// Does it with its record opened before and closed after, as the calls of clients are.
    ///
    /// # Errors
    /// That of what is done, or an internal fault if the record cannot be kept.
    pub async fn around(
        &self,
        kms: &Kms,
        what: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        kms.trail.open_record(self.0.clone()).await.map_err(Fault::internal)?;
        let done = what.await;
        let mut record = self.0.clone();
        if let Err(fault) = &done {
            record.error_code = Some(fault.code.to_string());
            record.error_message.clone_from(&fault.message);
        }
        kms.trail.close_record(self.id(), record).await.map_err(Fault::internal)?;
        done
    }
}
