//! `iam:CreateAccessKey`: the only answer that ever tells the secret. The trail keeps it out.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, Secret, ServiceId};

use super::shapes::whole_seconds;
use crate::{entity::AccessKey, fault, names, registry::Iam, subject::Owner};

pub const ACCESS_KEYS_PER_USER: usize = 2;

pub struct CreateAccessKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    access_key: Created,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    access_key_id: String,
    status: &'static str,
    secret_access_key: Arc<Secret>,
    create_date: Timestamp,
}

impl Operation for CreateAccessKey {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreateAccessKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["UserName"];

    type State = Iam;
    type Request = Request;
    type Target = Owner;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Owner, Fault> {
        Owner::of(iam, call, request.user_name.as_deref())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, owner: &Owner) -> Vec<Ask> {
        vec![owner.ask("iam:CreateAccessKey")]
    }

    async fn act(iam: &Iam, call: &Call, _: Request, owner: Authorized<Owner>) -> Result<Response, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let user = owner.user(iam)?;
        let owner = user.as_ref().map(|user| user.id.clone());
        if iam.access_keys_of(call.account(), owner.as_deref()).len() >= ACCESS_KEYS_PER_USER {
            return Err(fault::quota("AccessKeysPerUser", ACCESS_KEYS_PER_USER));
        }
        let key = AccessKey {
            id: names::access_key_id(),
            account: call.account().clone(),
            owner,
            active: true,
            created: whole_seconds(call.now),
            secret: Arc::new(names::secret_access_key()),
        };
        let access_key = Created {
            user_name: user.map(|user| user.name.clone()),
            access_key_id: key.id.clone(),
            status: key.status(),
            secret_access_key: Arc::clone(&key.secret),
            create_date: key.created,
        };
        change.put_access_key(key).await.map_err(Fault::internal)?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Response { access_key })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        let Created { user_name, access_key_id, status, create_date, .. } = &response.access_key;
        Some(json!({"AccessKey": {
            "UserName": user_name, "AccessKeyId": access_key_id, "Status": status,
            "CreateDate": trail::written_date(*create_date),
        }}))
    }
}
