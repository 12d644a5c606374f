//! `rds:CreateDBClusterSnapshot`. Trail: management event, write.

use clusters::{ClusterStatus, Event};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    new_snapshot::NewSnapshot,
    target::{Named, expect_state},
};
use crate::{
    answers,
    names::Kind,
    records::Cluster,
    request::{self, Tag, ask_tags},
    service::Rds,
};

pub struct CreateDbClusterSnapshot;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterSnapshotIdentifier")]
    identifier: String,
    #[serde(rename = "DBClusterIdentifier")]
    cluster: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for CreateDbClusterSnapshot {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "CreateDBClusterSnapshot";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["DBClusterIdentifier", "DBClusterSnapshotIdentifier", "Tags"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Cluster>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Cluster>, Fault> {
        Named::find(rds, call, &request.cluster).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Named<Cluster>) -> Vec<Ask> {
        let action = "rds:CreateDBClusterSnapshot";
        let name = request.identifier.to_ascii_lowercase();
        let mut asks = ask_tags(Ask::new(action, Kind::Snapshot.arn(call, &name)), &request.tags);
        asks.push(target.ask(call, action));
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Cluster>>,
    ) -> Result<Value, Fault> {
        let admitted = [ClusterStatus::Available, ClusterStatus::Stopped];
        let cluster = target.get()?;
        expect_state(cluster, &admitted)?;
        let mut tags = request::tags(&request.tags)?;
        if cluster.copy_tags_to_snapshot && tags.is_empty() {
            tags.clone_from(&cluster.tags);
        }
        let snapshot = NewSnapshot::prepare(rds, call, cluster, &request.identifier, tags).await?;
        let recorded = async {
            let mut edit = rds.records.edit(&call.event_id).await?;
            let cluster = target.take(&mut edit).await?;
            expect_state(&cluster, &admitted)?;
            snapshot.insert(&mut edit, &cluster).await?;
            edit.tell(&snapshot.record, Event::SnapshotCreating, call.now).await?;
            edit.commit().await?;
            rds.wake(&snapshot.record.cluster);
            Ok(json!({"DBClusterSnapshot": answers::snapshot(&snapshot.record)}))
        };
        let recorded = recorded.await;
        snapshot.settle(rds, call, recorded).await
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBClusterSnapshot").cloned()
    }
}
