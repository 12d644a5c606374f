//! `config.toml`: read whole before any port opens; a bad value names its key.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use api_kms::Quotas;
use engine::{Memory, SpaceLimits};
use ids::{Region, Regions};
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// The settings of a server. Every one has a default; a new home gets them written out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the one endpoint. Anything but loopback needs TLS.
    pub listen: SocketAddr,
    /// The server's own region: `strongroom env` tells it to clients.
    pub region: Region,
    /// Regions that are served beside it, as if each were a server of its own. None: those of AWS's commercial partition,
    /// and others that have keys already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// PEM files with the certificate chain and its key; TLS is on when both are given.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// How the root key is kept: `file`, or `passphrase` with the file that holds the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// The name by which clients reach the endpoint; `None`: the address in `listen`.
    pub host_name: Option<String>,
    pub clusters: Clusters,
    pub snapshots: Snapshots,
    /// Quotas of the key service, as in AWS unless they are given.
    pub quotas: Quotas,
    /// How the proxies of external key stores are reached.
    pub external_key_stores: xks::Settings,
}

/// Settings of the cluster service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clusters {
    /// The host name in cluster endpoints; must lead to `listen_address`.
    pub endpoint_host: String,
    /// The address on which cluster endpoints listen.
    pub listen_address: std::net::IpAddr,
    /// Stable ports of cluster endpoints, first and last.
    pub first_port: u16,
    pub last_port: u16,
    /// Days in which a cluster without its key can still be started once the key is back; 0: never.
    pub recoverable_days: u32,
    /// Seconds between checks that the keys of running clusters are still there.
    pub key_check_seconds: u64,
    /// Size of a new volume's device; space on the host is only used as it is written. The device grows as its database
    /// does: by a step (no more than its size, no less than an eighth of it), up to the largest, and only as far as the
    /// host has space.
    pub volume_gib: u64,
    pub volume_step_gib: u64,
    pub volume_largest_gib: u64,
    /// Space that stays free on the host. With less, databases find no room for more (`storage-full`) and go on once
    /// there is some: overwritten blocks take space until the cleaner has given theirs back.
    pub volume_reserve_mib: u64,
    /// Memory of an instance process for nodes of its volume's tree; 1 MiB of them maps 256 MiB of data.
    pub volume_node_cache_mib: usize,
    /// Memory of an instance process for data that is not written yet; with more, writers wait.
    pub volume_unwritten_mib: usize,
    /// Let the FUSE module offer io_uring, for the whole machine: fewer system calls for each block of a volume. Without,
    /// the server uses what root has set (`/sys/module/fuse/parameters/enable_uring`, Linux 6.14).
    pub fuse_io_uring: bool,
    /// Directories with `postgres` and `initdb`; every one is an engine version on offer. None: those that Debian's
    /// packages have put below `/usr/lib/postgresql`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postgres_bin_dirs: Vec<PathBuf>,
    /// The system's user that databases run as.
    pub postgres_user: String,
    /// `postgres` parameters for every cluster, beside those that the volume makes safe.
    pub parameters: std::collections::BTreeMap<String, String>,
}

/// Where cluster snapshots go besides this machine.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshots {
    /// `file:///directory` or `s3://bucket/prefix`, for this server alone. `None`: snapshots stay on this machine.
    pub store: Option<String>,
    /// Of S3: the endpoint, if it is not that of AWS. Over TLS, unless it is on this machine.
    pub endpoint: Option<String>,
    /// Of S3.
    pub region: Option<String>,
    /// Of S3: a file as `~/.aws/credentials` is, whose `[default]` is used. Nobody else may be able to read it.
    pub credentials_file: Option<PathBuf>,
}

impl Snapshots {
    /// The place, unless there is none.
    ///
    /// # Errors
    /// [`archive::BadLocation`]
    pub fn location(&self) -> Result<Option<archive::Location>, archive::BadLocation> {
        let (endpoint, region) = (self.endpoint.as_deref(), self.region.as_deref());
        let read =
            |url: &String| archive::Location::parse(url, endpoint, region, self.credentials_file.as_deref());
        self.store.as_ref().map(read).transpose()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7800).into(),
            region: "us-west-2".parse().expect("a constant"),
            regions: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            passphrase_file: None,
            host_name: None,
            clusters: Clusters::default(),
            snapshots: Snapshots::default(),
            quotas: Quotas::default(),
            external_key_stores: xks::Settings::default(),
        }
    }
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            endpoint_host: "localhost".into(),
            listen_address: [127, 0, 0, 1].into(),
            first_port: 15432,
            last_port: 15931,
            recoverable_days: 7,
            key_check_seconds: 60,
            volume_gib: 64,
            volume_step_gib: 16,
            volume_largest_gib: LARGEST_GIB,
            volume_reserve_mib: 1024,
            volume_node_cache_mib: 64,
            volume_unwritten_mib: 32,
            fuse_io_uring: false,
            postgres_bin_dirs: Vec::new(),
            postgres_user: "postgres".into(),
            parameters: std::collections::BTreeMap::new(),
        }
    }
}

/// 64 TiB, in GiB.
const LARGEST_GIB: u64 = 64 * 1024;

impl Clusters {
    /// How large volumes are and become.
    pub fn space(&self) -> SpaceLimits {
        SpaceLimits {
            first: self.volume_gib << 30,
            step: self.volume_step_gib << 30,
            largest: self.volume_largest_gib << 30,
            reserve: self.volume_reserve_mib << 20,
        }
    }

    /// What an open volume may take of memory.
    pub const fn memory(&self) -> Memory {
        Memory { node_cache: self.volume_node_cache_mib << 20, unwritten: self.volume_unwritten_mib << 20 }
    }

    fn check_volumes(&self) -> Result<(), String> {
        let largest = self.volume_largest_gib;
        let gib = [
            ("volume_gib", self.volume_gib, 1, largest.clamp(1, LARGEST_GIB)),
            ("volume_step_gib", self.volume_step_gib, 1, LARGEST_GIB),
            ("volume_largest_gib", largest, 1, LARGEST_GIB),
            ("volume_reserve_mib", self.volume_reserve_mib, 64, LARGEST_GIB * 1024),
            ("volume_node_cache_mib", self.volume_node_cache_mib as u64, 1, 64 * 1024),
            ("volume_unwritten_mib", self.volume_unwritten_mib as u64, 4, 16 * 1024),
        ];
        for (name, value, least, most) in gib {
            if !(least..=most).contains(&value) {
                return Err(format!("clusters.{name} must be between {least} and {most}"));
            }
        }
        Ok(())
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {detail}")]
    Bad { path: String, detail: String },
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let bad = |detail: String| ConfigError::Bad { path: shown.clone(), detail };
        let config: Self = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if config.tls_certificate.is_some() != config.tls_key.is_some() {
            return Err(bad("tls_certificate and tls_key: give both or none".into()));
        }
        let clusters = &config.clusters;
        if clusters.first_port == 0 || clusters.first_port > clusters.last_port {
            return Err(bad("clusters.first_port must be above 0 and not above clusters.last_port".into()));
        }
        if clusters.key_check_seconds == 0 {
            return Err(bad("clusters.key_check_seconds must be above 0".into()));
        }
        clusters.check_volumes().map_err(bad)?;
        config.quotas.check().map_err(|detail| bad(format!("quotas.{detail}")))?;
        let stores = &config.external_key_stores;
        stores.check().map_err(|detail| bad(format!("external_key_stores.{detail}")))?;
        let snapshots = &config.snapshots;
        let of_s3 = [
            (snapshots.endpoint.is_some(), "endpoint"),
            (snapshots.region.is_some(), "region"),
            (snapshots.credentials_file.is_some(), "credentials_file"),
        ];
        if let (None, Some((_, key))) = (&snapshots.store, of_s3.iter().find(|(given, _)| *given)) {
            return Err(bad(format!("snapshots.{key} needs snapshots.store")));
        }
        Ok(config)
    }

    /// The regions that are served, where some have keys already.
    pub fn served(&self, with_keys: Regions) -> Regions {
        let mut served: Regions = if self.regions.is_empty() {
            let mut all = Regions::commercial();
            all.extend(with_keys.iter().cloned());
            all
        } else {
            for left_out in with_keys.iter().filter(|region| !self.regions.contains(region)) {
                if *left_out != self.region {
                    tracing::warn!(region = %left_out, "there are keys in a region that `regions` leaves out: nobody can use them");
                }
            }
            self.regions.iter().cloned().collect()
        };
        served.extend([self.region.clone()]);
        served
    }

    /// Where the root key of a home comes from.
    pub fn root_key(&self, home: &Home) -> custody::Source {
        let file = home.root_key();
        match &self.passphrase_file {
            None => custody::Source::File(file),
            Some(passphrase) => custody::Source::Passphrase { file, passphrase_file: passphrase.clone() },
        }
    }

    /// The PostgreSQL installations on offer.
    pub fn postgres_bin_dirs(&self) -> Vec<PathBuf> {
        let given = &self.clusters.postgres_bin_dirs;
        if given.is_empty() { installed_postgres(Path::new("/usr/lib/postgresql")) } else { given.clone() }
    }

    /// The URL that clients use when the endpoint listens on `bound`.
    pub fn endpoint(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls_certificate.is_some() { "https" } else { "http" };
        match &self.host_name {
            Some(name) => format!("{scheme}://{name}:{}", bound.port()),
            None => format!("{scheme}://{bound}"),
        }
    }

    /// The text of a new home's file.
    pub fn to_text(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain values")
    }
}

/// The versions that Debian's packages have put below a directory, oldest first.
fn installed_postgres(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    versions.sort();
    versions.into_iter().map(|(_, bin)| bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn what_is_written_reads_back_and_an_empty_file_is_the_default() {
        let written = Config::default().to_text();
        assert_eq!(read(&written).unwrap().to_text(), written);
        assert_eq!(read("").unwrap().to_text(), written);
    }

    #[test]
    fn the_own_region_is_served_beside_those_that_are_named_or_all_of_aws() {
        let regions = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Regions>();
        let named = read("region = \"cellar-1\"\nregions = [\"eu-west-1\"]").unwrap();
        assert_eq!(named.served(regions(&["us-east-1"])), regions(&["cellar-1", "eu-west-1"]));
        let all = read("region = \"cellar-1\"").unwrap().served(regions(&["attic-1"]));
        let mut expected = Regions::commercial();
        expected.extend(regions(&["attic-1", "cellar-1"]).iter().cloned());
        assert_eq!(all, expected);
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (text, key) in [
            ("listen = 7", "listen"),
            ("nonsense = 1", "nonsense"),
            ("region = \"Mars\"", "region"),
            ("regions = [\"Mars\"]", "regions"),
            ("tls_key = \"k\"", "tls_certificate"),
            ("[clusters]\nfirst_port = 0", "first_port"),
            ("[clusters]\nkey_check_seconds = 0", "key_check_seconds"),
            ("[clusters]\nvolume_gib = 8\nvolume_largest_gib = 4", "volume_gib"),
            ("[clusters]\nvolume_reserve_mib = 0", "volume_reserve_mib"),
            ("[external_key_stores]\ntimeout_ms = 0", "external_key_stores.timeout_ms"),
            (
                "[external_key_stores.addresses]\n\"10.0.0.1\" = \"10.0.0.1:443\"",
                "external_key_stores.addresses",
            ),
            ("[snapshots]\nregion = \"eu-west-1\"", "snapshots.region"),
            ("[snapshots]\nbucket = \"b\"", "bucket"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(key), "{text}");
        }
    }
}
