//! `kms:Encrypt` (spec/kms.md §12): up to 4096 bytes under a key, bound to an encryption context. Grantable,
//! across accounts. Trail: management event, read.

use envelope::{EncryptionContext, SecretBytes};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    crypt::{check_context, check_encrypts, check_length, encrypt_by, symmetric},
    external::{By, note},
    fault,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
};

const ACTION: &str = "kms:Encrypt";

/// Encrypts.
pub struct Encrypt;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    plaintext: Blob,
    #[serde(default)]
    encryption_context: EncryptionContext,
    #[serde(default = "symmetric")]
    encryption_algorithm: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    ciphertext_blob: Blob,
    key_id: String,
    encryption_algorithm: String,
}

impl Operation for Encrypt {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "Encrypt";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionAlgorithm", "EncryptionContext", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        call.records_request("EncryptionAlgorithm", request.encryption_algorithm.as_str());
        check_context(&request.encryption_context)?;
        token::check(kms, call, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::KeysAndAliases, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let ask = ask_use(kms, call, ACTION, target, &request.encryption_context);
        vec![ask.with("kms:EncryptionAlgorithm", [request.encryption_algorithm.clone()])]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let Request { encryption_algorithm, encryption_context: context, plaintext, dry_run, .. } = request;
        note(call, target.key(), "");
        check_encrypts(&target, Self::NAME, &encryption_algorithm, &context)?;
        check_length(&target, &encryption_algorithm, plaintext.0.len())?;
        if dry_run {
            return Err(fault::dry_run());
        }
        let plaintext = SecretBytes::new(plaintext.take());
        let made = encrypt_by(
            By { kms, call, operation: Self::NAME },
            &target,
            &encryption_algorithm,
            &context,
            plaintext,
        )
        .await?;
        if let Some(id) = made.material_id {
            call.adds("keyMaterialId", id);
        }
        Ok(Response { ciphertext_blob: made.blob, key_id: target.arn(), encryption_algorithm })
    }
}
