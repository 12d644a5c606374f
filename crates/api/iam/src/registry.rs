//! Accounts, users and access keys in memory, where every request finds them. SQL is changed first, this after.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use custody::Custody;
use ids::{AccountId, Clock, Timestamp};
use store::{Change, Store};
use wire::Fault;

use crate::{
    entity::{AccessKey, Entity, Group, ManagedPolicy, Role, User},
    fault, names,
    principal::{Bounded, Principal},
    rows,
    session::Session,
};

/// Identity and access management.
pub struct Iam {
    pub(crate) custody: Arc<Custody>,
    pub(crate) clock: Arc<dyn Clock>,
    store: Store,
    entries: RwLock<Entries>,
    /// One change at a time: what it was decided on is still so when it is written.
    changing: tokio::sync::Mutex<()>,
}

/// Why the registry cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("accounts and users cannot be read: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a user cannot be read: {0}")]
    Body(#[from] serde_json::Error),
    #[error("the state store holds what is no account: {0}")]
    Row(String),
    #[error("a session cannot be read: {0}")]
    Session(String),
    #[error("the secret of access key {0} does not open: the root key is not the one it was sealed under")]
    Secret(String),
}

#[derive(Default)]
pub(crate) struct Entries {
    accounts: BTreeMap<AccountId, Timestamp>,
    aliases: BTreeMap<AccountId, String>,
    users: Table<User>,
    groups: Table<Group>,
    roles: Table<Role>,
    policies: Table<ManagedPolicy>,
    sessions: HashMap<String, Arc<Session>>,
    keys: HashMap<String, Arc<AccessKey>>,
}

impl Entries {
    async fn read(store: &Store, custody: &Custody) -> Result<Self, LoadError> {
        let pool = store.read();
        let accounts = rows::accounts(pool).await?.into_iter().collect();
        let aliases = rows::account_aliases(pool).await?.into_iter().collect();
        let mut entries = Self { accounts, aliases, ..Self::default() };
        entries.users.load(rows::entities(pool).await?);
        entries.groups.load(rows::entities(pool).await?);
        entries.roles.load(rows::entities(pool).await?);
        entries.policies.load(rows::entities(pool).await?);
        for key in rows::access_keys(pool, custody).await? {
            entries.keys.insert(key.id.clone(), Arc::new(key));
        }
        for session in rows::sessions(pool, custody).await? {
            entries.put_session(session);
        }
        Ok(entries)
    }

    fn put_session(&mut self, mut session: Session) {
        if let Some(policy) = &mut session.inline {
            policy.name_as("policy given when the session began".to_owned());
        }
        self.sessions.insert(session.id.clone(), Arc::new(session));
    }
}

/// Entities of one kind, by name and by id.
pub(crate) struct Table<T> {
    by_name: BTreeMap<(AccountId, String), Arc<T>>,
    by_id: HashMap<String, Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_id: HashMap::new() }
    }
}

impl<T: Entity> Table<T> {
    fn load(&mut self, entities: Vec<T>) {
        entities.into_iter().for_each(|entity| self.put(entity));
    }

    fn put(&mut self, mut entity: T) {
        entity.name_policies();
        let entity = Arc::new(entity);
        let name = (entity.account().clone(), names::folded(entity.name()));
        self.by_name.insert(name, Arc::clone(&entity));
        self.by_id.insert(entity.id().to_owned(), entity);
    }

    fn remove(&mut self, id: &str) {
        if let Some(old) = self.by_id.remove(id) {
            self.by_name.remove(&(old.account().clone(), names::folded(old.name())));
        }
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<T>> {
        self.by_id.get(id).cloned()
    }

    /// Finds by a name as it was given: case counts.
    pub(crate) fn named(&self, account: &AccountId, name: &str) -> Option<Arc<T>> {
        self.taken(account, name).filter(|found| found.name() == name)
    }

    /// Finds who has a name already: case does not count.
    pub(crate) fn taken(&self, account: &AccountId, name: &str) -> Option<Arc<T>> {
        self.by_name.get(&(account.clone(), names::folded(name))).cloned()
    }

    /// Everything of an account, by folded name.
    pub(crate) fn of(&self, account: &AccountId) -> Vec<Arc<T>> {
        let of = self.by_name.range((account.clone(), String::new())..);
        of.take_while(|((owner, _), _)| owner == account).map(|(_, entity)| Arc::clone(entity)).collect()
    }
}

/// Where entities of a kind are kept.
pub(crate) trait Kept: Entity {
    fn table(entries: &Entries) -> &Table<Self>;
    fn table_mut(entries: &mut Entries) -> &mut Table<Self>;
}

macro_rules! kept {
    ($name:ident, $table:ident) => {
        impl Kept for $name {
            fn table(entries: &Entries) -> &Table<Self> {
                &entries.$table
            }

            fn table_mut(entries: &mut Entries) -> &mut Table<Self> {
                &mut entries.$table
            }
        }
    };
}
kept!(User, users);
kept!(Group, groups);
kept!(Role, roles);
kept!(ManagedPolicy, policies);

impl Iam {
    /// Loads every account from the store.
    ///
    /// # Errors
    /// [`LoadError`]; a root key that is not the store's among them.
    pub async fn load(
        store: Store,
        custody: Arc<Custody>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LoadError> {
        let entries = RwLock::new(Entries::read(&store, &custody).await?);
        Ok(Arc::new(Self { custody, clock, store, entries, changing: tokio::sync::Mutex::default() }))
    }

    /// Takes in what another process has written to the store: an account that was made beside a running server.
    ///
    /// # Errors
    /// [`LoadError`]; what was known before stays.
    pub async fn reload(&self) -> Result<(), LoadError> {
        let _turn = self.changing.lock().await;
        let entries = Entries::read(&self.store, &self.custody).await?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
        Ok(())
    }

    /// The accounts there are, in order.
    pub fn accounts(&self) -> Vec<AccountId> {
        self.read(|entries| entries.accounts.keys().cloned().collect())
    }

    /// When an account was made.
    pub(crate) fn account_created(&self, account: &AccountId) -> Option<Timestamp> {
        self.read(|entries| entries.accounts.get(account).copied())
    }

    pub(crate) fn by_id<T: Kept>(&self, id: &str) -> Option<Arc<T>> {
        self.read(|entries| T::table(entries).by_id(id))
    }

    pub(crate) fn named<T: Kept>(&self, account: &AccountId, name: &str) -> Option<Arc<T>> {
        self.read(|entries| T::table(entries).named(account, name))
    }

    /// Whether a name is taken, in any case of its letters.
    pub(crate) fn taken<T: Kept>(&self, account: &AccountId, name: &str) -> bool {
        self.read(|entries| T::table(entries).taken(account, name).is_some())
    }

    /// Everything of a kind in an account, by folded name.
    pub(crate) fn of<T: Kept>(&self, account: &AccountId) -> Vec<Arc<T>> {
        self.read(|entries| T::table(entries).of(account))
    }

    /// The alias of an account.
    pub(crate) fn account_alias(&self, account: &AccountId) -> Option<String> {
        self.read(|entries| entries.aliases.get(account).cloned())
    }

    /// Whether any account has an alias.
    pub(crate) fn alias_taken(&self, alias: &str) -> bool {
        self.read(|entries| entries.aliases.values().any(|known| known == alias))
    }

    /// The members of a group, by folded name.
    pub(crate) fn members(&self, group: &Group) -> Vec<Arc<User>> {
        self.of::<User>(&group.account).into_iter().filter(|user| user.groups.contains(&group.id)).collect()
    }

    /// How many users and roles a managed policy is the permissions boundary of.
    pub(crate) fn bounded_by(&self, policy: &ManagedPolicy) -> usize {
        fn count<T: Bounded>(iam: &Iam, policy: &ManagedPolicy) -> usize {
            iam.of::<T>(&policy.account).iter().filter(|one| one.boundary() == Some(&policy.id)).count()
        }
        count::<User>(self, policy) + count::<Role>(self, policy)
    }

    /// How many users, groups and roles a managed policy is attached to.
    pub(crate) fn attachments(&self, policy: &ManagedPolicy) -> usize {
        fn count<T: Principal>(iam: &Iam, policy: &ManagedPolicy) -> usize {
            let all = iam.of::<T>(&policy.account);
            all.iter().filter(|one| one.permissions().attached.contains(&policy.id)).count()
        }
        count::<User>(self, policy) + count::<Group>(self, policy) + count::<Role>(self, policy)
    }

    pub(crate) fn session(&self, access_key_id: &str) -> Option<Arc<Session>> {
        self.read(|entries| entries.sessions.get(access_key_id).cloned())
    }

    pub(crate) fn access_key(&self, id: &str) -> Option<Arc<AccessKey>> {
        self.read(|entries| entries.keys.get(id).cloned())
    }

    /// The access keys of a user or of the root user, oldest first.
    pub(crate) fn access_keys_of(&self, account: &AccountId, owner: Option<&str>) -> Vec<Arc<AccessKey>> {
        let of = |key: &&Arc<AccessKey>| key.account == *account && key.owner.as_deref() == owner;
        let mut keys: Vec<_> = self.read(|entries| entries.keys.values().filter(of).cloned().collect());
        keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        keys
    }

    /// An access key by its id, if it belongs to a user or to the root user.
    ///
    /// # Errors
    /// `NoSuchEntity`, for other owners' keys too.
    pub(crate) fn access_key_of(
        &self,
        account: &AccountId,
        owner: Option<&str>,
        id: &str,
    ) -> Result<Arc<AccessKey>, Fault> {
        let key = self.access_key(id).filter(|key| key.account == *account && key.owner.as_deref() == owner);
        key.ok_or_else(|| fault::no_access_key(id))
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins the change of a call; until it ends, no other one begins. Read what is decided on after this.
    pub(crate) async fn begin(&self, event_id: &str) -> Result<Changing<'_>, Fault> {
        let turn = self.changing.lock().await;
        let change = self.store.change(event_id).await.map_err(Fault::internal)?;
        Ok(Changing { iam: self, change, edits: Vec::new(), _turn: turn })
    }

    /// Begins a change that no call asked for.
    pub(crate) async fn begin_internal(&self) -> Result<Changing<'_>, store::Error> {
        let turn = self.changing.lock().await;
        let change = self.store.internal_change().await?;
        Ok(Changing { iam: self, change, edits: Vec::new(), _turn: turn })
    }
}

type Edit = Box<dyn FnOnce(&mut Entries) + Send>;

/// A change under way: written to SQL as it goes, to memory when it is committed.
pub(crate) struct Changing<'a> {
    iam: &'a Iam,
    change: Change,
    edits: Vec<Edit>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Changing<'_> {
    pub(crate) async fn put_account(
        &mut self,
        account: &AccountId,
        created: Timestamp,
    ) -> Result<(), store::Error> {
        rows::put_account(self.change.tx(), account, created).await?;
        let account = account.clone();
        self.edits.push(Box::new(move |entries| {
            entries.accounts.insert(account, created);
        }));
        Ok(())
    }

    /// Gives an account an alias, or takes it away.
    pub(crate) async fn put_account_alias(
        &mut self,
        account: &AccountId,
        alias: Option<String>,
    ) -> Result<(), Fault> {
        rows::put_account_alias(self.change.tx(), account, alias.as_deref())
            .await
            .map_err(Fault::internal)?;
        let account = account.clone();
        self.edits.push(Box::new(move |entries| {
            match alias {
                Some(alias) => entries.aliases.insert(account, alias),
                None => entries.aliases.remove(&account),
            };
        }));
        Ok(())
    }

    pub(crate) async fn put<T: Kept>(&mut self, entity: T) -> Result<(), Fault> {
        rows::put_entity(self.change.tx(), &entity).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| T::table_mut(entries).put(entity)));
        Ok(())
    }

    pub(crate) async fn delete<T: Kept>(&mut self, entity: &T) -> Result<(), Fault> {
        rows::delete_entity(self.change.tx(), entity.id()).await.map_err(Fault::internal)?;
        let id = entity.id().to_owned();
        self.edits.push(Box::new(move |entries| T::table_mut(entries).remove(&id)));
        Ok(())
    }

    pub(crate) async fn put_access_key(&mut self, key: AccessKey) -> Result<(), store::Error> {
        rows::put_access_key(self.change.tx(), &self.iam.custody, &key).await?;
        self.edits.push(Box::new(move |entries| {
            entries.keys.insert(key.id.clone(), Arc::new(key));
        }));
        Ok(())
    }

    pub(crate) async fn delete_access_key(&mut self, id: &str) -> Result<(), Fault> {
        rows::delete_access_key(self.change.tx(), id).await.map_err(Fault::internal)?;
        let id = id.to_owned();
        self.edits.push(Box::new(move |entries| {
            entries.keys.remove(&id);
        }));
        Ok(())
    }

    /// Keeps a new session, and forgets those that have ended.
    pub(crate) async fn put_session(&mut self, session: Session, now: Timestamp) -> Result<(), Fault> {
        rows::delete_ended_sessions(self.change.tx(), now).await.map_err(Fault::internal)?;
        rows::put_session(self.change.tx(), &self.iam.custody, &session).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| {
            entries.sessions.retain(|_, session| session.expires > now);
            entries.put_session(session);
        }));
        Ok(())
    }

    /// Makes the change durable, then visible.
    pub(crate) async fn commit(self) -> Result<(), store::Error> {
        let Self { iam, change, edits, _turn } = self;
        change.commit().await?;
        let mut entries = iam.entries.write().unwrap_or_else(PoisonError::into_inner);
        edits.into_iter().for_each(|edit| edit(&mut entries));
        Ok(())
    }
}
