//! `kms:DeriveSharedSecret` (spec/kms.md §5): the secret of a key agreement, as it comes out of the curve. Grantable,
//! across accounts. Trail: management event, read; the peer's public key is not recorded.

use envelope::Disagreement;
use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{KeyUsage, Origin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{
    fault,
    pair::with_private_key,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
    usable::{Use, check_use},
};

const ACTION: &str = "kms:DeriveSharedSecret";

/// Derives a shared secret.
pub struct DeriveSharedSecret;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    key_agreement_algorithm: String,
    /// SubjectPublicKeyInfo in DER, of the same curve.
    public_key: Blob,
    #[serde(default)]
    grant_tokens: Vec<String>,
    recipient: Option<Value>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    shared_secret: Blob,
    key_agreement_algorithm: String,
    key_origin: Origin,
}

impl Operation for DeriveSharedSecret {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DeriveSharedSecret";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyAgreementAlgorithm", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        fault::no_recipient(request.recipient.as_ref())?;
        token::check(kms, call, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::KeysAndAliases, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let ask = ask_use(kms, call, ACTION, target, &Default::default());
        vec![ask.with("kms:KeyAgreementAlgorithm", [request.key_agreement_algorithm.clone()])]
    }

    async fn act(_: &Kms, _: &Call, request: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let Request { key_agreement_algorithm, public_key, dry_run, .. } = request;
        let usage = KeyUsage::KeyAgreement;
        check_use(&target, Use { operation: Self::NAME, usage, algorithm: &key_agreement_algorithm })?;
        let secret = with_private_key(&target, move |key| key.agree(&public_key.0)).await?;
        let secret = secret.map_err(|why| match why {
            Disagreement::PublicKey => {
                fault::validation(format!("The public key is not valid for key spec {}.", target.key().spec))
            }
            Disagreement::Private(bad) => Fault::internal(bad),
        })?;
        if dry_run {
            return Err(fault::dry_run());
        }
        let shared_secret = Blob(secret.take());
        Ok(Response {
            key_id: target.arn(),
            shared_secret,
            key_agreement_algorithm,
            key_origin: target.key().origin,
        })
    }
}
