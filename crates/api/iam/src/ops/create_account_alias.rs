//! `iam:CreateAccountAlias`: a name for the account, instead of the one it had.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, registry::Iam};

pub struct CreateAccountAlias;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    account_alias: String,
}

impl Operation for CreateAccountAlias {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreateAccountAlias";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["AccountAlias"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Empty;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:CreateAccountAlias", "*")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        if iam.alias_taken(&request.account_alias) {
            return Err(fault::alias_exists(&request.account_alias));
        }
        change.put_account_alias(call.account(), Some(request.account_alias)).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
