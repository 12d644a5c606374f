//! `iam:TagUser`: adds tags, or gives them new values.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::{Empty, Tag, add_tags};
use crate::{entity::User, registry::Iam, subject::Subject};

pub struct TagUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "TagUser";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName", "Tags"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, request: &Request, user: &Subject<User>) -> Vec<Ask> {
        let keys = request.tags.iter().map(|tag| tag.key.clone());
        let mut ask = user.ask("iam:TagUser").with("aws:TagKeys", keys);
        for Tag { key, value } in &request.tags {
            ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
        }
        vec![ask]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut user = (*user.now(iam)?).clone();
        add_tags(&mut user.tags, request.tags)?;
        change.put(user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
