//! `iam:GetAccessKeyLastUsed`: told from the audit trail, which has every signed call.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    entity::User,
    fault,
    subject::{Subject, root_arn},
    witness::Witness,
};

pub struct GetAccessKeyLastUsed;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    access_key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    access_key_last_used: LastUsed,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsed {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_date: Option<Timestamp>,
    service_name: String,
    region: String,
}

impl Operation for GetAccessKeyLastUsed {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetAccessKeyLastUsed";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["AccessKeyId"];

    type State = Witness;
    type Request = Request;
    /// The user who has the key; `None` for the root user, or if nobody has it.
    type Target = Option<String>;
    type Response = Response;

    async fn resolve(witness: &Witness, call: &Call, request: &Request) -> Result<Option<String>, Fault> {
        let iam = &witness.iam;
        let key = iam.access_key(&request.access_key_id).filter(|key| key.account == *call.account());
        let user = key.and_then(|key| iam.by_id::<User>(key.owner.as_deref()?));
        Ok(user.map(|user| user.name.clone()))
    }

    fn asks(witness: &Witness, call: &Call, _: &Request, user: &Option<String>) -> Vec<Ask> {
        const ACTION: &str = "iam:GetAccessKeyLastUsed";
        vec![match user {
            Some(name) => Subject::<User>::of(&witness.iam, call, name).ask(ACTION),
            None => Ask::new(ACTION, root_arn(call.account())).on(call.account()),
        }]
    }

    async fn act(
        witness: &Witness,
        call: &Call,
        request: Request,
        user: Authorized<Option<String>>,
    ) -> Result<Response, Fault> {
        let id = request.access_key_id;
        let key = witness.iam.access_key(&id).filter(|key| key.account == *call.account());
        let key = key.ok_or_else(|| fault::no_access_key(&id))?;
        let last = witness.last_use(&key.account, &key.id).await?;
        let not_used = || "N/A".to_owned();
        let access_key_last_used = match last {
            Some(record) => LastUsed {
                last_used_date: Some(record.event_time),
                service_name: record.event_source.split('.').next().map_or_else(not_used, str::to_owned),
                region: record.aws_region.to_string(),
            },
            None => LastUsed { last_used_date: None, service_name: not_used(), region: not_used() },
        };
        Ok(Response { user_name: user.into_inner(), access_key_last_used })
    }
}
