//! Aliases as requests name them: an alias of the caller's own, with the key that it stands for.

use front::{Ask, Call};
use kms::{AliasName, check_alias};
use wire::Fault;

use crate::{
    entries::Alias,
    fault,
    registry::Kms,
    target::{Accept, Target, ask, ask_of, found, resolve},
};

/// An alias that is there, and its key.
#[derive(Debug)]
pub struct AliasTarget {
    pub name: AliasName,
    pub alias: Alias,
    pub key: Target,
}

/// The name of an alias in the caller's account and region.
///
/// # Errors
/// As [`check_alias`].
pub fn own_name(call: &Call, name: &str) -> Result<AliasName, Fault> {
    check_alias(name).map_err(|bad| fault::bad_alias(&bad))?;
    Ok(AliasName { account: call.account().clone(), region: call.region.clone(), name: name.into() })
}

/// Finds an alias of the caller's own and its key.
///
/// # Errors
/// `NotFoundException`, and as [`check_alias`].
pub fn find(kms: &Kms, call: &Call, name: &str, action: &str) -> Result<AliasTarget, Fault> {
    let name = own_name(call, name)?;
    let alias = kms.alias(&name).ok_or_else(|| fault::no_alias(&name))?;
    let key = found(kms, call, &alias.target, Accept::OwnKeys, action)?;
    Ok(AliasTarget { name, alias, key })
}

/// Finds the key that an alias is to stand for.
///
/// # Errors
/// As [`resolve`]; another alias is no key.
pub async fn new_target(kms: &Kms, call: &Call, key_id: &str, action: &str) -> Result<Target, Fault> {
    if key_id.starts_with("alias/") || key_id.contains(":alias/") {
        return Err(fault::validation("Aliases must refer to keys. Not aliases"));
    }
    resolve(kms, call, key_id, Accept::OwnKeys, action).await
}

/// The questions about an alias and the keys that it concerns: identity policies for the alias, the key's own
/// policy too for each key.
pub fn asks<'a>(
    kms: &Kms,
    call: &Call,
    action: &'static str,
    name: &AliasName,
    keys: impl IntoIterator<Item = &'a Target>,
) -> Vec<Ask> {
    let alias = ask_of(call, action, name.arn().to_string()).on(&name.account);
    let keys = keys.into_iter().map(|key| ask(kms, call, action, key));
    std::iter::once(alias).chain(keys).collect()
}

/// Checks that a key can have one more alias.
///
/// # Errors
/// `LimitExceededException`
pub fn check_room(kms: &Kms, key: &Target) -> Result<(), Fault> {
    let most = kms.quotas.aliases_per_key;
    if kms.aliases_of(key.name()).len() < most {
        return Ok(());
    }
    Err(fault::limit(format!("A key can have {most} aliases: {}", key.name())))
}
