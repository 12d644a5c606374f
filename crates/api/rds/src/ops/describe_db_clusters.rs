//! `rds:DescribeDBClusters`. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use super::target::Named;
use crate::{
    answers,
    names::Kind,
    records::{Cluster, Instance, Record},
    request::{self, Filter},
    service::Rds,
};

pub struct DescribeDbClusters;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

impl Operation for DescribeDbClusters {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeDBClusters";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["DBClusterIdentifier", "Filters", "IncludeShared", "Marker", "MaxRecords"];
    type State = Rds;
    type Request = Request;
    type Target = Option<Named<Cluster>>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        match &request.identifier {
            Some(identifier) => Named::find(rds, call, identifier).await.map(Some),
            None => Ok(None),
        }
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Self::Target) -> Vec<Ask> {
        let action = "rds:DescribeDBClusters";
        vec![match target {
            Some(cluster) => cluster.ask(call, action),
            None => Ask::new(action, Kind::Cluster.arn(call, "*")),
        }]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Value, Fault> {
        let clusters = match &*target {
            Some(cluster) => vec![cluster.get()?.clone()],
            None => rds.records.list::<Cluster>(call.account(), &call.region).await?,
        };
        let names = ["db-cluster-id", "db-cluster-resource-id", "clone-group-id", "domain", "engine"];
        let clusters = request::filter(clusters, &request.filters, &names, |cluster, name| match name {
            "db-cluster-id" => vec![cluster.identifier.to_string(), cluster.arn()],
            "db-cluster-resource-id" => vec![cluster.id.to_string()],
            "engine" => vec![Cluster::ENGINE.into()],
            _ => Vec::new(),
        })?;
        let key = |cluster: &Cluster| cluster.identifier.to_string();
        let (page, marker) = request::page(clusters, request.max_records, request.marker.as_deref(), key)?;
        let mut answers = Vec::new();
        for cluster in &page {
            let members = rds.records.of_cluster::<Instance>(cluster.id.as_str()).await?;
            answers.push(answers::cluster(rds, cluster, &members));
        }
        Ok(answers::list("DBClusters", answers, marker))
    }
}
