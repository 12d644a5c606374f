//! `iam:PutUserPolicy`: adds or replaces an inline policy (spec/policy.md §9).

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::User, fault, policy::Policy, registry::Iam, subject::Subject};

/// Characters of all inline policies of a user together, white space not counted.
const LARGEST: usize = 2048;

pub struct PutUserPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for PutUserPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "PutUserPolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "PolicyName", "PolicyDocument"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:PutUserPolicy")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Empty, Fault> {
        let policy = Policy::try_from(request.policy_document).map_err(|bad| fault::malformed(&bad))?;
        let mut change = iam.begin(&call.event_id).await?;
        let mut user = (*user.now(iam)?).clone();
        user.policies.insert(request.policy_name, policy);
        if user.policies.values().map(Policy::size).sum::<usize>() > LARGEST {
            let text = format!("Maximum policy size of {LARGEST} bytes exceeded for user {}", user.name);
            return Err(fault::limit_exceeded(text));
        }
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
