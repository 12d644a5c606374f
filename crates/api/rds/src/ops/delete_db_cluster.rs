//! `rds:DeleteDBCluster` (spec/rds.md §8). Trail: management event, write.

use clusters::{ClusterStatus, Event, Goal};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    new_snapshot::NewSnapshot,
    target::{Named, expect_state},
};
use crate::{
    answers, faults,
    names::Kind,
    records::{Cluster, Edit, Instance},
    service::Rds,
};

pub struct DeleteDbCluster;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: String,
    #[serde(default)]
    skip_final_snapshot: bool,
    #[serde(rename = "FinalDBSnapshotIdentifier")]
    final_snapshot: Option<String>,
}

impl Operation for DeleteDbCluster {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DeleteDBCluster";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["DBClusterIdentifier", "DeleteAutomatedBackups", "FinalDBSnapshotIdentifier", "SkipFinalSnapshot"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Cluster>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Cluster>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Named<Cluster>) -> Vec<Ask> {
        let action = "rds:DeleteDBCluster";
        let mut asks = vec![target.ask(call, action)];
        if let Some(name) = &request.final_snapshot {
            asks.push(Ask::new(action, Kind::Snapshot.arn(call, &name.to_ascii_lowercase())));
        }
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Cluster>>,
    ) -> Result<Value, Fault> {
        let cluster = target.get()?;
        let final_snapshot = match (request.skip_final_snapshot, request.final_snapshot.as_deref()) {
            (true, None) => Ok(None),
            (false, Some(name)) => Ok(Some(name)),
            (false, None) => Err(faults::combination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
            )),
            (true, Some(_)) => Err(faults::combination(
                "FinalDBSnapshotIdentifier cannot be specified when SkipFinalSnapshot is specified.",
            )),
        }?;
        may_go(cluster, &rds.records.of_cluster(cluster.id.as_str()).await?)?;
        match final_snapshot {
            None => delete(rds, call, &target, None).await,
            Some(name) => {
                admits_snapshot(cluster)?;
                let snapshot = NewSnapshot::prepare(rds, call, cluster, name, cluster.tags.clone()).await?;
                let deleted = delete(rds, call, &target, Some(&snapshot)).await;
                snapshot.settle(rds, call, deleted).await
            }
        }
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBCluster").cloned()
    }
}

fn may_go(cluster: &Cluster, members: &[Instance]) -> Result<(), Fault> {
    if cluster.goal == Goal::Delete {
        return Err(faults::cluster_state(format!(
            "DbCluster {} is already being deleted.",
            cluster.identifier
        )));
    }
    if cluster.deletion_protection {
        return Err(faults::combination(
            "Cannot delete protected Cluster, please disable deletion protection and try again.",
        ));
    }
    if members.iter().any(|member| !member.delete) {
        return Err(faults::cluster_state(
            "Cluster cannot be deleted, it still contains DB instances in non-deleting state.",
        ));
    }
    Ok(())
}

/// A final snapshot needs the key, and a cluster that will ever be read again.
fn admits_snapshot(cluster: &Cluster) -> Result<(), Fault> {
    match cluster.status {
        ClusterStatus::InaccessibleRecoverable => {
            Err(faults::key_inaccessible(cluster.encryption.key_arn().unwrap_or_default()))
        }
        _ => expect_state(cluster, &[ClusterStatus::Available, ClusterStatus::Stopped]),
    }
}

async fn delete(
    rds: &Rds,
    call: &Call,
    target: &Named<Cluster>,
    final_snapshot: Option<&NewSnapshot>,
) -> Result<Value, Fault> {
    let mut edit: Edit = rds.records.edit(&call.event_id).await?;
    let mut cluster = target.take(&mut edit).await?;
    let members: Vec<Instance> = edit.of_cluster(cluster.id.as_str()).await?;
    may_go(&cluster, &members)?;
    if let Some(snapshot) = final_snapshot {
        admits_snapshot(&cluster)?;
        snapshot.insert(&mut edit, &cluster).await?;
        edit.tell(&snapshot.record, Event::SnapshotCreating, call.now).await?;
    }
    cluster.goal = Goal::Delete;
    cluster.status = ClusterStatus::Deleting;
    edit.put(&cluster).await?;
    edit.commit().await?;
    rds.wake(&cluster.id);
    Ok(json!({"DBCluster": answers::cluster(rds, &cluster, &members)}))
}
