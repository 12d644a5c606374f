//! Data keys: made and wrapped here, then forgotten (spec/kms.md §3).

use envelope::{EncryptionContext, SecretBytes, SystemEntropy};
use front::{Ask, Call};
use kms::KeyUsage;
use serde::Deserialize;
use wire::Fault;

use crate::{
    crypt::{ALGORITHM, Ciphertext, check_context, encrypt},
    external::{By, note},
    fault,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
    usable::{Use, check_use},
};

/// What GenerateDataKey and its sibling are asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wanted {
    key_id: String,
    #[serde(default)]
    pub encryption_context: EncryptionContext,
    number_of_bytes: Option<usize>,
    key_spec: Option<KeySpec>,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum KeySpec {
    #[serde(rename = "AES_128")]
    Aes128,
    #[serde(rename = "AES_256")]
    Aes256,
}

/// Checks that a key can wrap: only a symmetric one does.
///
/// # Errors
/// As [`check_use`].
pub fn check_wrapping(target: &Target, operation: &'static str) -> Result<(), Fault> {
    let wraps = Use { operation, usage: KeyUsage::EncryptDecrypt, algorithm: ALGORITHM };
    check_use(target, wraps).map_err(|refused| match target.key().usage {
        KeyUsage::EncryptDecrypt if refused.code == "InvalidKeyUsageException" => {
            fault::wrong_usage(target.key(), operation)
        }
        _ => refused,
    })
}

impl Wanted {
    /// The length of the key, in bytes.
    fn length(&self) -> Result<usize, Fault> {
        match (self.number_of_bytes, self.key_spec) {
            (Some(length), None) => Ok(length),
            (None, Some(KeySpec::Aes128)) => Ok(16),
            (None, Some(KeySpec::Aes256)) => Ok(32),
            _ => Err(fault::validation("Please specify either number of bytes or key spec.")),
        }
    }

    /// Finds the key that wraps.
    ///
    /// # Errors
    /// As [`resolve`]; `ValidationException` for no length or two, or too long a context.
    pub async fn resolve(&self, kms: &Kms, call: &Call, action: &str) -> Result<Target, Fault> {
        self.length()?;
        check_context(&self.encryption_context)?;
        token::check(kms, call, &self.grant_tokens)?;
        resolve(kms, call, &self.key_id, Accept::KeysAndAliases, action).await
    }

    /// Whether the caller may.
    pub fn ask(&self, kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
        ask_use(kms, call, action, target, &self.encryption_context)
            .with("kms:EncryptionAlgorithm", [ALGORITHM])
    }

    /// Makes the key and wraps it.
    ///
    /// # Errors
    /// As the table of states says; `DryRunOperationException`.
    pub async fn make(&self, by: By<'_>, target: &Target) -> Result<(SecretBytes, Ciphertext), Fault> {
        note(by.call, target.key(), "");
        check_wrapping(target, by.operation)?;
        if self.dry_run {
            return Err(fault::dry_run());
        }
        let key = SecretBytes::generate(self.length()?, &SystemEntropy);
        let wrapped = encrypt(by, &target.entry, &self.encryption_context, key.expose()).await?;
        if let Some(id) = &wrapped.material_id {
            by.call.adds("keyMaterialId", id.as_str());
        }
        Ok((key, wrapped))
    }
}
