//! `iam:PutUserPolicy` and `iam:PutRolePolicy`: adds or replaces an inline policy (spec/policy.md §9).

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, policy::Policy, principal::Principal, registry::Iam, subject::Subject};

pub struct PutInlinePolicy<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_name: String,
    policy_document: String,
}

impl<T: Principal> Operation for PutInlinePolicy<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::PUT_POLICY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::PUT_POLICY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::PUT_POLICY.action)]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let policy = Policy::try_from(request.policy_document).map_err(|bad| fault::malformed(&bad))?;
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam)?).clone();
        subject.permissions_mut().inline.insert(request.policy_name, policy);
        if subject.permissions().inline.values().map(Policy::size).sum::<usize>() > T::INLINE_SIZE {
            let (limit, kind, name) = (T::INLINE_SIZE, T::KIND, subject.name());
            let text = format!("Maximum policy size of {limit} bytes exceeded for {kind} {name}");
            return Err(fault::limit_exceeded(text));
        }
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
