//! New keys: those of customers, and the one that a service makes for itself at its first use.

use envelope::SystemEntropy;
use front::{Ask, Call};
use ids::{AccountId, Arn, Entropy as _, Region, Timestamp};
use kms::{AliasName, ExternalKey, Key, KeyId, KeyName, KeySpec, KeyUsage, Manager, MultiRegion, Origin};
use wire::Fault;

use crate::{
    entries::Alias,
    fault,
    material::Material,
    registry::Kms,
    tags::{Tag, with_tags},
    target::{REQUESTED_REGION, ask_of},
    work::Event,
};

/// A new key's name, with an id that no other key has.
pub fn new_name(account: &AccountId, region: &Region) -> KeyName {
    named(account, region, KeyId::from_random)
}

/// The same for a multi-Region key.
pub fn new_multi_region_name(account: &AccountId, region: &Region) -> KeyName {
    named(account, region, KeyId::multi_region_from_random)
}

fn named(account: &AccountId, region: &Region, id: fn([u8; 16]) -> KeyId) -> KeyName {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random);
    KeyName { account: account.clone(), region: region.clone(), id: id(random) }
}

/// A key that is to be.
#[derive(Debug)]
pub struct Planned {
    pub name: KeyName,
    pub kind: (KeySpec, KeyUsage),
    pub origin: Origin,
    pub multi_region: Option<MultiRegion>,
}

/// The questions whether the caller may make a key, with its tags, where it is to be.
pub fn create_asks(call: &Call, planned: &Planned, tags: &[Tag], bypass: bool) -> Vec<Ask> {
    let Planned { name, kind: (spec, usage), origin, multi_region } = planned;
    let here = |ask: Ask| ask.with(REQUESTED_REGION, [name.region.as_str()]);
    let create = with_tags(here(ask_of(call, "kms:CreateKey", "*")), tags)
        .with("kms:BypassPolicyLockoutSafetyCheck", [bypass.to_string()])
        .with("kms:KeySpec", [spec.name()])
        .with("kms:KeyUsage", [usage.name()])
        .with("kms:CustomerMasterKeySpec", [spec.name()])
        .with("kms:CustomerMasterKeyUsage", [usage.name()])
        .with("kms:KeyOrigin", [origin.name()])
        .with("kms:MultiRegion", [multi_region.is_some().to_string()])
        .with("kms:MultiRegionKeyType", multi_region.map(MultiRegion::name));
    if tags.is_empty() {
        return vec![create];
    }
    let tag = here(ask_of(call, "kms:TagResource", name.to_string())).on(&name.account);
    vec![create, with_tags(tag, tags)]
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

/// A key on an external key, with the material that this side has of it.
///
/// # Errors
/// As [`Material::generate`].
pub async fn key_in_store(
    name: KeyName,
    external: ExternalKey,
    now: Timestamp,
) -> Result<(Key, Material), Fault> {
    let material = Material::generate(KeySpec::Symmetric).await?;
    let (id, policy) = (material.id(&name), kms::default_policy(&name.account));
    Ok((Key::in_store(name, now, policy, id, external), material))
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
    /// Checks that an account can have one more key of its own in a region.
    ///
    /// # Errors
    /// `LimitExceededException`
    pub fn check_room(&self, account: &AccountId, region: &Region) -> Result<(), Fault> {
        let most = self.quotas.keys;
        if self.customer_keys_in(account, region) < most {
            return Ok(());
        }
        Err(fault::limit(format!("An account can have {most} keys in a region.")))
    }

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
