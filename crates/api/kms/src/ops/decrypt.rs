//! `kms:Decrypt` (spec/kms.md §12): what Encrypt or GenerateDataKey made, with the same encryption context.
//! The ciphertext names its key. Grantable, across accounts. Trail: management event, read.

use envelope::EncryptionContext;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{
    ciphertext::{DryRunModifier, Source, check_presence, source},
    crypt::{ALGORITHM, check_context, check_use, decrypt},
    fault,
    registry::Kms,
    target::ask_use,
    token,
};

const ACTION: &str = "kms:Decrypt";

/// Decrypts.
pub struct Decrypt;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    ciphertext_blob: Option<Blob>,
    key_id: Option<String>,
    #[serde(default)]
    encryption_context: EncryptionContext,
    encryption_algorithm: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
    recipient: Option<Value>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    dry_run_modifiers: Vec<DryRunModifier>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    plaintext: Blob,
    encryption_algorithm: &'static str,
    key_material_id: String,
}

impl Operation for Decrypt {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "Decrypt";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionAlgorithm", "EncryptionContext", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Source;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Source, Fault> {
        if request.encryption_algorithm.is_none() {
            call.records_request("EncryptionAlgorithm", ALGORITHM);
        }
        let key = (request.key_id.is_some(), "keyId");
        check_presence(request.ciphertext_blob.is_some(), key, request.dry_run, &request.dry_run_modifiers)?;
        fault::no_recipient(request.recipient.as_ref())?;
        check_context(&request.encryption_context)?;
        token::check(kms, &request.grant_tokens)?;
        let ciphertext = request.ciphertext_blob.as_ref().map_or(&[][..], |blob| &blob.0);
        source(kms, call, request.key_id.as_deref(), ciphertext, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, source: &Source) -> Vec<Ask> {
        let ask = ask_use(kms, call, ACTION, &source.key, &request.encryption_context);
        vec![if source.from_ciphertext { ask.from_ciphertext() } else { ask }]
    }

    async fn act(
        _: &Kms,
        call: &Call,
        request: Request,
        source: Authorized<Source>,
    ) -> Result<Response, Fault> {
        let key = &source.key;
        check_use(key, request.encryption_algorithm.as_deref())?;
        let ignored = request.dry_run_modifiers.contains(&DryRunModifier::IgnoreCiphertext);
        let Some(ciphertext) = request.ciphertext_blob.filter(|_| !ignored) else {
            return Err(fault::dry_run());
        };
        let opened = decrypt(&key.entry, &request.encryption_context, &ciphertext.0)?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        call.adds("keyMaterialId", opened.material_id.as_str());
        Ok(Response {
            key_id: key.arn(),
            plaintext: Blob(opened.plaintext.take()),
            encryption_algorithm: ALGORITHM,
            key_material_id: opened.material_id,
        })
    }
}
