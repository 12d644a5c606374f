//! `iam:DetachUserPolicy` and `iam:DetachRolePolicy`.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{
    fault,
    principal::Principal,
    registry::Iam,
    subject::{Managed, Subject},
};

pub struct DetachPolicy<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_arn: String,
}

impl<T: Principal> Operation for DetachPolicy<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::DETACH_POLICY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::DETACH_POLICY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = (Subject<T>, Managed);
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<(Subject<T>, Managed), Fault> {
        Ok((Subject::of(iam, call, &request.name), Managed::of(iam, call, &request.policy_arn)?))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (subject, policy): &(Subject<T>, Managed)) -> Vec<Ask> {
        vec![subject.ask(T::DETACH_POLICY.action).with("iam:PolicyARN", [policy.arn()])]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        _: Request,
        target: Authorized<(Subject<T>, Managed)>,
    ) -> Result<Empty, Fault> {
        let (subject, policy) = &*target;
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam)?).clone();
        let found = policy.now(iam);
        if !found.is_some_and(|found| subject.permissions_mut().attached.remove(&found.id)) {
            return Err(fault::no_managed_policy(policy.arn()));
        }
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
