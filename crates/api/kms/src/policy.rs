//! Checks of a new key policy (spec/policy.md §9).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use front::{Ask, Call};
use kms::Key;
use wire::Fault;

use crate::{
    entries::Entry,
    fault,
    registry::Kms,
    target::{Target, ask},
};

/// The name of the one policy that every key has.
pub const DEFAULT: &str = "default";

/// The policy of a key as decisions read it.
///
/// # Errors
/// [`iam::Malformed`] for what [`check`] would not have let through.
pub fn of(key: &Key) -> Result<Arc<iam::Document>, iam::Malformed> {
    let document = iam::Document::parse(&key.policy, iam::Kind::Key)?;
    Ok(Arc::new(document.bound_to(&key.principals)))
}

/// A key that is not, or not yet so, to ask about.
///
/// # Errors
/// As [`of`].
pub fn imagined(key: &Key) -> Result<Target, iam::Malformed> {
    let entry = Entry { key: key.clone(), policy: of(key)?, materials: HashMap::new() };
    Ok(Target { entry: Arc::new(entry), alias: None })
}

/// A policy that may become a key's, and the unique ids of those it names.
#[derive(Debug)]
pub struct Checked {
    text: String,
    principals: BTreeMap<String, String>,
}

impl Checked {
    /// Makes it the policy of a key.
    pub fn put(self, key: &mut Key) {
        key.policy = self.text;
        key.principals = self.principals;
    }
}

/// Reads a policy and checks that everybody it names is there.
///
/// # Errors
/// `LimitExceededException` and `MalformedPolicyDocumentException`.
pub fn check(kms: &Kms, text: String) -> Result<Checked, Fault> {
    let longest = kms.quotas.policy_bytes;
    if text.len() > longest {
        return Err(fault::limit(format!("The policy is longer than {longest} bytes.")));
    }
    let document =
        iam::Document::parse(&text, iam::Kind::Key).map_err(|bad| fault::malformed_policy(&bad))?;
    if !document.named_principals().all(|arn| kms.principal_exists(arn)) {
        return Err(fault::malformed_policy(&iam::Malformed::BadPrincipal));
    }
    let named = document.named_principals();
    let principals = named.filter_map(|arn| Some((arn.to_owned(), kms.principal_id(arn)?))).collect();
    Ok(Checked { text, principals })
}

/// The lockout check: the caller must still be able to change the policy of a key that has its new one.
///
/// # Errors
/// `MalformedPolicyDocumentException`
pub fn check_lockout(kms: &Kms, call: &Call, key: &Key) -> Result<(), Fault> {
    let target = imagined(key).map_err(|bad| fault::malformed_policy(&bad))?;
    if kms.would_allow(call, &ask_put(kms, call, &target, false)) {
        return Ok(());
    }
    let text = "The new key policy will not allow you to update the key policy in the future.";
    Err(Fault::client("MalformedPolicyDocumentException", text))
}

/// The question whether the caller may change the policy of a key.
pub fn ask_put(kms: &Kms, call: &Call, target: &Target, bypass: bool) -> Ask {
    ask(kms, call, "kms:PutKeyPolicy", target)
        .with("kms:PolicyName", [DEFAULT])
        .with("kms:BypassPolicyLockoutSafetyCheck", [bypass.to_string()])
}
