//! How proxies are reached.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Settings of external key stores. Whoever may make one (`kms:CreateCustomKeyStore`) makes the server call a host of
/// their choice: by default only addresses of the public internet, at port 443.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A PEM file of certificate authorities that are trusted beside those of the system.
    pub authorities_file: Option<PathBuf>,
    /// Milliseconds in which a proxy has to answer, connecting included. AWS gives 250.
    pub timeout_ms: u64,
    /// Requests under way to the proxy of one key store.
    pub most_requests: usize,
    /// Seconds for which a proxy may be out of reach before that counts as a refusal: databases under its keys run so
    /// much longer.
    pub silence_seconds: u64,
    /// Where the proxies of some host names are, instead of what DNS says: address and port. Only these may be private.
    pub addresses: BTreeMap<String, SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authorities_file: None,
            timeout_ms: 250,
            most_requests: 64,
            silence_seconds: 300,
            addresses: BTreeMap::new(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    #[error("{0} must be above 0")]
    Zero(&'static str),
    #[error("addresses: {0} is no host name in lower case")]
    Name(String),
    #[error("authorities_file: {path}: {detail}")]
    Authorities { path: String, detail: String },
    #[error("the client cannot be made: {0}")]
    Client(String),
}

impl Settings {
    /// Checks what can be checked without reading files.
    ///
    /// # Errors
    /// [`BadSettings`] names the one that cannot be.
    pub fn check(&self) -> Result<(), BadSettings> {
        for (name, zero) in [("timeout_ms", self.timeout_ms == 0), ("most_requests", self.most_requests == 0)]
        {
            if zero {
                return Err(BadSettings::Zero(name));
            }
        }
        let is_no_name = |name: &&String| {
            !crate::names_a_host(&format!("https://{name}")) || **name != name.to_lowercase()
        };
        match self.addresses.keys().find(is_no_name) {
            Some(name) => Err(BadSettings::Name(name.clone())),
            None => Ok(()),
        }
    }

    /// How long a proxy may take.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a proxy may be out of reach.
    pub const fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        Settings::default().check().unwrap();
        let at = |name: &str| BTreeMap::from([(name.to_owned(), ([127, 0, 0, 1], 443).into())]);
        Settings { addresses: at("xks.example.com"), ..Default::default() }.check().unwrap();
        for (bad, name) in [
            (Settings { timeout_ms: 0, ..Default::default() }, "timeout_ms"),
            (Settings { most_requests: 0, ..Default::default() }, "most_requests"),
            (Settings { addresses: at("XKS.example.com"), ..Default::default() }, "XKS.example.com"),
            (Settings { addresses: at("127.0.0.1"), ..Default::default() }, "127.0.0.1"),
        ] {
            assert!(bad.check().unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
