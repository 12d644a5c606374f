//! `config.toml`: read whole before any port opens; a bad value names its key.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ids::Region;
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// The settings of a server. Every one has a default; a new home gets them written out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the one endpoint. Anything but loopback needs TLS.
    pub listen: SocketAddr,
    /// The region that `strongroom env` tells clients; the server serves every region.
    pub region: Region,
    /// PEM files with the certificate chain and its key; TLS is on when both are given.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// How the root key is kept: `file`, or `passphrase` with the file that holds the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// The name by which clients reach the endpoint; `None`: the address in `listen`.
    pub host_name: Option<String>,
    pub clusters: Clusters,
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
    /// Size of a new volume's device. Space is only used as it is written.
    pub volume_gib: u64,
    /// Directories with `postgres` and `initdb`; every one is an engine version on offer. None: those that Debian's
    /// packages have put below `/usr/lib/postgresql`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postgres_bin_dirs: Vec<PathBuf>,
    /// The system's user that databases run as.
    pub postgres_user: String,
    /// `postgres` parameters for every cluster, beside those that the volume makes safe.
    pub parameters: std::collections::BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7800).into(),
            region: "us-west-2".parse().expect("a constant"),
            tls_certificate: None,
            tls_key: None,
            passphrase_file: None,
            host_name: None,
            clusters: Clusters::default(),
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
            postgres_bin_dirs: Vec::new(),
            postgres_user: "postgres".into(),
            parameters: std::collections::BTreeMap::new(),
        }
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
        if !(1..=64 * 1024).contains(&clusters.volume_gib) {
            return Err(bad("clusters.volume_gib must be between 1 and 65536".into()));
        }
        Ok(config)
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
    fn a_bad_value_names_its_key() {
        for (text, key) in [
            ("listen = 7", "listen"),
            ("nonsense = 1", "nonsense"),
            ("region = \"Mars\"", "region"),
            ("tls_key = \"k\"", "tls_certificate"),
            ("[clusters]\nfirst_port = 0", "first_port"),
            ("[clusters]\nkey_check_seconds = 0", "key_check_seconds"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(key), "{text}");
        }
    }
}
