//! `config.toml`: read whole before any port opens; a bad value names its key.

use std::{fs, net::SocketAddr, path::{Path, PathBuf}};

use ids::Region;
use serde::{Deserialize, Serialize};

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
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
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

    /// The text of a new home's file.
    pub fn to_text(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain values")
    }
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
