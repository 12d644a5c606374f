//! `iam:DeleteAccessKey`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{registry::Iam, subject::Owner};

pub struct DeleteAccessKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: Option<String>,
    access_key_id: String,
}

impl Operation for DeleteAccessKey {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteAccessKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "AccessKeyId"];

    type State = Iam;
    type Request = Request;
    type Target = Owner;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Owner, Fault> {
        Owner::of(iam, call, request.user_name.as_deref())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, owner: &Owner) -> Vec<Ask> {
        vec![owner.ask("iam:DeleteAccessKey")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, owner: Authorized<Owner>) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let user = owner.user(iam)?;
        let key = iam.access_key_of(
            call.account(),
            user.as_ref().map(|user| user.id.as_str()),
            &request.access_key_id,
        )?;
        change.delete_access_key(&key.id).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
