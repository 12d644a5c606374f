//! `rds:DescribeDBInstances`. Trail: management event, read.

use std::collections::HashMap;

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

pub struct DescribeDbInstances;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBInstanceIdentifier")]
    identifier: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

impl Operation for DescribeDbInstances {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeDBInstances";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["DBInstanceIdentifier", "Filters", "Marker", "MaxRecords"];
    type State = Rds;
    type Request = Request;
    type Target = Option<Named<Instance>>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        match &request.identifier {
            Some(identifier) => Named::find(rds, call, identifier).await.map(Some),
            None => Ok(None),
        }
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Self::Target) -> Vec<Ask> {
        let action = "rds:DescribeDBInstances";
        vec![match target {
            Some(instance) => instance.ask(call, action),
            None => Ask::new(action, Kind::Instance.arn(call, "*")),
        }]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Value, Fault> {
        let instances = match &*target {
            Some(instance) => vec![instance.get()?.clone()],
            None => rds.records.list::<Instance>(call.account(), &call.region).await?,
        };
        let clusters = rds.records.list::<Cluster>(call.account(), &call.region).await?;
        let clusters: HashMap<_, _> =
            clusters.into_iter().map(|cluster| (cluster.id.clone(), cluster)).collect();
        let names = ["db-cluster-id", "db-instance-id", "dbi-resource-id", "domain", "engine"];
        let instances = request::filter(instances, &request.filters, &names, |instance, name| match name {
            "db-cluster-id" => {
                let cluster = clusters.get(&instance.cluster);
                cluster.map_or_else(Vec::new, |cluster| vec![cluster.identifier.to_string(), cluster.arn()])
            }
            "db-instance-id" => vec![instance.identifier.to_string(), instance.arn()],
            "dbi-resource-id" => vec![instance.id.to_string()],
            "engine" => vec![Cluster::ENGINE.into()],
            _ => Vec::new(),
        })?;
        let key = |instance: &Instance| instance.identifier.to_string();
        let (page, marker) = request::page(instances, request.max_records, request.marker.as_deref(), key)?;
        // An instance whose cluster has just gone is gone as well.
        let known = page.iter().filter_map(|instance| Some((instance, clusters.get(&instance.cluster)?)));
        let answers = known.map(|(instance, cluster)| answers::instance(rds, instance, cluster));
        Ok(answers::list("DBInstances", answers, marker))
    }
}
