//! `kms:GetKeyPolicy` (spec/kms.md §16): the policy of a key, as it was given. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    policy::DEFAULT,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:GetKeyPolicy";

/// Tells the policy of a key.
pub struct GetKeyPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    policy_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy: String,
    policy_name: &'static str,
}

impl Operation for GetKeyPolicy {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GetKeyPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "PolicyName"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let name = request.policy_name.as_deref().unwrap_or(DEFAULT);
        vec![ask(kms, call, ACTION, target).with("kms:PolicyName", [name])]
    }

    async fn act(
        kms: &Kms,
        _: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        if request.policy_name.is_some_and(|name| name != DEFAULT) {
            return Err(Fault::client("NotFoundException", "No such policy exists"));
        }
        let key = target.key();
        let bound = key.principals.iter().map(|(arn, id)| (arn.as_str(), id.as_str()));
        let gone = bound.filter(|(arn, id)| kms.principal_id(arn).as_deref() != Some(*id)).collect();
        let policy = iam::with_deleted_principals(&key.policy, &gone);
        Ok(Response { policy, policy_name: DEFAULT })
    }
}
