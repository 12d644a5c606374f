//! `kms:Sign` (spec/kms.md §5, §6): the signature of a message of up to 4096 bytes, of a digest, or of the µ of
//! ML-DSA. Grantable, across accounts. Trail: management event, read; neither message nor signature is recorded.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Serialize;
use wire::{Blob, Fault, ServiceId};

use crate::{fault, pair::with_private_key, registry::Kms, signing::Wanted, target::Target};

const ACTION: &str = "kms:Sign";

/// Signs.
pub struct Sign;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    signature: Blob,
    signing_algorithm: String,
}

impl Operation for Sign {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "Sign";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "MessageType", "SigningAlgorithm"];
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

    async fn act(_: &Kms, _: &Call, wanted: Wanted, target: Authorized<Target>) -> Result<Response, Fault> {
        let algorithm = wanted.algorithm(&target, Self::NAME)?;
        if wanted.dry_run {
            return Err(fault::dry_run());
        }
        let (message, kind) = (wanted.message.clone(), wanted.message_type);
        let made = with_private_key(&target, move |key| key.sign(algorithm, kind.of(&message.0))).await?;
        let signature = Blob(made.map_err(|why| wanted.refused(why))?);
        Ok(Response { key_id: target.arn(), signature, signing_algorithm: wanted.signing_algorithm })
    }
}
