//! New keys: those of customers, and the one that a service makes for itself at its first use.

use envelope::SystemEntropy;
use ids::{AccountId, Arn, Entropy as _, Region, Timestamp};
use kms::{AliasName, Key, KeyId, KeyName, KeySpec, KeyUsage, Manager};
use wire::Fault;

use crate::{entries::Alias, material::Material, registry::Kms, work::Event};

/// A new key's name, with an id that no other key has.
pub fn new_name(account: &AccountId, region: &Region) -> KeyName {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random);
    KeyName { account: account.clone(), region: region.clone(), id: KeyId::from_random(random) }
}

/// A key with the policy that its manager gives it, and its first material.
///
/// # Errors
/// As [`Material::generate`].
pub async fn new_key(
    name: KeyName,
    kind: (KeySpec, KeyUsage),
    manager: Manager,
    now: Timestamp,
) -> Result<(Key, Material), Fault> {
    let material = Material::generate(kind.0).await?;
    let id = material.id(&name);
    let key = key_of(name, kind, manager, now, id);
    Ok((key, material))
}

/// A key that waits for its material.
pub fn external_key(name: KeyName, kind: (KeySpec, KeyUsage), now: Timestamp) -> Key {
    let policy = kms::default_policy(&name.account);
    Key::external(name, kind, now, policy)
}

/// A key that is described only: nobody makes it.
pub fn imaginary_key(name: KeyName, manager: Manager, now: Timestamp) -> Key {
    key_of(name, (KeySpec::default(), KeyUsage::default()), manager, now, String::new())
}

fn key_of(
    name: KeyName,
    kind: (KeySpec, KeyUsage),
    manager: Manager,
    now: Timestamp,
    material_id: String,
) -> Key {
    let policy = match manager {
        Manager::Customer => kms::default_policy(&name.account),
        Manager::Aws => kms::rds_policy(&name.account, &name.region),
    };
    Key::new(name, kind, manager, now, policy, material_id)
}

impl Kms {
    /// The AWS managed key of RDS, made at its first use: one in each account and region.
    ///
    /// # Errors
    /// An internal fault if it cannot be kept.
    pub async fn ensure_managed(&self, account: &AccountId, region: &Region) -> Result<Arn, Fault> {
        let alias =
            AliasName { account: account.clone(), region: region.clone(), name: "alias/aws/rds".into() };
        if let Some(known) = self.alias(&alias) {
            return Ok(known.target.arn());
        }
        let name = new_name(account, region);
        let now = self.clock.now();
        let event = Event::new("CreateKey", &name, now);
        let mut change = self.begin(event.id()).await?;
        if let Some(known) = self.alias(&alias) {
            return Ok(known.target.arn());
        }
        let kind = (KeySpec::default(), KeyUsage::default());
        let (mut key, material) = new_key(name.clone(), kind, Manager::Aws, now).await?;
        key.description =
            "Default key that protects my RDS database volumes when no other key is defined".into();
        event
            .around(self, async {
                change.new_key(key, material).await?;
                change.put_alias(alias, Alias { target: name.clone(), created: now, updated: now }).await?;
                change.commit().await
            })
            .await?;
        Ok(name.arn())
    }
}
