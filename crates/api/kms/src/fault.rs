//! Refusals of the key service in the words of AWS: spelled here and nowhere else (spec/kms.md §1, §9, §15).

use kms::{AliasName, BadName, BadTags, Blocked, KeyName, ON_DEMAND_ROTATIONS, Refusal};
use wire::Fault;

pub fn blocked(key: &KeyName, blocked: Blocked) -> Fault {
    let code = match blocked {
        Blocked::Disabled => "DisabledException",
        _ => "KMSInvalidStateException",
    };
    Fault::client(code, format!("{key} {blocked}"))
}

pub fn refused(key: &KeyName, refusal: &Refusal) -> Fault {
    match refusal {
        Refusal::State(state) => blocked(key, *state),
        Refusal::Window => Fault::client("ValidationException", "PendingWindowInDays must be between 7 and 30."),
        Refusal::Period => Fault::client("ValidationException", "RotationPeriodInDays must be between 90 and 2560."),
        Refusal::TooManyRotations => {
            debug_assert_eq!(ON_DEMAND_ROTATIONS, 25, "the text names no number, the quota does");
            Fault::client(
                "LimitExceededException",
                format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can \
                     be performed for this key: {key}"
                ),
            )
        }
    }
}

pub fn no_key(key: &KeyName) -> Fault {
    Fault::client("NotFoundException", format!("Key '{key}' does not exist"))
}

pub fn no_alias(alias: &AliasName) -> Fault {
    Fault::client("NotFoundException", format!("Alias {} is not found.", alias.arn()))
}

pub fn bad_name(bad: &BadName) -> Fault {
    match bad {
        BadName::Id(_) | BadName::OtherRegion(_) => Fault::client("NotFoundException", bad.to_string()),
        BadName::Arn(_) => Fault::client("InvalidArnException", bad.to_string()),
    }
}

pub fn bad_tags(bad: BadTags) -> Fault {
    Fault::client("TagException", bad.to_string())
}

/// The answer to a call that would have worked.
pub fn dry_run() -> Fault {
    let text = "The request would have succeeded, but the DryRun option is set.";
    Fault::client("DryRunOperationException", text)
}

pub fn validation(text: impl Into<String>) -> Fault {
    Fault::client("ValidationException", text)
}

/// A foreign key that is not there, or an operation that is not for foreign keys: the same words as a denial.
pub fn hidden(who: &str, action: &str) -> Fault {
    Fault::client(
        "AccessDeniedException",
        format!(
            "User: {who} is not authorized to perform: {action} on this resource because the resource does not exist in \
             this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
        ),
    )
}
