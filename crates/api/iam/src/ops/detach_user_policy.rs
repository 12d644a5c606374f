//! `iam:DetachUserPolicy`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{
    entity::User,
    fault,
    registry::Iam,
    subject::{Managed, Subject},
};

pub struct DetachUserPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    policy_arn: String,
}

impl Operation for DetachUserPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DetachUserPolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "PolicyArn"];

    type State = Iam;
    type Request = Request;
    type Target = (Subject<User>, Managed);
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<(Subject<User>, Managed), Fault> {
        Ok((Subject::of(iam, call, &request.user_name), Managed::of(iam, call, &request.policy_arn)?))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (user, policy): &(Subject<User>, Managed)) -> Vec<Ask> {
        vec![user.ask("iam:DetachUserPolicy").with("iam:PolicyARN", [policy.arn()])]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        _: Request,
        target: Authorized<(Subject<User>, Managed)>,
    ) -> Result<Empty, Fault> {
        let (user, policy) = &*target;
        let mut change = iam.begin(&call.event_id).await?;
        let mut user = (*user.now(iam)?).clone();
        let found = policy.now(iam);
        if !found.is_some_and(|found| user.attached.remove(&found.id)) {
            return Err(fault::no_managed_policy(policy.arn()));
        }
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
