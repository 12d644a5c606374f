//! `kms:Encrypt` (spec/kms.md §12): up to 4096 bytes under a key, bound to an encryption context. Grantable,
//! across accounts. Trail: management event, read.

use envelope::EncryptionContext;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    crypt::{ALGORITHM, check_context, check_use, encrypt},
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
    encryption_algorithm: Option<String>,
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
    encryption_algorithm: &'static str,
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
        if request.encryption_algorithm.is_none() {
            call.records_request("EncryptionAlgorithm", ALGORITHM);
        }
        check_context(&request.encryption_context)?;
        token::check(kms, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::KeysAndAliases, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![ask_use(kms, call, ACTION, target, &request.encryption_context)]
    }

    async fn act(
        _: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        check_use(&target, request.encryption_algorithm.as_deref())?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        let made = encrypt(&target.entry, &request.encryption_context, &request.plaintext.0)?;
        call.adds("keyMaterialId", made.material_id);
        Ok(Response { ciphertext_blob: made.blob, key_id: target.arn(), encryption_algorithm: ALGORITHM })
    }
}
