//! `iam:UntagUser`: keys that are not there are no mistake.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::User, registry::Iam, subject::Subject};

pub struct UntagUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "UntagUser";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "TagKeys"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, request: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:UntagUser").with("aws:TagKeys", request.tag_keys.clone())]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut user = (*user.now(iam)?).clone();
        let named: Vec<String> = request.tag_keys.iter().map(|key| key.to_lowercase()).collect();
        user.tags.retain(|key, _| !named.contains(&key.to_lowercase()));
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
