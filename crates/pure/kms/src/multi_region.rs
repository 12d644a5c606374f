//! Multi-Region keys (spec/kms.md §13): a primary key and its replicas, one in a region, with one id. Material, origin,
//! spec, usage and rotation are shared, and change on the primary alone; policy, description, tags, aliases, grants and
//! state are each key's own, and of imported materials whether they are there.
//!
//! INVARIANT: of the keys with one multi-Region id in an account exactly one is the primary, and every replica shares
//! what [`Key::adopt`] takes from it.

use ids::{Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    import::Origin,
    key::{Key, Material, Refusal},
    state::{KeyState, Row, permits},
};

/// The place of a key among those related to it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum MultiRegion {
    #[serde(rename = "PRIMARY")]
    Primary,
    #[serde(rename = "REPLICA")]
    Replica,
}

impl MultiRegion {
    /// AWS's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Replica => "REPLICA",
        }
    }
}

impl Key {
    /// Whether it follows a primary key.
    pub fn is_replica(&self) -> bool {
        self.multi_region == Some(MultiRegion::Replica)
    }

    /// Checks that what is shared can be changed here: on a primary, or a key of one region.
    ///
    /// # Errors
    /// [`Refusal::NotPrimary`]
    pub fn check_leads(&self) -> Result<(), Refusal> {
        if self.is_replica() { Err(Refusal::NotPrimary) } else { Ok(()) }
    }

    fn check_is(&self, place: MultiRegion) -> Result<(), Refusal> {
        if self.multi_region == Some(place) { Ok(()) } else { Err(Refusal::NotPrimary) }
    }

    /// A replica for another region, which is creating until it is [settled](Key::settle). Of imported materials it
    /// has none.
    ///
    /// # Errors
    /// [`Refusal::NotPrimary`], and as the table of states says.
    pub fn replicate(&self, region: &Region, created: Timestamp, policy: String) -> Result<Self, Refusal> {
        self.check_is(MultiRegion::Primary)?;
        permits(Row::Replicate, self.state)?;
        let blank = Self::external(self.name.in_region(region), self.kind(), created, policy);
        let mut replica = Self {
            origin: self.origin,
            state: KeyState::Creating,
            multi_region: Some(MultiRegion::Replica),
            ..blank
        };
        replica.adopt(self);
        Ok(replica)
    }

    /// Takes over what a primary shares. Imported materials stay here or away as they were.
    pub fn adopt(&mut self, primary: &Self) {
        let own = |shared: &Material| {
            let known = self.materials.iter().chain(&self.pending).find(|known| known.id == shared.id);
            let imported = match known {
                Some(known) => known.imported.clone(),
                None => shared.absent().imported,
            };
            Material { imported, ..shared.clone() }
        };
        let (materials, pending) =
            (primary.materials.iter().map(own).collect(), primary.pending.as_ref().map(own));
        (self.materials, self.pending, self.rotation) = (materials, pending, primary.rotation);
    }

    /// Makes a primary a replica; the other half of [`Key::step_up`].
    ///
    /// # Errors
    /// [`Refusal::NotPrimary`], and as the table of states says.
    pub fn step_down(&mut self) -> Result<(), Refusal> {
        self.change_place(MultiRegion::Primary, MultiRegion::Replica)
    }

    /// Makes a replica the primary.
    ///
    /// # Errors
    /// As the table of states says.
    pub fn step_up(&mut self) -> Result<(), Refusal> {
        self.change_place(MultiRegion::Replica, MultiRegion::Primary)
    }

    fn change_place(&mut self, from: MultiRegion, to: MultiRegion) -> Result<(), Refusal> {
        self.check_is(from)?;
        permits(Row::UpdatePrimary, self.state)?;
        (self.multi_region, self.state) = (Some(to), KeyState::Updating);
        Ok(())
    }

    /// Whether the key is on its way to a state that lasts.
    pub const fn is_settling(&self) -> bool {
        matches!(self.state, KeyState::Creating | KeyState::Updating)
    }

    /// Ends the way there: a key is usable if all its material is.
    pub fn settle(&mut self) {
        if self.is_settling() {
            self.state = if self.is_complete() { KeyState::Enabled } else { KeyState::PendingImport };
        }
    }

    /// Whether an imported material is there and waits for a rotation.
    pub fn has_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(Material::present)
    }
}

/// Whether a rotation of related keys can happen: each has the material that it would be to. KMS brings its own along.
pub fn rotates_together<'a>(keys: impl IntoIterator<Item = &'a Key>) -> bool {
    keys.into_iter().all(|key| key.origin == Origin::AwsKms || key.has_pending())
}

/// Whether the replicas of a key have to follow a change of it.
pub fn must_follow(before: &Key, after: &Key) -> bool {
    fn shared(key: &Key) -> impl Iterator<Item = (&str, bool)> {
        key.materials
            .iter()
            .map(|m| (m.id.as_str(), false))
            .chain(key.pending.iter().map(|m| (m.id.as_str(), true)))
    }
    after.multi_region == Some(MultiRegion::Primary)
        && (before.rotation != after.rotation || !shared(before).eq(shared(after)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Blocked, Import, KeyId, KeyName, KeySpec, KeyUsage, Manager, RotationType};

    const NOW: Timestamp = Timestamp::from_millis(0);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn name() -> KeyName {
        KeyName {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            id: KeyId::multi_region_from_random([7; 16]),
        }
    }

    fn elsewhere() -> Region {
        "eu-west-1".parse().unwrap()
    }

    fn primary() -> Key {
        let kind = (KeySpec::Symmetric, KeyUsage::EncryptDecrypt);
        let key = Key::new(name(), kind, Manager::Customer, NOW, "policy".into(), "a".into());
        Key { multi_region: Some(MultiRegion::Primary), description: "mine".into(), ..key }
    }

    fn imported() -> Key {
        let kind = (KeySpec::Symmetric, KeyUsage::EncryptDecrypt);
        let mut key = Key::external(name(), kind, NOW, "policy".into());
        key.multi_region = Some(MultiRegion::Primary);
        key.import("a", lasting(), false).unwrap();
        key
    }

    fn lasting() -> Import {
        Import { expires: None, description: Some("from home".into()), present: true }
    }

    fn replica_of(primary: &Key) -> Key {
        let mut replica = primary.replicate(&elsewhere(), NOW.plus(DAY), "other".into()).unwrap();
        assert_eq!(replica.state, KeyState::Creating);
        replica.settle();
        replica
    }

    #[test]
    fn a_replica_shares_what_is_shared_and_nothing_else() {
        let mut primary = primary();
        primary.tag([("a".to_owned(), "b".to_owned())]).unwrap();
        primary.enable_rotation(Some(100), NOW).unwrap();
        primary.rotate("b".into(), RotationType::OnDemand, NOW);
        let replica = replica_of(&primary);
        assert_eq!((&replica.name.id, replica.name.region.as_str()), (&primary.name.id, "eu-west-1"));
        assert_eq!((replica.kind(), replica.origin), (primary.kind(), primary.origin));
        assert_eq!((&replica.materials, replica.rotation), (&primary.materials, primary.rotation));
        assert_eq!((replica.state, replica.multi_region), (KeyState::Enabled, Some(MultiRegion::Replica)));
        assert_eq!((replica.description.as_str(), replica.policy.as_str()), ("", "other"));
        assert!(replica.tags.is_empty() && replica.created == NOW.plus(DAY));
    }

    #[test]
    fn only_an_enabled_primary_is_replicated() {
        let replicate = |key: &Key| key.replicate(&elsewhere(), NOW, String::new()).map(drop);
        let mut primary = primary();
        assert_eq!(replicate(&replica_of(&primary)), Err(Refusal::NotPrimary));
        assert_eq!(replicate(&Key { multi_region: None, ..primary.clone() }), Err(Refusal::NotPrimary));
        primary.disable().unwrap();
        assert_eq!(replicate(&primary), Err(Refusal::State(Blocked::Disabled)));
        primary.schedule_deletion(None, true, NOW).unwrap();
        assert_eq!(replicate(&primary), Err(Refusal::State(Blocked::PendingReplicaDeletion)));
        assert_eq!(replicate(&Key { state: KeyState::Updating, ..primary }), Err(Blocked::Updating.into()));
    }

    #[test]
    fn rotation_is_the_primarys_to_change() {
        let mut replica = replica_of(&primary());
        assert_eq!(replica.enable_rotation(None, NOW), Err(Refusal::NotPrimary));
        assert_eq!(replica.disable_rotation(), Err(Refusal::NotPrimary));
        assert_eq!(replica.may_rotate_on_demand(25), Err(Refusal::NotPrimary));
        let mut primary = primary();
        primary.enable_rotation(Some(90), NOW).unwrap();
        replica.adopt(&primary);
        let later = NOW.plus(DAY * 90);
        assert!(primary.rotation_due(later) && !replica.rotation_due(later) && replica.rotation_shown());
    }

    #[test]
    fn primary_and_replica_change_places_and_stay_usable() {
        let mut old = primary();
        old.enable_rotation(None, NOW).unwrap();
        let mut new = replica_of(&old);
        assert_eq!(new.clone().step_down(), Err(Refusal::NotPrimary));
        assert_eq!(old.clone().step_up(), Err(Refusal::NotPrimary));
        old.step_down().unwrap();
        new.step_up().unwrap();
        for key in [&mut old, &mut new] {
            assert_eq!(key.state, KeyState::Updating);
            assert_eq!(permits(Row::Cryptography, key.state), Ok(()));
            assert_eq!(key.disable(), Err(Refusal::State(Blocked::Updating)));
            key.settle();
            assert_eq!(key.state, KeyState::Enabled);
        }
        assert_eq!(
            (old.multi_region, new.multi_region),
            (Some(MultiRegion::Replica), Some(MultiRegion::Primary))
        );
        assert!(new.rotation_due(NOW.plus(DAY * 365)) && !old.rotation_due(NOW.plus(DAY * 365)));
        old.disable().unwrap();
        assert_eq!(old.clone().step_up(), Err(Refusal::State(Blocked::Disabled)));
    }

    #[test]
    fn a_primary_waits_for_its_replicas_before_it_goes() {
        let mut key = primary();
        key.enable_rotation(None, NOW).unwrap();
        assert_eq!(key.schedule_deletion(Some(7), true, NOW), Ok(7));
        assert_eq!((key.state, key.deletion), (KeyState::PendingReplicaDeletion, None));
        assert!(!key.deletion_due(NOW.plus(DAY * 1000)) && !key.rotation_shown());
        let mut kept = key.clone();
        kept.cancel_deletion().unwrap();
        assert_eq!((kept.state, kept.deletion_window), (KeyState::Disabled, None));
        kept.replicas_are_gone(NOW);
        assert_eq!((kept.state, kept.deletion), (KeyState::Disabled, None));
        let gone = NOW.plus(DAY * 20);
        key.replicas_are_gone(gone);
        assert_eq!((key.state, key.deletion_window), (KeyState::PendingDeletion, None));
        assert_eq!(key.deletion, Some(gone.plus(DAY * 7)));
    }

    #[test]
    fn a_replica_of_imported_material_waits_for_the_same() {
        let primary = imported();
        let mut replica = replica_of(&primary);
        assert_eq!((replica.state, replica.current_material()), (KeyState::PendingImport, "a"));
        assert_eq!(replica.import("b", lasting(), false), Err(Refusal::OtherMaterial));
        assert_eq!(replica.import("b", lasting(), true), Err(Refusal::NotPrimary));
        replica.import("a", lasting(), false).unwrap();
        assert_eq!(replica.state, KeyState::Enabled);
        assert_eq!(replica.delete_material(None), Ok(Some("a".into())));
        assert_eq!((replica.state, primary.state), (KeyState::PendingImport, KeyState::Enabled));
    }

    #[test]
    fn replicas_follow_what_they_share() {
        let before = imported();
        let changed = |change: fn(&mut Key)| {
            let mut after = before.clone();
            change(&mut after);
            must_follow(&before, &after)
        };
        assert!(changed(|key| key.import("b", lasting(), true).unwrap()));
        assert!(changed(|key| key.rotate("b".into(), RotationType::OnDemand, NOW)));
        assert!(changed(|key| key.rotation.enabled = true));
        assert!(!changed(|key| key.import("a", lasting(), false).unwrap()));
        assert!(!changed(|key| drop(key.delete_material(None).unwrap())));
        assert!(!changed(|key| key.disable().unwrap()));
        let single = |key: &Key| Key { multi_region: None, ..key.clone() };
        let mut after = before.clone();
        after.rotate("b".into(), RotationType::OnDemand, NOW);
        assert!(!must_follow(&single(&before), &single(&after)));
    }

    #[test]
    fn new_material_is_rotated_to_once_every_key_has_it() {
        let mut primary = imported();
        let mut replica = replica_of(&primary);
        replica.import("a", lasting(), false).unwrap();
        assert!(!rotates_together([&primary, &replica]), "nothing waits");
        primary.import("b", lasting(), true).unwrap();
        replica.adopt(&primary);
        assert!(primary.has_pending() && !replica.has_pending());
        assert!(!rotates_together([&primary, &replica]));
        replica.import("b", lasting(), false).unwrap();
        assert!(rotates_together([&primary, &replica]));
        assert_eq!(replica.delete_material(Some("b")), Ok(Some("b".into())));
        assert!(replica.pending.is_some() && !replica.has_pending(), "it goes on waiting for it");
        replica.import("b", lasting(), false).unwrap();
        primary.rotate_to_pending(NOW).unwrap();
        replica.adopt(&primary);
        assert_eq!((replica.current_material(), replica.state), ("b", KeyState::Enabled));
        assert!(replica.is_complete() && replica.pending.is_none());
        primary.import("c", lasting(), true).unwrap();
        replica.adopt(&primary);
        primary.delete_material(Some("c")).unwrap();
        replica.adopt(&primary);
        assert_eq!(replica.pending, None, "gone from the primary, gone from all");
    }
}
