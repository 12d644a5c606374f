//! `rds:CreateDBCluster` (spec/rds.md §4, §5, §8). Trail: management event, write.

use clusters::{ClusterResourceId, DatabaseName, Identifier, MasterUsername, check_master_password};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, Secret, ServiceId};

use super::{
    cluster_options::{self, ClusterOptions, Origin, Settled},
    target::Named,
};
use crate::{
    answers,
    encryption::{self, NewGrant},
    faults,
    names::{Kind, new_identifier},
    records::{Bytes, Cluster, Encryption, WrappedKeys},
    service::Rds,
    volume_keys::Slot,
};

pub struct CreateDbCluster;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: String,
    master_username: Option<String>,
    master_user_password: Option<Secret>,
    manage_master_user_password: Option<bool>,
    database_name: Option<String>,
    storage_encrypted: Option<bool>,
    kms_key_id: Option<String>,
    #[serde(flatten)]
    options: ClusterOptions,
}

impl Operation for CreateDbCluster {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "CreateDBCluster";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "AvailabilityZones",
        "BackupRetentionPeriod",
        "CopyTagsToSnapshot",
        "DBClusterIdentifier",
        "DBClusterParameterGroupName",
        "DBSubnetGroupName",
        "DatabaseName",
        "DeletionProtection",
        "Engine",
        "EngineMode",
        "EngineVersion",
        "KmsKeyId",
        "ManageMasterUserPassword",
        "MasterUsername",
        "Port",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "StorageEncrypted",
        "StorageType",
        "Tags",
        "VpcSecurityGroupIds",
    ];
    const MASKED: &'static [&'static str] = &["MasterUserPassword"];
    type State = Rds;
    type Request = Request;
    type Target = ();
    type Response = Value;

    async fn resolve(_: &Rds, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Rds, call: &Call, request: &Request, _: &()) -> Vec<Ask> {
        let mut asks = request.options.asks(call, "rds:CreateDBCluster", &request.identifier);
        for ask in &mut asks {
            *ask = ask
                .clone()
                .with("rds:StorageEncrypted", [request.storage_encrypted.unwrap_or_default().to_string()])
                .with("rds:DatabaseName", request.database_name.clone());
        }
        asks
    }

    async fn act(rds: &Rds, call: &Call, request: Request, _: Authorized<()>) -> Result<Value, Fault> {
        let identifier = new_identifier("DBClusterIdentifier", &request.identifier, Identifier::LONGEST)?;
        let settled = request.options.settle(rds, call, None)?;
        let master = Master::of(&request)?;
        if Named::<Cluster>::by_name(rds, call, identifier.to_string()).await?.exists() {
            return Err(faults::cluster_exists());
        }
        let encrypted = request.storage_encrypted.unwrap_or_default();
        let encryption =
            encryption::of_new_cluster(rds, call, encrypted, request.kms_key_id.as_deref()).await?;
        let cluster = create(rds, call, identifier, settled, encryption, master).await?;
        Ok(json!({"DBCluster": answers::cluster(rds, &cluster, &[])}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBCluster").cloned()
    }
}

/// The master user and the database that a new cluster begins with, checked.
struct Master {
    username: MasterUsername,
    password: Secret,
    database: Option<DatabaseName>,
}

impl Master {
    fn of(request: &Request) -> Result<Self, Fault> {
        if request.manage_master_user_password.unwrap_or_default() {
            let text = "The parameter ManageMasterUserPassword is not supported by this server: give MasterUserPassword.";
            return Err(faults::combination(text));
        }
        let rule = |error: clusters::RuleBroken| faults::value(error.to_string());
        let username =
            MasterUsername::parse(request.master_username.as_deref().unwrap_or_default()).map_err(rule)?;
        let password = request.master_user_password.clone().ok_or_else(|| {
            faults::value("The parameter MasterUserPassword must be provided and must not be blank.")
        })?;
        check_master_password(password.expose()).map_err(rule)?;
        let database = request.database_name.as_deref().filter(|name| !name.is_empty());
        let database = database.map(DatabaseName::parse).transpose().map_err(rule)?;
        Ok(Self { username, password, database })
    }
}

async fn create(
    rds: &Rds,
    call: &Call,
    identifier: Identifier,
    settled: Settled,
    encryption: Encryption,
    master: Master,
) -> Result<Cluster, Fault> {
    let key = encryption.key_arn().unwrap_or_default().to_owned();
    let id = ClusterResourceId::generate(&*rds.entropy);
    let context = Cluster::context_of(&id);
    let grant = NewGrant::ask(rds, call, &encryption, &format!("rds-{id}"), context.clone()).await;
    let grant = grant.map_err(|error| faults::key_fault(&error, &key))?;
    let recorded = async {
        let arn = Kind::Cluster.arn(call, identifier.as_str());
        let slot = Slot { encryption: &encryption, context, arn };
        let wrapped = rds.volume_keys(&call.region, call.account()).make(&slot).await;
        let password = rds.sealer.seal(&Cluster::password_place_of(&id), master.password.expose().as_bytes());
        let origin = Origin {
            id,
            identifier,
            keys: WrappedKeys::one(wrapped.map_err(|error| faults::key_fault(&error, &key))?),
            encryption: encryption.clone(),
            grant: grant.id.clone(),
            snapshot: None,
            master_username: master.username,
            master_password: Some(Bytes(password)),
            database_name: master.database,
        };
        cluster_options::record(rds, call, settled, origin).await
    };
    let recorded = recorded.await;
    if recorded.is_err() {
        grant.give_back(rds, call).await;
    }
    recorded
}
