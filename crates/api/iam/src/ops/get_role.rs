//! `iam:GetRole`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::RoleShape;
use crate::{entity::Role, registry::Iam, subject::Subject};

pub struct GetRole;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    role: RoleShape,
}

impl Operation for GetRole {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetRole";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["RoleName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Role>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Role>, Fault> {
        Ok(Subject::of(iam, call, &request.role_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, role: &Subject<Role>) -> Vec<Ask> {
        vec![role.ask("iam:GetRole")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        _: Request,
        role: Authorized<Subject<Role>>,
    ) -> Result<Response, Fault> {
        Ok(Response { role: RoleShape::of(iam, &*role.now(iam)?) })
    }
}
