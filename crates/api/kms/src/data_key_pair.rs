//! Data key pairs: the private key is wrapped, then forgotten (spec/kms.md §6).

use envelope::{EncryptionContext, PrivateKey};
use front::{Ask, Call};
use kms::{KeySpec, Refusal};
use serde::Deserialize;
use wire::Fault;

use crate::{
    crypt::{ALGORITHM, Ciphertext, check_context, encrypt},
    data_key::check_wrapping,
    external::{By, note},
    fault, pair,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
};

/// What GenerateDataKeyPair and its sibling are asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wanted {
    key_id: String,
    pub key_pair_spec: String,
    #[serde(default)]
    encryption_context: EncryptionContext,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

/// A new pair, and its private key wrapped.
pub struct Made {
    pub private: PrivateKey,
    pub public: Vec<u8>,
    pub wrapped: Ciphertext,
}

impl Wanted {
    /// Finds the key that wraps.
    ///
    /// # Errors
    /// As [`resolve`]; `ValidationException` for too long a context.
    pub async fn resolve(&self, kms: &Kms, call: &Call, action: &str) -> Result<Target, Fault> {
        check_context(&self.encryption_context)?;
        token::check(kms, call, &self.grant_tokens)?;
        resolve(kms, call, &self.key_id, Accept::KeysAndAliases, action).await
    }

    /// Whether the caller may.
    pub fn ask(&self, kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
        ask_use(kms, call, action, target, &self.encryption_context)
            .with("kms:EncryptionAlgorithm", [ALGORITHM])
            .with("kms:DataKeyPairSpec", [self.key_pair_spec.clone()])
    }

    /// Makes the pair and wraps it.
    ///
    /// # Errors
    /// As the table of states says; `UnsupportedOperationException` for a spec of other regions and for a key in a key
    /// store; `DryRunOperationException`.
    pub async fn make(&self, by: By<'_>, target: &Target) -> Result<Made, Fault> {
        let key = target.key();
        note(by.call, key, "");
        check_wrapping(target, by.operation)?;
        if key.external.is_some() {
            return Err(fault::refused(&key.name, &Refusal::Origin(key.origin)));
        }
        let Some(KeySpec::Pair(spec)) = KeySpec::named(&self.key_pair_spec) else {
            let text = format!("KeyPairSpec {} is not supported in this Region.", self.key_pair_spec);
            return Err(fault::unsupported(text));
        };
        if self.dry_run {
            return Err(fault::dry_run());
        }
        let private = pair::generate(spec).await?;
        let public = private.public_key().map_err(Fault::internal)?;
        let wrapped = encrypt(by, &target.entry, &self.encryption_context, private.pkcs8().expose()).await?;
        if let Some(id) = &wrapped.material_id {
            by.call.adds("keyMaterialId", id.as_str());
        }
        Ok(Made { private, public, wrapped })
    }
}
