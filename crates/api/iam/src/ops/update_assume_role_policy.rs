//! `iam:UpdateAssumeRolePolicy`: replaces the trust policy of a role.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::Role, registry::Iam, subject::Subject};

pub struct UpdateAssumeRolePolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_name: String,
    policy_document: String,
}

impl Operation for UpdateAssumeRolePolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "UpdateAssumeRolePolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["RoleName", "PolicyDocument"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Role>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Role>, Fault> {
        Ok(Subject::of(iam, call, &request.role_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, role: &Subject<Role>) -> Vec<Ask> {
        vec![role.ask("iam:UpdateAssumeRolePolicy")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        role: Authorized<Subject<Role>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let role = (*role.now(iam)?).clone();
        let trust = iam.trust(request.policy_document)?;
        change.put(Role { trust, ..role }).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
