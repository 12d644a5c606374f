//! Private keys with their public ones: RSA, elliptic curves, ML-DSA, ML-KEM.
//!
//! A private key is kept as PKCS#8 DER (RFC 5208; RFC 5915, 8410, 9881 and 9935 for what is inside), a public one as
//! SubjectPublicKeyInfo DER (RFC 5280). Everything is done by aws-lc; `low.rs` reaches for the two signatures that
//! `aws-lc-rs` does not have.

mod agree;
mod encrypt;
mod kem;
mod low;
mod sign;
mod spec;

use std::sync::OnceLock;

use aws_lc_rs::{
    agreement,
    encoding::AsDer,
    rsa,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair},
};

pub use agree::Disagreement;
pub use encrypt::Oaep;
pub use kem::Encapsulated;
pub use sign::{Message, SigningAlgorithm, Unsigned};
pub use spec::PairSpec;

use crate::secret::SecretBytes;

/// The bytes are no private key of the kind that was asked for, or the library failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the private key cannot be used")]
pub struct BadKey;

/// A private key. Read when it is first used: a store may hold many that never are.
#[derive(Debug)]
pub struct PrivateKey {
    spec: PairSpec,
    pkcs8: SecretBytes,
    read: OnceLock<Read>,
}

/// A private key as the library has it, which wipes it when it is freed.
#[derive(Debug)]
enum Read {
    Rsa { signing: rsa::KeyPair, opening: rsa::PrivateDecryptingKey },
    Curve { signing: EcdsaKeyPair, agreeing: Option<agreement::PrivateKey> },
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
    MlKem(kem::Decapsulator),
}

impl PrivateKey {
    /// A new key. RSA takes as long as finding two primes does: up to seconds.
    ///
    /// # Errors
    /// [`BadKey`] if the library fails.
    pub fn generate(spec: PairSpec) -> Result<Self, BadKey> {
        use PairSpec as P;
        let pkcs8 = match spec {
            P::Rsa2048 => rsa_pkcs8(rsa::KeySize::Rsa2048)?,
            P::Rsa3072 => rsa_pkcs8(rsa::KeySize::Rsa3072)?,
            P::Rsa4096 => rsa_pkcs8(rsa::KeySize::Rsa4096)?,
            P::P256 | P::P384 | P::P521 | P::P256K1 => {
                let key = EcdsaKeyPair::generate(curve(spec).ok_or(BadKey)?).map_err(|_| BadKey)?;
                copy(key.to_pkcs8v1().map_err(|_| BadKey)?.as_ref())
            }
            P::Ed25519 => {
                let key = Ed25519KeyPair::generate().map_err(|_| BadKey)?;
                copy(key.to_pkcs8v1().map_err(|_| BadKey)?.as_ref())
            }
            P::MlDsa44 | P::MlDsa65 | P::MlDsa87 => {
                let key = PqdsaKeyPair::generate(ml_dsa(spec).ok_or(BadKey)?).map_err(|_| BadKey)?;
                copy(key.to_pkcs8v1().map_err(|_| BadKey)?.as_ref())
            }
            P::MlKem512 | P::MlKem768 | P::MlKem1024 => kem::generate(spec)?,
        };
        Ok(Self::from_pkcs8(spec, pkcs8))
    }

    /// A key that was checked before. What is wrong with it shows at its first use.
    pub const fn from_pkcs8(spec: PairSpec, pkcs8: SecretBytes) -> Self {
        Self { spec, pkcs8, read: OnceLock::new() }
    }

    /// A key from elsewhere.
    ///
    /// # Errors
    /// [`BadKey`] unless it is a whole private key of exactly this kind.
    pub fn import(spec: PairSpec, pkcs8: SecretBytes) -> Result<Self, BadKey> {
        let key = Self::from_pkcs8(spec, pkcs8);
        key.read()?;
        Ok(key)
    }

    /// What it is.
    pub const fn spec(&self) -> PairSpec {
        self.spec
    }

    /// The key itself, as PKCS#8.
    pub const fn pkcs8(&self) -> &SecretBytes {
        &self.pkcs8
    }

    /// The public key, as SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`BadKey`]
    pub fn public_key(&self) -> Result<Vec<u8>, BadKey> {
        let der = match self.read()? {
            Read::Rsa { signing, .. } => signing.public_key().as_der(),
            Read::Curve { signing, .. } => signing.public_key().as_der(),
            Read::Ed25519(key) => key.public_key().as_der(),
            Read::MlDsa(key) => key.public_key().as_der(),
            Read::MlKem(key) => return Ok(key.public_key()),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| BadKey)
    }

    fn read(&self) -> Result<&Read, BadKey> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let read = Read::of(self.spec, self.pkcs8.expose()).ok_or(BadKey)?;
        Ok(self.read.get_or_init(|| read))
    }
}

impl Read {
    fn of(spec: PairSpec, pkcs8: &[u8]) -> Option<Self> {
        use PairSpec as P;
        match spec {
            P::Rsa2048 | P::Rsa3072 | P::Rsa4096 => {
                let signing = rsa::KeyPair::from_pkcs8(pkcs8).ok()?;
                let opening = rsa::PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?;
                (Some(opening.key_size_bits()) == spec.rsa_bits()).then_some(Self::Rsa { signing, opening })
            }
            P::P256 | P::P384 | P::P521 | P::P256K1 => {
                let signing = EcdsaKeyPair::from_pkcs8(curve(spec)?, pkcs8).ok()?;
                let agree = |alg| agreement::PrivateKey::from_private_key_der(alg, pkcs8);
                let agreeing = agree::algorithm(spec).map(agree).transpose().ok()?;
                Some(Self::Curve { signing, agreeing })
            }
            P::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self::Ed25519),
            P::MlDsa44 | P::MlDsa65 | P::MlDsa87 => {
                PqdsaKeyPair::from_pkcs8(ml_dsa(spec)?, pkcs8).ok().map(Self::MlDsa)
            }
            P::MlKem512 | P::MlKem768 | P::MlKem1024 => kem::Decapsulator::of(spec, pkcs8).map(Self::MlKem),
        }
    }
}

/// The one hash function that KMS has for a curve signs with it.
const fn curve(spec: PairSpec) -> Option<&'static EcdsaSigningAlgorithm> {
    match spec {
        PairSpec::P256 => Some(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        PairSpec::P384 => Some(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        PairSpec::P521 => Some(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        PairSpec::P256K1 => Some(&signature::ECDSA_P256K1_SHA256_ASN1_SIGNING),
        _ => None,
    }
}

const fn ml_dsa(spec: PairSpec) -> Option<&'static signature::PqdsaSigningAlgorithm> {
    match spec {
        PairSpec::MlDsa44 => Some(&signature::ML_DSA_44_SIGNING),
        PairSpec::MlDsa65 => Some(&signature::ML_DSA_65_SIGNING),
        PairSpec::MlDsa87 => Some(&signature::ML_DSA_87_SIGNING),
        _ => None,
    }
}

fn rsa_pkcs8(size: rsa::KeySize) -> Result<SecretBytes, BadKey> {
    let key = rsa::KeyPair::generate(size).map_err(|_| BadKey)?;
    Ok(copy(key.as_der().map_err(|_| BadKey)?.as_ref()))
}

/// Out of a buffer that wipes itself.
fn copy(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}
