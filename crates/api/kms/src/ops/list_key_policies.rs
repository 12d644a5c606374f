//! `kms:ListKeyPolicies` (spec/kms.md §4): every key has one policy, `default`. Trail: management event,
//! read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    page::{Limits, Wanted},
    policy::DEFAULT,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:ListKeyPolicies";

/// Lists the policies of a key.
pub struct ListKeyPolicies;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    #[serde(flatten)]
    page: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

impl Operation for ListKeyPolicies {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListKeyPolicies";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "Limit", "Marker"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, request: Request, _: Authorized<Target>) -> Result<Response, Fault> {
        let page = request.page.page(Limits::LONG, [DEFAULT.to_owned()], Clone::clone)?;
        Ok(Response {
            policy_names: page.items,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
