//! From a `KeyId` parameter to a key, and from a key to the question whether the caller may use it.

use std::{collections::BTreeMap, sync::Arc};

use front::{Ask, Call, Caller};
use kms::{Key, KeyName, Named, User};
use wire::Fault;

use crate::{
    fault,
    registry::{Entry, Kms},
};

/// The kind of resource in trail records.
pub const KEY: &str = "AWS::KMS::Key";

/// Which names an operation takes, and from whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accept {
    /// Ids and ARNs of the caller's own keys: management.
    OwnKeys,
    /// Ids and ARNs, of other accounts too.
    Keys,
    /// Aliases as well.
    KeysAndAliases,
}

/// A key that a request named.
#[derive(Clone, Debug)]
pub struct Target {
    pub entry: Arc<Entry>,
    /// The alias that the request used.
    pub alias: Option<String>,
}

impl Target {
    pub fn key(&self) -> &Key {
        &self.entry.key
    }

    pub fn name(&self) -> &KeyName {
        &self.entry.key.name
    }

    pub fn arn(&self) -> String {
        self.name().to_string()
    }
}

/// Finds the key that `KeyId` names, and notes it for the trail.
///
/// # Errors
/// `NotFoundException` in the caller's own account; for other accounts' keys the words of a denial.
pub async fn resolve(kms: &Kms, call: &Call, key_id: &str, accept: Accept, action: &str) -> Result<Target, Fault> {
    let named = kms::read_name(key_id, call.account(), &call.region).map_err(|bad| fault::bad_name(&bad))?;
    let hidden = || fault::hidden(&call.caller.arn(), action);
    let (name, alias) = match named {
        Named::Key(name) => (name, None),
        Named::Alias(alias) => {
            if accept != Accept::KeysAndAliases {
                return Err(Fault::client("InvalidArnException", format!("Invalid keyId '{key_id}'")));
            }
            let foreign = alias.account != *call.account();
            let found = match kms.alias(&alias) {
                Some(found) => found.target,
                None if !foreign && alias.name == "alias/aws/rds" && action == "kms:DescribeKey" => {
                    // A predefined alias: its key is made when somebody asks for it.
                    kms.ensure_managed(&alias.account, &alias.region, "rds").await?;
                    kms.alias(&alias).ok_or_else(|| fault::no_alias(&alias))?.target
                }
                None if foreign => return Err(hidden()),
                None => return Err(fault::no_alias(&alias)),
            };
            (found, Some(alias.name))
        }
    };
    let foreign = name.account != *call.account();
    if foreign && accept == Accept::OwnKeys {
        return Err(hidden());
    }
    let entry = kms.key(&name).ok_or_else(|| if foreign { hidden() } else { fault::no_key(&name) })?;
    call.touches(&name.account, KEY, &name.to_string());
    Ok(Target { entry, alias })
}

/// The question whether the caller may do `action` to a key, with the condition keys that every such question
/// has (spec/policy.md §7).
pub fn ask(kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
    let key = target.key();
    let mut ask = Ask::new(action, target.arn())
        .on(&key.name.account)
        .policy(Arc::clone(&target.entry.policy))
        .with("kms:CallerAccount", [call.account().as_str()])
        .with("kms:KeySpec", ["SYMMETRIC_DEFAULT"])
        .with("kms:KeyUsage", ["ENCRYPT_DECRYPT"])
        .with("kms:CustomerMasterKeySpec", ["SYMMETRIC_DEFAULT"])
        .with("kms:CustomerMasterKeyUsage", ["ENCRYPT_DECRYPT"])
        .with("kms:KeyOrigin", ["AWS_KMS"])
        .with("kms:MultiRegion", ["false"])
        .with("kms:ResourceAliases", kms.aliases_of(&key.name))
        .with("kms:ViaService", call.via.as_ref().map(|via| via.principal(&call.region)))
        .with("kms:RequestAlias", target.alias.clone());
    for (tag, value) in &key.tags {
        ask = ask.with(format!("aws:ResourceTag/{tag}"), [value.clone()]);
    }
    ask
}

/// The same for a use with an encryption context; a grant may allow it.
pub fn ask_use(kms: &Kms, call: &Call, action: &'static str, target: &Target, context: &BTreeMap<String, String>) -> Ask {
    let operation = action.trim_start_matches("kms:");
    let granted = granted(kms, call, target.name(), operation, context);
    with_context(ask(kms, call, action, target), context)
        .granted(granted)
        .with("kms:EncryptionAlgorithm", ["SYMMETRIC_DEFAULT"])
}

/// Adds the condition keys of an encryption context.
pub fn with_context(mut ask: Ask, context: &BTreeMap<String, String>) -> Ask {
    for (key, value) in context {
        ask = ask.with(format!("kms:EncryptionContext:{key}"), [value.clone()]);
    }
    ask.with("kms:EncryptionContextKeys", context.keys().cloned())
}

/// Whether a grant of the key allows the caller an operation.
pub fn granted(kms: &Kms, call: &Call, key: &KeyName, operation: &str, context: &BTreeMap<String, String>) -> bool {
    with_user(call, |user| kms.any_grant(key, |grant| grant.allows(user, operation, context)))
}

/// The caller as grants see it.
pub fn with_user<T>(call: &Call, look: impl FnOnce(&User<'_>) -> T) -> T {
    let arn = call.caller.arn();
    let role_arn = if let Caller::Session(session) = &call.caller { Some(session.role_arn.as_str()) } else { None };
    let account = if let Caller::Service(_) = call.caller { None } else { Some(call.account()) };
    look(&User { arn: &arn, role_arn, account })
}

/// Grant tokens name grants that are in force already: they only have to be ours.
///
/// # Errors
/// `InvalidGrantTokenException`
pub fn check_tokens(kms: &Kms, tokens: Option<&Vec<String>>) -> Result<(), Fault> {
    for token in tokens.into_iter().flatten() {
        let id = crate::ops::grant_of_token(token);
        let known = id.is_some_and(|id| !kms.grants_where(|grant| grant.id == id).is_empty());
        if !known {
            return Err(Fault::client("InvalidGrantTokenException", "The grant token is not valid."));
        }
    }
    Ok(())
}
