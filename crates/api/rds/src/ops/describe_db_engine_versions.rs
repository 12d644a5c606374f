//! `rds:DescribeDBEngineVersions`: the PostgreSQL versions that are installed. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    answers,
    engines::Engine,
    faults,
    records::Cluster,
    request::{self, Filter},
    service::Rds,
};

/// Engines of AWS of which there are no versions here.
const FOREIGN: &[&str] = &[
    "aurora-mysql",
    "custom-oracle-ee",
    "db2-ae",
    "db2-se",
    "mariadb",
    "mysql",
    "neptune",
    "docdb",
    "oracle-ee",
    "oracle-ee-cdb",
    "oracle-se2",
    "oracle-se2-cdb",
    "postgres",
    "sqlserver-ee",
    "sqlserver-ex",
    "sqlserver-se",
    "sqlserver-web",
];

pub struct DescribeDbEngineVersions;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    engine: Option<String>,
    engine_version: Option<String>,
    #[serde(rename = "DBParameterGroupFamily")]
    family: Option<String>,
    #[serde(default)]
    default_only: bool,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

/// The engine is one that AWS knows; whether it is the one that is here.
///
/// # Errors
/// InvalidParameterValue.
pub fn is_served(engine: &str) -> Result<bool, Fault> {
    let engine = engine.to_ascii_lowercase();
    if engine == Cluster::ENGINE {
        return Ok(true);
    }
    if FOREIGN.contains(&engine.as_str()) {
        return Ok(false);
    }
    Err(faults::value(format!("Unrecognized engine name: {engine}")))
}

impl Operation for DescribeDbEngineVersions {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeDBEngineVersions";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "DBParameterGroupFamily",
        "DefaultOnly",
        "Engine",
        "EngineVersion",
        "Filters",
        "IncludeAll",
        "ListSupportedCharacterSets",
        "ListSupportedTimezones",
        "Marker",
        "MaxRecords",
    ];
    type State = Rds;
    type Request = Request;
    type Target = ();
    type Response = Value;

    async fn resolve(_: &Rds, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Rds, _: &Call, _: &Request, _: &()) -> Vec<Ask> {
        vec![Ask::new("rds:DescribeDBEngineVersions", "*")]
    }

    async fn act(rds: &Rds, _: &Call, request: Request, _: Authorized<()>) -> Result<Value, Fault> {
        let served = request.engine.as_deref().map_or(Ok(true), is_served)?;
        let mut engines: Vec<&Engine> = rds.engines.iter().filter(|_| served).collect();
        if let Some(version) = &request.engine_version {
            engines.retain(|engine| engine.version == *version || engine.major() == version);
        }
        if let Some(family) = &request.family {
            engines.retain(|engine| engine.family() == *family);
        }
        if request.default_only {
            // What a new cluster runs unless told otherwise.
            engines.drain(..engines.len().saturating_sub(1));
        }
        let names = ["db-parameter-group-family", "engine", "engine-mode", "engine-version", "status"];
        let engines = request::filter(engines, &request.filters, &names, |engine, name| match name {
            "db-parameter-group-family" => vec![engine.family()],
            "engine" => vec![Cluster::ENGINE.into()],
            "engine-mode" => vec!["provisioned".into()],
            "engine-version" => vec![engine.version.clone()],
            _ => vec!["available".into()],
        })?;
        let key = |engine: &&Engine| engine.version.clone();
        let (page, marker) = request::page(engines, request.max_records, request.marker.as_deref(), key)?;
        Ok(answers::list("DBEngineVersions", page.into_iter().map(answer), marker))
    }
}

fn answer(engine: &Engine) -> Value {
    json!({
        "Engine": Cluster::ENGINE,
        "MajorEngineVersion": engine.major(),
        "EngineVersion": engine.version,
        "DBParameterGroupFamily": engine.family(),
        "DBEngineDescription": "Aurora PostgreSQL",
        "DBEngineVersionDescription": format!("PostgreSQL {}", engine.version),
        "ValidUpgradeTarget": [],
        "ExportableLogTypes": [],
        "SupportedEngineModes": ["provisioned"],
        "SupportedFeatureNames": [],
        "SupportsLogExportsToCloudwatchLogs": false,
        "SupportsReadReplica": false,
        "SupportsParallelQuery": false,
        "SupportsGlobalDatabases": false,
        "SupportsBabelfish": false,
        "Status": "available",
        "TagList": [],
    })
}
