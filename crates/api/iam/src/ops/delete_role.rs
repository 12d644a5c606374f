//! `iam:DeleteRole`: only when no policy hangs on the role any more. Its sessions end with it.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::Role, fault, registry::Iam, subject::Subject};

pub struct DeleteRole;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_name: String,
}

impl Operation for DeleteRole {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteRole";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["RoleName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Role>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Role>, Fault> {
        Ok(Subject::of(iam, call, &request.role_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, role: &Subject<Role>) -> Vec<Ask> {
        vec![role.ask("iam:DeleteRole")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        _: Request,
        role: Authorized<Subject<Role>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let role = role.now(iam)?;
        if !role.permissions.inline.is_empty() {
            return Err(fault::in_use("delete policies"));
        }
        if !role.permissions.attached.is_empty() {
            return Err(fault::in_use("detach all policies"));
        }
        change.delete(&*role).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
