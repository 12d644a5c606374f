//! What a key is and what it is for: specs, usages, algorithms (spec/kms.md §6).

use std::fmt;

use envelope::{Hash, PairSpec};
use serde::{Deserialize, Serialize};

/// What kind of material a key has. The default is a symmetric key for encryption.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeySpec {
    #[default]
    Symmetric,
    /// A key for MACs, as long as the digest.
    Hmac(Hash),
    /// A private key with its public one.
    Pair(PairSpec),
}

/// What a key is for. One key, one usage.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyUsage {
    #[default]
    EncryptDecrypt,
    SignVerify,
    GenerateVerifyMac,
    KeyAgreement,
    EncapsulateDecapsulate,
}

/// Why a key cannot be made as asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSpec {
    #[error("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")]
    NoUsage,
    #[error("KeyUsage {usage} is not compatible with KeySpec {spec}")]
    Pair { usage: String, spec: String },
    /// A kind of key that AWS has in other regions only.
    #[error("KeySpec {0} is not supported in this Region.")]
    OtherRegions(String),
}

const SPECS: [(KeySpec, &str); 19] = [
    (KeySpec::Symmetric, "SYMMETRIC_DEFAULT"),
    (KeySpec::Hmac(Hash::Sha224), "HMAC_224"),
    (KeySpec::Hmac(Hash::Sha256), "HMAC_256"),
    (KeySpec::Hmac(Hash::Sha384), "HMAC_384"),
    (KeySpec::Hmac(Hash::Sha512), "HMAC_512"),
    (KeySpec::Pair(PairSpec::Rsa2048), "RSA_2048"),
    (KeySpec::Pair(PairSpec::Rsa3072), "RSA_3072"),
    (KeySpec::Pair(PairSpec::Rsa4096), "RSA_4096"),
    (KeySpec::Pair(PairSpec::P256), "ECC_NIST_P256"),
    (KeySpec::Pair(PairSpec::P384), "ECC_NIST_P384"),
    (KeySpec::Pair(PairSpec::P521), "ECC_NIST_P521"),
    (KeySpec::Pair(PairSpec::P256K1), "ECC_SECG_P256K1"),
    (KeySpec::Pair(PairSpec::Ed25519), "ECC_NIST_EDWARDS25519"),
    (KeySpec::Pair(PairSpec::MlDsa44), "ML_DSA_44"),
    (KeySpec::Pair(PairSpec::MlDsa65), "ML_DSA_65"),
    (KeySpec::Pair(PairSpec::MlDsa87), "ML_DSA_87"),
    (KeySpec::Pair(PairSpec::MlKem512), "ML_KEM_512"),
    (KeySpec::Pair(PairSpec::MlKem768), "ML_KEM_768"),
    (KeySpec::Pair(PairSpec::MlKem1024), "ML_KEM_1024"),
];
/// The one spec that only the regions of China have.
const SM2: &str = "SM2";

const RSA_ENCRYPTION: [&str; 2] = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
const RSA_SIGNING: [&str; 6] = [
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

impl KeySpec {
    /// Every spec that is served.
    pub fn all() -> impl Iterator<Item = Self> {
        SPECS.into_iter().map(|(spec, _)| spec)
    }

    /// AWS's name of it.
    pub fn name(self) -> &'static str {
        SPECS.iter().find(|(spec, _)| *spec == self).map_or("", |(_, name)| name)
    }

    /// The spec of that name.
    pub fn named(name: &str) -> Option<Self> {
        SPECS.iter().find(|(_, known)| *known == name).map(|(spec, _)| *spec)
    }

    /// The spec where it had a name as `CustomerMasterKeySpec` too: the old member has no newer ones.
    pub const fn if_old(self) -> Option<Self> {
        use PairSpec as P;
        match self {
            Self::Pair(
                P::Ed25519 | P::MlDsa44 | P::MlDsa65 | P::MlDsa87 | P::MlKem512 | P::MlKem768 | P::MlKem1024,
            ) => None,
            _ => Some(self),
        }
    }

    /// What such a key can be for.
    pub const fn usages(self) -> &'static [KeyUsage] {
        use KeyUsage::{EncapsulateDecapsulate, EncryptDecrypt, GenerateVerifyMac, KeyAgreement, SignVerify};
        use PairSpec as P;
        match self {
            Self::Symmetric => &[EncryptDecrypt],
            Self::Hmac(_) => &[GenerateVerifyMac],
            Self::Pair(P::Rsa2048 | P::Rsa3072 | P::Rsa4096) => &[EncryptDecrypt, SignVerify],
            Self::Pair(P::P256 | P::P384 | P::P521) => &[SignVerify, KeyAgreement],
            Self::Pair(P::P256K1 | P::Ed25519 | P::MlDsa44 | P::MlDsa65 | P::MlDsa87) => &[SignVerify],
            Self::Pair(P::MlKem512 | P::MlKem768 | P::MlKem1024) => &[EncapsulateDecapsulate],
        }
    }

    /// The algorithms of such a key for a usage; none for a usage that it cannot have.
    pub const fn algorithms(self, usage: KeyUsage) -> &'static [&'static str] {
        use PairSpec as P;
        match (self, usage) {
            (Self::Symmetric, KeyUsage::EncryptDecrypt) => &["SYMMETRIC_DEFAULT"],
            (Self::Hmac(Hash::Sha224), KeyUsage::GenerateVerifyMac) => &["HMAC_SHA_224"],
            (Self::Hmac(Hash::Sha256), KeyUsage::GenerateVerifyMac) => &["HMAC_SHA_256"],
            (Self::Hmac(Hash::Sha384), KeyUsage::GenerateVerifyMac) => &["HMAC_SHA_384"],
            (Self::Hmac(Hash::Sha512), KeyUsage::GenerateVerifyMac) => &["HMAC_SHA_512"],
            (Self::Pair(P::Rsa2048 | P::Rsa3072 | P::Rsa4096), KeyUsage::EncryptDecrypt) => &RSA_ENCRYPTION,
            (Self::Pair(P::Rsa2048 | P::Rsa3072 | P::Rsa4096), KeyUsage::SignVerify) => &RSA_SIGNING,
            (Self::Pair(P::P256 | P::P256K1), KeyUsage::SignVerify) => &["ECDSA_SHA_256"],
            (Self::Pair(P::P384), KeyUsage::SignVerify) => &["ECDSA_SHA_384"],
            (Self::Pair(P::P521), KeyUsage::SignVerify) => &["ECDSA_SHA_512"],
            (Self::Pair(P::P256 | P::P384 | P::P521), KeyUsage::KeyAgreement) => &["ECDH"],
            (Self::Pair(P::Ed25519), KeyUsage::SignVerify) => &["ED25519_SHA_512", "ED25519_PH_SHA_512"],
            (Self::Pair(P::MlDsa44 | P::MlDsa65 | P::MlDsa87), KeyUsage::SignVerify) => &["ML_DSA_SHAKE_256"],
            (Self::Pair(P::MlKem512 | P::MlKem768 | P::MlKem1024), KeyUsage::EncapsulateDecapsulate) => {
                &["ML_KEM"]
            }
            _ => &[],
        }
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for KeySpec {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("{name} is no key spec"))
    }
}

impl From<KeySpec> for String {
    fn from(spec: KeySpec) -> Self {
        spec.name().into()
    }
}

impl KeyUsage {
    const ALL: [(Self, &'static str); 5] = [
        (Self::EncryptDecrypt, "ENCRYPT_DECRYPT"),
        (Self::SignVerify, "SIGN_VERIFY"),
        (Self::GenerateVerifyMac, "GENERATE_VERIFY_MAC"),
        (Self::KeyAgreement, "KEY_AGREEMENT"),
        (Self::EncapsulateDecapsulate, "ENCAPSULATE_DECAPSULATE"),
    ];

    /// AWS's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncryptDecrypt => "ENCRYPT_DECRYPT",
            Self::SignVerify => "SIGN_VERIFY",
            Self::GenerateVerifyMac => "GENERATE_VERIFY_MAC",
            Self::KeyAgreement => "KEY_AGREEMENT",
            Self::EncapsulateDecapsulate => "ENCAPSULATE_DECAPSULATE",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(usage, _)| *usage)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads what a new key is asked to be.
///
/// # Errors
/// [`BadSpec`]
pub fn read_spec(spec: Option<&str>, usage: Option<&str>) -> Result<(KeySpec, KeyUsage), BadSpec> {
    let name = spec.unwrap_or(KeySpec::default().name());
    if name == SM2 {
        return Err(BadSpec::OtherRegions(name.into()));
    }
    let spec = KeySpec::named(name);
    let usage = match usage {
        Some(usage) => usage,
        None if spec == Some(KeySpec::Symmetric) => KeyUsage::EncryptDecrypt.name(),
        None => return Err(BadSpec::NoUsage),
    };
    let bad = || BadSpec::Pair { usage: usage.into(), spec: name.into() };
    let spec = spec.ok_or_else(bad)?;
    let usage = KeyUsage::named(usage).filter(|usage| spec.usages().contains(usage)).ok_or_else(bad)?;
    Ok((spec, usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_symmetric_unless_it_is_said_what_else_and_what_for() {
        let symmetric = (KeySpec::Symmetric, KeyUsage::EncryptDecrypt);
        assert_eq!(read_spec(None, None), Ok(symmetric));
        assert_eq!(read_spec(Some("SYMMETRIC_DEFAULT"), Some("ENCRYPT_DECRYPT")), Ok(symmetric));
        assert_eq!(read_spec(Some("RSA_2048"), None), Err(BadSpec::NoUsage));
        let pair = read_spec(Some("RSA_2048"), Some("KEY_AGREEMENT")).unwrap_err();
        assert_eq!(pair.to_string(), "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048");
        assert!(matches!(read_spec(None, Some("SIGN_VERIFY")), Err(BadSpec::Pair { .. })));
        assert!(matches!(read_spec(Some("SM2"), Some("SIGN_VERIFY")), Err(BadSpec::OtherRegions(_))));
        assert_eq!(
            read_spec(Some("HMAC_256"), Some("GENERATE_VERIFY_MAC")),
            Ok((KeySpec::Hmac(Hash::Sha256), KeyUsage::GenerateVerifyMac))
        );
    }

    #[test]
    fn every_pair_of_spec_and_usage_has_algorithms_or_is_refused() {
        for spec in KeySpec::all() {
            assert_eq!(KeySpec::named(spec.name()), Some(spec));
            for (usage, name) in KeyUsage::ALL {
                assert_eq!(usage.name(), name);
                let fits = spec.usages().contains(&usage);
                assert_eq!(read_spec(Some(spec.name()), Some(name)).is_ok(), fits, "{spec} {usage}");
                assert_eq!(!spec.algorithms(usage).is_empty(), fits, "{spec} {usage}");
            }
        }
    }
}
