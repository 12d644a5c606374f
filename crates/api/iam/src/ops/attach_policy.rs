//! `iam:AttachUserPolicy` and `iam:AttachRolePolicy`: a managed policy speaks for a user or a role from now on.

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

/// Managed policies of one user or role.
pub const MOST_ATTACHED: usize = 10;

pub struct AttachPolicy<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_arn: String,
}

impl<T: Principal> Operation for AttachPolicy<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::ATTACH_POLICY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::ATTACH_POLICY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = (Subject<T>, Managed);
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<(Subject<T>, Managed), Fault> {
        Ok((Subject::of(iam, call, &request.name), Managed::of(iam, call, &request.policy_arn)?))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (subject, policy): &(Subject<T>, Managed)) -> Vec<Ask> {
        vec![subject.ask(T::ATTACH_POLICY.action).with("iam:PolicyARN", [policy.arn()])]
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
        let found = policy.now(iam).ok_or_else(|| fault::not_attachable(policy.arn()))?;
        subject.permissions_mut().attached.insert(found.id.clone());
        if subject.permissions().attached.len() > MOST_ATTACHED {
            return Err(fault::quota(T::ATTACHED_QUOTA, MOST_ATTACHED));
        }
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
