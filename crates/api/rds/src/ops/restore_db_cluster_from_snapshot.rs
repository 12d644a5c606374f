//! `rds:RestoreDBClusterFromSnapshot` (spec/rds.md §4, §5). Trail: management event, write.
//!
//! The new volume is a clone of the snapshot's: same blocks, same volume key. Under another KMS key it is given a volume key
//! of its own as well: what is written is sealed under that, and the blocks of the snapshot while the cluster runs. Until
//! that is done it needs the volume key of the snapshot too, which is wrapped anew (ReEncrypt; docs/decisions/0531).

use clusters::{ClusterResourceId, Identifier, SnapshotStatus};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    cluster_options::{self, ClusterOptions, Origin, Settled},
    target::Named,
};
use crate::{
    answers,
    encryption::{self, NewGrant},
    faults,
    names::{Kind, new_identifier},
    records::{Cluster, Encryption, Snapshot},
    service::Rds,
    volume_keys::Slot,
};

pub struct RestoreDbClusterFromSnapshot;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: String,
    snapshot_identifier: String,
    database_name: Option<String>,
    kms_key_id: Option<String>,
    #[serde(flatten)]
    options: ClusterOptions,
}

impl Operation for RestoreDbClusterFromSnapshot {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "RestoreDBClusterFromSnapshot";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "AvailabilityZones",
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
        "Port",
        "SnapshotIdentifier",
        "StorageType",
        "Tags",
        "VpcSecurityGroupIds",
    ];
    type State = Rds;
    type Request = Request;
    type Target = Named<Snapshot>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Snapshot>, Fault> {
        Named::find(rds, call, &request.snapshot_identifier).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Named<Snapshot>) -> Vec<Ask> {
        let action = "rds:RestoreDBClusterFromSnapshot";
        let mut asks = request.options.asks(call, action, &request.identifier);
        asks.push(target.ask(call, action));
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Snapshot>>,
    ) -> Result<Value, Fault> {
        let identifier = new_identifier("DBClusterIdentifier", &request.identifier, Identifier::LONGEST)?;
        let snapshot = target.get()?;
        if let Some(name) = request.database_name.as_ref().filter(|name| !name.is_empty()) {
            let text = "The database that the snapshot holds keeps its name: DatabaseName cannot be";
            return Err(faults::combination(format!("{text} {name}.")));
        }
        let settled = request.options.settle(rds, call, Some(&snapshot.engine_version))?;
        if Named::<Cluster>::by_name(rds, call, identifier.to_string()).await?.exists() {
            return Err(faults::cluster_exists());
        }
        if snapshot.status != SnapshotStatus::Available {
            let (name, status) = (&snapshot.identifier, snapshot.status);
            return Err(faults::snapshot_state(format!(
                "Cannot restore the snapshot {name} because it is in {status} state, not in available."
            )));
        }
        let encryption = match (&request.kms_key_id, snapshot.encryption.key_arn()) {
            (Some(key), _) => encryption::usable_key(rds, call, key).await?,
            (None, Some(key)) => encryption::usable_key(rds, call, key).await?,
            (None, None) => Encryption::SseRds,
        };
        let cluster = restore(rds, call, identifier, settled, encryption, snapshot).await?;
        Ok(json!({"DBCluster": answers::cluster(rds, &cluster, &[])}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBCluster").cloned()
    }
}

async fn restore(
    rds: &Rds,
    call: &Call,
    identifier: Identifier,
    settled: Settled,
    encryption: Encryption,
    snapshot: &Snapshot,
) -> Result<Cluster, Fault> {
    let key = encryption.key_arn().unwrap_or_default().to_owned();
    let id = ClusterResourceId::generate(&*rds.entropy);
    let context = Cluster::context_of(&id);
    let grant = NewGrant::ask(rds, call, &encryption, &format!("rds-{id}"), context.clone()).await;
    let grant = grant.map_err(|error| faults::key_fault(&error, &key))?;
    let recorded = async {
        let to = Slot { encryption: &encryption, context, arn: Kind::Cluster.arn(call, identifier.as_str()) };
        let keys = rds.volume_keys(&call.region, call.account());
        let shared = keys.rewrap(&Slot::of_snapshot(snapshot), &snapshot.keys, &to).await;
        let source = snapshot.encryption.key_arn().unwrap_or(&key);
        let shared = shared.map_err(|error| faults::source_key_fault(&error, source))?;
        let wrapped = if encryption == snapshot.encryption {
            shared
        } else {
            shared.renewed(keys.make(&to).await.map_err(|error| faults::key_fault(&error, &key))?)
        };
        let origin = Origin {
            id,
            identifier,
            keys: wrapped,
            encryption: encryption.clone(),
            grant: grant.id.clone(),
            snapshot: Some(snapshot.id.clone()),
            master_username: snapshot.master_username.clone(),
            master_password: None,
            database_name: snapshot.database_name.clone(),
        };
        cluster_options::record(rds, call, settled, origin).await
    };
    let recorded = recorded.await;
    if recorded.is_err() {
        grant.give_back(rds, call).await;
    }
    recorded
}
