//! `iam:DeleteUserPermissionsBoundary` and `iam:DeleteRolePermissionsBoundary`.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::entity::Entity as _;
use crate::{entity::ManagedPolicy, fault, principal::Bounded, registry::Iam, subject::Subject};

pub struct DeleteBoundary<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "RoleName")]
    name: String,
}

impl<T: Bounded> Operation for DeleteBoundary<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::DELETE_BOUNDARY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::DELETE_BOUNDARY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(iam: &Iam, call: &Call, request: &Request, subject: &Subject<T>) -> Vec<Ask> {
        let now = iam.named::<T>(call.account(), &request.name);
        let boundary = now.and_then(|now| iam.by_id::<ManagedPolicy>(now.boundary()?));
        let arn = boundary.map(|policy| policy.arn());
        vec![subject.ask(T::DELETE_BOUNDARY.action).with("iam:PermissionsBoundary", arn)]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam)?).clone();
        if subject.boundary().is_none() {
            return Err(fault::missing(format!(
                "No permissions boundary is set for {} {}.",
                T::KIND,
                request.name
            )));
        }
        subject.set_boundary(None);
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
