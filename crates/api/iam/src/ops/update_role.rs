//! `iam:UpdateRole`: the description and the longest session; what is left out goes back to what it is where nobody says.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::create_role::USUAL_SESSION;
use super::shapes::Empty;
use crate::{entity::Role, registry::Iam, subject::Subject};

pub struct UpdateRole;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_name: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
}

impl Operation for UpdateRole {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "UpdateRole";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["RoleName", "Description", "MaxSessionDuration"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Role>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Role>, Fault> {
        Ok(Subject::of(iam, call, &request.role_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, role: &Subject<Role>) -> Vec<Ask> {
        vec![role.ask("iam:UpdateRole")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        role: Authorized<Subject<Role>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut role = (*role.now(iam)?).clone();
        role.description = request.description;
        role.max_session = request.max_session_duration.unwrap_or(USUAL_SESSION);
        change.put(role).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
