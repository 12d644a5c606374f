//! The resource that a request names, as it was found: not being there is told only to whom it may be told.

use std::collections::BTreeMap;

use clusters::ClusterResourceId;
use front::{Ask, Call};
use wire::Fault;

use crate::{
    faults,
    names::{self, Kind},
    records::{Cluster, Edit, Instance, Record, Snapshot},
    request::with_tags,
    service::Rds,
};

/// A name and what has it.
#[derive(Debug)]
pub struct Named<T> {
    pub name: String,
    found: Option<T>,
}

/// The records that have a name and a kind in ARNs.
pub trait Resource: Record {
    const KIND_OF_ARN: Kind;
    /// The prefix of the condition keys for its tags: `rds:cluster-tag/k`.
    const TAG_PREFIX: &'static str;
    fn tags(&self) -> &BTreeMap<String, String>;
    fn set_tags(&mut self, tags: BTreeMap<String, String>);
}

impl<T: Resource> Named<T> {
    /// Looks a resource up by identifier or ARN.
    ///
    /// # Errors
    /// Not found, for ARNs of another account, region or kind.
    pub async fn find(rds: &Rds, call: &Call, text: &str) -> Result<Self, Fault> {
        Self::by_name(rds, call, names::existing(T::KIND_OF_ARN, call, text)?).await
    }

    /// Looks a resource up by its name in lower case.
    ///
    /// # Errors
    /// Only failures of ours.
    pub async fn by_name(rds: &Rds, call: &Call, name: String) -> Result<Self, Fault> {
        let found = rds.records.find(call.account(), &call.region, &name).await?;
        Ok(Self { name, found })
    }

    /// May the caller do this to it?
    pub fn ask(&self, call: &Call, action: &'static str) -> Ask {
        let ask = Ask::new(action, T::KIND_OF_ARN.arn(call, &self.name));
        match &self.found {
            Some(found) => with_tags(ask, T::TAG_PREFIX, found.tags()),
            None => ask,
        }
    }

    /// What has the name.
    ///
    /// # Errors
    /// Not found.
    pub fn get(&self) -> Result<&T, Fault> {
        self.found.as_ref().ok_or_else(|| T::KIND_OF_ARN.not_found(&self.name))
    }

    /// Whether anything has the name.
    pub fn exists(&self) -> bool {
        self.found.is_some()
    }

    /// Takes hold of it as it is now.
    ///
    /// # Errors
    /// Not found, if it has gone meanwhile.
    pub async fn take(&self, edit: &mut Edit) -> Result<T, Fault> {
        let id = self.get()?.id();
        edit.take(id).await?.ok_or_else(|| T::KIND_OF_ARN.not_found(&self.name))
    }
}

impl Resource for Cluster {
    const KIND_OF_ARN: Kind = Kind::Cluster;
    const TAG_PREFIX: &'static str = "cluster";
    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
    fn set_tags(&mut self, tags: BTreeMap<String, String>) {
        self.tags = tags;
    }
}

impl Resource for Instance {
    const KIND_OF_ARN: Kind = Kind::Instance;
    const TAG_PREFIX: &'static str = "db";
    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
    fn set_tags(&mut self, tags: BTreeMap<String, String>) {
        self.tags = tags;
    }
}

impl Resource for Snapshot {
    const KIND_OF_ARN: Kind = Kind::Snapshot;
    const TAG_PREFIX: &'static str = "cluster-snapshot";
    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
    fn set_tags(&mut self, tags: BTreeMap<String, String>) {
        self.tags = tags;
    }
}

/// The cluster of an instance: there as long as the instance is.
///
/// # Errors
/// Only failures of ours.
pub async fn cluster_of(rds: &Rds, id: &ClusterResourceId) -> Result<Cluster, Fault> {
    let cluster = rds.records.get(id.as_str()).await?;
    cluster.ok_or_else(|| Fault::internal(format!("an instance is left without its cluster {id}")))
}

/// The cluster is in one of the states that an operation admits.
///
/// # Errors
/// InvalidDBClusterStateFault.
pub fn expect_state(cluster: &Cluster, admitted: &[clusters::ClusterStatus]) -> Result<(), Fault> {
    if admitted.contains(&cluster.status) {
        return Ok(());
    }
    let expected: Vec<_> = admitted.iter().map(|status| status.as_str()).collect();
    Err(faults::unexpected_state(&cluster.identifier, cluster.status, &expected.join(",")))
}
