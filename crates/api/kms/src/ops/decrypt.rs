//! `kms:Decrypt` (spec/kms.md §12): what Encrypt or GenerateDataKey made, with the same encryption context.
//! The ciphertext names its key. Grantable, across accounts. Trail: management event, read.

use envelope::EncryptionContext;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{
    ciphertext::{DryRunModifier, Source, check_presence, source},
    crypt::{check_context, check_decrypts, decrypt_by, symmetric},
    external::{By, note},
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
    #[serde(default = "symmetric")]
    encryption_algorithm: String,
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
    encryption_algorithm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
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
        call.records_request("EncryptionAlgorithm", request.encryption_algorithm.as_str());
        let key = (request.key_id.is_some(), "keyId");
        check_presence(request.ciphertext_blob.is_some(), key, request.dry_run, &request.dry_run_modifiers)?;
        fault::no_recipient(request.recipient.as_ref())?;
        check_context(&request.encryption_context)?;
        token::check(kms, call, &request.grant_tokens)?;
        let ciphertext = request.ciphertext_blob.as_ref().map_or(&[][..], |blob| &blob.0);
        source(kms, call, request.key_id.as_deref(), ciphertext, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, source: &Source) -> Vec<Ask> {
        let ask = ask_use(kms, call, ACTION, &source.key, &request.encryption_context)
            .with("kms:EncryptionAlgorithm", [request.encryption_algorithm.clone()]);
        vec![if source.from_ciphertext { ask.from_ciphertext() } else { ask }]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        source: Authorized<Source>,
    ) -> Result<Response, Fault> {
        let key = &source.key;
        note(call, key.key(), "");
        let ignored = request.dry_run_modifiers.contains(&DryRunModifier::IgnoreCiphertext);
        let ciphertext = request.ciphertext_blob.filter(|_| !ignored);
        let given = ciphertext.as_ref().map(|blob| &blob.0[..]);
        check_decrypts(key, Self::NAME, &request.encryption_algorithm, &request.encryption_context, given)?;
        let Some(ciphertext) = ciphertext else {
            return Err(fault::dry_run());
        };
        let opened = decrypt_by(
            By { kms, call, operation: Self::NAME },
            key,
            &request.encryption_algorithm,
            &request.encryption_context,
            ciphertext,
        )
        .await?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        if let Some(id) = &opened.material_id {
            call.adds("keyMaterialId", id.as_str());
        }
        Ok(Response {
            key_id: key.arn(),
            plaintext: Blob(opened.bytes.take()),
            encryption_algorithm: request.encryption_algorithm,
            key_material_id: opened.material_id,
        })
    }
}
