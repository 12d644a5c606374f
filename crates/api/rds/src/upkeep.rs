//! What the operator's own commands may do with sealed volumes: find one, and open its key, as RDS itself and on the
//! record. The caller has to let go of the key when [`Rds::may_keep_open`] says so (crate `app`, `admin.rs`).

use std::path::PathBuf;

use clusters::VolumeId;
use ids::{AccountId, Region};
use serde_json::{Map, Value};
use volume::VolumeKey;

use crate::{
    keys::KeyFault,
    records::{Cluster, Encryption, Error, Record, Snapshot, WrappedKeys},
    service::Rds,
    volume_keys::{OpenKeys, Slot},
};

/// A volume or a snapshot, and what opens it.
#[derive(Clone, Debug)]
pub struct SealedVolume {
    /// ARN of the cluster or the snapshot.
    pub arn: String,
    pub volume: VolumeId,
    /// Its files.
    pub dir: PathBuf,
    /// What its log has to contain, as far as this server knows ([`volume::Anchor`]).
    pub anchor: Option<Vec<u8>>,
    names: Vec<String>,
    region: Region,
    account: AccountId,
    owner: Owner,
}

#[derive(Clone, Debug)]
enum Owner {
    Cluster(Box<Cluster>),
    Snapshot(Box<Snapshot>),
}

impl SealedVolume {
    fn of_cluster(rds: &Rds, cluster: Cluster, anchor: Option<Vec<u8>>) -> Self {
        Self {
            anchor,
            arn: cluster.arn(),
            volume: cluster.volume.clone(),
            dir: rds.settings.home.join("volumes").join(cluster.volume.as_str()),
            names: names(&cluster, &cluster.volume),
            region: cluster.region.clone(),
            account: cluster.account.clone(),
            owner: Owner::Cluster(Box::new(cluster)),
        }
    }

    fn of_snapshot(rds: &Rds, snapshot: Snapshot) -> Self {
        Self {
            arn: snapshot.arn(),
            volume: snapshot.volume.clone(),
            dir: rds.settings.home.join("snapshots").join(snapshot.id.as_str()),
            anchor: snapshot.anchor.as_ref().map(|anchor| anchor.0.clone()),
            names: names(&snapshot, &snapshot.volume),
            region: snapshot.region.clone(),
            account: snapshot.account.clone(),
            owner: Owner::Snapshot(Box::new(snapshot)),
        }
    }

    fn slot(&self) -> (Slot<'_>, &WrappedKeys) {
        match &self.owner {
            Owner::Cluster(cluster) => (Slot::of_cluster(cluster), &cluster.keys),
            Owner::Snapshot(snapshot) => (Slot::of_snapshot(snapshot), &snapshot.keys),
        }
    }

    /// The KMS key that its volume key is wrapped under, if there is one.
    pub fn key_arn(&self) -> Option<&str> {
        match &self.owner {
            Owner::Cluster(cluster) => Encryption::key_arn(&cluster.encryption),
            Owner::Snapshot(snapshot) => Encryption::key_arn(&snapshot.encryption),
        }
    }
}

/// Details of a record of the trail, without those that there are none of.
pub fn without_nulls(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn names(record: &impl Record, volume: &VolumeId) -> Vec<String> {
    vec![record.arn(), record.id().into(), record.identifier().into(), volume.to_string()]
}

impl Rds {
    /// The volumes and snapshots with a name: an identifier, ARN, resource id or volume id. A cluster comes before the
    /// snapshots of its volume.
    ///
    /// # Errors
    /// [`KeyFault::Failed`]: the records cannot be read.
    pub async fn sealed_volumes(&self, name: &str) -> Result<Vec<SealedVolume>, KeyFault> {
        let failed = |error: Error| KeyFault::Failed(error.to_string());
        let clusters = self.records.all::<Cluster>().await.map_err(failed)?;
        let snapshots = self.records.all::<Snapshot>().await.map_err(failed)?;
        let mut sealed = Vec::new();
        for cluster in clusters {
            let anchor = self.records.anchor(&cluster.volume).await.map_err(failed)?;
            sealed.push(SealedVolume::of_cluster(self, cluster, anchor));
        }
        sealed.extend(snapshots.into_iter().map(|snapshot| SealedVolume::of_snapshot(self, snapshot)));
        sealed.retain(|sealed| sealed.names.iter().any(|known| known == name));
        Ok(sealed)
    }

    /// Opens all keys that the volume may need, with a record in the trail for each.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn open_sealed(&self, sealed: &SealedVolume) -> Result<Vec<VolumeKey>, KeyFault> {
        let (slot, wrapped) = sealed.slot();
        self.volume_keys(&sealed.region, &sealed.account).open(&slot, wrapped).await.map(OpenKeys::all)
    }

    /// Whether whoever opened a volume key may keep it, after something about its KMS key has changed.
    pub async fn may_keep_open(&self, sealed: &SealedVolume) -> bool {
        let (slot, wrapped) = sealed.slot();
        let checked = self.volume_keys(&sealed.region, &sealed.account).check(&slot, wrapped).await;
        !matches!(checked, Err(KeyFault::Refused(_)))
    }
}
