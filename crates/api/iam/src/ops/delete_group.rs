//! `iam:DeleteGroup`: only when it has neither members nor policies any more.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::Group, fault, registry::Iam, subject::Subject};

pub struct DeleteGroup;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    group_name: String,
}

impl Operation for DeleteGroup {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteGroup";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["GroupName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Group>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Group>, Fault> {
        Ok(Subject::of(iam, call, &request.group_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, group: &Subject<Group>) -> Vec<Ask> {
        vec![group.ask("iam:DeleteGroup")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        _: Request,
        group: Authorized<Subject<Group>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let group = group.now(iam)?;
        if !iam.members(&group).is_empty() {
            return Err(fault::in_use("remove users from group"));
        }
        if !group.permissions.inline.is_empty() {
            return Err(fault::in_use("delete policies"));
        }
        if !group.permissions.attached.is_empty() {
            return Err(fault::in_use("detach all policies"));
        }
        change.delete(&*group).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
