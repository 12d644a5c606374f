//! `kms:GenerateDataKeyPairWithoutPlaintext` (spec/kms.md §5): a new pair, its private key wrapped only. A permission of
//! its own. Grantable, across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Serialize;
use wire::{Blob, Fault, ServiceId};

use crate::{data_key_pair::Wanted, external::By, registry::Kms, target::Target};

const ACTION: &str = "kms:GenerateDataKeyPairWithoutPlaintext";

/// Makes a data key pair whose private key nobody sees.
pub struct GenerateDataKeyPairWithoutPlaintext;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    private_key_ciphertext_blob: Blob,
    /// SubjectPublicKeyInfo in DER.
    public_key: Blob,
    key_id: String,
    key_pair_spec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for GenerateDataKeyPairWithoutPlaintext {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateDataKeyPairWithoutPlaintext";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionContext", "KeyId", "KeyPairSpec"];
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
        let made = wanted.make(By { kms, call, operation: Self::NAME }, &target).await?;
        Ok(Response {
            private_key_ciphertext_blob: made.wrapped.blob,
            public_key: Blob(made.public),
            key_id: target.arn(),
            key_pair_spec: wanted.key_pair_spec,
            key_material_id: made.wrapped.material_id,
        })
    }
}
