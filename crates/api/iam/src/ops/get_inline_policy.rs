//! `iam:GetUserPolicy` and `iam:GetRolePolicy`. The document comes percent-encoded (spec/policy.md §11).

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{fault, principal::Principal, registry::Iam, subject::Subject};

pub struct GetInlinePolicy<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_name: String,
}

impl<T: Principal> Operation for GetInlinePolicy<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::GET_POLICY.name;
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = T::GET_POLICY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Value;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::GET_POLICY.action)]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Value, Fault> {
        let subject = subject.now(iam)?;
        let policy = subject.permissions().inline.get(&request.policy_name);
        let policy = policy.ok_or_else(|| fault::no_inline_policy(T::KIND, &request.policy_name))?;
        Ok(json!({
            T::NAME_MEMBER: subject.name(), "PolicyName": request.policy_name, "PolicyDocument": policy.encoded(),
        }))
    }
}
