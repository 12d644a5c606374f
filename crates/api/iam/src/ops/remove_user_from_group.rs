//! `iam:RemoveUserFromGroup`: whoever is no member is none afterwards either.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{
    entity::{Group, User},
    registry::Iam,
    subject::Subject,
};

pub struct RemoveUserFromGroup;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    group_name: String,
    user_name: String,
}

impl Operation for RemoveUserFromGroup {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "RemoveUserFromGroup";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["GroupName", "UserName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Group>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Group>, Fault> {
        Ok(Subject::of(iam, call, &request.group_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, group: &Subject<Group>) -> Vec<Ask> {
        vec![group.ask("iam:RemoveUserFromGroup")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        group: Authorized<Subject<Group>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let group = group.now(iam)?;
        let mut user = (*Subject::<User>::of(iam, call, &request.user_name).now(iam)?).clone();
        user.groups.remove(&group.id);
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
