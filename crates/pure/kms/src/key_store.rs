//! Custom key stores of type EXTERNAL_KEY_STORE: what is known of one, and what its connection permits. Source: AWS
//! KMS API reference, CustomKeyStoresListEntry and CustomKeyStoreInvalidStateException.

use std::fmt;

use ids::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

/// Hex digits of an id.
const ID_DIGITS: usize = 17;

/// The full name of a key store.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KeyStoreName {
    pub account: AccountId,
    pub region: Region,
    /// `cks-` and 17 hex digits, or whatever a caller has sent.
    pub id: String,
}

impl KeyStoreName {
    /// A name with an id made of random bytes.
    pub fn from_random(account: AccountId, region: Region, random: [u8; 16]) -> Self {
        let digits = format!("{:032x}", u128::from_be_bytes(random));
        Self { account, region, id: format!("cks-{}", &digits[..ID_DIGITS]) }
    }
}

/// `111122223333/us-west-2/cks-…`
impl fmt::Display for KeyStoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account, self.region, self.id)
    }
}

/// A key store as the state store keeps it. The secret that its requests are signed with is elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyStore {
    pub name: KeyStoreName,
    /// The name that its owner gave it.
    pub label: String,
    /// `https://` and a host name.
    pub endpoint: String,
    /// Ends with `/kms/xks/v1`.
    pub path: String,
    pub access_key_id: String,
    pub connection: Connection,
    pub created: Timestamp,
}

/// Whether a key store is connected to its proxy. An attempt is over before it is answered: nothing is ever seen
/// connecting or disconnecting.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Connection {
    Connected,
    Disconnected,
    Failed(ConnectionError),
}

/// Why an attempt to connect failed (`ConnectionErrorCode`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionError {
    InvalidCredentials,
    XksProxyAccessDenied,
    XksProxyNotReachable,
    XksProxyInvalidResponse,
    XksProxyInvalidConfiguration,
    XksProxyTimedOut,
    XksProxyInvalidTlsConfiguration,
}

impl Connection {
    /// `ConnectionState`
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Disconnected => "DISCONNECTED",
            Self::Failed(_) => "FAILED",
        }
    }

    /// `ConnectionErrorCode`
    pub const fn error(self) -> Option<ConnectionError> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// The connection of the store does not permit it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key store is {}", .0.name())]
pub struct WrongConnection(pub Connection);

/// What an update changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreUpdate {
    pub label: Option<String>,
    pub endpoint: Option<String>,
    pub path: Option<String>,
    pub access_key_id: Option<String>,
}

impl KeyStore {
    /// Whether an attempt to connect may begin. One that is connected stays so.
    ///
    /// # Errors
    /// [`WrongConnection`] after a failure: it must be disconnected first.
    pub const fn check_connect(&self) -> Result<(), WrongConnection> {
        match self.connection {
            Connection::Failed(_) => Err(WrongConnection(self.connection)),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`WrongConnection`] if there is none.
    pub const fn check_disconnect(&self) -> Result<(), WrongConnection> {
        match self.connection {
            Connection::Disconnected => Err(WrongConnection(self.connection)),
            _ => Ok(()),
        }
    }

    /// Whether keys can be made in it.
    ///
    /// # Errors
    /// [`WrongConnection`] unless it is connected.
    pub const fn check_connected(&self) -> Result<(), WrongConnection> {
        match self.connection {
            Connection::Connected => Ok(()),
            _ => Err(WrongConnection(self.connection)),
        }
    }

    /// Whether it may be deleted.
    ///
    /// # Errors
    /// [`WrongConnection`] unless it is disconnected.
    pub const fn check_disconnected(&self) -> Result<(), WrongConnection> {
        match self.connection {
            Connection::Disconnected => Ok(()),
            _ => Err(WrongConnection(self.connection)),
        }
    }

    /// The store with its update.
    ///
    /// # Errors
    /// [`WrongConnection`] after a failure, and for another endpoint while it is connected.
    pub fn updated(&self, update: StoreUpdate) -> Result<Self, WrongConnection> {
        match (self.connection, &update.endpoint) {
            (Connection::Disconnected, _) | (Connection::Connected, None) => {}
            _ => return Err(WrongConnection(self.connection)),
        }
        let mut new = self.clone();
        new.label = update.label.unwrap_or(new.label);
        new.endpoint = update.endpoint.unwrap_or(new.endpoint);
        new.path = update.path.unwrap_or(new.path);
        new.access_key_id = update.access_key_id.unwrap_or(new.access_key_id);
        Ok(new)
    }

    /// Whether two stores lead to the same place. Host names have no case.
    pub fn same_address(&self, other: &Self) -> bool {
        self.endpoint.eq_ignore_ascii_case(&other.endpoint) && self.path == other.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(connection: Connection) -> KeyStore {
        let (account, region) = ("111122223333".parse().unwrap(), "us-west-2".parse().unwrap());
        KeyStore {
            name: KeyStoreName::from_random(account, region, [0xab; 16]),
            label: "a".into(),
            endpoint: "https://xks.example.com".into(),
            path: "/kms/xks/v1".into(),
            access_key_id: "ABCDEFGHIJKLMNOPQRST".into(),
            connection,
            created: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn an_id_is_as_awss_are() {
        assert_eq!(store(Connection::Connected).name.id, "cks-ababababababababa");
    }

    #[test]
    fn each_connection_permits_what_it_permits() {
        let failed = Connection::Failed(ConnectionError::XksProxyTimedOut);
        let endpoint =
            || StoreUpdate { endpoint: Some("https://b.example.com".into()), ..Default::default() };
        let path = || StoreUpdate { path: Some("/b/kms/xks/v1".into()), ..Default::default() };
        for (connection, connect, disconnect, make, delete, move_host, move_path) in [
            (Connection::Connected, true, true, true, false, false, true),
            (Connection::Disconnected, true, false, false, true, true, true),
            (failed, false, true, false, false, false, false),
        ] {
            let store = store(connection);
            let permitted = [
                store.check_connect().is_ok(),
                store.check_disconnect().is_ok(),
                store.check_connected().is_ok(),
                store.check_disconnected().is_ok(),
                store.updated(endpoint()).is_ok(),
                store.updated(path()).is_ok(),
            ];
            assert_eq!(
                permitted,
                [connect, disconnect, make, delete, move_host, move_path],
                "{connection:?}"
            );
        }
    }

    #[test]
    fn what_is_not_updated_stays() {
        let old = store(Connection::Connected);
        let new = old.updated(StoreUpdate { label: Some("b".into()), ..Default::default() }).unwrap();
        assert_eq!(new, KeyStore { label: "b".into(), ..old.clone() });
        assert!(new.same_address(&old));
        let other = KeyStore { endpoint: "https://XKS.example.com".into(), ..old.clone() };
        assert!(other.same_address(&old));
        assert!(!KeyStore { path: "/x/kms/xks/v1".into(), ..other }.same_address(&old));
    }

    #[test]
    fn a_code_is_spelled_as_awss() {
        let told = serde_json::to_value(ConnectionError::XksProxyInvalidTlsConfiguration).unwrap();
        assert_eq!(told, "XKS_PROXY_INVALID_TLS_CONFIGURATION");
    }
}
