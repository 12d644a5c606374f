//! Refusals of the key service in the words of AWS: spelled here and nowhere else (spec/kms.md §1, §9, §15).

use kms::{AliasName, BadAlias, BadName, BadSpec, Blocked, ConnectionError, Key, KeyName, KeySpec, Refusal};
use wire::Fault;
use xks::Failure;

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

pub fn no_store() -> Fault {
    let text = "The request was rejected because AWS KMS cannot find a custom key store with the specified key store \
                name or ID.";
    Fault::client("CustomKeyStoreNotFoundException", text)
}

pub fn wrong_connection() -> Fault {
    let text = "The request was rejected because of the ConnectionState of the custom key store. To get the \
                ConnectionState of a custom key store, use the DescribeCustomKeyStores operation.";
    Fault::client("CustomKeyStoreInvalidStateException", text)
}

pub fn store_not_connected() -> Fault {
    let text = "This KMS key is in a custom key store that is not connected to its external key store proxy. Connect \
                the external key store and try the request again.";
    Fault::client("CustomKeyStoreInvalidStateException", text)
}

pub fn store_has_keys() -> Fault {
    let text = "The request was rejected because the custom key store contains KMS keys. After verifying that you do \
                not need to use the KMS keys, use the ScheduleKeyDeletion operation to delete the KMS keys. After they \
                are deleted, you can delete the custom key store.";
    Fault::client("CustomKeyStoreHasCMKsException", text)
}

pub fn store_name_in_use() -> Fault {
    let text = "The request was rejected because the specified custom key store name is already assigned to another \
                custom key store in the account. Try again with a custom key store name that is unique in the account.";
    Fault::client("CustomKeyStoreNameInUseException", text)
}

pub fn proxy_in_use() -> Fault {
    let text = "The request was rejected because the concatenation of the XksProxyUriEndpoint and XksProxyUriPath is \
                already associated with another external key store in this Amazon Web Services Region. Each external \
                key store in a Region must use a unique external key store proxy API address.";
    Fault::client("XksProxyUriInUseException", text)
}

pub fn no_vpc_service() -> Fault {
    let text = "The request was rejected because AWS KMS could not find the specified VPC endpoint service.";
    Fault::client("XksProxyVpcEndpointServiceNotFoundException", text)
}

pub fn external_key_in_use() -> Fault {
    let text = "The request was rejected because the (XksKeyId) is already associated with another KMS key in this \
                external key store. Each KMS key in an external key store must be associated with a different external \
                key.";
    Fault::client("XksKeyAlreadyInUseException", text)
}

pub fn external_key(text: impl Into<String>) -> Fault {
    Fault::client("XksKeyInvalidConfigurationException", text)
}

/// What came back from an external key does not open with this side's material.
pub fn bad_inner_ciphertext() -> Fault {
    let text = "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, \
                is corrupted, missing, or otherwise invalid.";
    Fault::client("KMSInvalidStateException", text)
}

/// What a proxy's failure is to whoever uses a key.
pub fn unusable(failure: Failure) -> Fault {
    let code = match failure {
        Failure::Busy => "ThrottlingException",
        _ => "KMSInvalidStateException",
    };
    Fault::client(code, failure.to_string())
}

/// The same to whoever makes a key.
pub fn no_external_key(failure: Failure) -> Fault {
    let code = match failure {
        Failure::Busy => "ThrottlingException",
        Failure::KeyNotFound => "XksKeyNotFoundException",
        Failure::InvalidState | Failure::InvalidKeyUsage => "XksKeyInvalidConfigurationException",
        Failure::Unsupported => "UnsupportedOperationException",
        _ => "CustomKeyStoreInvalidStateException",
    };
    Fault::client(code, failure.to_string())
}

/// The same to whoever makes or updates a key store.
pub fn bad_proxy(failure: Failure) -> Fault {
    let code = match failure {
        Failure::Busy => "ThrottlingException",
        Failure::AuthenticationFailed => "XksProxyIncorrectAuthenticationCredentialException",
        Failure::InvalidUriPath | Failure::InvalidState | Failure::AccessDenied | Failure::Tls => {
            "XksProxyInvalidConfigurationException"
        }
        Failure::TimedOut
        | Failure::Unreachable
        | Failure::Unhealthy
        | Failure::DependencyTimeout
        | Failure::Throttled => "XksProxyUriUnreachableException",
        Failure::Malformed
        | Failure::Internal
        | Failure::Unsupported
        | Failure::InvalidCiphertext
        | Failure::InvalidKeyUsage
        | Failure::KeyNotFound => "XksProxyInvalidResponseException",
    };
    Fault::client(code, failure.to_string())
}

/// The same for an attempt to connect: the code that the key store tells afterwards. `None`: nothing was attempted.
pub const fn connection_error(failure: Failure) -> Option<ConnectionError> {
    Some(match failure {
        Failure::Busy => return None,
        Failure::AuthenticationFailed => ConnectionError::InvalidCredentials,
        Failure::AccessDenied => ConnectionError::XksProxyAccessDenied,
        Failure::InvalidUriPath | Failure::InvalidState => ConnectionError::XksProxyInvalidConfiguration,
        Failure::Tls => ConnectionError::XksProxyInvalidTlsConfiguration,
        Failure::TimedOut | Failure::DependencyTimeout => ConnectionError::XksProxyTimedOut,
        Failure::Unreachable | Failure::Unhealthy | Failure::Throttled => {
            ConnectionError::XksProxyNotReachable
        }
        Failure::Malformed
        | Failure::Internal
        | Failure::Unsupported
        | Failure::InvalidCiphertext
        | Failure::InvalidKeyUsage
        | Failure::KeyNotFound => ConnectionError::XksProxyInvalidResponse,
    })
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
