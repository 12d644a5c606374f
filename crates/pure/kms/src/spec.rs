//! Key specs and the usages that fit them (spec/kms.md §6).

/// The spec and the usage of the keys that are served.
pub const SYMMETRIC: (&str, &str) = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");

/// Why a key cannot be made as asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSpec {
    #[error("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")]
    NoUsage,
    #[error("KeyUsage {usage} is not compatible with KeySpec {spec}")]
    Pair { usage: String, spec: String },
    /// A kind of key that exists, and is not served.
    #[error("KeySpec {0} is not supported.")]
    NotServed(String),
}

/// Checks what a new key is asked to be.
///
/// # Errors
/// [`BadSpec`] for everything but a symmetric key for encryption.
pub fn check_spec(spec: Option<&str>, usage: Option<&str>) -> Result<(), BadSpec> {
    let spec = spec.unwrap_or(SYMMETRIC.0);
    let usage = match usage {
        Some(usage) => usage,
        None if spec == SYMMETRIC.0 => SYMMETRIC.1,
        None => return Err(BadSpec::NoUsage),
    };
    if !usages(spec).contains(&usage) {
        return Err(BadSpec::Pair { usage: usage.into(), spec: spec.into() });
    }
    if (spec, usage) == SYMMETRIC { Ok(()) } else { Err(BadSpec::NotServed(spec.into())) }
}

fn usages(spec: &str) -> &'static [&'static str] {
    match spec {
        "SYMMETRIC_DEFAULT" => &["ENCRYPT_DECRYPT"],
        "HMAC_224" | "HMAC_256" | "HMAC_384" | "HMAC_512" => &["GENERATE_VERIFY_MAC"],
        "RSA_2048" | "RSA_3072" | "RSA_4096" => &["ENCRYPT_DECRYPT", "SIGN_VERIFY"],
        "ECC_NIST_P256" | "ECC_NIST_P384" | "ECC_NIST_P521" => &["SIGN_VERIFY", "KEY_AGREEMENT"],
        "ECC_SECG_P256K1" | "ECC_NIST_EDWARDS25519" | "ML_DSA_44" | "ML_DSA_65" | "ML_DSA_87" => {
            &["SIGN_VERIFY"]
        }
        "ML_KEM_512" | "ML_KEM_768" | "ML_KEM_1024" => &["ENCAPSULATE_DECAPSULATE"],
        "SM2" => &["ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_symmetric_keys_are_served_and_bad_pairs_are_told_first() {
        assert_eq!(check_spec(None, None), Ok(()));
        assert_eq!(check_spec(Some("SYMMETRIC_DEFAULT"), Some("ENCRYPT_DECRYPT")), Ok(()));
        assert_eq!(check_spec(Some("RSA_2048"), None), Err(BadSpec::NoUsage));
        let pair = check_spec(Some("RSA_2048"), Some("KEY_AGREEMENT")).unwrap_err();
        assert_eq!(pair.to_string(), "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048");
        assert!(matches!(check_spec(None, Some("SIGN_VERIFY")), Err(BadSpec::Pair { .. })));
        assert!(matches!(
            check_spec(Some("HMAC_256"), Some("GENERATE_VERIFY_MAC")),
            Err(BadSpec::NotServed(_))
        ));
    }
}
