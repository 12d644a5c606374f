//! `rds:StopDBCluster`. Trail: management event, write.

use clusters::{ClusterStatus, Goal};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::{Named, expect_state};
use crate::{answers, records::Cluster, service::Rds};

pub struct StopDbCluster;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: String,
}

impl Operation for StopDbCluster {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "StopDBCluster";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["DBClusterIdentifier"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Cluster>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Cluster>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Named<Cluster>) -> Vec<Ask> {
        vec![target.ask(call, "rds:StopDBCluster")]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        _: Request,
        target: Authorized<Named<Cluster>>,
    ) -> Result<Value, Fault> {
        target.get()?;
        let mut edit = rds.records.edit(&call.event_id).await?;
        let mut cluster = target.take(&mut edit).await?;
        expect_state(&cluster, &[ClusterStatus::Available])?;
        cluster.goal = Goal::Stop;
        edit.put(&cluster).await?;
        let members = edit.of_cluster(cluster.id.as_str()).await?;
        edit.commit().await?;
        rds.wake(&cluster.id);
        // As on AWS, the answer still says `available`.
        Ok(json!({"DBCluster": answers::cluster(rds, &cluster, &members)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBCluster").cloned()
    }
}
