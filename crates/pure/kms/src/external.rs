//! Keys in external key stores: their state follows the connection of the store (spec/kms.md §9). Without one a key
//! is unavailable, and what it was, or was made meanwhile, comes back with the connection.

use ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::KeyName,
    import::Origin,
    key::{Key, Manager},
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

/// The external key behind a key, and the store that leads to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExternalKey {
    /// `cks-…`
    pub store: String,
    /// As the proxy of the store names it.
    pub id: String,
    /// Whether the store is connected.
    pub connected: bool,
    /// The state that comes back with the connection, while the key is unavailable.
    pub behind: Option<KeyState>,
}

impl ExternalKey {
    /// One in a store that is connected.
    pub const fn new(store: String, id: String) -> Self {
        Self { store, id, connected: true, behind: None }
    }
}

impl Key {
    /// A new key in an external key store, with the material that this side has of it.
    pub fn in_store(
        name: KeyName,
        created: Timestamp,
        policy: String,
        material_id: String,
        external: ExternalKey,
    ) -> Self {
        let kind = (KeySpec::default(), KeyUsage::default());
        Self {
            origin: Origin::ExternalKeyStore,
            external: Some(external),
            ..Self::new(name, kind, Manager::Customer, created, policy, material_id)
        }
    }

    /// Its store has been connected or disconnected.
    pub fn store_connected(&mut self, connected: bool) {
        let Some(external) = &mut self.external else { return };
        external.connected = connected;
        let state = external.behind.take().unwrap_or(self.state);
        self.switch(state);
    }

    /// Puts the key into a state, or behind its store if that is not connected.
    pub(crate) fn switch(&mut self, state: KeyState) {
        self.state = state;
        if let Some(external) = &mut self.external {
            external.behind = None;
            if !external.connected && matches!(state, KeyState::Enabled | KeyState::Disabled) {
                external.behind = Some(state);
                self.state = KeyState::Unavailable;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocked, Refusal, Row, permits};

    fn key() -> Key {
        let name = KeyName {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            id: "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap(),
        };
        let external = ExternalKey::new("cks-1".into(), "k".into());
        Key::in_store(name, Timestamp::from_millis(0), String::new(), "a".into(), external)
    }

    #[test]
    fn a_key_is_unavailable_without_its_store_and_comes_back_as_it_was_made_meanwhile() {
        let mut key = key();
        assert_eq!(key.state, KeyState::Enabled);
        key.store_connected(false);
        assert_eq!(key.state, KeyState::Unavailable);
        assert_eq!(permits(Row::Cryptography, key.state), Err(Blocked::Unavailable));
        key.store_connected(false);
        key.store_connected(true);
        assert_eq!(key.state, KeyState::Enabled);
        key.store_connected(false);
        key.disable().unwrap();
        assert_eq!(key.state, KeyState::Unavailable);
        key.store_connected(true);
        assert_eq!(key.state, KeyState::Disabled);
    }

    #[test]
    fn a_deletion_stands_above_the_connection() {
        let mut key = key();
        let now = Timestamp::from_millis(0);
        key.store_connected(false);
        key.schedule_deletion(None, false, now).unwrap();
        assert_eq!(key.state, KeyState::PendingDeletion);
        key.store_connected(true);
        assert_eq!(key.state, KeyState::PendingDeletion);
        key.store_connected(false);
        key.cancel_deletion().unwrap();
        assert_eq!(key.state, KeyState::Unavailable);
        key.store_connected(true);
        assert_eq!((key.state, key.deletion), (KeyState::Disabled, None));
    }

    #[test]
    fn it_has_no_rotations_and_no_imports() {
        let mut key = key();
        let refused = Refusal::Origin(Origin::ExternalKeyStore);
        let now = Timestamp::from_millis(0);
        assert_eq!(key.enable_rotation(None, now), Err(refused.clone()));
        assert_eq!(key.disable_rotation(), Err(refused.clone()));
        assert_eq!(key.may_rotate_on_demand(25), Err(refused.clone()));
        assert_eq!(key.check_import(), Err(refused.clone()));
        assert_eq!(key.delete_material(None), Err(refused));
    }

    #[test]
    fn a_key_that_was_kept_before_there_were_stores_has_none() {
        let kept = serde_json::to_value(Key { external: None, ..key() }).unwrap();
        assert!(kept.get("external").is_none());
        assert_eq!(serde_json::from_value::<Key>(kept).unwrap().external, None);
    }
}
