//! A key and what changes it. Values in, values out; the time comes as an argument.

use std::{collections::BTreeMap, time::Duration};

use ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    external::ExternalKey,
    id::KeyName,
    import::{Import, Origin},
    multi_region::MultiRegion,
    spec::{KeySpec, KeyUsage},
    state::{Blocked, KeyState, Row, permits},
    tags::{BadTags, with_tags},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Days of the waiting period before a deletion: shortest, longest and default (spec/kms.md §7).
pub const DELETION_WINDOW: (u32, u32, u32) = (7, 30, 30);
/// Days between automatic rotations: shortest, longest and default.
pub const ROTATION_PERIOD: (u32, u32, u32) = (90, 2560, 365);

/// Who manages a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Manager {
    #[serde(rename = "CUSTOMER")]
    Customer,
    #[serde(rename = "AWS")]
    Aws,
}

/// A key as the state store keeps it. The material itself is elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Key {
    pub name: KeyName,
    #[serde(default)]
    pub spec: KeySpec,
    #[serde(default)]
    pub usage: KeyUsage,
    #[serde(default)]
    pub origin: Origin,
    pub manager: Manager,
    pub created: Timestamp,
    pub description: String,
    pub state: KeyState,
    /// When it is deleted; set while deletion is pending.
    pub deletion: Option<Timestamp>,
    /// Days of a waiting period that begins with the deletion of the last replica; set while that is pending.
    #[serde(default)]
    pub deletion_window: Option<u32>,
    /// Its place among the keys related to it; `None` for a key of one region.
    #[serde(default)]
    pub multi_region: Option<MultiRegion>,
    /// The text as it was given.
    pub policy: String,
    /// The unique ids behind the ARNs in the policy when it was given.
    #[serde(default)]
    pub principals: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub rotation: Rotation,
    /// Oldest first; the last one is current.
    pub materials: Vec<Material>,
    /// An imported material that the next rotation makes current.
    #[serde(default)]
    pub pending: Option<Material>,
    /// The external key behind it, for one in an external key store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalKey>,
}

/// Automatic rotation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rotation {
    pub enabled: bool,
    pub period_days: u32,
    /// When the next one is due; kept while the key is disabled.
    pub next: Option<Timestamp>,
}

/// One material of a key: what is told of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Material {
    /// 64 hex digits.
    pub id: String,
    /// When and how the key was rotated to it; `None` for the first.
    pub rotated: Option<(Timestamp, RotationType)>,
    /// Set for what was imported.
    #[serde(default)]
    pub imported: Option<Import>,
}

/// What made a rotation happen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum RotationType {
    #[serde(rename = "AUTOMATIC")]
    Automatic,
    #[serde(rename = "ON_DEMAND")]
    OnDemand,
}

/// Why a change is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    State(#[from] Blocked),
    #[error("the window must be between 7 and 30 days")]
    Window,
    #[error("the period must be between 90 and 2560 days")]
    Period,
    #[error("the on-demand rotations limit has been reached")]
    TooManyRotations,
    #[error(transparent)]
    Tags(#[from] BadTags),
    /// Only symmetric keys have rotations.
    #[error("the key is not symmetric")]
    NotSymmetric,
    /// `Display` follows the ARN of the key.
    #[error("origin is {} which is not valid for this operation.", .0.name())]
    Origin(Origin),
    #[error("the key material is not one that was imported before")]
    OtherMaterial,
    /// Ids of materials.
    #[error("another material is pending rotation")]
    OnePending { new: String, waiting: String },
    #[error("no material is pending rotation")]
    NonePending,
    /// `Display` follows the ARN of the key.
    #[error("is not a multi-region primary key.")]
    NotPrimary,
}

impl Key {
    /// A new key with its first material.
    pub fn new(
        name: KeyName,
        (spec, usage): (KeySpec, KeyUsage),
        manager: Manager,
        created: Timestamp,
        policy: String,
        material_id: String,
    ) -> Self {
        let managed = manager == Manager::Aws;
        let period_days = ROTATION_PERIOD.2;
        Self {
            name,
            spec,
            usage,
            origin: Origin::AwsKms,
            manager,
            created,
            description: String::new(),
            state: KeyState::Enabled,
            deletion: None,
            deletion_window: None,
            multi_region: None,
            policy,
            principals: BTreeMap::new(),
            tags: BTreeMap::new(),
            rotation: Rotation {
                enabled: managed,
                period_days,
                next: managed.then(|| created.plus(DAY * period_days)),
            },
            materials: vec![Material { id: material_id, rotated: None, imported: None }],
            pending: None,
            external: None,
        }
    }

    /// A new key that waits for its material.
    pub fn external(name: KeyName, kind: (KeySpec, KeyUsage), created: Timestamp, policy: String) -> Self {
        Self {
            origin: Origin::External,
            state: KeyState::PendingImport,
            materials: Vec::new(),
            ..Self::new(name, kind, Manager::Customer, created, policy, String::new())
        }
    }

    /// The id of the material that new ciphertexts are made with.
    pub fn current_material(&self) -> &str {
        self.materials.last().map_or("", |material| &material.id)
    }

    /// # Errors
    /// As the table of states says.
    pub fn enable(&mut self) -> Result<(), Refusal> {
        permits(Row::SwitchState, self.state)?;
        self.switch(KeyState::Enabled);
        Ok(())
    }

    /// # Errors
    /// As the table of states says.
    pub fn disable(&mut self) -> Result<(), Refusal> {
        permits(Row::SwitchState, self.state)?;
        self.switch(KeyState::Disabled);
        Ok(())
    }

    /// Begins the waiting period, for a primary key with replicas that of their deletion; answers its length in days.
    ///
    /// # Errors
    /// As the table of states says, and for a window outside 7 to 30 days.
    pub fn schedule_deletion(
        &mut self,
        days: Option<u32>,
        has_replicas: bool,
        now: Timestamp,
    ) -> Result<u32, Refusal> {
        let (shortest, longest, default) = DELETION_WINDOW;
        let days = days.unwrap_or(default);
        if !(shortest..=longest).contains(&days) {
            return Err(Refusal::Window);
        }
        permits(Row::ScheduleDeletion, self.state)?;
        if has_replicas {
            self.state = KeyState::PendingReplicaDeletion;
            self.deletion_window = Some(days);
        } else {
            self.wait_for_deletion(days, now);
        }
        Ok(days)
    }

    /// Begins the waiting period of a primary key that was to go after its replicas: the last of them is gone.
    pub fn replicas_are_gone(&mut self, now: Timestamp) {
        if self.state == KeyState::PendingReplicaDeletion {
            let (_, _, default) = DELETION_WINDOW;
            let days = self.deletion_window.take().unwrap_or(default);
            self.wait_for_deletion(days, now);
        }
    }

    fn wait_for_deletion(&mut self, days: u32, now: Timestamp) {
        self.switch(KeyState::PendingDeletion);
        self.deletion = Some(now.plus(DAY * days));
    }

    /// Back from the waiting period, disabled; without its material, pending import; without its key store, unavailable.
    ///
    /// # Errors
    /// As the table of states says.
    pub fn cancel_deletion(&mut self) -> Result<(), Refusal> {
        permits(Row::CancelDeletion, self.state)?;
        self.switch(if self.is_complete() { KeyState::Disabled } else { KeyState::PendingImport });
        self.deletion = None;
        self.deletion_window = None;
        Ok(())
    }

    /// Turns automatic rotation on, or changes its period; the next one is due a period from now.
    ///
    /// # Errors
    /// As the table of states says, for a key that is not symmetric, imported or a replica, and for a period outside 90 to
    /// 2560 days.
    pub fn enable_rotation(&mut self, days: Option<u32>, now: Timestamp) -> Result<(), Refusal> {
        let (shortest, longest, default) = ROTATION_PERIOD;
        let period_days = days.unwrap_or(default);
        if !(shortest..=longest).contains(&period_days) {
            return Err(Refusal::Period);
        }
        self.check_automatic()?;
        self.check_leads()?;
        permits(Row::SwitchRotation, self.state)?;
        self.rotation = Rotation { enabled: true, period_days, next: Some(now.plus(DAY * period_days)) };
        Ok(())
    }

    /// Turns automatic rotation off.
    ///
    /// # Errors
    /// As [`Key::enable_rotation`].
    pub fn disable_rotation(&mut self) -> Result<(), Refusal> {
        self.check_automatic()?;
        self.check_leads()?;
        permits(Row::SwitchRotation, self.state)?;
        self.rotation.enabled = false;
        self.rotation.next = None;
        Ok(())
    }

    /// Sets the text for people.
    ///
    /// # Errors
    /// As the table of states says.
    pub fn describe(&mut self, description: String) -> Result<(), Refusal> {
        permits(Row::Describe, self.state)?;
        self.description = description;
        Ok(())
    }

    /// Sets tags.
    ///
    /// # Errors
    /// As the table of states says, and [`BadTags`].
    pub fn tag(&mut self, new: impl IntoIterator<Item = (String, String)>) -> Result<(), Refusal> {
        permits(Row::Describe, self.state)?;
        self.tags = with_tags(&self.tags, new)?;
        Ok(())
    }

    /// Removes tags; one that is not there is no mistake.
    ///
    /// # Errors
    /// As the table of states says.
    pub fn untag(&mut self, names: &[String]) -> Result<(), Refusal> {
        permits(Row::Describe, self.state)?;
        self.tags.retain(|name, _| !names.contains(name));
        Ok(())
    }

    /// Checks that a key is of a kind that has rotations.
    ///
    /// # Errors
    /// [`Refusal::NotSymmetric`], and [`Refusal::Origin`] for a key in an external key store.
    pub fn check_rotatable(&self) -> Result<(), Refusal> {
        match (self.spec, self.origin) {
            (_, Origin::ExternalKeyStore) => Err(Refusal::Origin(self.origin)),
            (KeySpec::Symmetric, _) => Ok(()),
            _ => Err(Refusal::NotSymmetric),
        }
    }

    /// Checks that a key can be rotated by itself.
    ///
    /// # Errors
    /// [`Refusal::NotSymmetric`] and [`Refusal::Origin`]
    pub fn check_automatic(&self) -> Result<(), Refusal> {
        self.check_rotatable()?;
        if self.origin == Origin::AwsKms { Ok(()) } else { Err(Refusal::Origin(self.origin)) }
    }

    /// What it is and what it is for.
    pub const fn kind(&self) -> (KeySpec, KeyUsage) {
        (self.spec, self.usage)
    }

    /// The names of the algorithms that the key has.
    pub const fn algorithms(&self) -> &'static [&'static str] {
        self.spec.algorithms(self.usage)
    }

    /// Whether rotation counts as on: not while deletion is pending, though it comes back when that is
    /// cancelled.
    pub fn rotation_shown(&self) -> bool {
        let leaves = matches!(self.state, KeyState::PendingDeletion | KeyState::PendingReplicaDeletion);
        self.rotation.enabled && !leaves
    }

    /// Whether an automatic rotation is due. Only enabled keys are rotated, replicas with their primary; an overdue one
    /// happens at once after the key is enabled again.
    pub fn rotation_due(&self, now: Timestamp) -> bool {
        self.state == KeyState::Enabled
            && !self.is_replica()
            && self.rotation.enabled
            && self.rotation.next.is_some_and(|next| next <= now)
    }

    /// Whether the waiting period is over.
    pub fn deletion_due(&self, now: Timestamp) -> bool {
        self.state == KeyState::PendingDeletion && self.deletion.is_some_and(|end| end <= now)
    }

    /// Whether an automatic rotation is due within a span from now.
    pub fn rotation_near(&self, now: Timestamp, span: Duration) -> bool {
        self.rotation_due(now.plus(span))
    }

    /// Whether one more on-demand rotation may happen.
    ///
    /// # Errors
    /// As the table of states says, for a replica, and after as many of them as `most`.
    pub fn may_rotate_on_demand(&self, most: usize) -> Result<(), Refusal> {
        self.check_rotatable()?;
        self.check_leads()?;
        permits(Row::RotateOnDemand, self.state)?;
        let on_demand = |m: &&Material| matches!(m.rotated, Some((_, RotationType::OnDemand)));
        let before = self.materials.iter().filter(on_demand).count();
        if before >= most {
            return Err(Refusal::TooManyRotations);
        }
        if self.origin == Origin::External && !self.has_pending() {
            Err(Refusal::NonePending)
        } else {
            Ok(())
        }
    }

    /// Makes a new material the current one. Only an automatic rotation moves the schedule.
    pub fn rotate(&mut self, material_id: String, kind: RotationType, now: Timestamp) {
        self.materials.push(Material { id: material_id, rotated: Some((now, kind)), imported: None });
        if kind == RotationType::Automatic {
            self.rotation.next = Some(now.plus(DAY * self.rotation.period_days));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        let name = KeyName {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            id: "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap(),
        };
        let symmetric = (KeySpec::default(), KeyUsage::default());
        Key::new(name, symmetric, Manager::Customer, Timestamp::from_millis(0), String::new(), "a".into())
    }

    #[test]
    fn deletion_waits_and_cancels_to_disabled() {
        let mut key = key();
        let now = Timestamp::from_millis(0);
        for days in [6, 31] {
            assert_eq!(key.schedule_deletion(Some(days), false, now), Err(Refusal::Window));
        }
        assert_eq!(key.schedule_deletion(None, false, now), Ok(30));
        assert_eq!(key.enable(), Err(Refusal::State(Blocked::PendingDeletion)));
        assert!(!key.deletion_due(now.plus(DAY * 29)) && key.deletion_due(now.plus(DAY * 30)));
        key.cancel_deletion().unwrap();
        assert_eq!((key.state, key.deletion), (KeyState::Disabled, None));
    }

    #[test]
    fn only_symmetric_keys_are_rotated() {
        let mut key = key();
        (key.spec, key.usage) = (KeySpec::Hmac(envelope::Hash::Sha256), KeyUsage::GenerateVerifyMac);
        let now = Timestamp::from_millis(0);
        assert_eq!(key.enable_rotation(None, now), Err(Refusal::NotSymmetric));
        assert_eq!(key.disable_rotation(), Err(Refusal::NotSymmetric));
        assert_eq!(key.may_rotate_on_demand(25), Err(Refusal::NotSymmetric));
    }

    #[test]
    fn a_key_that_was_kept_before_there_were_specs_and_regions_is_symmetric_and_of_one_region() {
        let mut kept = serde_json::to_value(key()).unwrap();
        kept.as_object_mut()
            .unwrap()
            .retain(|name, _| !["spec", "usage", "multi_region", "deletion_window"].contains(&name.as_str()));
        assert_eq!(serde_json::from_value::<Key>(kept).unwrap(), key());
    }

    #[test]
    fn rotation_keeps_its_schedule_and_its_bounds() {
        let mut key = key();
        let now = Timestamp::from_millis(0);
        for days in [89, 2561] {
            assert_eq!(key.enable_rotation(Some(days), now), Err(Refusal::Period));
        }
        key.enable_rotation(Some(90), now).unwrap();
        assert!(!key.rotation_due(now.plus(DAY * 89)) && key.rotation_due(now.plus(DAY * 90)));
        key.rotate("b".into(), RotationType::OnDemand, now.plus(DAY));
        assert_eq!(key.rotation.next, Some(now.plus(DAY * 90)), "on demand does not shift the schedule");
        key.disable().unwrap();
        assert!(!key.rotation_due(now.plus(DAY * 91)), "not while disabled");
        key.enable().unwrap();
        key.schedule_deletion(None, false, now).unwrap();
        assert!(!key.rotation_shown());
        key.cancel_deletion().unwrap();
        assert!(key.rotation_shown(), "restored");
        key.enable().unwrap();
        for n in 1..25 {
            key.may_rotate_on_demand(25).unwrap();
            key.rotate(n.to_string(), RotationType::OnDemand, now);
        }
        assert_eq!(key.may_rotate_on_demand(25), Err(Refusal::TooManyRotations));
    }
}
