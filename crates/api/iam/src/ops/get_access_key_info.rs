//! `sts:GetAccessKeyInfo`: the account that an access key belongs to, lasting or temporary.

use front::{Ask, Authorized, Call, Directory as _, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{fault, registry::Iam};

pub struct GetAccessKeyInfo;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    access_key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    account: String,
}

impl Operation for GetAccessKeyInfo {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "GetAccessKeyInfo";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["AccessKeyId"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("sts:GetAccessKeyInfo", "*")]
    }

    async fn act(iam: &Iam, _: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let id = request.access_key_id;
        let credential = iam.credential(&id);
        let credential =
            credential.ok_or_else(|| fault::validation(format!("Access key {id} is not valid.")))?;
        Ok(Response { account: credential.caller.account().to_string() })
    }
}
