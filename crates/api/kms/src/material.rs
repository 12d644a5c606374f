//! The materials of keys: what is sealed in the store, and open in memory.

use envelope::{KeyMaterial, PrivateKey, SecretBytes, SystemEntropy, material_id};
use kms::{KeyName, KeySpec};
use wire::Fault;

use crate::pair;

/// One material of a key.
#[derive(Debug)]
pub enum Material {
    Symmetric(KeyMaterial),
    Mac(SecretBytes),
    Pair(PrivateKey),
}

impl Material {
    /// A new material; every bit of it from the system's generator.
    ///
    /// # Errors
    /// An internal fault if the library fails.
    pub async fn generate(spec: KeySpec) -> Result<Self, Fault> {
        match spec {
            KeySpec::Symmetric => Ok(Self::Symmetric(KeyMaterial::generate(&SystemEntropy))),
            KeySpec::Hmac(hash) => Ok(Self::Mac(SecretBytes::generate(hash.length(), &SystemEntropy))),
            KeySpec::Pair(spec) => pair::generate(spec).await.map(Self::Pair),
        }
    }

    /// The material that these bytes are; `None` if they cannot be one of such a key.
    pub fn open(spec: KeySpec, bytes: SecretBytes) -> Option<Self> {
        match spec {
            KeySpec::Symmetric => KeyMaterial::copy_from(bytes.expose()).map(Self::Symmetric),
            KeySpec::Hmac(hash) => (bytes.expose().len() == hash.length()).then_some(Self::Mac(bytes)),
            KeySpec::Pair(spec) => Some(Self::Pair(PrivateKey::from_pkcs8(spec, bytes))),
        }
    }

    /// The material that somebody sent; checked to the end, as nobody else has.
    pub fn import(spec: KeySpec, bytes: SecretBytes) -> Option<Self> {
        match spec {
            KeySpec::Pair(spec) => PrivateKey::import(spec, bytes).ok().map(Self::Pair),
            _ => Self::open(spec, bytes),
        }
    }

    /// The bytes to seal.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Symmetric(key) => key.expose(),
            Self::Mac(key) => key.expose(),
            Self::Pair(key) => key.pkcs8().expose(),
        }
    }

    /// Its id as a material of a key, and of all that are related to it: 64 hex digits.
    pub fn id(&self, key: &KeyName) -> String {
        hex::encode(material_id(&key.shared(), self.expose()))
    }
}
