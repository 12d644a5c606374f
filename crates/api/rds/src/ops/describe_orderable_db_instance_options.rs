//! `rds:DescribeOrderableDBInstanceOptions`: every class with every version that is installed. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::describe_db_engine_versions::is_served;
use crate::{
    answers, engines,
    engines::Engine,
    records::Cluster,
    request::{self, Filter},
    service::Rds,
    settings::Settings,
};

pub struct DescribeOrderableDbInstanceOptions;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    engine: String,
    engine_version: Option<String>,
    #[serde(rename = "DBInstanceClass")]
    class: Option<String>,
    license_model: Option<String>,
    vpc: Option<bool>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

impl Operation for DescribeOrderableDbInstanceOptions {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeOrderableDBInstanceOptions";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "AvailabilityZoneGroup",
        "DBInstanceClass",
        "Engine",
        "EngineVersion",
        "Filters",
        "LicenseModel",
        "Marker",
        "MaxRecords",
        "Vpc",
    ];
    type State = Rds;
    type Request = Request;
    type Target = ();
    type Response = Value;

    async fn resolve(_: &Rds, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Rds, _: &Call, _: &Request, _: &()) -> Vec<Ask> {
        vec![Ask::new("rds:DescribeOrderableDBInstanceOptions", "*")]
    }

    async fn act(rds: &Rds, call: &Call, request: Request, _: Authorized<()>) -> Result<Value, Fault> {
        let licensed = request.license_model.as_deref().is_none_or(|model| model == "postgresql-license");
        let on_offer = is_served(&request.engine)? && licensed && request.vpc.unwrap_or(true);
        let mut options = Vec::new();
        for engine in rds.engines.iter().filter(|_| on_offer) {
            options.extend(engines::CLASSES.iter().map(|class| (engine, *class)));
        }
        options.retain(|(engine, class)| {
            let version = request.engine_version.as_ref();
            version.is_none_or(|v| *v == engine.version || v == engine.major())
                && request.class.as_ref().is_none_or(|wanted| wanted == class)
        });
        // As on AWS, there is no filter that this operation knows.
        let options = request::filter(options, &request.filters, &[], |_, _| Vec::new())?;
        let key = |(engine, class): &(&Engine, &str)| format!("{}/{class}", engine.version);
        let mut options = options;
        options.sort_by_key(key);
        let (page, marker) = request::page(options, request.max_records, request.marker.as_deref(), key)?;
        let zones = Settings::zones(&call.region);
        let answers = page.into_iter().map(|(engine, class)| answer(engine, class, &zones));
        Ok(answers::list("OrderableDBInstanceOptions", answers, marker))
    }
}

fn answer(engine: &Engine, class: &str, zones: &[String]) -> Value {
    json!({
        "Engine": Cluster::ENGINE,
        "EngineVersion": engine.version,
        "DBInstanceClass": class,
        "LicenseModel": "postgresql-license",
        "AvailabilityZones": zones.iter().map(|zone| json!({"Name": zone})).collect::<Value>(),
        "MultiAZCapable": false,
        "ReadReplicaCapable": false,
        "Vpc": true,
        "SupportsStorageEncryption": true,
        "StorageType": "aurora",
        "SupportsIops": false,
        "SupportsEnhancedMonitoring": false,
        "SupportsIAMDatabaseAuthentication": false,
        "SupportsPerformanceInsights": false,
        "AvailableProcessorFeatures": [],
        "SupportedEngineModes": ["provisioned"],
        "SupportsKerberosAuthentication": false,
        "OutpostCapable": false,
        "SupportedActivityStreamModes": [],
        "SupportsGlobalDatabases": false,
        "SupportsClusters": true,
        "SupportedNetworkTypes": ["IPV4"],
    })
}
