//! `iam:AttachUserPolicy`: a managed policy speaks for a user from now on.

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

const POLICIES_PER_USER: usize = 10;

pub struct AttachUserPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    policy_arn: String,
}

impl Operation for AttachUserPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "AttachUserPolicy";
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
        vec![user.ask("iam:AttachUserPolicy").with("iam:PolicyARN", [policy.arn()])]
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
        let found = policy.now(iam).ok_or_else(|| fault::not_attachable(policy.arn()))?;
        user.attached.insert(found.id.clone());
        if user.attached.len() > POLICIES_PER_USER {
            return Err(fault::quota("PoliciesPerUser", POLICIES_PER_USER));
        }
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
