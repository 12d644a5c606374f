//! `kms:GenerateDataKey` (spec/kms.md §5): a new key in the clear and wrapped, nothing of it is kept.
//! Grantable, across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{data_key::Wanted, external::By, fault, registry::Kms, target::Target};

const ACTION: &str = "kms:GenerateDataKey";

/// Makes a data key.
pub struct GenerateDataKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(flatten)]
    wanted: Wanted,
    recipient: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    ciphertext_blob: Blob,
    plaintext: Blob,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for GenerateDataKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateDataKey";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionContext", "KeyId", "KeySpec", "NumberOfBytes"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        fault::no_recipient(request.recipient.as_ref())?;
        request.wanted.resolve(kms, call, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![request.wanted.ask(kms, call, ACTION, target)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let (key, wrapped) = request.wanted.make(By { kms, call, operation: Self::NAME }, &target).await?;
        Ok(Response {
            ciphertext_blob: wrapped.blob,
            plaintext: Blob(key.take()),
            key_id: target.arn(),
            key_material_id: wrapped.material_id,
        })
    }
}
