//! `kms:GetPublicKey` (spec/kms.md §5): the public half of a pair, for use outside. Grantable, across accounts.
//! Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{KeySpec, KeyUsage};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    fault,
    metadata::Algorithms,
    pair::with_private_key,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
    usable::check_state,
};

const ACTION: &str = "kms:GetPublicKey";

/// Tells the public key.
pub struct GetPublicKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    /// SubjectPublicKeyInfo in DER.
    public_key: Blob,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_master_key_spec: Option<KeySpec>,
    key_spec: KeySpec,
    key_usage: KeyUsage,
    #[serde(flatten)]
    algorithms: Algorithms,
}

impl Operation for GetPublicKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GetPublicKey";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId"];
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

    async fn act(_: &Kms, _: &Call, _: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        check_state(&target)?;
        let key = target.key();
        let KeySpec::Pair(_) = key.spec else {
            let text =
                format!("{} key spec is {} which is not valid for this operation.", key.name, key.spec);
            return Err(fault::unsupported(text));
        };
        let public_key = with_private_key(&target, |key| key.public_key()).await?.map_err(Fault::internal)?;
        Ok(Response {
            key_id: target.arn(),
            public_key: Blob(public_key),
            customer_master_key_spec: key.spec.if_old(),
            key_spec: key.spec,
            key_usage: key.usage,
            algorithms: Algorithms::from(key),
        })
    }
}
