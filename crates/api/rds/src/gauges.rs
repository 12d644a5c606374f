//! Numbers of open volumes for Prometheus, as the instances last told them.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Formatter},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed},
};

use clusters::{InstanceResourceId, VolumeId};
use engine::{Sighting, VolumeState};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};
use volume::Anchor;

use crate::service::Rds;

/// Which volume an instance has, and by which names its owner knows them.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Names {
    pub volume: String,
    pub cluster: String,
    pub instance: String,
}

/// The names of all instances that have been looked at.
#[derive(Debug, Default)]
pub struct AllNames(Mutex<BTreeMap<InstanceResourceId, Names>>);

impl AllNames {
    fn map(&self) -> MutexGuard<'_, BTreeMap<InstanceResourceId, Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes those of an instance.
    pub fn note(&self, id: &InstanceResourceId, volume: &VolumeId, cluster: &str, instance: &str) {
        let names =
            Names { volume: volume.to_string(), cluster: cluster.to_owned(), instance: instance.to_owned() };
        self.map().insert(id.clone(), names);
    }

    /// The instance is gone.
    pub fn forget(&self, id: &InstanceResourceId) {
        self.map().remove(id);
    }

    fn of(&self, id: &InstanceResourceId) -> Option<Names> {
        self.map().get(id).cloned()
    }
}

/// The metrics of volumes ([`Rds::volume_metrics`]).
pub struct VolumeMetrics(Weak<Rds>);

impl Debug for VolumeMetrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("VolumeMetrics")
    }
}

impl Rds {
    /// The numbers of the open volumes, for whoever serves metrics.
    pub fn volume_metrics(self: &Arc<Self>) -> VolumeMetrics {
        VolumeMetrics(Arc::downgrade(self))
    }
}

/// A number, its name and what it is.
type Number = (&'static str, &'static str, MetricType, fn(&VolumeState) -> u64);

const NUMBERS: &[Number] = &[
    ("volume_size_bytes", "Size of the device", MetricType::Gauge, |v| v.counters.size),
    ("volume_live_bytes", "Blocks that hold data", MetricType::Gauge, |v| v.counters.live),
    ("volume_segment_bytes", "Segment files on the host", MetricType::Gauge, |v| v.counters.stored),
    ("volume_pending_bytes", "Data not yet written", MetricType::Gauge, |v| v.counters.pending),
    ("volume_full", "1: the host has no room for more", MetricType::Gauge, |v| u64::from(v.full)),
    ("volume_sequence", "Number of the last group", MetricType::Gauge, |v| v.counters.sequence),
    ("volume_anchor_sequence", "Number of the anchored group", MetricType::Gauge, anchored),
    ("volume_stuck_segments", "Segments that cannot be cleaned", MetricType::Gauge, |v| {
        v.counters.stuck_segments
    }),
    ("volume_key_generations", "Keys that the volume needs", MetricType::Gauge, |v| v.counters.generations),
    ("volume_live_records", "Blocks and nodes that are live", MetricType::Gauge, |v| v.counters.live_records),
    ("volume_older_records", "Those of them under older keys", MetricType::Gauge, |v| {
        v.counters.older_records
    }),
    ("volume_damaged_places", "Places found damaged", MetricType::Gauge, |v| v.damage.len() as u64),
    ("volume_written_bytes", "Written to the host", MetricType::Counter, |v| v.counters.written),
    ("volume_groups", "Groups committed", MetricType::Counter, |v| v.counters.groups),
    ("volume_flushes", "Flushes answered", MetricType::Counter, |v| v.counters.flushes),
    ("volume_checkpoints", "Checkpoints taken", MetricType::Counter, |v| v.counters.checkpoints),
    ("volume_cleaned_bytes", "Blocks that the cleaner moved", MetricType::Counter, |v| v.counters.cleaned),
    ("volume_freed_segments", "Segments removed", MetricType::Counter, |v| v.counters.freed_segments),
    ("volume_authentication_failures", "Reads refused as not authentic", MetricType::Counter, |v| {
        v.counters.authentication_failures
    }),
];

fn anchored(volume: &VolumeState) -> u64 {
    let anchor = volume.anchor.as_deref().and_then(|bytes| Anchor::from_bytes(bytes).ok());
    anchor.map_or(0, |anchor| anchor.sequence)
}

impl Collector for VolumeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(rds) = self.0.upgrade() else { return Ok(()) };
        let help = "Fetches of snapshots refused as not what was put into the store";
        let refused = rds.refused_fetches.load(Relaxed);
        encoder
            .encode_descriptor("snapshot_fetches_refused", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&refused, None)?;
        let sightings = rds.observer.last();
        let is_open = |sighting: &Sighting| sighting.open.anchor.is_some();
        let open = sightings.iter().filter(|(_, sighting)| is_open(sighting));
        let open: Vec<_> =
            open.filter_map(|(id, sighting)| Some((rds.names.of(id)?, &sighting.open))).collect();
        for (name, help, kind, number) in NUMBERS {
            if open.is_empty() {
                return Ok(());
            }
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            for (names, volume) in &open {
                let mut one = metric.encode_family(names)?;
                match kind {
                    MetricType::Counter => {
                        one.encode_counter::<NoLabelSet, u64, u64>(&number(volume), None)?;
                    }
                    _ => one.encode_gauge(&number(volume))?,
                }
            }
        }
        Ok(())
    }
}
