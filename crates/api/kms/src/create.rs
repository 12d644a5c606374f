//! New keys: those of customers, and the one that a service makes for itself at its first use.

use envelope::{KeyMaterial, SystemEntropy, material_id};
use ids::{AccountId, Arn, Entropy as _, Region, Timestamp};
use kms::{AliasName, Key, KeyId, KeyName, Manager};
use wire::Fault;

use crate::{entries::Alias, registry::Kms, work::Event};

/// A new key's name, with an id that no other key has.
pub fn new_name(account: &AccountId, region: &Region) -> KeyName {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random);
    KeyName { account: account.clone(), region: region.clone(), id: KeyId::from_random(random) }
}

/// A key with the policy that its manager gives it, and its first material.
pub fn new_key(name: KeyName, manager: Manager, now: Timestamp) -> (Key, KeyMaterial) {
    let policy = match manager {
        Manager::Customer => kms::default_policy(&name.account),
        Manager::Aws => kms::rds_policy(&name.account, &name.region),
    };
    let (material, id) = new_material(&name);
    (Key::new(name, manager, now, policy, id), material)
}

/// A material for a key, and its id.
pub fn new_material(name: &KeyName) -> (KeyMaterial, String) {
    let material = KeyMaterial::generate(&SystemEntropy);
    let id = hex::encode(material_id(&name.to_string(), &material));
    (material, id)
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
        let (mut key, material) = new_key(name.clone(), Manager::Aws, now);
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
