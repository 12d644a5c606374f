//! `iam:PutUserPermissionsBoundary` and `iam:PutRolePermissionsBoundary`: a managed policy limits what all others allow
//! (spec/policy.md §2).

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{principal::Bounded, registry::Iam, subject::Subject};

pub struct PutBoundary<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "RoleName")]
    name: String,
    permissions_boundary: String,
}

impl<T: Bounded> Operation for PutBoundary<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::PUT_BOUNDARY.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::PUT_BOUNDARY.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, request: &Request, subject: &Subject<T>) -> Vec<Ask> {
        let boundary = [request.permissions_boundary.clone()];
        vec![subject.ask(T::PUT_BOUNDARY.action).with("iam:PermissionsBoundary", boundary)]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam)?).clone();
        let boundary = iam.boundary_id(call.account(), &request.permissions_boundary)?;
        subject.set_boundary(Some(boundary));
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
