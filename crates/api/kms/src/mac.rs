//! What GenerateMac and VerifyMac share.

use envelope::{Hash, SecretBytes};
use front::{Ask, Call};
use kms::{KeySpec, KeyUsage};
use serde::Deserialize;
use wire::{Blob, Fault};

use crate::{
    material::Material,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
    usable::{Use, check_use},
};

/// What both are asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wanted {
    key_id: String,
    pub message: Blob,
    pub mac_algorithm: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    pub dry_run: bool,
}

impl Wanted {
    /// Finds the key.
    ///
    /// # Errors
    /// As [`resolve`].
    pub async fn resolve(&self, kms: &Kms, call: &Call, action: &str) -> Result<Target, Fault> {
        token::check(kms, call, &self.grant_tokens)?;
        resolve(kms, call, &self.key_id, Accept::KeysAndAliases, action).await
    }

    /// Whether the caller may.
    pub fn ask(&self, kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
        ask_use(kms, call, action, target, &Default::default())
            .with("kms:MacAlgorithm", [self.mac_algorithm.clone()])
    }

    /// The hash function and the key of an operation that may go on.
    ///
    /// # Errors
    /// As [`check_use`].
    pub fn key<'t>(
        &self,
        target: &'t Target,
        operation: &'static str,
    ) -> Result<(Hash, &'t SecretBytes), Fault> {
        let usage = KeyUsage::GenerateVerifyMac;
        check_use(target, Use { operation, usage, algorithm: &self.mac_algorithm })?;
        match (target.key().spec, &**target.entry.current()?) {
            (KeySpec::Hmac(hash), Material::Mac(key)) => Ok((hash, key)),
            _ => Err(Fault::internal(format!("{} has no key for MACs", target.name()))),
        }
    }
}
