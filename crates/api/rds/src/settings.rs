//! What an operator can set about clusters.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use ids::Region;

/// Settings of the cluster side. [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where volumes (`volumes/<vol-…>`), snapshots (`snapshots/<snap-…>`) and what instances need to run
    /// (`instances/<db-…>`) lie.
    pub home: PathBuf,
    /// Ports for cluster endpoints; every cluster keeps one for its life.
    pub ports: RangeInclusive<u16>,
    /// Address that the endpoints listen on.
    pub listen: IpAddr,
    /// Host name that answers name as `Endpoint`: one that reaches `listen`.
    pub endpoint_host: String,
    /// Where DNS is set up: endpoints are named `<cluster>.cluster-<label>.<region>.<domain>` instead.
    pub endpoint_domain: Option<String>,
    /// Days during which a cluster that lost its key can be recovered; 0: never.
    pub recoverable_days: u32,
    /// How often access to each key is checked, beside the checks that events cause.
    pub check_interval: Duration,
    /// PostgreSQL installations on offer: directories with `postgres`, `initdb`, `pg_ctl`.
    pub postgres_bin_dirs: Vec<PathBuf>,
}

impl Settings {
    /// The defaults, below `home`.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            ports: 15_432..=15_631,
            listen: IpAddr::from([127, 0, 0, 1]),
            endpoint_host: "localhost".into(),
            endpoint_domain: None,
            recoverable_days: 7,
            check_interval: Duration::from_secs(60),
            postgres_bin_dirs: Vec::new(),
        }
    }

    pub(crate) const fn recoverable_for(&self) -> Duration {
        Duration::from_secs(self.recoverable_days as u64 * 24 * 3600)
    }

    /// Availability zones of a region, as answers show them: names that clients expect to see.
    pub(crate) fn zones(region: &Region) -> Vec<String> {
        ["a", "b", "c"].iter().map(|zone| format!("{region}{zone}")).collect()
    }
}
