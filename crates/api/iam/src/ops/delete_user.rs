//! `iam:DeleteUser`: only when nothing hangs on the user any more.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{entity::User, fault, registry::Iam, subject::Subject};

pub struct DeleteUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
}

impl Operation for DeleteUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteUser";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:DeleteUser")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        _: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let user = user.now(iam)?;
        if !iam.access_keys_of(&user.account, Some(&user.id)).is_empty() {
            return Err(fault::in_use("delete access keys"));
        }
        if !user.permissions.inline.is_empty() {
            return Err(fault::in_use("delete policies"));
        }
        if !user.permissions.attached.is_empty() {
            return Err(fault::in_use("detach all policies"));
        }
        if !user.groups.is_empty() {
            return Err(fault::in_use("remove users from group"));
        }
        change.delete(&*user).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
