//! Keys, aliases and grants in memory, where every request finds them. SQL is changed first, this after.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use custody::Custody;
use envelope::{KeyMaterial, SystemEntropy, material_id};
use front::Call;
use ids::{AccountId, Arn, Clock, Entropy as _, Region, Timestamp};
use kms::{AliasName, Grant, Key, KeyId, KeyName, Manager};
use store::{Change, Store};
use tokio::sync::broadcast;
use wire::Fault;

use crate::{fault, rows};

/// Changes that listeners may lag behind; one that lags further checks every key.
const CHANGES_KEPT: usize = 1024;

/// The key service.
pub struct Kms {
    pub(crate) store: Store,
    pub(crate) custody: Arc<Custody>,
    pub(crate) trail: Arc<audit::Trail>,
    pub(crate) clock: Arc<dyn Clock>,
    directory: Arc<dyn front::Directory>,
    entries: RwLock<Entries>,
    /// One change at a time: what it was decided on is still so when it is written.
    changing: tokio::sync::Mutex<()>,
    changes: broadcast::Sender<KeyChange>,
}

/// Something happened that may take a key away from those who use it, or give it back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyChange {
    pub key_arn: String,
}

/// A key with what is needed to use it.
#[derive(Debug)]
pub struct Entry {
    pub key: Key,
    pub policy: Arc<iam::Document>,
    pub materials: HashMap<String, Arc<KeyMaterial>>,
}

/// Where an alias points.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    pub target: KeyName,
    pub created: Timestamp,
    pub updated: Timestamp,
}

#[derive(Default)]
struct Entries {
    keys: BTreeMap<KeyName, Arc<Entry>>,
    aliases: BTreeMap<AliasName, Alias>,
    aliases_of: HashMap<KeyName, BTreeSet<String>>,
    grants: HashMap<KeyName, BTreeMap<String, Arc<Grant>>>,
}

/// Why the registry cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("keys cannot be read: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a key cannot be read: {0}")]
    Body(#[from] serde_json::Error),
    #[error("the state store holds what is no name: {0}")]
    Row(String),
    #[error("a material of {0} does not open: the root key is not the one it was sealed under")]
    Material(String),
    #[error("the policy of {0} cannot be read: {1}")]
    Policy(String, iam::Malformed),
}

impl Kms {
    /// Loads every key from the store.
    ///
    /// # Errors
    /// [`LoadError`]; a root key that is not the store's among them.
    pub async fn load(
        store: Store,
        custody: Arc<Custody>,
        trail: Arc<audit::Trail>,
        clock: Arc<dyn Clock>,
        directory: Arc<dyn front::Directory>,
    ) -> Result<Self, LoadError> {
        let pool = store.read();
        let mut materials: HashMap<String, HashMap<String, Arc<KeyMaterial>>> = HashMap::new();
        for (arn, id, material) in rows::materials(pool, &custody).await? {
            materials.entry(arn).or_default().insert(id, Arc::new(material));
        }
        let mut entries = Entries::default();
        for key in rows::keys(pool).await? {
            let arn = key.name.to_string();
            let policy = iam::Document::parse(&key.policy, iam::Kind::Key);
            let policy = Arc::new(policy.map_err(|error| LoadError::Policy(arn.clone(), error))?);
            let materials = materials.remove(&arn).unwrap_or_default();
            entries.keys.insert(key.name.clone(), Arc::new(Entry { key, policy, materials }));
        }
        for (name, alias) in rows::aliases(pool).await? {
            entries.put_alias(name, alias);
        }
        for grant in rows::grants(pool).await? {
            entries.put_grant(grant);
        }
        let changes = broadcast::Sender::new(CHANGES_KEPT);
        let entries = RwLock::new(entries);
        Ok(Self { store, custody, trail, clock, directory, entries, changing: tokio::sync::Mutex::default(), changes })
    }

    /// Tells of every change that may take a key away or give it back, after it is durable.
    pub fn changes(&self) -> broadcast::Receiver<KeyChange> {
        self.changes.subscribe()
    }

    pub(crate) fn key(&self, name: &KeyName) -> Option<Arc<Entry>> {
        self.read(|entries| entries.keys.get(name).cloned())
    }

    pub(crate) fn alias(&self, name: &AliasName) -> Option<Alias> {
        self.read(|entries| entries.aliases.get(name).cloned())
    }

    /// Names of the aliases of a key, in order.
    pub(crate) fn aliases_of(&self, name: &KeyName) -> Vec<String> {
        self.read(|entries| entries.aliases_of.get(name).map(|names| names.iter().cloned().collect()).unwrap_or_default())
    }

    /// Keys of an account in a region, in order.
    pub(crate) fn keys_in(&self, account: &AccountId, region: &Region) -> Vec<Arc<Entry>> {
        let here = |name: &KeyName| name.account == *account && name.region == *region;
        self.read(|entries| entries.keys.iter().filter(|(name, _)| here(name)).map(|(_, entry)| Arc::clone(entry)).collect())
    }

    /// Aliases of an account in a region, in order.
    pub(crate) fn aliases_in(&self, account: &AccountId, region: &Region) -> Vec<(AliasName, Alias)> {
        let here = |name: &AliasName| name.account == *account && name.region == *region;
        self.read(|entries| {
            entries.aliases.iter().filter(|(name, _)| here(name)).map(|(n, a)| (n.clone(), a.clone())).collect()
        })
    }

    /// Grants of a key, in order of their ids.
    pub(crate) fn grants_of(&self, name: &KeyName) -> Vec<Arc<Grant>> {
        self.read(|entries| entries.grants.get(name).map(|grants| grants.values().cloned().collect()).unwrap_or_default())
    }

    /// Whether any grant of a key satisfies a test.
    pub(crate) fn any_grant(&self, name: &KeyName, test: impl Fn(&Grant) -> bool) -> bool {
        self.read(|entries| entries.grants.get(name).is_some_and(|grants| grants.values().any(|grant| test(grant))))
    }

    pub(crate) fn grant(&self, key: &KeyName, id: &str) -> Option<Arc<Grant>> {
        self.read(|entries| entries.grants.get(key)?.get(id).cloned())
    }

    /// Every grant that satisfies a test.
    pub(crate) fn grants_where(&self, test: impl Fn(&Grant) -> bool) -> Vec<Arc<Grant>> {
        self.read(|entries| {
            entries.grants.values().flat_map(BTreeMap::values).filter(|grant| test(grant)).cloned().collect()
        })
    }

    /// Every key for which something is due.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<KeyName> {
        let due = |entry: &&Arc<Entry>| entry.key.deletion_due(now) || entry.key.rotation_due(now);
        self.read(|entries| entries.keys.values().filter(due).map(|entry| entry.key.name.clone()).collect())
    }

    pub(crate) fn identity_policies(&self, call: &Call) -> Vec<Arc<iam::Document>> {
        self.directory.identity_policies(&call.caller)
    }

    fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a change; until it ends, no other one begins. Read what is decided on after this.
    pub(crate) async fn begin(&self, event_id: Option<&str>) -> Result<Changing<'_>, Fault> {
        let turn = self.changing.lock().await;
        let change = match event_id {
            Some(event_id) => self.store.change(event_id).await,
            None => self.store.internal_change().await,
        };
        let change = change.map_err(Fault::internal)?;
        Ok(Changing { kms: self, change, edits: Vec::new(), tell: BTreeSet::new(), _turn: turn })
    }

    /// A new key's name, with an id that no other key has.
    pub(crate) fn new_name(&self, account: &AccountId, region: &Region) -> KeyName {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random);
        KeyName { account: account.clone(), region: region.clone(), id: KeyId::from_random(random) }
    }

    /// The AWS managed key of a service, made at its first use: one in each account and region.
    ///
    /// # Errors
    /// An internal fault if it cannot be kept.
    pub async fn ensure_managed(&self, account: &AccountId, region: &Region, service: &str) -> Result<Arn, Fault> {
        let name = format!("alias/aws/{service}");
        let alias = AliasName { account: account.clone(), region: region.clone(), name };
        if let Some(known) = self.alias(&alias) {
            return Ok(known.target.arn());
        }
        let mut change = self.begin(None).await?;
        if let Some(known) = self.alias(&alias) {
            return Ok(known.target.arn());
        }
        let now = self.clock.now();
        let name = self.new_name(account, region);
        let material = KeyMaterial::generate(&SystemEntropy);
        let id = hex::encode(material_id(&name.to_string(), &material));
        let mut key = Key::new(name.clone(), Manager::Aws, now, kms::rds_policy(account, region), id.clone());
        key.description = "Default key that protects my RDS database volumes when no other key is defined".into();
        change.new_key(key, &id, material).await?;
        change.put_alias(alias, Alias { target: name.clone(), created: now, updated: now }).await?;
        change.commit().await?;
        Ok(name.arn())
    }
}

impl Entries {
    fn put_alias(&mut self, name: AliasName, alias: Alias) {
        self.remove_alias(&name);
        self.aliases_of.entry(alias.target.clone()).or_default().insert(name.name.clone());
        self.aliases.insert(name, alias);
    }

    fn remove_alias(&mut self, name: &AliasName) {
        if let Some(old) = self.aliases.remove(name)
            && let Some(names) = self.aliases_of.get_mut(&old.target)
        {
            names.remove(&name.name);
        }
    }

    fn put_grant(&mut self, grant: Grant) {
        self.grants.entry(grant.key.clone()).or_default().insert(grant.id.clone(), Arc::new(grant));
    }

    fn remove_key(&mut self, name: &KeyName) {
        self.keys.remove(name);
        self.grants.remove(name);
        for alias in self.aliases_of.remove(name).unwrap_or_default() {
            self.aliases.remove(&AliasName { account: name.account.clone(), region: name.region.clone(), name: alias });
        }
    }
}

type Edit = Box<dyn FnOnce(&mut Entries) + Send>;

/// A change under way: written to SQL as it goes, to memory when it is committed.
pub(crate) struct Changing<'a> {
    kms: &'a Kms,
    change: Change,
    edits: Vec<Edit>,
    tell: BTreeSet<String>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Changing<'_> {
    pub(crate) async fn new_key(&mut self, key: Key, material_id: &str, material: KeyMaterial) -> Result<(), Fault> {
        let policy = parse_policy(&key.policy)?;
        rows::put_key(self.change.tx(), &key).await.map_err(Fault::internal)?;
        rows::put_material(self.change.tx(), &self.kms.custody, &key.name, material_id, &material)
            .await
            .map_err(Fault::internal)?;
        let materials = HashMap::from([(material_id.to_owned(), Arc::new(material))]);
        let entry = Arc::new(Entry { key, policy, materials });
        self.edits.push(Box::new(move |entries| {
            entries.keys.insert(entry.key.name.clone(), entry);
        }));
        Ok(())
    }

    /// Writes a changed key; `tell` if the change may take it away from its users or give it back.
    pub(crate) async fn put_key(&mut self, old: &Entry, key: Key, tell: bool) -> Result<(), Fault> {
        let policy = if key.policy == old.key.policy { Arc::clone(&old.policy) } else { parse_policy(&key.policy)? };
        self.put_entry(Entry { key, policy, materials: old.materials.clone() }, tell).await
    }

    /// Writes a key that was rotated to a new material.
    pub(crate) async fn rotate(&mut self, old: &Entry, key: Key, material: KeyMaterial) -> Result<(), Fault> {
        let id = key.current_material().to_owned();
        rows::put_material(self.change.tx(), &self.kms.custody, &key.name, &id, &material).await.map_err(Fault::internal)?;
        let mut materials = old.materials.clone();
        materials.insert(id, Arc::new(material));
        self.put_entry(Entry { key, policy: Arc::clone(&old.policy), materials }, false).await
    }

    async fn put_entry(&mut self, entry: Entry, tell: bool) -> Result<(), Fault> {
        rows::put_key(self.change.tx(), &entry.key).await.map_err(Fault::internal)?;
        if tell {
            self.tell.insert(entry.key.name.to_string());
        }
        self.edits.push(Box::new(move |entries| {
            entries.keys.insert(entry.key.name.clone(), Arc::new(entry));
        }));
        Ok(())
    }

    pub(crate) async fn delete_key(&mut self, name: &KeyName) -> Result<(), Fault> {
        rows::delete_key(self.change.tx(), name).await.map_err(Fault::internal)?;
        self.tell.insert(name.to_string());
        let name = name.clone();
        self.edits.push(Box::new(move |entries| entries.remove_key(&name)));
        Ok(())
    }

    pub(crate) async fn put_alias(&mut self, name: AliasName, alias: Alias) -> Result<(), Fault> {
        rows::put_alias(self.change.tx(), &name, &alias).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| entries.put_alias(name, alias)));
        Ok(())
    }

    pub(crate) async fn delete_alias(&mut self, name: AliasName) -> Result<(), Fault> {
        rows::delete_alias(self.change.tx(), &name).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| entries.remove_alias(&name)));
        Ok(())
    }

    pub(crate) async fn put_grant(&mut self, grant: Grant) -> Result<(), Fault> {
        rows::put_grant(self.change.tx(), &grant).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| entries.put_grant(grant)));
        Ok(())
    }

    pub(crate) async fn delete_grant(&mut self, grant: &Grant) -> Result<(), Fault> {
        rows::delete_grant(self.change.tx(), grant).await.map_err(Fault::internal)?;
        self.tell.insert(grant.key.to_string());
        let (key, id) = (grant.key.clone(), grant.id.clone());
        self.edits.push(Box::new(move |entries| {
            if let Some(grants) = entries.grants.get_mut(&key) {
                grants.remove(&id);
            }
        }));
        Ok(())
    }

    /// Makes the change durable, then visible, then known.
    pub(crate) async fn commit(self) -> Result<(), Fault> {
        let Self { kms, change, edits, tell, _turn } = self;
        change.commit().await.map_err(Fault::internal)?;
        kms.write(|entries| edits.into_iter().for_each(|edit| edit(entries)));
        for key_arn in tell {
            // Nobody listening is fine.
            let _ = kms.changes.send(KeyChange { key_arn });
        }
        Ok(())
    }
}

/// A policy that was checked before it came here.
fn parse_policy(text: &str) -> Result<Arc<iam::Document>, Fault> {
    iam::Document::parse(text, iam::Kind::Key).map(Arc::new).map_err(|bad| malformed_policy(&bad))
}

pub(crate) fn malformed_policy(bad: &iam::Malformed) -> Fault {
    Fault::client("MalformedPolicyDocumentException", bad.to_string())
}

/// The current entry of a key that a call resolved before its change began.
pub(crate) fn still_there(kms: &Kms, name: &KeyName) -> Result<Arc<Entry>, Fault> {
    kms.key(name).ok_or_else(|| fault::no_key(name))
}
