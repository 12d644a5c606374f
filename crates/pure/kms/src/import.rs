//! Imported material (spec/kms.md §13): how it comes, how long it stays, how it goes. A key with an imported material
//! that is not there is pending import.

use std::time::Duration;

use ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    key::{Key, Material, Refusal, RotationType},
    spec::KeySpec,
    state::{KeyState, Row, permits},
};

/// Where a key's material comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Origin {
    #[default]
    #[serde(rename = "AWS_KMS")]
    AwsKms,
    #[serde(rename = "EXTERNAL")]
    External,
    /// Half of it here, half in an external key store.
    #[serde(rename = "EXTERNAL_KEY_STORE")]
    ExternalKeyStore,
}

/// What is known of an imported material.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Import {
    /// When it goes by itself; `None` for one that stays.
    pub expires: Option<Timestamp>,
    pub description: Option<String>,
    /// Whether it is there now.
    pub present: bool,
}

/// Longest time until an imported material expires.
pub const LONGEST_IMPORT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Origin {
    /// AWS's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS_KMS",
            Self::External => "EXTERNAL",
            Self::ExternalKeyStore => "EXTERNAL_KEY_STORE",
        }
    }
}

impl Material {
    /// Whether it is there: only an imported one can be missing.
    pub fn present(&self) -> bool {
        self.imported.as_ref().is_none_or(|import| import.present)
    }

    fn expired(&self, now: Timestamp) -> bool {
        let due = |import: &Import| import.present && import.expires.is_some_and(|at| at <= now);
        self.imported.as_ref().is_some_and(due)
    }

    /// The same material, known of and not there.
    #[must_use]
    pub fn absent(&self) -> Self {
        let gone = |_: &Import| Import { expires: None, description: None, present: false };
        Self { imported: self.imported.as_ref().map(gone), ..self.clone() }
    }
}

impl Key {
    /// Checks that the key takes imported material at all.
    ///
    /// # Errors
    /// [`Refusal::Origin`]; as the table of states says.
    pub fn check_import(&self) -> Result<(), Refusal> {
        self.check_external()?;
        Ok(permits(Row::Import, self.state)?)
    }

    fn check_external(&self) -> Result<(), Refusal> {
        if self.origin == Origin::External { Ok(()) } else { Err(Refusal::Origin(self.origin)) }
    }

    /// Takes a material in, for the first time or again. `new` brings one more, which waits for a rotation.
    ///
    /// # Errors
    /// As [`Key::check_import`]; [`Refusal::OtherMaterial`] for what was not imported before, unless it may be
    /// new; [`Refusal::OnePending`] next to another one that waits; [`Refusal::NotPrimary`] for new material of a
    /// replica: its primary has it first.
    pub fn import(&mut self, id: &str, import: Import, new: bool) -> Result<(), Refusal> {
        self.check_import()?;
        let known = self.materials.iter_mut().chain(&mut self.pending).find(|known| known.id == id);
        if let Some(known) = known {
            known.imported = Some(import);
        } else if self.materials.is_empty() {
            self.materials.push(Material { id: id.into(), rotated: None, imported: Some(import) });
        } else if !new {
            return Err(Refusal::OtherMaterial);
        } else if self.is_replica() {
            return Err(Refusal::NotPrimary);
        } else if self.spec != KeySpec::Symmetric {
            return Err(Refusal::NotSymmetric);
        } else if let Some(waiting) = &self.pending {
            return Err(Refusal::OnePending { new: id.into(), waiting: waiting.id.clone() });
        } else {
            self.pending = Some(Material { id: id.into(), rotated: None, imported: Some(import) });
        }
        if self.state == KeyState::PendingImport && self.is_complete() {
            self.state = KeyState::Enabled;
        }
        Ok(())
    }

    /// Lets go of an imported material, by default of the current one; answers its id if it was there.
    ///
    /// # Errors
    /// [`Refusal::Origin`], as the table of states says, and [`Refusal::OtherMaterial`] for one that the key never
    /// had.
    pub fn delete_material(&mut self, id: Option<&str>) -> Result<Option<String>, Refusal> {
        self.check_external()?;
        permits(Row::DeleteMaterial, self.state)?;
        let Some(id) = id.map(str::to_owned).or_else(|| self.materials.last().map(|m| m.id.clone())) else {
            return Ok(None);
        };
        let known = self.materials.iter().chain(&self.pending).find(|known| known.id == id);
        let present = known.ok_or(Refusal::OtherMaterial)?.present();
        self.lose(&id);
        Ok(present.then_some(id))
    }

    /// Lets go of what has expired; answers the ids.
    pub fn expire(&mut self, now: Timestamp) -> Vec<String> {
        let all = self.materials.iter().chain(&self.pending);
        let expired: Vec<_> = all.filter(|m| m.expired(now)).map(|m| m.id.clone()).collect();
        for id in &expired {
            self.lose(id);
        }
        expired
    }

    /// Whether a material has expired and is still there.
    pub fn expiry_due(&self, now: Timestamp) -> bool {
        !self.is_settling()
            && self.materials.iter().chain(&self.pending).any(|material| material.expired(now))
    }

    /// Makes the material that waits the current one.
    ///
    /// # Errors
    /// [`Refusal::NonePending`]
    pub fn rotate_to_pending(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let waiting = self.pending.take().ok_or(Refusal::NonePending)?;
        self.materials.push(Material { rotated: Some((now, RotationType::OnDemand)), ..waiting });
        Ok(())
    }

    /// Whether the key has every material that it ever used.
    pub fn is_complete(&self) -> bool {
        !self.materials.is_empty() && self.materials.iter().all(Material::present)
    }

    fn lose(&mut self, id: &str) {
        if !self.is_replica() {
            self.pending.take_if(|waiting| waiting.id == id);
        }
        // A replica goes on waiting for what its primary has.
        for material in
            self.materials.iter_mut().chain(&mut self.pending).filter(|material| material.id == id)
        {
            if let Some(import) = &mut material.imported {
                import.present = false;
            }
        }
        if matches!(self.state, KeyState::Enabled | KeyState::Disabled) && !self.is_complete() {
            self.state = KeyState::PendingImport;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyUsage, Manager, state::Blocked};

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn key() -> Key {
        let name = crate::KeyName {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            id: "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap(),
        };
        let kind = (KeySpec::Symmetric, KeyUsage::EncryptDecrypt);
        Key::external(name, kind, NOW, String::new())
    }

    fn lasting() -> Import {
        Import { expires: None, description: None, present: true }
    }

    #[test]
    fn a_key_is_enabled_by_its_material_and_takes_no_other() {
        let mut key = key();
        assert_eq!((key.state, key.current_material()), (KeyState::PendingImport, ""));
        assert_eq!(key.enable(), Err(Refusal::State(Blocked::PendingImport)));
        assert_eq!(key.delete_material(None), Ok(None), "nothing to delete is no mistake");
        key.import("a", lasting(), false).unwrap();
        assert_eq!((key.state, key.current_material()), (KeyState::Enabled, "a"));
        assert_eq!(key.import("b", lasting(), false), Err(Refusal::OtherMaterial));
        assert_eq!(key.delete_material(Some("b")), Err(Refusal::OtherMaterial));
        assert_eq!(key.delete_material(None), Ok(Some("a".into())));
        assert_eq!((key.state, key.delete_material(None)), (KeyState::PendingImport, Ok(None)));
        assert_eq!(key.import("b", lasting(), false), Err(Refusal::OtherMaterial));
        key.import("a", lasting(), false).unwrap();
        assert_eq!(key.state, KeyState::Enabled);
    }

    #[test]
    fn material_expires_and_the_key_waits_for_it() {
        let mut key = key();
        let day = NOW.plus(Duration::from_secs(24 * 60 * 60));
        key.import("a", Import { expires: Some(day), ..lasting() }, false).unwrap();
        assert!(!key.expiry_due(NOW) && key.expiry_due(day));
        key.disable().unwrap();
        assert_eq!(key.expire(day), ["a"]);
        assert_eq!((key.state, key.expiry_due(day)), (KeyState::PendingImport, false));
        key.import("a", lasting(), false).unwrap();
        assert_eq!((key.state, key.expiry_due(day)), (KeyState::Enabled, false));
        key.import("a", Import { expires: Some(day), ..lasting() }, false).unwrap();
        key.schedule_deletion(None, false, NOW).unwrap();
        assert_eq!(key.import("a", lasting(), false), Err(Refusal::State(Blocked::PendingDeletion)));
        assert_eq!(key.expire(day), ["a"]);
        assert_eq!(key.state, KeyState::PendingDeletion);
        key.cancel_deletion().unwrap();
        assert_eq!(key.state, KeyState::PendingImport);
    }

    #[test]
    fn a_new_material_waits_for_a_rotation_and_every_one_is_needed() {
        let mut key = key();
        assert_eq!(key.rotate_to_pending(NOW), Err(Refusal::NonePending));
        key.import("a", lasting(), true).unwrap();
        key.import("b", lasting(), true).unwrap();
        assert_eq!(key.current_material(), "a");
        let another = Refusal::OnePending { new: "c".into(), waiting: "b".into() };
        assert_eq!(key.import("c", lasting(), true), Err(another));
        key.rotate_to_pending(NOW).unwrap();
        assert_eq!((key.current_material(), &key.pending), ("b", &None));
        assert_eq!(key.delete_material(Some("a")), Ok(Some("a".into())));
        assert_eq!(key.state, KeyState::PendingImport, "an old one is needed too");
        key.import("a", lasting(), false).unwrap();
        assert_eq!(key.state, KeyState::Enabled);
        key.import("c", lasting(), true).unwrap();
        assert_eq!(key.delete_material(Some("c")), Ok(Some("c".into())));
        assert_eq!((key.state, &key.pending), (KeyState::Enabled, &None), "what waits is not needed");
    }

    #[test]
    fn a_key_of_kms_takes_no_material() {
        let mut key = Key { origin: Origin::AwsKms, state: KeyState::Enabled, ..key() };
        let refused = Refusal::Origin(Origin::AwsKms);
        assert_eq!(key.import("a", lasting(), false), Err(refused.clone()));
        assert_eq!(key.delete_material(None), Err(refused));
        assert!(Manager::Customer == key.manager);
    }
}
