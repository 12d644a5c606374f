//! The key service: what is in memory, where every request finds it. SQL is changed first, this after.

use std::{
    collections::{
        HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    sync::{Arc, PoisonError, RwLock},
};

use custody::Custody;
use front::{Ask, Call, Directory};
use ids::{AccountId, Clock, Region, Regions, Timestamp};
use kms::{AliasName, Grant, KeyName, KeySpec, KeyStoreName, Manager};
use store::Store;
use tokio::sync::{Mutex, Notify, broadcast};
use xks::Proxies;

use crate::{
    entries::{Alias, Entries, Entry},
    key_store::Store as KeyStore,
    material::Material,
    policy,
    quotas::Quotas,
    rows,
};

/// Changes that listeners may lag behind; one that lags further checks every key.
const CHANGES_KEPT: usize = 1024;

/// The key service.
pub struct Kms {
    pub(crate) store: Store,
    pub(crate) custody: Arc<Custody>,
    pub(crate) trail: Arc<audit::Trail>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quotas: Quotas,
    /// Where replicas can be.
    pub(crate) regions: Regions,
    /// The way to external key stores.
    pub(crate) proxies: Arc<Proxies>,
    directory: Arc<dyn Directory>,
    entries: RwLock<Entries>,
    /// Something is due that must not wait.
    pub(crate) work: Notify,
    /// One change at a time: what it was decided on is still so when it is written.
    pub(crate) changing: Mutex<()>,
    pub(crate) changes: broadcast::Sender<KeyChange>,
}

/// Something happened that may take a key away from those who use it, or give it back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyChange {
    pub key_arn: String,
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
    #[error("the secret of key store {0} does not open: the root key is not the one it was sealed under")]
    Store(String),
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
        directory: Arc<dyn Directory>,
        proxies: Arc<Proxies>,
    ) -> Result<Self, LoadError> {
        let pool = store.read();
        let keys = rows::keys(pool).await?;
        let specs: HashMap<String, KeySpec> =
            keys.iter().map(|key| (key.name.to_string(), key.spec)).collect();
        let spec_of = |arn: &str| specs.get(arn).copied();
        let mut materials: HashMap<String, HashMap<String, Arc<Material>>> = HashMap::new();
        for (arn, id, material) in rows::materials(pool, &custody, spec_of).await? {
            materials.entry(arn).or_default().insert(id, Arc::new(material));
        }
        let mut entries = Entries::default();
        // Most keys of an account have the same policy: it is read and kept once.
        let mut policies: HashMap<_, Arc<iam::Document>> = HashMap::new();
        for key in keys {
            let arn = key.name.to_string();
            let policy = match policies.entry((key.policy.clone(), key.principals.clone())) {
                Occupied(known) => Arc::clone(known.get()),
                Vacant(new) => {
                    let read = policy::of(&key).map_err(|error| LoadError::Policy(arn.clone(), error))?;
                    Arc::clone(new.insert(read))
                }
            };
            let materials = materials.remove(&arn).unwrap_or_default();
            entries.put_key(Arc::new(Entry { key, policy, materials }));
        }
        for (name, alias) in rows::aliases(pool).await? {
            entries.put_alias(name, alias);
        }
        for grant in rows::grants(pool).await? {
            entries.put_grant(grant);
        }
        for (store, secret) in rows::stores(pool, &custody).await? {
            let link = Arc::new(proxies.link(clock.now()));
            entries.put_store(Arc::new(KeyStore { store, secret, link }));
        }
        Ok(Self {
            store,
            custody,
            trail,
            clock,
            quotas: Quotas::default(),
            regions: Regions::commercial(),
            proxies,
            directory,
            entries: RwLock::new(entries),
            work: Notify::new(),
            changing: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
        })
    }

    /// The same with other quotas than AWS has.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// The same where other regions are served than those of AWS.
    #[must_use]
    pub fn serving(self, regions: Regions) -> Self {
        Self { regions, ..self }
    }

    /// The regions that have keys.
    pub fn regions(&self) -> Regions {
        self.read(|entries| entries.keys().map(|entry| entry.key.name.region.clone()).collect())
    }

    /// Waits until something is due at once; [`crate::run_due`] does it.
    pub async fn has_work(&self) {
        self.work.notified().await;
    }

    /// Tells of every change that may take a key away or give it back, after it is durable.
    pub fn changes(&self) -> broadcast::Receiver<KeyChange> {
        self.changes.subscribe()
    }

    pub(crate) fn key(&self, name: &KeyName) -> Option<Arc<Entry>> {
        self.read(|entries| entries.key(name).cloned())
    }

    /// A key and all that are related to it, in order of their regions.
    pub(crate) fn related(&self, name: &KeyName) -> Vec<Arc<Entry>> {
        self.read(|entries| entries.related(name).cloned().collect())
    }

    /// Every other key related to one.
    pub(crate) fn others(&self, name: &KeyName) -> Vec<Arc<Entry>> {
        self.related(name).into_iter().filter(|entry| entry.key.name != *name).collect()
    }

    pub(crate) fn alias(&self, name: &AliasName) -> Option<Alias> {
        self.read(|entries| entries.alias(name).cloned())
    }

    /// Names of the aliases of a key, in order.
    pub(crate) fn aliases_of(&self, name: &KeyName) -> Vec<String> {
        self.read(|entries| entries.aliases_of(name))
    }

    /// Keys of an account in a region, in order.
    pub(crate) fn keys_in(&self, account: &AccountId, region: &Region) -> Vec<Arc<Entry>> {
        self.read(|entries| entries.keys_in(account, region).cloned().collect())
    }

    /// A key store by its name.
    pub(crate) fn key_store(&self, name: &KeyStoreName) -> Option<Arc<KeyStore>> {
        self.read(|entries| entries.store(name).cloned())
    }

    /// Key stores of an account in a region, in order of their ids.
    pub(crate) fn key_stores_in(&self, account: &AccountId, region: &Region) -> Vec<Arc<KeyStore>> {
        self.read(|entries| entries.stores_in(account, region).cloned().collect())
    }

    /// Keys in a key store, in order.
    pub(crate) fn keys_of_store(&self, name: &KeyStoreName) -> Vec<Arc<Entry>> {
        let inside =
            |entry: &&Arc<Entry>| entry.key.external.as_ref().is_some_and(|key| key.store == name.id);
        self.read(|entries| entries.keys_in(&name.account, &name.region).filter(inside).cloned().collect())
    }

    /// How many keys of its own an account has in a region; those of services do not count.
    pub(crate) fn customer_keys_in(&self, account: &AccountId, region: &Region) -> usize {
        let own = |entry: &&Arc<Entry>| entry.key.manager == Manager::Customer;
        self.read(|entries| entries.keys_in(account, region).filter(own).count())
    }

    /// Aliases of an account in a region, in order.
    pub(crate) fn aliases_in(&self, account: &AccountId, region: &Region) -> Vec<(AliasName, Alias)> {
        self.read(|entries| {
            entries.aliases_in(account, region).map(|(n, a)| (n.clone(), a.clone())).collect()
        })
    }

    /// Grants of a key, in order of their ids.
    pub(crate) fn grants_of(&self, name: &KeyName) -> Vec<Arc<Grant>> {
        self.read(|entries| entries.grants_of(name).cloned().collect())
    }

    pub(crate) fn grant_count(&self, name: &KeyName) -> usize {
        self.read(|entries| entries.grants_of(name).len())
    }

    /// Looks at the grants of a key to any of some principals.
    pub(crate) fn each_grant_to(
        &self,
        name: &KeyName,
        grantees: &[String],
        mut look: impl FnMut(&Arc<Grant>),
    ) {
        self.read(|entries| {
            for grantee in grantees {
                entries.grants_to(name, grantee).for_each(&mut look);
            }
        });
    }

    /// A grant by its id.
    pub(crate) fn grant(&self, id: &str) -> Option<Arc<Grant>> {
        self.read(|entries| entries.grant(id).cloned())
    }

    /// The grants with a retiring principal that satisfy a test, in no order.
    pub(crate) fn grants_retired_by(
        &self,
        principal: &str,
        test: impl Fn(&Grant) -> bool,
    ) -> Vec<Arc<Grant>> {
        self.read(|entries| {
            entries.grants_retired_by(principal).filter(|grant| test(grant)).cloned().collect()
        })
    }

    /// Every key for which something is due.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<KeyName> {
        let due = |entry: &&Arc<Entry>| {
            let key = &entry.key;
            key.is_settling() || key.deletion_due(now) || key.rotation_due(now) || key.expiry_due(now)
        };
        self.read(|entries| entries.keys().filter(due).map(|entry| entry.key.name.clone()).collect())
    }

    pub(crate) fn principal_exists(&self, arn: &str) -> bool {
        self.directory.principal_exists(arn)
    }

    /// The unique id behind the ARN of a user or role.
    pub(crate) fn principal_id(&self, arn: &str) -> Option<String> {
        self.directory.principal_id(arn)
    }

    /// Whether the caller could do something by the policies that the question brings along.
    pub(crate) fn would_allow(&self, call: &Call, ask: &Ask) -> bool {
        front::would_allow(&*self.directory, call, ask)
    }

    fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner))
    }
}
