//! From a `KeyId` parameter to a key, and from a key to the question whether the caller may use it.

use std::sync::Arc;

use envelope::EncryptionContext;
use front::{Ask, Call, Caller};
use iam::Granted;
use kms::{AliasName, Grant, Key, KeyName, Manager, MultiRegion, Named, User};
use wire::Fault;

use crate::{
    create::{imaginary_key, new_name},
    entries::Entry,
    fault, policy,
    registry::Kms,
};

/// The kind of resource in trail records.
pub const KEY: &str = "AWS::KMS::Key";
/// The alias of the managed key that is made when somebody asks for it.
const PREDEFINED: &str = "alias/aws/rds";
/// The condition key of what a call does in another region than that of its signature.
pub const REQUESTED_REGION: &str = "aws:RequestedRegion";
const DESCRIBE: &str = "kms:DescribeKey";

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
pub async fn resolve(
    kms: &Kms,
    call: &Call,
    key_id: &str,
    accept: Accept,
    action: &str,
) -> Result<Target, Fault> {
    match kms::read_name(key_id, call.account(), &call.region).map_err(|bad| fault::bad_name(&bad))? {
        Named::Key(name) => found(kms, call, &name, accept, action),
        Named::Alias(alias) if accept == Accept::KeysAndAliases => {
            let name = target_of(kms, call, &alias, action).await?;
            let target = found(kms, call, &name, accept, action)?;
            Ok(Target { alias: Some(alias.name), ..target })
        }
        Named::Alias(_) => Err(Fault::client("NotFoundException", format!("Invalid keyId '{key_id}'"))),
    }
}

/// Finds a key by its name, and notes it for the trail.
///
/// # Errors
/// As [`resolve`].
pub fn found(kms: &Kms, call: &Call, name: &KeyName, accept: Accept, action: &str) -> Result<Target, Fault> {
    let foreign = name.account != *call.account();
    let hidden = || fault::hidden(&call.caller.arn(), action);
    if foreign && accept == Accept::OwnKeys {
        return Err(hidden());
    }
    let entry = kms.key(name).ok_or_else(|| if foreign { hidden() } else { fault::no_key(name) })?;
    call.touches(&name.account, KEY, &name.to_string());
    Ok(Target { entry, alias: None })
}

async fn target_of(kms: &Kms, call: &Call, alias: &AliasName, action: &str) -> Result<KeyName, Fault> {
    let foreign = alias.account != *call.account();
    if let Some(known) = kms.alias(alias) {
        return Ok(known.target);
    }
    if foreign {
        return Err(fault::hidden(&call.caller.arn(), action));
    }
    if alias.name == PREDEFINED && action == DESCRIBE && may_describe_managed(kms, call) {
        kms.ensure_managed(&alias.account, &alias.region).await?;
    }
    kms.alias(alias).map(|made| made.target).ok_or_else(|| fault::no_alias(alias))
}

/// Whether the caller could look at the managed key if it were there: nobody else makes it by asking.
fn may_describe_managed(kms: &Kms, call: &Call) -> bool {
    let key = imaginary_key(new_name(call.account(), &call.region), Manager::Aws, call.now);
    policy::imagined(&key).is_ok_and(|target| kms.would_allow(call, &ask(kms, call, DESCRIBE, &target)))
}

/// The question whether the caller may do `action` to a key, with the condition keys that every such question
/// has (spec/policy.md §7).
pub fn ask(kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
    let key = target.key();
    let (spec, usage) = (key.spec.name(), key.usage.name());
    let mut ask = ask_of(call, action, target.arn())
        .on(&key.name.account)
        .policy(Arc::clone(&target.entry.policy))
        .with("kms:KeySpec", [spec])
        .with("kms:KeyUsage", [usage])
        .with("kms:CustomerMasterKeySpec", [spec])
        .with("kms:CustomerMasterKeyUsage", [usage])
        .with("kms:KeyOrigin", [key.origin.name()])
        .with("kms:MultiRegion", [key.multi_region.is_some().to_string()])
        .with("kms:MultiRegionKeyType", key.multi_region.map(MultiRegion::name))
        .with("kms:ResourceAliases", kms.aliases_of(&key.name))
        .with("kms:RequestAlias", target.alias.clone());
    if key.name.region != call.region {
        ask = ask.with(REQUESTED_REGION, [key.name.region.as_str()]);
    }
    for (tag, value) in &key.tags {
        ask = ask.with(format!("aws:ResourceTag/{tag}"), [value.clone()]);
    }
    ask
}

/// A question about something else than a key: `*`, an alias, a key that is yet to be.
pub fn ask_of(call: &Call, action: &'static str, resource: impl Into<String>) -> Ask {
    Ask::new(action, resource)
        .with("kms:CallerAccount", [call.account().as_str()])
        .with("kms:ViaService", call.via.as_ref().map(|via| via.principal(&call.region)))
}

/// The question about a use with an encryption context; a grant may allow it.
pub fn ask_use(
    kms: &Kms,
    call: &Call,
    action: &'static str,
    target: &Target,
    context: &EncryptionContext,
) -> Ask {
    let operation = action.trim_start_matches("kms:");
    with_context(ask(kms, call, action, target), context).granted(granted(
        kms,
        call,
        target.name(),
        |user, grant| grant.allows(user, operation, context),
    ))
}

/// Adds the condition keys of an encryption context.
pub fn with_context(mut ask: Ask, context: &EncryptionContext) -> Ask {
    for (key, value) in context {
        ask = ask.with(format!("kms:EncryptionContext:{key}"), [value.clone()]);
    }
    ask.with("kms:EncryptionContextKeys", context.keys().cloned())
}

/// What the grants of a key that satisfy a test say to the caller. One to the whole of another account leaves
/// it to the policies of that account.
pub fn granted(kms: &Kms, call: &Call, key: &KeyName, test: impl Fn(&User<'_>, &Grant) -> bool) -> Granted {
    let foreign = key.account != *call.account();
    with_user(call, |user| {
        let mut granted = Granted::No;
        kms.each_grant_to(key, &user.principals(), |grant| {
            if test(user, grant) {
                let by_name = !foreign || grant.names(user);
                granted = granted.max(if by_name { Granted::ToCaller } else { Granted::ToAccount });
            }
        });
        granted
    })
}

/// The caller as grants see it.
pub fn with_user<T>(call: &Call, look: impl FnOnce(&User<'_>) -> T) -> T {
    let arn = call.caller.arn();
    let (id, role_arn) = match &call.caller {
        Caller::User(user) => (user.id.as_str(), None),
        Caller::Session(session) => (session.role_id.as_str(), Some(session.role_arn.as_str())),
        Caller::Root { .. } | Caller::Federated(_) | Caller::Service(_) => ("", None),
    };
    let (account, service, source_arn) = match &call.caller {
        Caller::Service(service) => (None, Some(service.name.as_str()), service.source_arn.as_deref()),
        _ => (Some(call.account()), None, None),
    };
    look(&User { arn: &arn, id, role_arn, account, service, source_arn })
}
