//! Changes: written to SQL as they go, visible in memory only once SQL has them for good, then told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use front::Call;
use kms::{AliasName, Connection, Grant, Key, KeyName, KeyStoreName, Refusal};
use store::Change;
use tokio::sync::MutexGuard;
use wire::Fault;

use crate::{
    entries::{Alias, Entries, Entry},
    fault,
    key_store::Store,
    material::Material,
    policy,
    registry::{KeyChange, Kms},
    rows,
    work::Event,
};

type Edit = Box<dyn FnOnce(&mut Entries) + Send>;

/// A change under way. Dropping it undoes everything.
#[must_use = "a change that is not committed is undone"]
pub struct Changing<'a> {
    kms: &'a Kms,
    change: Change,
    edits: Vec<Edit>,
    tell: BTreeSet<String>,
    _turn: MutexGuard<'a, ()>,
}

impl Kms {
    /// Begins the change that belongs to a trail record; until it ends, no other one begins. Read what is
    /// decided on after this.
    pub(crate) async fn begin(&self, event_id: &str) -> Result<Changing<'_>, Fault> {
        let turn = self.changing.lock().await;
        let change = self.store.change(event_id).await.map_err(Fault::internal)?;
        Ok(Changing { kms: self, change, edits: Vec::new(), tell: BTreeSet::new(), _turn: turn })
    }

    /// The current entry of a key that a call resolved before its change began.
    pub(crate) fn still_there(&self, name: &KeyName) -> Result<Arc<Entry>, Fault> {
        self.key(name).ok_or_else(|| fault::no_key(name))
    }

    /// Changes one key for a call; nothing that related keys share.
    pub(crate) async fn change_key<T>(
        &self,
        call: &Call,
        name: &KeyName,
        change: impl FnOnce(&mut Key) -> Result<T, Refusal> + Send,
    ) -> Result<T, Fault> {
        let mut changing = self.begin(&call.event_id).await?;
        let old = self.still_there(name)?;
        let mut key = old.key.clone();
        let answer = change(&mut key).map_err(|refusal| fault::refused(name, &refusal))?;
        changing.put_key(&old, key).await?;
        changing.commit().await?;
        Ok(answer)
    }
}

impl Changing<'_> {
    /// Says that the change belongs to one more trail record.
    pub async fn mark(&mut self, event_id: &str) -> Result<(), Fault> {
        self.change.mark(event_id).await.map_err(Fault::internal)
    }

    /// The same for several.
    pub async fn mark_all(&mut self, events: &[Event]) -> Result<(), Fault> {
        for event in events {
            self.mark(event.id()).await?;
        }
        Ok(())
    }

    /// Writes to the replicas of a primary what it shares, if it has an event for that.
    pub async fn follow(&mut self, event: Option<&Event>, primary: &Key) -> Result<(), Fault> {
        let Some(event) = event else { return Ok(()) };
        self.mark(event.id()).await?;
        self.share(primary, None).await
    }

    /// Writes a key that was not there before and waits for its material.
    pub async fn new_external(&mut self, key: Key) -> Result<(), Fault> {
        let policy = policy_of(&key)?;
        self.put_entry(Entry { key, policy, materials: HashMap::new() }, None).await
    }

    /// Writes a key that was not there before, with its first material.
    pub async fn new_key(&mut self, key: Key, material: Material) -> Result<(), Fault> {
        let policy = policy_of(&key)?;
        let material = Some((key.current_material().to_owned(), Arc::new(material)));
        self.put_entry(Entry { key, policy, materials: HashMap::new() }, material).await
    }

    /// Writes a replica that was not there before, with what its primary has.
    pub async fn new_replica(
        &mut self,
        key: Key,
        materials: HashMap<String, Arc<Material>>,
    ) -> Result<(), Fault> {
        let policy = policy_of(&key)?;
        rows::put_key(self.change.tx(), &key).await.map_err(Fault::internal)?;
        for (id, material) in &materials {
            self.put_material(&key.name, id, material).await?;
        }
        self.edit(Entry { key, policy, materials });
        Ok(())
    }

    /// Writes to the replicas of a primary what it shares after this change: `new` came with a rotation.
    async fn share(&mut self, primary: &Key, new: Option<&(String, Arc<Material>)>) -> Result<(), Fault> {
        for replica in self.kms.others(&primary.name) {
            let mut key = replica.key.clone();
            key.adopt(primary);
            let kept: BTreeSet<_> = key.materials.iter().chain(&key.pending).map(|m| m.id.clone()).collect();
            let gone = replica.materials.keys().filter(|id| !kept.contains(*id));
            let mut materials = replica.materials.clone();
            for id in gone {
                rows::delete_material(self.change.tx(), &key.name, id).await.map_err(Fault::internal)?;
                materials.remove(id);
            }
            let entry = Entry { key, policy: Arc::clone(&replica.policy), materials };
            self.put_entry(entry, new.cloned()).await?;
        }
        Ok(())
    }

    /// Writes a changed key. Told is what decides on its use: state, policy, and tags, of which policies can
    /// speak.
    pub async fn put_key(&mut self, old: &Entry, key: Key) -> Result<(), Fault> {
        self.tell_of(&old.key, &key);
        let policy = policy_of(&key)?;
        self.put_entry(Entry { key, policy, materials: old.materials.clone() }, None).await
    }

    /// Writes a key with a material that was imported.
    pub async fn import(
        &mut self,
        old: &Entry,
        key: Key,
        id: String,
        material: Material,
    ) -> Result<(), Fault> {
        self.tell_of(&old.key, &key);
        let entry = Entry { key, policy: Arc::clone(&old.policy), materials: old.materials.clone() };
        self.put_entry(entry, Some((id, Arc::new(material)))).await
    }

    /// Writes a key that lost materials.
    pub async fn lose(&mut self, old: &Entry, key: Key, ids: &[String]) -> Result<(), Fault> {
        self.tell_of(&old.key, &key);
        let mut materials = old.materials.clone();
        for id in ids {
            rows::delete_material(self.change.tx(), &key.name, id).await.map_err(Fault::internal)?;
            materials.remove(id);
        }
        self.put_entry(Entry { key, policy: Arc::clone(&old.policy), materials }, None).await
    }

    fn tell_of(&mut self, before: &Key, key: &Key) {
        if (key.state, &key.policy, &key.principals, &key.tags)
            != (before.state, &before.policy, &before.principals, &before.tags)
        {
            self.tell.insert(key.name.to_string());
        }
    }

    /// Writes a key that was rotated to a new material, and its replicas.
    pub async fn rotate(&mut self, old: &Entry, key: Key, material: Material) -> Result<(), Fault> {
        let material = (key.current_material().to_owned(), Arc::new(material));
        self.share(&key, Some(&material)).await?;
        let entry = Entry { key, policy: Arc::clone(&old.policy), materials: old.materials.clone() };
        self.put_entry(entry, Some(material)).await
    }

    async fn put_entry(
        &mut self,
        mut entry: Entry,
        material: Option<(String, Arc<Material>)>,
    ) -> Result<(), Fault> {
        let key = &entry.key;
        rows::put_key(self.change.tx(), key).await.map_err(Fault::internal)?;
        if let Some((id, material)) = material {
            self.put_material(&key.name, &id, &material).await?;
            entry.materials.insert(id, material);
        }
        self.edit(entry);
        Ok(())
    }

    async fn put_material(&mut self, key: &KeyName, id: &str, material: &Material) -> Result<(), Fault> {
        let custody = &self.kms.custody;
        rows::put_material(self.change.tx(), custody, key, id, material).await.map_err(Fault::internal)
    }

    fn edit(&mut self, entry: Entry) {
        self.edits.push(Box::new(move |entries| entries.put_key(Arc::new(entry))));
    }

    pub async fn delete_key(&mut self, name: &KeyName) -> Result<(), Fault> {
        rows::delete_key(self.change.tx(), name).await.map_err(Fault::internal)?;
        self.tell.insert(name.to_string());
        let name = name.clone();
        self.edits.push(Box::new(move |entries| entries.remove_key(&name)));
        Ok(())
    }

    /// Writes an alias. Its targets before and after are told: policies can speak of the aliases of a key.
    pub async fn put_alias(&mut self, name: AliasName, alias: Alias) -> Result<(), Fault> {
        rows::put_alias(self.change.tx(), &name, &alias).await.map_err(Fault::internal)?;
        let before = self.kms.alias(&name).map(|old| old.target.to_string());
        self.tell.extend(before);
        self.tell.insert(alias.target.to_string());
        self.edits.push(Box::new(move |entries| entries.put_alias(name, alias)));
        Ok(())
    }

    pub async fn delete_alias(&mut self, name: AliasName, target: &KeyName) -> Result<(), Fault> {
        rows::delete_alias(self.change.tx(), &name).await.map_err(Fault::internal)?;
        self.tell.insert(target.to_string());
        self.edits.push(Box::new(move |entries| entries.remove_alias(&name)));
        Ok(())
    }

    /// Writes a new grant. It takes nothing away, and whoever needs it has asked for it: nobody else is told.
    pub async fn put_grant(&mut self, grant: Grant) -> Result<(), Fault> {
        rows::put_grant(self.change.tx(), &grant).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| entries.put_grant(grant)));
        Ok(())
    }

    pub async fn delete_grant(&mut self, grant: Arc<Grant>) -> Result<(), Fault> {
        rows::delete_grant(self.change.tx(), &grant).await.map_err(Fault::internal)?;
        self.tell.insert(grant.key.to_string());
        self.edits.push(Box::new(move |entries| entries.remove_grant(&grant)));
        Ok(())
    }

    /// Writes a key store. Its keys follow a change of its connection.
    pub async fn put_store(&mut self, store: Store) -> Result<(), Fault> {
        let (told, secret) = (&store.store, &store.secret);
        rows::put_store(self.change.tx(), &self.kms.custody, told, secret).await.map_err(Fault::internal)?;
        let connected = told.connection == Connection::Connected;
        for entry in self.kms.keys_of_store(&told.name) {
            let mut key = entry.key.clone();
            key.store_connected(connected);
            if key != entry.key {
                self.put_key(&entry, key).await?;
            }
        }
        self.edits.push(Box::new(move |entries| entries.put_store(Arc::new(store))));
        Ok(())
    }

    pub async fn delete_store(&mut self, name: KeyStoreName) -> Result<(), Fault> {
        rows::delete_store(self.change.tx(), &name).await.map_err(Fault::internal)?;
        self.edits.push(Box::new(move |entries| entries.remove_store(&name)));
        Ok(())
    }

    /// Makes the change durable, then visible, then known.
    pub async fn commit(self) -> Result<(), Fault> {
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

/// The policy of a key, which was checked before it came here.
fn policy_of(key: &Key) -> Result<Arc<iam::Document>, Fault> {
    policy::of(key).map_err(|bad| fault::malformed_policy(&bad))
}
