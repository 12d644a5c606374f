//! `iam:GetUserPolicy`. The document comes percent-encoded (spec/policy.md §11).

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    entity::{Entity as _, User},
    fault,
    registry::Iam,
    subject::Subject,
};

pub struct GetUserPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    policy_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    user_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for GetUserPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetUserPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName", "PolicyName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:GetUserPolicy")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Response, Fault> {
        let user = user.now(iam)?;
        let policy = user.policies.get(&request.policy_name);
        let policy = policy.ok_or_else(|| fault::no_inline_policy(User::KIND, &request.policy_name))?;
        Ok(Response {
            user_name: user.name.clone(),
            policy_name: request.policy_name,
            policy_document: policy.encoded(),
        })
    }
}
