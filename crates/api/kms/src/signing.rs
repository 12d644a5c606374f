//! What Sign and Verify share.

use envelope::{Message, SigningAlgorithm, Unsigned};
use front::{Ask, Call};
use kms::KeyUsage;
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault};

use crate::{
    fault,
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
    #[serde(default)]
    pub message_type: MessageType,
    pub signing_algorithm: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    pub dry_run: bool,
}

/// What the bytes of a message are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageType {
    #[default]
    Raw,
    Digest,
    ExternalMu,
}

impl MessageType {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "RAW",
            Self::Digest => "DIGEST",
            Self::ExternalMu => "EXTERNAL_MU",
        }
    }

    /// The bytes as what they are.
    pub fn of(self, bytes: &[u8]) -> Message<'_> {
        match self {
            Self::Raw => Message::Raw(bytes),
            Self::Digest => Message::Digest(bytes),
            Self::ExternalMu => Message::ExternalMu(bytes),
        }
    }
}

impl Wanted {
    /// Finds the key.
    ///
    /// # Errors
    /// As [`resolve`].
    pub async fn resolve(&self, kms: &Kms, call: &Call, action: &str) -> Result<Target, Fault> {
        call.records_request("MessageType", self.message_type.name());
        token::check(kms, call, &self.grant_tokens)?;
        resolve(kms, call, &self.key_id, Accept::KeysAndAliases, action).await
    }

    /// Whether the caller may.
    pub fn ask(&self, kms: &Kms, call: &Call, action: &'static str, target: &Target) -> Ask {
        ask_use(kms, call, action, target, &Default::default())
            .with("kms:SigningAlgorithm", [self.signing_algorithm.clone()])
            .with("kms:MessageType", [self.message_type.name()])
    }

    /// The algorithm of an operation that may go on.
    ///
    /// # Errors
    /// As [`check_use`]; `ValidationException` for a message that the algorithm does not take.
    pub fn algorithm(&self, target: &Target, operation: &'static str) -> Result<SigningAlgorithm, Fault> {
        let name = &self.signing_algorithm;
        check_use(target, Use { operation, usage: KeyUsage::SignVerify, algorithm: name })?;
        let unfit = || fault::wrong_algorithm(name, target.key().spec);
        let algorithm = SigningAlgorithm::named(name).ok_or_else(unfit)?;
        algorithm.check(self.message_type.of(&self.message.0)).map_err(|why| self.refused(why))?;
        Ok(algorithm)
    }

    /// Why nothing was signed or verified, in the words of AWS.
    pub fn refused(&self, why: Unsigned) -> Fault {
        let algorithm = &self.signing_algorithm;
        match why {
            Unsigned::Kind => fault::validation(format!(
                "MessageType {} is not valid for algorithm {algorithm}.",
                self.message_type.name()
            )),
            Unsigned::Length => {
                fault::validation(format!("Digest is invalid length for algorithm {algorithm}."))
            }
            Unsigned::Signature => Fault::bare("KMSInvalidSignatureException"),
            Unsigned::Key(bad) => Fault::internal(bad),
        }
    }
}
