//! `rds:DescribeDBClusterSnapshots`. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use super::target::Named;
use crate::{
    answers, faults,
    names::{self, Kind},
    records::{Cluster, Record, Snapshot},
    request::{self, Filter},
    service::Rds,
};

/// The kind of every snapshot here: users make them.
const MANUAL: &str = "manual";

pub struct DescribeDbClusterSnapshots;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterSnapshotIdentifier")]
    identifier: Option<String>,
    #[serde(rename = "DBClusterIdentifier")]
    cluster: Option<String>,
    db_cluster_resource_id: Option<String>,
    snapshot_type: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

impl Operation for DescribeDbClusterSnapshots {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeDBClusterSnapshots";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "DBClusterIdentifier",
        "DBClusterSnapshotIdentifier",
        "DbClusterResourceId",
        "Filters",
        "IncludePublic",
        "IncludeShared",
        "Marker",
        "MaxRecords",
        "SnapshotType",
    ];
    type State = Rds;
    type Request = Request;
    type Target = Option<Named<Snapshot>>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        match &request.identifier {
            Some(identifier) => Named::find(rds, call, identifier).await.map(Some),
            None => Ok(None),
        }
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Self::Target) -> Vec<Ask> {
        let action = "rds:DescribeDBClusterSnapshots";
        let any = Kind::Snapshot.arn(call, "*");
        let mut asks = vec![target.as_ref().map_or_else(|| Ask::new(action, any), |s| s.ask(call, action))];
        if let Some(cluster) = &request.cluster {
            let name = names::existing(Kind::Cluster, call, cluster).unwrap_or_else(|_| cluster.clone());
            asks.push(Ask::new(action, Kind::Cluster.arn(call, &name)));
        }
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Value, Fault> {
        let mut snapshots = match &*target {
            Some(snapshot) => vec![snapshot.get()?.clone()],
            None => rds.records.list::<Snapshot>(call.account(), &call.region).await?,
        };
        if let Some(cluster) = &request.cluster {
            let name = names::existing(Kind::Cluster, call, cluster)?;
            snapshots.retain(|snapshot| snapshot.cluster_identifier.as_str() == name);
        }
        if let Some(id) = &request.db_cluster_resource_id {
            snapshots.retain(|snapshot| snapshot.cluster.as_str() == id);
        }
        match request.snapshot_type.as_deref() {
            None | Some(MANUAL) => {}
            Some("automated" | "shared" | "public" | "awsbackup") => snapshots.clear(),
            Some(other) => return Err(faults::value(format!("Invalid snapshot type: {other}"))),
        }
        let names = ["db-cluster-id", "db-cluster-snapshot-id", "snapshot-type", "engine"];
        let snapshots = request::filter(snapshots, &request.filters, &names, |snapshot, name| match name {
            "db-cluster-id" => {
                let cluster = Kind::Cluster.arn(call, snapshot.cluster_identifier.as_str());
                vec![snapshot.cluster_identifier.to_string(), cluster]
            }
            "db-cluster-snapshot-id" => vec![snapshot.identifier.to_string(), snapshot.arn()],
            "snapshot-type" => vec![MANUAL.into()],
            _ => vec![Cluster::ENGINE.into()],
        })?;
        let key = |snapshot: &Snapshot| snapshot.identifier.to_string();
        let (page, marker) = request::page(snapshots, request.max_records, request.marker.as_deref(), key)?;
        Ok(answers::list("DBClusterSnapshots", page.iter().map(answers::snapshot), marker))
    }
}
