//! `iam:UntagUser`, `iam:UntagRole` and `iam:UntagPolicy`: keys that are not there are no mistake.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{principal::Tagged, registry::Iam, subject::Subject};

pub struct Untag<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "RoleName", alias = "PolicyArn")]
    name: String,
    tag_keys: Vec<String>,
}

impl<T: Tagged> Operation for Untag<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::UNTAG.name;
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = T::UNTAG.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        T::subject(iam, call, &request.name)
    }

    fn asks(_: &Iam, _: &Call, request: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::UNTAG.action).with("aws:TagKeys", request.tag_keys.clone())]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut subject = (*subject.now(iam).map_err(|_| T::missing(&request.name))?).clone();
        let named: Vec<String> = request.tag_keys.iter().map(|key| key.to_lowercase()).collect();
        subject.tags_mut().retain(|key, _| !named.contains(&key.to_lowercase()));
        change.put(subject).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
