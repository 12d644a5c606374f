//! `kms:Encapsulate` (spec/kms.md §4): a new secret, and the ciphertext that gives it to whoever may Decapsulate.
//! Grantable, across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::KeyUsage;
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    fault,
    pair::with_private_key,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
    usable::{Use, check_use},
};

const ACTION: &str = "kms:Encapsulate";

/// Encapsulates a secret.
pub struct Encapsulate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    encapsulation_algorithm: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    shared_secret: Blob,
    shared_secret_ciphertext_blob: Blob,
    encapsulation_algorithm: String,
}

impl Operation for Encapsulate {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "Encapsulate";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["EncapsulationAlgorithm", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        token::check(kms, call, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::KeysAndAliases, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask_use(kms, call, ACTION, target, &Default::default())]
    }

    async fn act(_: &Kms, _: &Call, request: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let Request { encapsulation_algorithm, dry_run, .. } = request;
        let usage = KeyUsage::EncapsulateDecapsulate;
        check_use(&target, Use { operation: Self::NAME, usage, algorithm: &encapsulation_algorithm })?;
        if dry_run {
            return Err(fault::dry_run());
        }
        let made = with_private_key(&target, |key| key.encapsulate()).await?.map_err(Fault::internal)?;
        Ok(Response {
            key_id: target.arn(),
            shared_secret: Blob(made.secret.take()),
            shared_secret_ciphertext_blob: Blob(made.ciphertext),
            encapsulation_algorithm,
        })
    }
}
