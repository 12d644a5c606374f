//! The resource whose tags are read or changed: a cluster, an instance or a cluster snapshot.

use std::collections::BTreeMap;

use front::{Ask, Call};
use wire::Fault;

use super::target::{Named, Resource};
use crate::{
    names::{self, Kind},
    records::{Cluster, Edit, Instance, Snapshot},
    service::Rds,
};

/// A resource of any of the kinds that have tags.
#[derive(Debug)]
pub enum Tagged {
    Cluster(Named<Cluster>),
    Instance(Named<Instance>),
    Snapshot(Named<Snapshot>),
}

impl Tagged {
    /// Looks a resource up by its ARN.
    ///
    /// # Errors
    /// InvalidParameterValue for what is no ARN of these kinds here.
    pub async fn find(rds: &Rds, call: &Call, arn: &str) -> Result<Self, Fault> {
        let (kind, name) = names::any_kind(call, arn)?;
        Ok(match kind {
            Kind::Cluster => Self::Cluster(Named::by_name(rds, call, name).await?),
            Kind::Instance => Self::Instance(Named::by_name(rds, call, name).await?),
            Kind::Snapshot => Self::Snapshot(Named::by_name(rds, call, name).await?),
        })
    }

    pub fn ask(&self, call: &Call, action: &'static str) -> Ask {
        match self {
            Self::Cluster(cluster) => cluster.ask(call, action),
            Self::Instance(instance) => instance.ask(call, action),
            Self::Snapshot(snapshot) => snapshot.ask(call, action),
        }
    }

    /// # Errors
    /// Not found.
    pub fn tags(&self) -> Result<&BTreeMap<String, String>, Fault> {
        match self {
            Self::Cluster(cluster) => cluster.get().map(Resource::tags),
            Self::Instance(instance) => instance.get().map(Resource::tags),
            Self::Snapshot(snapshot) => snapshot.get().map(Resource::tags),
        }
    }

    /// Changes the tags as they are now.
    ///
    /// # Errors
    /// Not found, and whatever `change` finds wrong; nothing has changed then.
    pub async fn change(
        &self,
        rds: &Rds,
        call: &Call,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Fault> + Send,
    ) -> Result<(), Fault> {
        self.tags()?;
        let edit = rds.records.edit(&call.event_id).await?;
        match self {
            Self::Cluster(cluster) => change_one(edit, cluster, change).await,
            Self::Instance(instance) => change_one(edit, instance, change).await,
            Self::Snapshot(snapshot) => change_one(edit, snapshot, change).await,
        }
    }
}

async fn change_one<T: Resource>(
    mut edit: Edit,
    named: &Named<T>,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Fault> + Send,
) -> Result<(), Fault> {
    let mut record = named.take(&mut edit).await?;
    let mut tags = record.tags().clone();
    change(&mut tags)?;
    record.set_tags(tags);
    edit.put(&record).await?;
    Ok(edit.commit().await?)
}
