//! Import of key material (spec/kms.md §13): the wrapping key of a request, in a token that only we can read.
//!
//! A token is sealed under the root key for one KMS key, so that nothing has to be kept:
//!
//! ```text
//! 0   8  when it expires, milliseconds since 1970, little-endian
//! 8   1  place of the wrapping algorithm in `ALGORITHMS`
//! 9   1  place of the spec of the wrapping key in `KEYS`
//! 10  n  the wrapping key, PKCS#8
//! ```

use std::time::Duration;

use envelope::{Oaep, PairSpec, PrivateKey, SecretBytes, Wrapping};
use ids::Timestamp;
use kms::{KeyName, KeySpec};
use wire::Fault;

use crate::{fault, registry::Kms};

/// How long a token can be used.
pub const VALID: Duration = Duration::from_secs(24 * 60 * 60);

const ALGORITHMS: [(&str, Wrapping); 4] = [
    ("RSAES_OAEP_SHA_1", Wrapping::Oaep(Oaep::Sha1)),
    ("RSAES_OAEP_SHA_256", Wrapping::Oaep(Oaep::Sha256)),
    ("RSA_AES_KEY_WRAP_SHA_1", Wrapping::AesKeyWrap(Oaep::Sha1)),
    ("RSA_AES_KEY_WRAP_SHA_256", Wrapping::AesKeyWrap(Oaep::Sha256)),
];
const KEYS: [(&str, PairSpec); 3] =
    [("RSA_2048", PairSpec::Rsa2048), ("RSA_3072", PairSpec::Rsa3072), ("RSA_4096", PairSpec::Rsa4096)];

/// What wraps a material on its way.
#[derive(Debug)]
pub struct Parameters {
    algorithm: usize,
    key: usize,
}

impl Parameters {
    /// Reads them, for material of a spec.
    ///
    /// # Errors
    /// `UnsupportedOperationException` for what is refused to everybody here; `ValidationException` for a wrapping
    /// that such material does not fit into.
    pub fn read(algorithm: &str, key: &str, material: KeySpec) -> Result<Self, Fault> {
        let refused = |what: &str| fault::unsupported(format!("{what} is not supported."));
        let place = ALGORITHMS.iter().position(|(name, _)| *name == algorithm);
        let read = Self {
            algorithm: place.ok_or_else(|| refused(algorithm))?,
            key: KEYS.iter().position(|(name, _)| *name == key).ok_or_else(|| refused(key))?,
        };
        if read.fits(material) {
            return Ok(read);
        }
        let text = format!("{algorithm} with {key} is not valid for key material of key spec {material}.");
        Err(fault::validation(text))
    }

    /// The spec of the wrapping key.
    pub fn key_spec(&self) -> PairSpec {
        KEYS[self.key].1
    }

    fn wrapping(&self) -> Wrapping {
        ALGORITHMS[self.algorithm].1
    }

    /// OAEP is for what is short; with an AES key it is for private keys.
    fn fits(&self, material: KeySpec) -> bool {
        use PairSpec as P;
        match (self.wrapping(), material) {
            (Wrapping::AesKeyWrap(_), KeySpec::Pair(_)) => true,
            (Wrapping::AesKeyWrap(_), _) => false,
            (Wrapping::Oaep(_), KeySpec::Pair(P::P521)) => self.key_spec() != P::Rsa2048,
            (
                Wrapping::Oaep(_),
                KeySpec::Pair(
                    P::Rsa2048 | P::Rsa3072 | P::Rsa4096 | P::MlKem512 | P::MlKem768 | P::MlKem1024,
                ),
            ) => false,
            (Wrapping::Oaep(_), _) => true,
        }
    }
}

fn place(key: &KeyName) -> String {
    format!("kms/import/{key}")
}

/// A token with a wrapping key for a KMS key.
pub fn token(
    kms: &Kms,
    key: &KeyName,
    parameters: &Parameters,
    wrapping_key: &PrivateKey,
    expires: Timestamp,
) -> Vec<u8> {
    let pkcs8 = wrapping_key.pkcs8().expose();
    let mut content = Vec::with_capacity(10 + pkcs8.len());
    content.extend_from_slice(&expires.as_millis().to_le_bytes());
    content.extend([parameters.algorithm, parameters.key].map(|place| place.to_le_bytes()[0]));
    content.extend_from_slice(pkcs8);
    kms.custody.seal(&place(key), SecretBytes::new(content).expose())
}

/// A token that was read.
#[derive(Debug)]
pub struct Token {
    wrapping: Wrapping,
    key: PrivateKey,
}

impl Token {
    /// Reads a token that was made for a KMS key.
    ///
    /// # Errors
    /// `InvalidImportTokenException` and `ExpiredImportTokenException`
    pub fn read(kms: &Kms, key: &KeyName, token: &[u8], now: Timestamp) -> Result<Self, Fault> {
        let invalid = || Fault::client("InvalidImportTokenException", "The import token is not valid.");
        let content = kms.custody.open_sealed(&place(key), token).map_err(|_| invalid())?;
        let (expires, rest) = content.expose().split_first_chunk::<8>().ok_or_else(invalid)?;
        let ([algorithm, spec], pkcs8) = rest.split_first_chunk::<2>().ok_or_else(invalid)?;
        if Timestamp::from_millis(i64::from_le_bytes(*expires)) <= now {
            return Err(Fault::client("ExpiredImportTokenException", "The import token has expired."));
        }
        let (_, wrapping) = ALGORITHMS.get(usize::from(*algorithm)).ok_or_else(invalid)?;
        let (_, spec) = KEYS.get(usize::from(*spec)).ok_or_else(invalid)?;
        let key = PrivateKey::from_pkcs8(*spec, SecretBytes::new(pkcs8.to_vec()));
        Ok(Self { wrapping: *wrapping, key })
    }

    /// Unwraps what came with the token.
    ///
    /// # Errors
    /// `InvalidCiphertextException`
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<SecretBytes, Fault> {
        envelope::unwrap(&self.key, self.wrapping, wrapped)
            .map_err(|_| Fault::bare("InvalidCiphertextException"))
    }
}
