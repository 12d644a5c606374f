//! Clusters and their volumes, from the state database, which is only read. The server may run.

use std::path::Path;

use serde::Deserialize;
use store::sqlx::{self, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::super::Failure;

/// A cluster and what belongs to it.
#[derive(Debug)]
pub struct Named {
    pub record: Record,
    /// Its instances.
    pub instances: Vec<Record>,
    /// Where its volume's log was when that was last kept, and when.
    pub anchor: Option<(Vec<u8>, i64)>,
}

/// What is read of a record of the cluster service.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub id: String,
    pub identifier: String,
    pub account: String,
    pub region: String,
    pub status: String,
    /// A cluster has one.
    pub volume: Option<String>,
    /// The newest, in hex.
    #[serde(default)]
    wrapped_key: String,
    /// Not empty while its key is renewed.
    #[serde(default)]
    older_wrapped_keys: Vec<String>,
}

impl Record {
    /// Whether the key of a cluster's volume is being renewed.
    pub const fn is_renewing(&self) -> bool {
        !self.older_wrapped_keys.is_empty()
    }

    /// Whether the newest wrapped key of a cluster is all that these are.
    pub fn is_renewed(&self, wrapped_keys: &[Vec<u8>]) -> bool {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        matches!(wrapped_keys, [only] if hex(only) == self.wrapped_key)
    }

    /// Of a cluster.
    pub fn arn(&self) -> String {
        format!("arn:aws:rds:{}:{}:cluster:{}", self.region, self.account, self.identifier)
    }

    fn is_named(&self, name: &str) -> bool {
        [&self.identifier, &self.id, &self.arn()].contains(&&name.to_owned())
            || self.volume.as_deref() == Some(name)
    }
}

/// All clusters, by name.
///
/// # Errors
/// If the database cannot be read.
pub async fn all(state: &Path) -> Result<Vec<Named>, Failure> {
    let options = SqliteConnectOptions::new().filename(state).read_only(true);
    let mut sql = SqliteConnection::connect_with(&options).await?;
    let mut found = Vec::new();
    let clusters = "SELECT document FROM rds_resources WHERE kind = 'cluster' ORDER BY identifier";
    for row in sqlx::query(clusters).fetch_all(&mut sql).await? {
        let record: Record = serde_json::from_str(row.get(0))?;
        let instances = sqlx::query(
            "SELECT document FROM rds_resources WHERE kind = 'instance' AND cluster = $1 ORDER BY identifier",
        );
        let instances = instances.bind(&record.id).fetch_all(&mut sql).await?;
        let instances = instances.iter().map(|row| serde_json::from_str(row.get(0)));
        let instances = instances.collect::<Result<_, _>>()?;
        let anchor = sqlx::query("SELECT anchor, at FROM volume_anchors WHERE volume = $1");
        let anchor = anchor.bind(&record.volume).fetch_optional(&mut sql).await?;
        let anchor = anchor.map(|row| (row.get(0), row.get(1)));
        found.push(Named { record, instances, anchor });
    }
    sql.close().await?;
    Ok(found)
}

/// The one cluster with a name: its identifier, ARN or resource id, or the id of its volume.
///
/// # Errors
/// If there is none, or several; if the database cannot be read.
pub async fn one(state: &Path, name: &str) -> Result<Named, Failure> {
    let mut found: Vec<_> = all(state).await?;
    found.retain(|cluster| cluster.record.is_named(name));
    match (found.pop(), found.is_empty()) {
        (Some(cluster), true) => Ok(cluster),
        (None, _) => Err(Failure::usage(format!("there is no cluster {name}"))),
        (Some(last), false) => {
            let arns = found.iter().chain([&last]).map(|cluster| cluster.record.arn());
            let listed = arns.collect::<Vec<_>>().join("\n  ");
            Err(Failure::usage(format!("several clusters are named {name}: give one by its ARN\n  {listed}")))
        }
    }
}
