//! `iam:DeleteUserPolicy` and `iam:DeleteRolePolicy`.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, principal::Principal, registry::Iam, subject::Subject};

pub struct DeleteInlinePolicy<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_name: String,
}

impl<T: Principal> Operation for DeleteInlinePolicy<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::DELETE_POLICY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::DELETE_POLICY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::DELETE_POLICY.action)]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam)?).clone();
        if subject.permissions_mut().inline.remove(&request.policy_name).is_none() {
            return Err(fault::no_inline_policy(T::KIND, &request.policy_name));
        }
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
