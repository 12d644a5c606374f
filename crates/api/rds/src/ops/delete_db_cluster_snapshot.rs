//! `rds:DeleteDBClusterSnapshot`. Trail: management event, write.

use clusters::SnapshotStatus;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::Named;
use crate::{answers, faults, records::Snapshot, service::Rds};

pub struct DeleteDbClusterSnapshot;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(rename = "DBClusterSnapshotIdentifier")]
    identifier: String,
}

impl Operation for DeleteDbClusterSnapshot {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DeleteDBClusterSnapshot";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["DBClusterSnapshotIdentifier"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Snapshot>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Snapshot>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Named<Snapshot>) -> Vec<Ask> {
        vec![target.ask(call, "rds:DeleteDBClusterSnapshot")]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        _: Request,
        target: Authorized<Named<Snapshot>>,
    ) -> Result<Value, Fault> {
        target.get()?;
        let mut edit = rds.records.edit(&call.event_id).await?;
        let mut snapshot = target.take(&mut edit).await?;
        let may_go = [SnapshotStatus::Available, SnapshotStatus::Copying, SnapshotStatus::Failed];
        if !may_go.contains(&snapshot.status) {
            let (name, status) = (&snapshot.identifier, snapshot.status);
            return Err(faults::snapshot_state(format!(
                "Cannot delete the snapshot {name} because it is in {status} state, not in available or failed."
            )));
        }
        snapshot.delete = true;
        snapshot.status = SnapshotStatus::Deleting;
        edit.put(&snapshot).await?;
        edit.commit().await?;
        rds.wake(&snapshot.cluster);
        Ok(json!({"DBClusterSnapshot": answers::snapshot(&snapshot)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBClusterSnapshot").cloned()
    }
}
