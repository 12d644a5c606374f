//! `rds:DeleteDBInstance`. Trail: management event, write.

use clusters::{ClusterStatus, InstanceStatus};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::Named;
use crate::{
    answers, faults,
    records::{Cluster, Instance},
    service::Rds,
};

pub struct DeleteDbInstance;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(rename = "DBInstanceIdentifier")]
    identifier: String,
    #[serde(rename = "FinalDBSnapshotIdentifier")]
    final_snapshot: Option<String>,
}

impl Operation for DeleteDbInstance {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DeleteDBInstance";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["DBInstanceIdentifier", "DeleteAutomatedBackups", "FinalDBSnapshotIdentifier", "SkipFinalSnapshot"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Instance>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Instance>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Named<Instance>) -> Vec<Ask> {
        vec![target.ask(call, "rds:DeleteDBInstance")]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Instance>>,
    ) -> Result<Value, Fault> {
        target.get()?;
        if request.final_snapshot.is_some() {
            return Err(faults::combination(
                "FinalDBSnapshotIdentifier cannot be specified when deleting a DB instance that is a member of a DB \
                 cluster.",
            ));
        }
        let mut edit = rds.records.edit(&call.event_id).await?;
        let mut instance = target.take(&mut edit).await?;
        if instance.delete {
            let text = format!("Instance {} is already being deleted.", instance.identifier);
            return Err(faults::instance_state(text));
        }
        let cluster = edit.take::<Cluster>(instance.cluster.as_str()).await?;
        let cluster = cluster.ok_or_else(|| Fault::internal("an instance is left without its cluster"))?;
        if matches!(
            cluster.status,
            ClusterStatus::Stopped | ClusterStatus::Stopping | ClusterStatus::Starting
        ) {
            let (name, status) = (&cluster.identifier, cluster.status);
            let text =
                format!("Cannot delete a DB instance of DB cluster {name}, which is in {status} state.");
            return Err(faults::cluster_state(text));
        }
        instance.delete = true;
        instance.status = InstanceStatus::Deleting;
        edit.put(&instance).await?;
        edit.commit().await?;
        rds.wake(&instance.cluster);
        Ok(json!({"DBInstance": answers::instance(rds, &instance, &cluster)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBInstance").cloned()
    }
}
