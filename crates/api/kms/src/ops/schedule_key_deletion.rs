//! `kms:ScheduleKeyDeletion` (spec/kms.md §9): the key is of no use from now on, and gone at the end of its
//! waiting period; that of a primary key begins when the last of its replicas is gone. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::{DELETION_WINDOW, KeyState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:ScheduleKeyDeletion";

/// Begins the waiting period of a deletion.
pub struct ScheduleKeyDeletion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    /// Days; 7 to 30.
    pending_window_in_days: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<Timestamp>,
    key_state: KeyState,
    pending_window_in_days: u32,
}

impl Operation for ScheduleKeyDeletion {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ScheduleKeyDeletion";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "PendingWindowInDays"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let (_, _, default) = DELETION_WINDOW;
        let days = request.pending_window_in_days.unwrap_or(default);
        let key = "kms:ScheduleKeyDeletionPendingWindowInDays";
        vec![ask(kms, call, ACTION, target).with(key, [days.to_string()])]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        kms.change_key(call, target.name(), |key| {
            let has_replicas = !key.is_replica() && !kms.others(&key.name).is_empty();
            let days = key.schedule_deletion(request.pending_window_in_days, has_replicas, call.now)?;
            Ok(Response {
                key_id: key.name.to_string(),
                deletion_date: key.deletion,
                key_state: key.state,
                pending_window_in_days: days,
            })
        })
        .await
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        let Response { key_id, deletion_date, key_state, .. } = response;
        let mut recorded = json!({"KeyId": key_id, "KeyState": key_state});
        if let Some(date) = deletion_date {
            recorded["DeletionDate"] = json!(date);
        }
        Some(recorded)
    }
}
