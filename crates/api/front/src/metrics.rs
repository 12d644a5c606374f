//! Counters for Prometheus.

use std::{
    sync::{PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

pub use prometheus_client::collector::Collector;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use wire::{Fault, ServiceId};

/// Calls by service, operation and error code; their duration by service.
pub struct Metrics {
    registry: RwLock<Registry>,
    calls: Family<CallLabels, Counter<u64, AtomicU64>>,
    seconds: Family<ServiceLabel, Histogram>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    service: &'static str,
    operation: String,
    code: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ServiceLabel {
    service: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("strongroom");
        let calls = Family::default();
        let seconds = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.0001, 2.0, 16))) as fn() -> _,
        );
        registry.register("calls", "Calls by service, operation and error code", calls.clone());
        registry.register("call_seconds", "Duration of calls", seconds.clone());
        Self { registry: RwLock::new(registry), calls, seconds }
    }
}

impl Metrics {
    pub(crate) fn observe(&self, service: ServiceId, operation: &str, fault: Option<&Fault>, took: Duration) {
        let code = fault.map_or("", |fault| fault.code.as_ref()).to_owned();
        let service = service.name();
        self.calls.get_or_create(&CallLabels { service, operation: operation.into(), code }).inc();
        self.seconds.get_or_create(&ServiceLabel { service }).observe(took.as_secs_f64());
    }

    /// Adds numbers that are asked for whenever somebody reads.
    pub fn collect(&self, numbers: impl Collector) {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(numbers));
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry.read().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
