//! The cluster service: what every operation and the reconciler share.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use audit::Trail;
use clusters::{ClusterResourceId, EndpointNames, Identifier};
use engine::{Host, Transfers};
use ids::{AccountId, Clock, Entropy, Region, Timestamp};
use store::Store;
use tokio::sync::Notify;

use crate::{
    engines::Engine,
    gauges::AllNames,
    keys::KeyService,
    live::LiveClusters,
    observer::Observer,
    records::{Cluster, Records},
    seal::Sealer,
    settings::Settings,
    volume_keys::VolumeKeys,
};

/// What the cluster service reaches the world through.
pub struct Doors {
    pub store: Store,
    pub trail: Arc<Trail>,
    pub keys: Arc<dyn KeyService>,
    pub host: Arc<dyn Host>,
    pub transfers: Arc<dyn Transfers>,
    pub sealer: Arc<dyn Sealer>,
    pub entropy: Arc<dyn Entropy>,
    pub clock: Arc<dyn Clock>,
}

/// The cluster service.
pub struct Rds {
    pub(crate) settings: Settings,
    /// Oldest first.
    pub(crate) engines: Vec<Engine>,
    pub(crate) records: Records,
    pub(crate) trail: Arc<Trail>,
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) transfers: Arc<dyn Transfers>,
    pub(crate) sealer: Arc<dyn Sealer>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Observer,
    pub(crate) lives: LiveClusters,
    pub(crate) names: AllNames,
    /// Fetches of snapshots whose objects in the store were not what had been put there.
    pub(crate) refused_fetches: AtomicU64,
    clock: Arc<dyn Clock>,
    /// Clusters that something has to be done for.
    due: Mutex<BTreeSet<ClusterResourceId>>,
    pub(crate) any_due: Notify,
}

impl Rds {
    /// The service over its settings, the PostgreSQL versions on offer ([`crate::discover`]), and the world.
    pub fn new(settings: Settings, engines: Vec<Engine>, doors: Doors) -> Arc<Self> {
        Arc::new(Self {
            settings,
            engines,
            records: Records::new(doors.store),
            trail: doors.trail,
            keys: doors.keys,
            observer: Observer::new(Arc::clone(&doors.host)),
            host: doors.host,
            transfers: doors.transfers,
            sealer: doors.sealer,
            entropy: doors.entropy,
            lives: LiveClusters::default(),
            names: AllNames::default(),
            refused_fetches: AtomicU64::new(0),
            clock: doors.clock,
            due: Mutex::default(),
            any_due: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The id of an event that no call asked for: a random UUID.
    pub(crate) fn new_event_id(&self) -> String {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Volume keys on behalf of an account.
    pub(crate) fn volume_keys<'a>(&'a self, region: &'a Region, account: &'a AccountId) -> VolumeKeys<'a> {
        VolumeKeys { service: &*self.keys, sealer: &*self.sealer, entropy: &*self.entropy, region, account }
    }

    /// The version that a cluster runs, if it is still installed.
    pub(crate) fn engine(&self, version: &str) -> Option<&Engine> {
        self.engines.iter().find(|engine| engine.version == version)
    }

    /// Tells the reconciler that something changed for a cluster.
    pub(crate) fn wake(&self, id: &ClusterResourceId) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        self.any_due.notify_one();
    }

    pub(crate) fn take_due(&self) -> BTreeSet<ClusterResourceId> {
        std::mem::take(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Host name of the cluster endpoint.
    pub(crate) fn writer_host(&self, cluster: &Cluster) -> String {
        self.host_name(&cluster.account, &cluster.region, |names| names.writer(&cluster.identifier))
    }

    /// Host name of the reader endpoint, which leads to the writer while there are no readers.
    pub(crate) fn reader_host(&self, cluster: &Cluster) -> String {
        self.host_name(&cluster.account, &cluster.region, |names| names.reader(&cluster.identifier))
    }

    /// Host name of an instance's endpoint.
    pub(crate) fn instance_host(&self, cluster: &Cluster, instance: &Identifier) -> String {
        self.host_name(&cluster.account, &cluster.region, |names| names.instance(instance))
    }

    fn host_name(
        &self,
        account: &AccountId,
        region: &Region,
        name: impl FnOnce(&EndpointNames<'_>) -> String,
    ) -> String {
        match &self.settings.endpoint_domain {
            Some(domain) => {
                let label = EndpointNames::label_of(account, region);
                name(&EndpointNames { label: &label, region, domain })
            }
            None => self.settings.endpoint_host.clone(),
        }
    }
}
