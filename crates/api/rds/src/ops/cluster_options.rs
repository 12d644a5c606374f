//! What CreateDBCluster and RestoreDBClusterFromSnapshot can both say of the new cluster, and its record.

use std::{collections::BTreeMap, net::TcpListener};

use clusters::{
    Access, BackupWindow, ClusterResourceId, ClusterStatus, DatabaseName, Goal, Identifier,
    MaintenanceWindow, MasterUsername, SnapshotResourceId, VolumeId, default_parameter_group, overlap,
};
use front::{Ask, Call};
use ids::Arn;
use serde::Deserialize;
use wire::Fault;

use crate::{
    engines::Engine,
    faults,
    names::Kind,
    records::{Bytes, Cluster, Encryption, Snapshot, WrappedKeys},
    request::{self, ANY, Tag, Unread, ask_tags},
    service::Rds,
    settings::Settings,
};

const SUBNET_GROUP: &str = "default";
/// Ports that AWS lets a cluster have.
const LOWEST_PORT: u16 = 1150;
const LONGEST_RETENTION: i64 = 35;

/// Parameters that change nothing here.
const HARMLESS: &[(&str, &str)] = &[
    ("StorageType", "aurora"),
    ("EngineMode", "provisioned"),
    ("NetworkType", "IPV4"),
    ("ClusterScalabilityType", "standard"),
    ("DatabaseInsightsMode", "standard"),
    ("MasterUserAuthenticationType", "password"),
    ("EngineLifecycleSupport", "open-source-rds-extended-support"),
    ("EngineLifecycleSupport", "open-source-rds-extended-support-disabled"),
    ("AutoMinorVersionUpgrade", ANY),
    ("PubliclyAccessible", ANY),
];

/// The shared parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterOptions {
    pub engine: String,
    engine_version: Option<String>,
    port: Option<i64>,
    backup_retention_period: Option<i64>,
    preferred_backup_window: Option<String>,
    preferred_maintenance_window: Option<String>,
    #[serde(rename = "DBClusterParameterGroupName")]
    parameter_group: Option<String>,
    #[serde(rename = "DBSubnetGroupName")]
    subnet_group: Option<String>,
    #[serde(default)]
    vpc_security_group_ids: Vec<String>,
    #[serde(default)]
    availability_zones: Vec<String>,
    deletion_protection: Option<bool>,
    copy_tags_to_snapshot: Option<bool>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    #[serde(flatten)]
    unread: Unread,
}

/// The shared parameters, checked, with their defaults.
#[derive(Debug)]
pub struct Settled {
    engine_version: String,
    port: Option<u16>,
    backup_retention_days: u32,
    backup_window: BackupWindow,
    maintenance_window: MaintenanceWindow,
    parameter_group: String,
    security_groups: Vec<String>,
    availability_zones: Vec<String>,
    deletion_protection: bool,
    copy_tags_to_snapshot: bool,
    pub tags: BTreeMap<String, String>,
}

/// What only the operation itself knows of a new cluster.
#[derive(Debug)]
pub struct Origin {
    pub id: ClusterResourceId,
    pub identifier: Identifier,
    pub encryption: Encryption,
    pub keys: WrappedKeys,
    pub grant: Option<String>,
    pub snapshot: Option<SnapshotResourceId>,
    pub master_username: MasterUsername,
    pub master_password: Option<Bytes>,
    pub database_name: Option<DatabaseName>,
}

impl ClusterOptions {
    /// What has to be allowed beside the operation itself: the groups it names, and tagging.
    pub fn asks(&self, call: &Call, action: &'static str, name: &str) -> Vec<Ask> {
        let name = name.to_ascii_lowercase();
        let ask = Ask::new(action, Kind::Cluster.arn(call, &name))
            .with("rds:DatabaseEngine", [self.engine.as_str()]);
        let mut asks = ask_tags(ask, &self.tags);
        for (kind, group) in [("subgrp", &self.subnet_group), ("cluster-pg", &self.parameter_group)] {
            if let Some(group) = group {
                let resource = format!("{kind}:{}", group.to_ascii_lowercase());
                let arn = Arn::aws("rds", call.region.as_str(), call.account().as_str(), resource);
                asks.push(Ask::new(action, arn.to_string()));
            }
        }
        asks
    }

    /// Checks everything that needs no other record. `restored`: the version that the data was written by.
    ///
    /// # Errors
    /// The first parameter that is wrong, in AWS's words.
    pub fn settle(&self, rds: &Rds, call: &Call, restored: Option<&str>) -> Result<Settled, Fault> {
        request::refuse_unread(&self.unread, HARMLESS)?;
        let engine = self.engine_of(rds, restored)?;
        let backup_window = window(self.preferred_backup_window.as_deref(), BackupWindow::DEFAULT)?;
        let maintenance_window =
            window(self.preferred_maintenance_window.as_deref(), MaintenanceWindow::DEFAULT)?;
        if overlap(&backup_window, &maintenance_window) {
            return Err(faults::value("The backup window and maintenance window must not overlap."));
        }
        let parameter_group = default_parameter_group(Cluster::ENGINE, &engine.version);
        if let Some(group) =
            self.parameter_group.as_ref().filter(|g| !g.eq_ignore_ascii_case(&parameter_group))
        {
            return Err(faults::parameter_group_not_found(group));
        }
        if let Some(group) = self.subnet_group.as_ref().filter(|g| !g.eq_ignore_ascii_case(SUBNET_GROUP)) {
            return Err(faults::subnet_group_not_found(group));
        }
        Ok(Settled {
            engine_version: engine.version.clone(),
            port: self.port()?,
            backup_retention_days: self.retention()?,
            backup_window,
            maintenance_window,
            parameter_group,
            security_groups: self.security_groups()?,
            availability_zones: self.zones(call)?,
            deletion_protection: self.deletion_protection.unwrap_or_default(),
            copy_tags_to_snapshot: self.copy_tags_to_snapshot.unwrap_or_default(),
            tags: request::tags(&self.tags)?,
        })
    }

    fn engine_of<'a>(&self, rds: &'a Rds, restored: Option<&str>) -> Result<&'a Engine, Fault> {
        if self.engine != Cluster::ENGINE {
            return Err(faults::value("Invalid DB engine"));
        }
        let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
        let unknown = |wanted: &str| {
            faults::combination(format!("Cannot find version {wanted} for {}", Cluster::ENGINE))
        };
        let newest = |wanted: &str| rds.engines.iter().rfind(|e| wanted.is_empty() || e.major() == wanted);
        let found = match (&self.engine_version, restored) {
            // A major version alone means its newest.
            (Some(wanted), _) => rds.engine(wanted).or_else(|| newest(wanted)).ok_or_else(|| unknown(wanted)),
            (None, Some(written)) => {
                rds.engine(written).or_else(|| newest(&major(written))).ok_or_else(|| unknown(written))
            }
            (None, None) => newest("").ok_or_else(|| unknown("default")),
        }?;
        match restored {
            Some(written) if found.major() != major(written) => Err(faults::combination(format!(
                "Cannot restore a snapshot of version {written} with version {}",
                found.version
            ))),
            _ => Ok(found),
        }
    }

    fn port(&self) -> Result<Option<u16>, Fault> {
        let Some(port) = self.port else { return Ok(None) };
        let port = u16::try_from(port).ok().filter(|port| *port >= LOWEST_PORT);
        port.map(Some).ok_or_else(|| {
            faults::value(format!("Invalid value for Port. Must be between {LOWEST_PORT} and {}", u16::MAX))
        })
    }

    fn retention(&self) -> Result<u32, Fault> {
        let days = self.backup_retention_period.unwrap_or(1);
        let fits = (1..=LONGEST_RETENTION).contains(&days).then(|| u32::try_from(days).ok()).flatten();
        fits.ok_or_else(|| {
            faults::value(format!(
                "Invalid backup retention period: {days}. Must be between 1 and {LONGEST_RETENTION}"
            ))
        })
    }

    /// There is no network of AWS here: groups are shown as they were given.
    fn security_groups(&self) -> Result<Vec<String>, Fault> {
        let well_formed = |id: &&String| {
            let rest = id.strip_prefix("sg-").unwrap_or_default();
            (1..=32).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        match self.vpc_security_group_ids.iter().find(|id| !well_formed(id)) {
            Some(other) => Err(faults::value(format!("Invalid security group, groupId={other}"))),
            None => Ok(self.vpc_security_group_ids.clone()),
        }
    }

    fn zones(&self, call: &Call) -> Result<Vec<String>, Fault> {
        let all = Settings::zones(&call.region);
        match self.availability_zones.iter().find(|zone| !all.contains(zone)) {
            Some(unknown) => Err(faults::value(format!("Invalid availability zone: {unknown}"))),
            None if self.availability_zones.is_empty() => Ok(all),
            None => Ok(self.availability_zones.clone()),
        }
    }
}

fn window<T: std::str::FromStr<Err = clusters::InvalidWindow>>(
    text: Option<&str>,
    default: T,
) -> Result<T, Fault> {
    text.map_or(Ok(default), |text| {
        text.parse().map_err(|error: clusters::InvalidWindow| faults::value(error.to_string()))
    })
}

/// Records a new cluster under a port of its own, and sets the reconciler to work.
///
/// # Errors
/// DBClusterAlreadyExistsFault, InvalidParameterCombination for a port that another cluster has,
/// InsufficientDBClusterCapacityFault without a free one, DBClusterSnapshotNotFoundFault for a snapshot that has gone.
pub async fn record(rds: &Rds, call: &Call, settled: Settled, origin: Origin) -> Result<Cluster, Fault> {
    let mut edit = rds.records.edit(&call.event_id).await?;
    let mut anchor = None;
    if let Some(id) = &origin.snapshot {
        // From here on the snapshot waits for the clone, if it is to be deleted.
        let snapshot: Option<Snapshot> = edit.take(id.as_str()).await?;
        let snapshot = snapshot.filter(|snapshot| !snapshot.delete);
        anchor = snapshot.ok_or_else(|| faults::snapshot_not_found(id))?.anchor;
    }
    let taken = edit.ports().await?;
    let port = match settled.port {
        Some(port) if taken.contains(&port) => Err(faults::combination(format!(
            "The port {port} is in use: on this server every DB cluster has a port of its own."
        ))),
        Some(port) => Ok(port),
        None => free_port(rds, &taken),
    }?;
    let cluster = Cluster {
        id: origin.id,
        account: call.account().clone(),
        region: call.region.clone(),
        identifier: origin.identifier,
        created: call.now,
        status: ClusterStatus::Creating,
        goal: Goal::Run,
        access: Access::Held,
        restart_at: None,
        engine_version: settled.engine_version,
        port,
        volume: VolumeId::generate(&*rds.entropy),
        encryption: origin.encryption,
        keys: origin.keys,
        grant: origin.grant,
        origin: origin.snapshot,
        initialised: false,
        remains: true,
        master_username: origin.master_username,
        master_password: origin.master_password,
        database_name: origin.database_name,
        backup_retention_days: settled.backup_retention_days,
        backup_window: settled.backup_window,
        maintenance_window: settled.maintenance_window,
        parameter_group: settled.parameter_group,
        subnet_group: SUBNET_GROUP.into(),
        security_groups: settled.security_groups,
        availability_zones: settled.availability_zones,
        deletion_protection: settled.deletion_protection,
        copy_tags_to_snapshot: settled.copy_tags_to_snapshot,
        tags: settled.tags,
    };
    // Ports cannot collide inside this change: it is the name.
    edit.insert(&cluster)
        .await
        .map_err(|e| if e.is_taken() { faults::cluster_exists() } else { e.into() })?;
    // A clone goes on with the log of what it is made of.
    if let Some(Bytes(anchor)) = anchor {
        edit.keep_anchor(&cluster.volume, &anchor, call.now).await?;
    }
    edit.commit().await?;
    rds.wake(&cluster.id);
    Ok(cluster)
}

/// A port of the range that neither a cluster nor, at this moment, anything else has.
fn free_port(rds: &Rds, taken: &[u16]) -> Result<u16, Fault> {
    let free = |port: &u16| !taken.contains(port) && TcpListener::bind((rds.settings.listen, *port)).is_ok();
    rds.settings.ports.clone().find(free).ok_or_else(|| {
        let text = "There is no free port for the endpoint of another DB cluster.";
        Fault::client("InsufficientDBClusterCapacityFault", text).with_status(403)
    })
}
