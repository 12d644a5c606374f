//! `rds:CreateDBInstance` (spec/rds.md §4, §5, §8). Trail: management event, write.
//!
//! One instance a cluster, the writer, until there are readers: a second one is InstanceQuotaExceeded.

use clusters::{ClusterStatus, Identifier, InstanceResourceId, InstanceStatus, MaintenanceWindow};
use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Arn;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, Secret, ServiceId};

use super::target::{Named, expect_state};
use crate::{
    answers,
    encryption::{self, NewGrant},
    engines, faults,
    names::{Kind, new_identifier},
    records::{Cluster, Instance, WrappedKeys},
    request::{self, ANY, Tag, Unread, ask_tags},
    service::Rds,
    settings::Settings,
    volume_keys::Slot,
};

const LOWEST_TIER: i64 = 15;
const DEFAULT_TIER: i64 = 1;

/// Parameters that belong to the cluster, as messages name them.
const OF_THE_CLUSTER: &[(&str, &str)] = &[
    ("AllocatedStorage", "allocated storage"),
    ("BackupRetentionPeriod", "backup retention period"),
    ("DBName", "database name"),
    ("DeletionProtection", "deletion protection"),
    ("KmsKeyId", "storage encryption key"),
    ("ManageMasterUserPassword", "master user password"),
    ("MasterUsername", "master username"),
    ("Port", "port"),
    ("PreferredBackupWindow", "backup window"),
    ("VpcSecurityGroupIds", "security groups"),
];

/// Parameters that change nothing here.
const HARMLESS: &[(&str, &str)] = &[
    // The cluster's volume is what is encrypted, or not.
    ("StorageEncrypted", ANY),
    ("StorageType", "aurora"),
    ("LicenseModel", "postgresql-license"),
    ("NetworkType", "IPV4"),
    ("DatabaseInsightsMode", "standard"),
    ("MasterUserAuthenticationType", "password"),
    ("EngineLifecycleSupport", "open-source-rds-extended-support"),
    ("EngineLifecycleSupport", "open-source-rds-extended-support-disabled"),
];

pub struct CreateDbInstance;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBInstanceIdentifier")]
    identifier: String,
    #[serde(rename = "DBClusterIdentifier")]
    cluster: Option<String>,
    #[serde(rename = "DBInstanceClass")]
    class: String,
    engine: String,
    engine_version: Option<String>,
    master_user_password: Option<Secret>,
    availability_zone: Option<String>,
    promotion_tier: Option<i64>,
    preferred_maintenance_window: Option<String>,
    #[serde(rename = "DBParameterGroupName")]
    parameter_group: Option<String>,
    #[serde(rename = "DBSubnetGroupName")]
    subnet_group: Option<String>,
    auto_minor_version_upgrade: Option<bool>,
    copy_tags_to_snapshot: Option<bool>,
    publicly_accessible: Option<bool>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(flatten)]
    unread: Unread,
}

impl Operation for CreateDbInstance {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "CreateDBInstance";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "AutoMinorVersionUpgrade",
        "AvailabilityZone",
        "CopyTagsToSnapshot",
        "DBClusterIdentifier",
        "DBInstanceClass",
        "DBInstanceIdentifier",
        "DBParameterGroupName",
        "DBSubnetGroupName",
        "Engine",
        "EngineVersion",
        "KmsKeyId",
        "MasterUsername",
        "PromotionTier",
        "PubliclyAccessible",
        "StorageEncrypted",
        "Tags",
    ];
    const MASKED: &'static [&'static str] = &["MasterUserPassword", "TdeCredentialPassword"];
    type State = Rds;
    type Request = Request;
    type Target = Option<Named<Cluster>>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        match &request.cluster {
            Some(cluster) => Named::find(rds, call, cluster).await.map(Some),
            None => Ok(None),
        }
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Self::Target) -> Vec<Ask> {
        let action = "rds:CreateDBInstance";
        let name = request.identifier.to_ascii_lowercase();
        let ask = Ask::new(action, Kind::Instance.arn(call, &name))
            .with("rds:DatabaseEngine", [request.engine.as_str()])
            .with("rds:DatabaseClass", [request.class.as_str()]);
        let mut asks = ask_tags(ask, &request.tags);
        asks.extend(target.as_ref().map(|cluster| cluster.ask(call, action)));
        for (kind, group) in [("subgrp", &request.subnet_group), ("pg", &request.parameter_group)] {
            if let Some(group) = group {
                let resource = format!("{kind}:{}", group.to_ascii_lowercase());
                let arn = Arn::aws("rds", call.region.as_str(), call.account().as_str(), resource);
                asks.push(Ask::new(action, arn.to_string()));
            }
        }
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Value, Fault> {
        let identifier = new_identifier("DBInstanceIdentifier", &request.identifier, Identifier::LONGEST)?;
        let cluster = target.as_ref().ok_or_else(|| faults::missing("DBClusterIdentifier"))?;
        check(&request)?;
        let found = cluster.get()?;
        check_against(&request, found)?;
        let template = template(call, &request, found, identifier)?;
        admit(rds, call, found, &template.identifier).await?;
        let (instance, found) = create(rds, call, cluster, template).await?;
        Ok(json!({"DBInstance": answers::instance(rds, &instance, &found)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBInstance").cloned()
    }
}

/// What is wrong whatever the cluster is.
fn check(request: &Request) -> Result<(), Fault> {
    let set_directly = |thing: &str| {
        faults::combination(format!(
            "The requested DB Instance will be a member of a DB Cluster and its {thing} should not be set directly."
        ))
    };
    if request.master_user_password.is_some() {
        return Err(set_directly("master user password"));
    }
    if let Some((_, thing)) = OF_THE_CLUSTER.iter().find(|(name, _)| request.unread.contains_key(*name)) {
        return Err(set_directly(thing));
    }
    request::refuse_unread(&request.unread, HARMLESS)?;
    if let Some(window) = &request.preferred_maintenance_window {
        // Maintenance is the cluster's, so all that is asked of it is to be one.
        window.parse::<MaintenanceWindow>().map_err(|error| faults::value(error.to_string()))?;
    }
    if !engines::CLASSES.contains(&request.class.as_str()) {
        return Err(faults::value(format!("Invalid DB Instance class: {}", request.class)));
    }
    Ok(())
}

fn check_against(request: &Request, cluster: &Cluster) -> Result<(), Fault> {
    let (engine, version) = (&request.engine, &cluster.engine_version);
    if engine != Cluster::ENGINE {
        let text = "doesn't match the engine name of your DB cluster";
        return Err(faults::combination(format!(
            "The engine name requested for your DB instance ({engine}) {text} ({}).",
            Cluster::ENGINE
        )));
    }
    if let Some(wanted) = request.engine_version.as_ref().filter(|wanted| *wanted != version) {
        let text = "doesn't match the engine version of your DB cluster";
        return Err(faults::combination(format!(
            "The engine version requested for your DB instance ({wanted}) {text} ({version})."
        )));
    }
    if let Some(group) =
        request.subnet_group.as_ref().filter(|group| !group.eq_ignore_ascii_case(&cluster.subnet_group))
    {
        return Err(faults::subnet_group_not_found(group));
    }
    match request
        .parameter_group
        .as_ref()
        .filter(|group| !group.eq_ignore_ascii_case(&cluster.parameter_group))
    {
        Some(group) => Err(faults::instance_parameter_group_not_found(group)),
        None => Ok(()),
    }
}

/// The instance as its record will be, but for its key.
struct Template {
    identifier: Identifier,
    availability_zone: String,
    promotion_tier: u32,
    class: String,
    auto_minor_version_upgrade: bool,
    copy_tags_to_snapshot: bool,
    publicly_accessible: bool,
    tags: std::collections::BTreeMap<String, String>,
}

fn template(
    call: &Call,
    request: &Request,
    cluster: &Cluster,
    identifier: Identifier,
) -> Result<Template, Fault> {
    let zones = Settings::zones(&call.region);
    let zone = match &request.availability_zone {
        Some(zone) if !zones.contains(zone) => {
            Err(faults::value(format!("Invalid availability zone: {zone}")))
        }
        Some(zone) => Ok(zone.clone()),
        None => Ok(cluster.availability_zones.first().cloned().unwrap_or_default()),
    }?;
    let tier = request.promotion_tier.unwrap_or(DEFAULT_TIER);
    let tier = (0..=LOWEST_TIER).contains(&tier).then(|| u32::try_from(tier).ok()).flatten();
    let tier = tier.ok_or_else(|| {
        faults::value(format!("Invalid value for PromotionTier. Must be between 0 and {LOWEST_TIER}"))
    })?;
    Ok(Template {
        identifier,
        availability_zone: zone,
        promotion_tier: tier,
        class: request.class.clone(),
        auto_minor_version_upgrade: request.auto_minor_version_upgrade.unwrap_or(true),
        copy_tags_to_snapshot: request.copy_tags_to_snapshot.unwrap_or_default(),
        publicly_accessible: request.publicly_accessible.unwrap_or_default(),
        tags: request::tags(&request.tags)?,
    })
}

/// The name is free, and the cluster takes an instance.
async fn admit(rds: &Rds, call: &Call, cluster: &Cluster, identifier: &Identifier) -> Result<(), Fault> {
    if Named::<Instance>::by_name(rds, call, identifier.to_string()).await?.exists() {
        return Err(faults::instance_exists());
    }
    takes_instance(cluster, &rds.records.of_cluster(cluster.id.as_str()).await?)
}

fn takes_instance(cluster: &Cluster, members: &[Instance]) -> Result<(), Fault> {
    // As on AWS, an instance may be asked for while its cluster is being made.
    expect_state(cluster, &[ClusterStatus::Available, ClusterStatus::Creating])?;
    if members.iter().any(|member| !member.delete) { Err(faults::instance_quota()) } else { Ok(()) }
}

/// Makes a grant of the instance's own, wraps the volume key for it, and records it.
async fn create(
    rds: &Rds,
    call: &Call,
    named: &Named<Cluster>,
    template: Template,
) -> Result<(Instance, Cluster), Fault> {
    let cluster = named.get()?;
    let key = cluster.encryption.key_arn().unwrap_or_default();
    let refused = |error| faults::key_fault(&error, key);
    if cluster.encryption.key_arn().is_some() {
        encryption::usable_key(rds, call, key).await?;
    }
    let mut instance = Instance {
        id: InstanceResourceId::generate(&*rds.entropy),
        account: call.account().clone(),
        region: call.region.clone(),
        identifier: template.identifier,
        cluster: cluster.id.clone(),
        created: call.now,
        status: InstanceStatus::Creating,
        delete: false,
        reboot: false,
        class: template.class,
        promotion_tier: template.promotion_tier,
        availability_zone: template.availability_zone,
        parameter_group: cluster.parameter_group.clone(),
        auto_minor_version_upgrade: template.auto_minor_version_upgrade,
        copy_tags_to_snapshot: template.copy_tags_to_snapshot,
        publicly_accessible: template.publicly_accessible,
        keys: WrappedKeys::one(Vec::new()),
        grant: None,
        tags: template.tags,
    };
    let name = format!("rds-{}", instance.id);
    let grant = NewGrant::ask(rds, call, &cluster.encryption, &name, instance.grant_context())
        .await
        .map_err(refused)?;
    let recorded = async {
        let to = Slot::of_instance(cluster, &instance);
        let keys = rds.volume_keys(&call.region, call.account());
        let wrapped = keys.rewrap(&Slot::of_cluster(cluster), &cluster.keys, &to).await.map_err(refused)?;
        instance.keys = wrapped;
        instance.grant.clone_from(&grant.id);
        record(rds, call, named, &instance, &cluster.keys).await
    };
    let recorded = recorded.await;
    if recorded.is_err() {
        grant.give_back(rds, call).await;
    }
    Ok((instance, recorded?))
}

async fn record(
    rds: &Rds,
    call: &Call,
    named: &Named<Cluster>,
    instance: &Instance,
    wrapped: &WrappedKeys,
) -> Result<Cluster, Fault> {
    let mut edit = rds.records.edit(&call.event_id).await?;
    let cluster = named.take(&mut edit).await?;
    if cluster.keys != *wrapped {
        let text = "is having its volume key renewed. Try again.";
        return Err(faults::cluster_state(format!("DbCluster {} {text}", cluster.identifier)));
    }
    takes_instance(&cluster, &edit.of_cluster(cluster.id.as_str()).await?)?;
    edit.insert(instance)
        .await
        .map_err(|e| if e.is_taken() { faults::instance_exists() } else { e.into() })?;
    edit.commit().await?;
    rds.wake(&cluster.id);
    Ok(cluster)
}
