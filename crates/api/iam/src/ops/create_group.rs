//! `iam:CreateGroup`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{GroupShape, whole_seconds};
use crate::{entity::Group, fault, names, principal::Permissions, registry::Iam};

pub const GROUPS_PER_ACCOUNT: usize = 300;

pub struct CreateGroup;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    group_name: String,
    path: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    group: GroupShape,
}

impl Operation for CreateGroup {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreateGroup";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["GroupName", "Path"];

    type State = Iam;
    type Request = Request;
    type Target = String;
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, request: &Request) -> Result<String, Fault> {
        let path = request.path.as_deref().unwrap_or("/");
        Ok(names::arn(call.account(), "group", path, &request.group_name))
    }

    fn asks(_: &Iam, call: &Call, _: &Request, arn: &String) -> Vec<Ask> {
        vec![Ask::new("iam:CreateGroup", arn).on(call.account())]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<String>) -> Result<Response, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        if iam.taken::<Group>(call.account(), &request.group_name) {
            return Err(fault::exists("group", &request.group_name));
        }
        if iam.of::<Group>(call.account()).len() >= GROUPS_PER_ACCOUNT {
            return Err(fault::quota("GroupsPerAccount", GROUPS_PER_ACCOUNT));
        }
        let group = Group {
            id: names::unique_id("AGPA"),
            account: call.account().clone(),
            name: request.group_name,
            path: request.path.unwrap_or_else(|| "/".into()),
            created: whole_seconds(call.now),
            permissions: Permissions::default(),
        };
        let response = Response { group: GroupShape::of(&group) };
        change.put(group).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"Group": response.group.recorded()}))
    }
}
