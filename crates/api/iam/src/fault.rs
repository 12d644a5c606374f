//! Refusals of IAM in the words of AWS: spelled here and nowhere else (spec/policy.md §9, §11, §12).

use iam::Malformed;
use wire::Fault;

pub fn no_such(kind: &str, name: &str) -> Fault {
    missing(format!("The {kind} with name {name} cannot be found."))
}

pub fn no_access_key(id: &str) -> Fault {
    missing(format!("The Access Key with id {id} cannot be found"))
}

/// An inline policy of a user or a role.
pub fn no_inline_policy(kind: &str, policy: &str) -> Fault {
    missing(format!("The {kind} policy with name {policy} cannot be found."))
}

pub fn no_managed_policy(arn: &str) -> Fault {
    missing(format!("Policy {arn} was not found."))
}

/// What should be attached is not there.
pub fn not_attachable(arn: &str) -> Fault {
    missing(format!("Policy {arn} does not exist or is not attachable."))
}

pub fn policy_exists(name: &str) -> Fault {
    let text = format!("A policy called {name} already exists. Duplicate names are not allowed.");
    Fault::client("EntityAlreadyExists", text).with_status(409)
}

pub fn policy_attached() -> Fault {
    in_conflict("Cannot delete a policy attached to entities.")
}

pub fn no_policy_version(arn: &str, version: &str) -> Fault {
    missing(format!("Policy {arn} version {version} does not exist or is not attachable."))
}

pub fn alias_exists(alias: &str) -> Fault {
    let text = format!("The account alias {alias} already exists.");
    Fault::client("EntityAlreadyExists", text).with_status(409)
}

pub fn in_conflict(text: &str) -> Fault {
    Fault::client("DeleteConflict", text).with_status(409)
}

pub fn missing(text: String) -> Fault {
    Fault::client("NoSuchEntity", text).with_status(404)
}

pub fn exists(kind: &str, name: &str) -> Fault {
    let mut letters = kind.chars();
    let kind: String = letters.next().into_iter().map(|c| c.to_ascii_uppercase()).chain(letters).collect();
    Fault::client("EntityAlreadyExists", format!("{kind} with name {name} already exists.")).with_status(409)
}

/// Something still hangs on what should be deleted.
pub fn in_use(first: &str) -> Fault {
    in_conflict(&format!("Cannot delete entity, must {first} first."))
}

pub fn quota(name: &str, limit: usize) -> Fault {
    limit_exceeded(format!("Cannot exceed quota for {name}: {limit}"))
}

pub fn limit_exceeded(text: String) -> Fault {
    Fault::client("LimitExceeded", text).with_status(409)
}

pub fn malformed(bad: &Malformed) -> Fault {
    Fault::client("MalformedPolicyDocument", bad.to_string())
}

pub fn validation(text: impl Into<String>) -> Fault {
    Fault::client("ValidationError", text)
}

pub fn invalid_input(text: impl Into<String>) -> Fault {
    Fault::client("InvalidInput", text)
}

/// A role's session has no user of its own.
pub fn no_user_of_caller() -> Fault {
    validation("Must specify userName when calling with non-User credentials")
}
