//! `iam:DeleteUserPolicy`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{
    entity::{Entity as _, User},
    fault,
    registry::Iam,
    subject::Subject,
};

pub struct DeleteUserPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    policy_name: String,
}

impl Operation for DeleteUserPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteUserPolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "PolicyName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:DeleteUserPolicy")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut user = (*user.now(iam)?).clone();
        if user.policies.remove(&request.policy_name).is_none() {
            return Err(fault::no_inline_policy(User::KIND, &request.policy_name));
        }
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
