//! Keys, aliases and grants in memory, with the indexes by which requests find them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ids::{AccountId, Region, Timestamp};
use kms::{AliasName, Grant, Key, KeyId, KeyName, KeyStoreName};
use wire::Fault;

use crate::{key_store::Store, material::Material};

/// A key with what is needed to use it.
#[derive(Debug)]
pub struct Entry {
    pub key: Key,
    pub policy: Arc<iam::Document>,
    /// By their ids, 64 hex digits.
    pub materials: HashMap<String, Arc<Material>>,
}

impl Entry {
    /// The material that is used now.
    ///
    /// # Errors
    /// An internal fault if the key has lost it.
    pub fn current(&self) -> Result<&Arc<Material>, Fault> {
        let lost = || Fault::internal(format!("{} has no current material", self.key.name));
        self.materials.get(self.key.current_material()).ok_or_else(lost)
    }
}

/// Where an alias points.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    pub target: KeyName,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// Everything. INVARIANT: every alias and every grant belongs to a key that is there, and every key in a key store to one
/// that is there.
#[derive(Default)]
pub struct Entries {
    keys: BTreeMap<KeyName, Arc<Entry>>,
    /// Where the keys with a multi-Region id are.
    regions_of: HashMap<(AccountId, KeyId), BTreeSet<Region>>,
    aliases: BTreeMap<AliasName, Alias>,
    aliases_of: HashMap<KeyName, BTreeSet<String>>,
    grants: HashMap<KeyName, Grants>,
    /// The key of each grant.
    grant_keys: HashMap<String, KeyName>,
    /// Ids of the grants that a principal may retire.
    retired_by: HashMap<String, HashSet<String>>,
    stores: BTreeMap<KeyStoreName, Arc<Store>>,
}

/// The grants of one key.
#[derive(Default)]
struct Grants {
    by_id: BTreeMap<String, Arc<Grant>>,
    by_grantee: HashMap<String, BTreeMap<String, Arc<Grant>>>,
}

impl Entries {
    pub fn key(&self, name: &KeyName) -> Option<&Arc<Entry>> {
        self.keys.get(name)
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.keys.values()
    }

    /// Keys of an account in a region, in order.
    pub fn keys_in<'a>(
        &'a self,
        account: &'a AccountId,
        region: &'a Region,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let first = KeyName { account: account.clone(), region: region.clone(), id: KeyId::first() };
        let here = move |name: &KeyName| name.account == *account && name.region == *region;
        self.keys.range(first..).take_while(move |(name, _)| here(name)).map(|(_, entry)| entry)
    }

    /// A key and all that are related to it, in order of their regions.
    pub fn related<'a>(&'a self, name: &'a KeyName) -> impl Iterator<Item = &'a Arc<Entry>> {
        let regions = self.regions_of.get(&(name.account.clone(), name.id.clone()));
        let alone = regions.is_none().then_some(&name.region);
        let all = regions.into_iter().flatten().chain(alone);
        all.filter_map(|region| self.keys.get(&name.in_region(region)))
    }

    pub fn alias(&self, name: &AliasName) -> Option<&Alias> {
        self.aliases.get(name)
    }

    /// Aliases of an account in a region, in order.
    pub fn aliases_in<'a>(
        &'a self,
        account: &'a AccountId,
        region: &'a Region,
    ) -> impl Iterator<Item = (&'a AliasName, &'a Alias)> {
        let first = AliasName { account: account.clone(), region: region.clone(), name: String::new() };
        let here = move |name: &AliasName| name.account == *account && name.region == *region;
        self.aliases.range(first..).take_while(move |(name, _)| here(name))
    }

    /// Names of the aliases of a key, in order.
    pub fn aliases_of(&self, name: &KeyName) -> Vec<String> {
        self.aliases_of.get(name).into_iter().flatten().cloned().collect()
    }

    /// Grants of a key, in order of their ids.
    pub fn grants_of(&self, name: &KeyName) -> impl ExactSizeIterator<Item = &Arc<Grant>> {
        static NONE: BTreeMap<String, Arc<Grant>> = BTreeMap::new();
        self.grants.get(name).map_or(&NONE, |grants| &grants.by_id).values()
    }

    /// Grants of a key to a principal.
    pub fn grants_to(&self, name: &KeyName, grantee: &str) -> impl Iterator<Item = &Arc<Grant>> {
        self.grants
            .get(name)
            .and_then(|grants| grants.by_grantee.get(grantee))
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The grants that name a retiring principal, in no order.
    pub fn grants_retired_by(&self, principal: &str) -> impl Iterator<Item = &Arc<Grant>> {
        self.retired_by.get(principal).into_iter().flatten().filter_map(|id| self.grant(id))
    }

    /// A grant by its id.
    pub fn grant(&self, id: &str) -> Option<&Arc<Grant>> {
        self.grants.get(self.grant_keys.get(id)?)?.by_id.get(id)
    }

    pub fn store(&self, name: &KeyStoreName) -> Option<&Arc<Store>> {
        self.stores.get(name)
    }

    /// Key stores of an account in a region, in order.
    pub fn stores_in<'a>(
        &'a self,
        account: &'a AccountId,
        region: &'a Region,
    ) -> impl Iterator<Item = &'a Arc<Store>> {
        let first = KeyStoreName { account: account.clone(), region: region.clone(), id: String::new() };
        let here = move |name: &KeyStoreName| name.account == *account && name.region == *region;
        self.stores.range(first..).take_while(move |(name, _)| here(name)).map(|(_, store)| store)
    }

    pub fn put_store(&mut self, store: Arc<Store>) {
        self.stores.insert(store.store.name.clone(), store);
    }

    pub fn remove_store(&mut self, name: &KeyStoreName) {
        self.stores.remove(name);
    }

    pub fn put_key(&mut self, entry: Arc<Entry>) {
        let name = &entry.key.name;
        if entry.key.multi_region.is_some() {
            let regions = self.regions_of.entry((name.account.clone(), name.id.clone())).or_default();
            regions.insert(name.region.clone());
        }
        self.keys.insert(name.clone(), entry);
    }

    /// Removes a key with its aliases and grants.
    pub fn remove_key(&mut self, name: &KeyName) {
        self.keys.remove(name);
        let set = (name.account.clone(), name.id.clone());
        if let Some(regions) = self.regions_of.get_mut(&set) {
            regions.remove(&name.region);
            if regions.is_empty() {
                self.regions_of.remove(&set);
            }
        }
        for grant in self.grants.remove(name).into_iter().flat_map(|grants| grants.by_id.into_values()) {
            self.forget_grant(&grant);
        }
        for alias in self.aliases_of.remove(name).into_iter().flatten() {
            self.aliases.remove(&AliasName {
                account: name.account.clone(),
                region: name.region.clone(),
                name: alias,
            });
        }
    }

    pub fn put_alias(&mut self, name: AliasName, alias: Alias) {
        self.remove_alias(&name);
        self.aliases_of.entry(alias.target.clone()).or_default().insert(name.name.clone());
        self.aliases.insert(name, alias);
    }

    pub fn remove_alias(&mut self, name: &AliasName) {
        if let Some(old) = self.aliases.remove(name)
            && let Some(names) = self.aliases_of.get_mut(&old.target)
        {
            names.remove(&name.name);
        }
    }

    pub fn put_grant(&mut self, grant: Grant) {
        let grant = Arc::new(grant);
        self.grant_keys.insert(grant.id.clone(), grant.key.clone());
        if let Some(retiring) = &grant.retiring {
            self.retired_by.entry(retiring.clone()).or_default().insert(grant.id.clone());
        }
        let grants = self.grants.entry(grant.key.clone()).or_default();
        grants
            .by_grantee
            .entry(grant.grantee.clone())
            .or_default()
            .insert(grant.id.clone(), Arc::clone(&grant));
        grants.by_id.insert(grant.id.clone(), grant);
    }

    pub fn remove_grant(&mut self, grant: &Grant) {
        self.forget_grant(grant);
        let Some(grants) = self.grants.get_mut(&grant.key) else { return };
        grants.by_id.remove(&grant.id);
        if let Some(same) = grants.by_grantee.get_mut(&grant.grantee) {
            same.remove(&grant.id);
            if same.is_empty() {
                grants.by_grantee.remove(&grant.grantee);
            }
        }
    }

    /// Removes a grant from the indexes over all keys.
    fn forget_grant(&mut self, grant: &Grant) {
        self.grant_keys.remove(&grant.id);
        if let Some(retiring) = &grant.retiring
            && let Some(ids) = self.retired_by.get_mut(retiring)
        {
            ids.remove(&grant.id);
            if ids.is_empty() {
                self.retired_by.remove(retiring);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kms::Constraints;

    use super::*;

    fn grant(id: &str, key: &KeyName, retiring: Option<&str>) -> Grant {
        Grant {
            id: id.into(),
            key: key.clone(),
            name: None,
            created: Timestamp::from_millis(0),
            grantee: "g".into(),
            grantee_id: None,
            retiring: retiring.map(str::to_owned),
            retiring_id: None,
            to_service: false,
            retired_by_service: false,
            issuing_account: key.account.clone(),
            operations: BTreeSet::new(),
            constraints: Constraints::default(),
        }
    }

    #[test]
    fn grants_are_found_by_who_may_retire_them_until_they_or_their_key_go() {
        let key = |byte| KeyName {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            id: KeyId::from_random([byte; 16]),
        };
        let (first, second) = (key(1), key(2));
        let mut entries = Entries::default();
        entries.put_grant(grant("a", &first, Some("ops")));
        entries.put_grant(grant("b", &second, Some("ops")));
        entries.put_grant(grant("c", &first, None));
        entries.put_grant(grant("d", &first, Some("dba")));
        let of = |entries: &Entries, who: &str| {
            let mut ids: Vec<_> = entries.grants_retired_by(who).map(|grant| grant.id.clone()).collect();
            ids.sort();
            ids
        };
        assert_eq!(
            (of(&entries, "ops"), of(&entries, "dba")),
            (vec!["a".into(), "b".into()], vec!["d".into()])
        );
        entries.remove_grant(&grant("a", &first, Some("ops")));
        assert_eq!(of(&entries, "ops"), ["b"]);
        entries.remove_key(&first);
        assert_eq!((of(&entries, "ops"), of(&entries, "dba")), (vec!["b".into()], Vec::<String>::new()));
        entries.remove_key(&second);
        assert!(entries.retired_by.is_empty() && entries.grant_keys.is_empty());
    }
}
