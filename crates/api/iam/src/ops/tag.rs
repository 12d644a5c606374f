//! `iam:TagUser`, `iam:TagRole` and `iam:TagPolicy`: adds tags, or gives them new values.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::{Empty, Tag as Pair, add_tags};
use crate::{principal::Tagged, registry::Iam, subject::Subject};

pub struct Tag<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "RoleName", alias = "PolicyArn")]
    name: String,
    tags: Vec<Pair>,
}

impl<T: Tagged> Operation for Tag<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::TAG.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::TAG.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        T::subject(iam, call, &request.name)
    }

    fn asks(_: &Iam, _: &Call, request: &Request, subject: &Subject<T>) -> Vec<Ask> {
        let keys = request.tags.iter().map(|tag| tag.key.clone());
        let mut ask = subject.ask(T::TAG.action).with("aws:TagKeys", keys);
        for Pair { key, value } in &request.tags {
            ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
        }
        vec![ask]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam).map_err(|_| T::missing(&request.name))?).clone();
        add_tags(subject.tags_mut(), request.tags)?;
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
