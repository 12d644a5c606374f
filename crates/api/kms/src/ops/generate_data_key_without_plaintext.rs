//! `kms:GenerateDataKeyWithoutPlaintext` (spec/kms.md §5): a new key, wrapped only. A permission of its own.
//! Grantable, across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Serialize;
use wire::{Blob, Fault, ServiceId};

use crate::{data_key::Wanted, external::By, registry::Kms, target::Target};

const ACTION: &str = "kms:GenerateDataKeyWithoutPlaintext";

/// Makes a data key that nobody sees.
pub struct GenerateDataKeyWithoutPlaintext;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    ciphertext_blob: Blob,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for GenerateDataKeyWithoutPlaintext {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateDataKeyWithoutPlaintext";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionContext", "KeyId", "KeySpec", "NumberOfBytes"];
    type State = Kms;
    type Request = Wanted;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, wanted: &Wanted) -> Result<Target, Fault> {
        wanted.resolve(kms, call, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, wanted: &Wanted, target: &Target) -> Vec<Ask> {
        vec![wanted.ask(kms, call, ACTION, target)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        wanted: Wanted,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let (_, wrapped) = wanted.make(By { kms, call, operation: Self::NAME }, &target).await?;
        Ok(Response {
            ciphertext_blob: wrapped.blob,
            key_id: target.arn(),
            key_material_id: wrapped.material_id,
        })
    }
}
