//! `iam:CreateUser`.

use std::collections::{BTreeMap, BTreeSet};

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{Tag, UserShape, add_tags, whole_seconds};
use crate::{entity::User, fault, names, principal::Permissions, registry::Iam};

pub const USERS_PER_ACCOUNT: usize = 5000;

pub struct CreateUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    path: Option<String>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Request {
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    user: UserShape,
}

impl Operation for CreateUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreateUser";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "Path", "PermissionsBoundary", "Tags"];

    type State = Iam;
    type Request = Request;
    type Target = String;
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, request: &Request) -> Result<String, Fault> {
        Ok(names::arn(call.account(), "user", request.path(), &request.user_name))
    }

    fn asks(_: &Iam, call: &Call, request: &Request, arn: &String) -> Vec<Ask> {
        let ask = |action| {
            let keys = request.tags.iter().map(|tag| tag.key.clone());
            let mut ask = Ask::new(action, arn).on(call.account()).with("aws:TagKeys", keys);
            for Tag { key, value } in &request.tags {
                ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
            }
            ask.with("iam:PermissionsBoundary", request.permissions_boundary.clone())
        };
        let mut asks = vec![ask("iam:CreateUser")];
        if !request.tags.is_empty() {
            asks.push(ask("iam:TagUser"));
        }
        asks
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<String>) -> Result<Response, Fault> {
        let mut tags = BTreeMap::new();
        let path = request.path().to_owned();
        add_tags(&mut tags, request.tags)?;
        let mut change = iam.begin(&call.event_id).await?;
        let boundary = request.permissions_boundary.as_deref();
        let boundary = boundary.map(|arn| iam.boundary_id(call.account(), arn)).transpose()?;
        if iam.taken::<User>(call.account(), &request.user_name) {
            return Err(fault::exists("user", &request.user_name));
        }
        if iam.of::<User>(call.account()).len() >= USERS_PER_ACCOUNT {
            return Err(fault::quota("UsersPerAccount", USERS_PER_ACCOUNT));
        }
        let user = User {
            id: names::unique_id("AIDA"),
            account: call.account().clone(),
            name: request.user_name,
            path,
            created: whole_seconds(call.now),
            tags,
            permissions: Permissions::default(),
            groups: BTreeSet::new(),
            boundary,
        };
        let response = Response { user: UserShape::of(iam, &user) };
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"User": response.user.recorded()}))
    }
}
