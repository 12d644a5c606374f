//! `iam:GetUser`: a user by name, or the caller.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{UserShape, whole_seconds};
use crate::{
    registry::Iam,
    subject::{Owner, root_arn},
};

pub struct GetUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    user: UserShape,
}

impl Operation for GetUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetUser";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName"];

    type State = Iam;
    type Request = Request;
    type Target = Owner;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Owner, Fault> {
        Owner::of(iam, call, request.user_name.as_deref())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, owner: &Owner) -> Vec<Ask> {
        vec![owner.ask("iam:GetUser")]
    }

    async fn act(iam: &Iam, call: &Call, _: Request, owner: Authorized<Owner>) -> Result<Response, Fault> {
        let user = match owner.user(iam)? {
            Some(user) => UserShape::of(iam, &user),
            None => UserShape {
                path: None,
                user_name: None,
                user_id: call.account().to_string(),
                arn: root_arn(call.account()),
                create_date: whole_seconds(iam.account_created(call.account()).unwrap_or_default()),
                permissions_boundary: None,
                tags: Vec::new(),
            },
        };
        Ok(Response { user })
    }
}
