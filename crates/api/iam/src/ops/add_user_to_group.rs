//! `iam:AddUserToGroup`: a user has the permissions of the group from now on. Who is a member already stays one.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{
    entity::{Group, User},
    fault,
    registry::Iam,
    subject::Subject,
};

/// Groups whose member one user may be.
pub const GROUPS_PER_USER: usize = 10;

pub struct AddUserToGroup;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    group_name: String,
    user_name: String,
}

impl Operation for AddUserToGroup {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "AddUserToGroup";
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
        vec![group.ask("iam:AddUserToGroup")]
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
        user.groups.insert(group.id.clone());
        if user.groups.len() > GROUPS_PER_USER {
            return Err(fault::quota("GroupsPerUser", GROUPS_PER_USER));
        }
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
