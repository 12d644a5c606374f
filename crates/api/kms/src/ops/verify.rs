//! `kms:Verify` (spec/kms.md §5, §6): whether a signature is that of a message; one that is not is an error.
//! Grantable, across accounts. Trail: management event, read; neither message nor signature is recorded.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{fault, pair::with_private_key, registry::Kms, signing::Wanted, target::Target};

const ACTION: &str = "kms:Verify";

/// Verifies a signature.
pub struct Verify;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(flatten)]
    wanted: Wanted,
    signature: Blob,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    /// Never false.
    signature_valid: bool,
    signing_algorithm: String,
}

impl Operation for Verify {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "Verify";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "MessageType", "SigningAlgorithm"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        request.wanted.resolve(kms, call, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![request.wanted.ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, request: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let Request { wanted, signature } = request;
        let algorithm = wanted.algorithm(&target, Self::NAME)?;
        let (message, kind) = (wanted.message.clone(), wanted.message_type);
        let verify =
            move |key: &envelope::PrivateKey| key.verify(algorithm, kind.of(&message.0), &signature.0);
        with_private_key(&target, verify).await?.map_err(|why| wanted.refused(why))?;
        if wanted.dry_run {
            return Err(fault::dry_run());
        }
        let signing_algorithm = wanted.signing_algorithm;
        Ok(Response { key_id: target.arn(), signature_valid: true, signing_algorithm })
    }
}
