//! What the service does by itself: deletions at the end of their waiting period, the end of imported material,
//! automatic rotations, the settling of multi-Region keys; and how replicas follow their primary.

use front::Call;
use ids::Timestamp;
use kms::{Key, KeyName, KeyState, Origin, Refusal, RotationType, must_follow, rotates_together};
use serde_json::{Map, Value, json};
use trail::{Record, Resource, ServiceEvent};
use wire::{Fault, ServiceId};

use crate::{fault, material::Material, registry::Kms, target::KEY};

/// What the trail says of bringing replicas to what their primary shares. As in AWS, the record is that of the primary.
const SYNCHRONIZE: &str = "SynchronizeMultiRegionKey";

/// Carries out everything that is due now. Safe to repeat.
///
/// # Errors
/// The first thing that could not be written; everything else was tried, and the next time tries again.
pub async fn run_due(kms: &Kms, now: Timestamp) -> Result<(), Fault> {
    let mut outcome = Ok(());
    for name in kms.due(now) {
        outcome = outcome.and(settle(kms, &name, now).await);
        outcome = outcome.and(delete_if_due(kms, &name, now).await);
        outcome = outcome.and(expire_if_due(kms, &name, now).await);
        outcome = outcome.and(rotate_if_due(kms, &name, now).await);
    }
    outcome
}

/// Ends the creation of a replica, and the exchange of a primary, for all related keys at once.
async fn settle(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    if !kms.key(name).is_some_and(|entry| entry.key.is_settling()) {
        return Ok(());
    }
    let related = kms.related(name);
    let primary = related.iter().find(|entry| !entry.key.is_replica());
    let event = Event::new(SYNCHRONIZE, primary.map_or(name, |entry| &entry.key.name), now);
    let mut change = kms.begin(event.id()).await?;
    let mut settling = kms.related(name);
    settling.retain(|entry| entry.key.is_settling());
    if settling.is_empty() {
        return Ok(());
    }
    event
        .around(kms, async {
            for entry in &settling {
                let mut key = entry.key.clone();
                key.settle();
                change.put_key(entry, key).await?;
            }
            change.commit().await
        })
        .await
}

async fn delete_if_due(kms: &Kms, name: &KeyName, now: Timestamp) -> Result<(), Fault> {
    let event = Event::new("DeleteKey", name, now);
    let mut change = kms.begin(event.id()).await?;
    if !kms.key(name).is_some_and(|entry| entry.key.deletion_due(now)) {
        return Ok(());
    }
    let others = kms.others(name);
    event
        .around(kms, async {
            change.delete_key(name).await?;
            // The last replica lets its primary go.
            if let [primary] = others.as_slice()
                && primary.key.state == KeyState::PendingReplicaDeletion
            {
                let mut key = primary.key.clone();
                key.replicas_are_gone(now);
                change.put_key(primary, key).await?;
            }
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
    let following = following(kms, &entry.key, &key, now);
    let mut events = vec![event];
    events.extend(following.clone());
    around(kms, &events, async {
        change.follow(following.as_ref(), &key).await?;
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
    let following = following(kms, &entry.key, &key, now);
    let mut events = vec![event];
    events.extend(following.clone());
    around(kms, &events, async {
        change.mark_all(&events).await?;
        change.rotate(&entry, key, material).await?;
        change.commit().await
    })
    .await
}

/// Rotates a key because a call asks for it, and its replicas with it. The rotation itself is an event of the service's
/// own.
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
    if !rotates_together(kms.related(name).iter().map(|entry| &entry.key)) {
        return Err(fault::refused(name, &Refusal::NonePending));
    }
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
        Origin::ExternalKeyStore => return Err(fault::refused(name, &Refusal::Origin(key.origin))),
    };
    let mut event = Event::new("RotateKey", name, call.now);
    event.tells(rotation(&key, RotationType::OnDemand));
    let following = following(kms, &entry.key, &key, call.now);
    let mut events = vec![event];
    events.extend(following.clone());
    around(kms, &events, async {
        change.mark_all(&events).await?;
        match material {
            Some(material) => change.rotate(&entry, key, material).await?,
            None => {
                change.follow(following.as_ref(), &key).await?;
                change.put_key(&entry, key).await?;
            }
        }
        change.commit().await
    })
    .await
}

/// Changes for a call what a key shares with its replicas, and them with it.
///
/// # Errors
/// That of the change.
pub async fn change_shared(
    kms: &Kms,
    call: &Call,
    name: &KeyName,
    change: impl FnOnce(&mut Key) -> Result<(), Refusal> + Send,
) -> Result<(), Fault> {
    let mut changing = kms.begin(&call.event_id).await?;
    let old = kms.still_there(name)?;
    let mut key = old.key.clone();
    change(&mut key).map_err(|refusal| fault::refused(name, &refusal))?;
    let following = following(kms, &old.key, &key, call.now);
    around(kms, following.as_slice(), async {
        changing.follow(following.as_ref(), &key).await?;
        changing.put_key(&old, key).await?;
        changing.commit().await
    })
    .await
}

/// The event of replicas that follow a change of their primary, if there are any and they have to.
pub fn following(kms: &Kms, before: &Key, after: &Key, now: Timestamp) -> Option<Event> {
    let follow = must_follow(before, after) && !kms.others(&after.name).is_empty();
    follow.then(|| Event::new(SYNCHRONIZE, &after.name, now))
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

/// What the trail says of something that the service does by itself, or for a call in another region.
#[derive(Clone, Debug)]
pub struct Event {
    record: Record,
    /// `responseElements`, once it is done.
    answer: Option<Value>,
}

impl Event {
    /// Something done to a key.
    pub fn new(what: &str, key: &KeyName, at: Timestamp) -> Self {
        let event = ServiceEvent {
            event_id: uuid::Uuid::new_v4().to_string(),
            at,
            source: "kms.amazonaws.com".into(),
            name: what.into(),
            region: key.region.clone(),
            account: key.account.clone(),
            resources: vec![resource(key)],
            details: None,
        };
        Self { record: event.into(), answer: None }
    }

    /// What a call does to a key of another region: its share of the trail there. Request and answer have the model's
    /// names.
    pub fn elsewhere(call: &Call, what: &str, key: &KeyName, request: Value, answer: Value) -> Self {
        let mut record = front::elsewhere(ServiceId::Kms, what, call, &key.region, call.now);
        record.resources = vec![resource(key)];
        record.request_parameters = front::lowered(request).as_object().cloned();
        Self { record, answer: Some(front::lowered(answer)) }
    }

    pub fn id(&self) -> &str {
        &self.record.event_id
    }

    /// Adds details.
    pub fn tells(&mut self, details: Map<String, Value>) {
        self.record.service_event_details = Some(details);
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
        around(kms, std::slice::from_ref(self), what).await
    }
}

fn resource(key: &KeyName) -> Resource {
    Resource { account_id: key.account.clone(), kind: KEY.into(), arn: key.to_string() }
}

/// Does something with the records of all that happens in it opened before and closed after.
///
/// # Errors
/// As [`Event::around`].
pub async fn around(
    kms: &Kms,
    events: &[Event],
    what: impl Future<Output = Result<(), Fault>>,
) -> Result<(), Fault> {
    for event in events {
        kms.trail.open_record(event.record.clone()).await.map_err(Fault::internal)?;
    }
    let done = what.await;
    for event in events {
        let mut record = event.record.clone();
        match &done {
            Ok(()) => record.response_elements.clone_from(&event.answer),
            Err(fault) => {
                record.error_code = Some(fault.code.to_string());
                record.error_message.clone_from(&fault.message);
            }
        }
        kms.trail.close_record(event.id(), record).await.map_err(Fault::internal)?;
    }
    done
}
