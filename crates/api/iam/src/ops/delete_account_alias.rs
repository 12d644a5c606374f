//! `iam:DeleteAccountAlias`: the account has no name any more.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, registry::Iam};

pub struct DeleteAccountAlias;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    account_alias: String,
}

impl Operation for DeleteAccountAlias {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeleteAccountAlias";
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
        vec![Ask::new("iam:DeleteAccountAlias", "*")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        if iam.account_alias(call.account()).as_ref() != Some(&request.account_alias) {
            let alias = request.account_alias;
            return Err(fault::missing(format!("The account alias {alias} cannot be found.")));
        }
        change.put_account_alias(call.account(), None).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
