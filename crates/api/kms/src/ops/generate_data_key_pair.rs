//! `kms:GenerateDataKeyPair` (spec/kms.md §5): a new pair, its private key in the clear and wrapped, nothing of it is
//! kept. Grantable, across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{data_key_pair::Wanted, external::By, fault, registry::Kms, target::Target};

const ACTION: &str = "kms:GenerateDataKeyPair";

/// Makes a data key pair.
pub struct GenerateDataKeyPair;

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
    private_key_ciphertext_blob: Blob,
    /// PKCS#8 in DER.
    private_key_plaintext: Blob,
    /// SubjectPublicKeyInfo in DER.
    public_key: Blob,
    key_id: String,
    key_pair_spec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for GenerateDataKeyPair {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateDataKeyPair";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncryptionContext", "KeyId", "KeyPairSpec"];
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
        let made = request.wanted.make(By { kms, call, operation: Self::NAME }, &target).await?;
        Ok(Response {
            private_key_ciphertext_blob: made.wrapped.blob,
            private_key_plaintext: Blob(made.private.pkcs8().expose().to_vec()),
            public_key: Blob(made.public),
            key_id: target.arn(),
            key_pair_spec: request.wanted.key_pair_spec,
            key_material_id: made.wrapped.material_id,
        })
    }
}
