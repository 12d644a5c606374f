//! `iam:UpdateAccessKey`: switches a key on or off; the next request with it already sees that.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::AccessKey, fault, registry::Iam, subject::Owner};

pub struct UpdateAccessKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: Option<String>,
    access_key_id: String,
    status: String,
}

impl Operation for UpdateAccessKey {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "UpdateAccessKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "AccessKeyId", "Status"];

    type State = Iam;
    type Request = Request;
    type Target = Owner;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Owner, Fault> {
        Owner::of(iam, call, request.user_name.as_deref())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, owner: &Owner) -> Vec<Ask> {
        vec![owner.ask("iam:UpdateAccessKey")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, owner: Authorized<Owner>) -> Result<Empty, Fault> {
        let active = match request.status.as_str() {
            "Active" => true,
            "Inactive" => false,
            // The model knows `Expired` as well, which nobody can set.
            status => {
                return Err(fault::validation(format!(
                    "1 validation error detected: Value '{status}' at 'status' failed to satisfy constraint: Member must \
                     satisfy enum value set: [Active, Inactive]"
                )));
            }
        };
        let mut change = iam.begin(&call.event_id).await?;
        let user = owner.user(iam)?;
        let key = iam.access_key_of(
            call.account(),
            user.as_ref().map(|user| user.id.as_str()),
            &request.access_key_id,
        )?;
        change.put_access_key(AccessKey { active, ..(*key).clone() }).await.map_err(Fault::internal)?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
