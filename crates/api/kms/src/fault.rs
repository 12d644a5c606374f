//! Refusals of the key service in the words of AWS: spelled here and nowhere else (spec/kms.md §1, §9, §15).

use kms::{AliasName, BadAlias, BadName, BadSpec, Blocked, Key, KeyName, KeySpec, Refusal};
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
        Refusal::Window => validation("PendingWindowInDays must be between 7 and 30."),
        Refusal::Period => validation("RotationPeriodInDays must be between 90 and 2560."),
        Refusal::TooManyRotations => limit(format!(
            "The on-demand rotations limit has been reached for the given keyId. No more on-demand \
             rotations can be performed for this key: {key}"
        )),
        Refusal::Origin(_) | Refusal::NotPrimary => unsupported(format!("{key} {refusal}")),
        Refusal::OtherMaterial => incorrect_material(),
        Refusal::OnePending { new, waiting } => Fault::client(
            "KMSInvalidStateException",
            format!(
                "New key material (id: {new}) cannot be imported into KMS key {}, because another key material \
                 (id: {waiting}) is pending rotation.",
                key.id
            ),
        ),
        Refusal::NonePending => Fault::client(
            "KMSInvalidStateException",
            format!("No available key material pending rotation for the key: {key}."),
        ),
        Refusal::NotSymmetric => Fault::bare("UnsupportedOperationException"),
        Refusal::Tags(bad) => Fault::client("TagException", bad.to_string()),
    }
}

/// A key for something else than an operation does.
pub fn wrong_usage(key: &Key, operation: &str) -> Fault {
    let text = format!("{} key usage is {} which is not valid for {operation}.", key.name, key.usage);
    Fault::client("InvalidKeyUsageException", text)
}

/// An algorithm of other keys.
pub fn wrong_algorithm(algorithm: &str, spec: KeySpec) -> Fault {
    let text = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
    Fault::client("InvalidKeyUsageException", text)
}

/// Material that is not what the key must have.
pub fn incorrect_material() -> Fault {
    let text = "The key material in the request is invalid, or is not the same key material that was previously \
                imported into this KMS key.";
    Fault::client("IncorrectKeyMaterialException", text)
}

/// A key that cannot have made the ciphertext that came with it.
pub fn incorrect_key() -> Fault {
    let text = "The key ID in the request does not identify a CMK that can perform this operation.";
    Fault::client("IncorrectKeyException", text)
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

pub fn bad_alias(bad: &BadAlias) -> Fault {
    match bad {
        BadAlias::NoPrefix => validation(bad.to_string()),
        BadAlias::Illegal(_) => Fault::client("InvalidAliasNameException", bad.to_string()),
        BadAlias::Reserved => Fault::bare("NotAuthorizedException"),
    }
}

pub fn bad_spec(bad: &BadSpec) -> Fault {
    match bad {
        BadSpec::NoUsage | BadSpec::Pair { .. } => validation(bad.to_string()),
        BadSpec::OtherRegions(_) => unsupported(bad.to_string()),
    }
}

pub fn malformed_policy(bad: &iam::Malformed) -> Fault {
    Fault::client("MalformedPolicyDocumentException", bad.to_string())
}

/// A grant that is not there, in the words of RevokeGrant (`InvalidGrantIdException`) or RetireGrant
/// (`NotFoundException`).
pub fn no_grant(code: &'static str, id: &str) -> Fault {
    Fault::client(code, format!("Grant ID {id} not found"))
}

/// The answer to a call that would have worked.
pub fn dry_run() -> Fault {
    let text = "The request would have succeeded, but the DryRun option is set.";
    Fault::client("DryRunOperationException", text)
}

pub fn validation(text: impl Into<String>) -> Fault {
    Fault::client("ValidationException", text)
}

/// What a value must be that only the service checks, said as the model's checks say it.
pub fn constraint(value: &str, member: &str, rule: &str) -> Fault {
    let told = format!("Value {value} at '{member}' failed to satisfy constraint: {rule}");
    validation(format!("1 validation error detected: {told}"))
}

/// A member that the model leaves optional and the service does not.
pub fn missing(member: &str) -> Fault {
    constraint("null", member, "Member must not be null")
}

pub fn limit(text: impl Into<String>) -> Fault {
    Fault::client("LimitExceededException", text)
}

pub fn unsupported(text: impl Into<String>) -> Fault {
    Fault::client("UnsupportedOperationException", text)
}

/// Answers sealed for an enclave are not served.
pub fn no_recipient(recipient: Option<&serde_json::Value>) -> Result<(), Fault> {
    if recipient.is_none() { Ok(()) } else { Err(unsupported("Recipient is not supported.")) }
}

/// A foreign key that is not there, or an operation that is not for foreign keys: the same words as a denial.
pub fn hidden(who: &str, action: &str) -> Fault {
    denied(who, action, "this resource")
}

/// The same for a key that is only known by a ciphertext.
pub fn hidden_by_ciphertext(who: &str, action: &str) -> Fault {
    denied(who, action, "the resource associated with this ciphertext")
}

fn denied(who: &str, action: &str, what: &str) -> Fault {
    let because = "the resource does not exist in this Region, no resource-based policies allow access, or a \
                   resource-based policy explicitly denies access";
    let text = format!("User: {who} is not authorized to perform: {action} on {what} because {because}");
    Fault::client("AccessDeniedException", text)
}
