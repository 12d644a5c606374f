//! Checks of a new key policy (spec/policy.md §9).

use std::sync::Arc;

use front::{Ask, Call};
use wire::Fault;

use crate::{
    fault,
    registry::Kms,
    target::{Target, ask},
};

/// The name of the one policy that every key has.
pub const DEFAULT: &str = "default";
/// Longest policy, in bytes.
const LONGEST: usize = 32_768;

/// Reads a policy and checks that everybody it names is there.
///
/// # Errors
/// `LimitExceededException` and `MalformedPolicyDocumentException`.
pub fn check(kms: &Kms, text: &str) -> Result<Arc<iam::Document>, Fault> {
    if text.len() > LONGEST {
        let told = format!("The policy is longer than {LONGEST} bytes.");
        return Err(Fault::client("LimitExceededException", told));
    }
    let document = iam::Document::parse(text, iam::Kind::Key).map_err(|bad| fault::malformed_policy(&bad))?;
    if document.named_principals().all(|arn| kms.principal_exists(arn)) {
        return Ok(Arc::new(document));
    }
    Err(fault::malformed_policy(&iam::Malformed::BadPrincipal))
}

/// The lockout check: with its new policy, the caller must still be able to change the policy of the key.
///
/// # Errors
/// `MalformedPolicyDocumentException`
pub fn check_lockout(
    kms: &Kms,
    call: &Call,
    target: &Target,
    policy: Arc<iam::Document>,
) -> Result<(), Fault> {
    if kms.would_allow(call, &ask_put(kms, call, target, false).policy(policy)) {
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
