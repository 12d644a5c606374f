//! Desired state in SQL: clusters, instances, snapshots, events. Whoever changes a record first takes hold of its row
//! ([`Edit::take`]), so that two changes never cross.

mod anchors;
mod cluster;
mod instance;
mod snapshot;
mod wrapped;

use std::fmt;

use clusters::{Event, SourceType};
use ids::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::Row;
use store::{Change, Store};

pub use anchors::Acceptance;
pub use cluster::{Cluster, Encryption};
pub use instance::Instance;
pub use snapshot::{CopiedFrom, Snapshot};
pub use wrapped::WrappedKeys;

/// How long events are kept: 14 days.
const EVENTS_KEPT: std::time::Duration = std::time::Duration::from_secs(14 * 24 * 3600);

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the state database failed: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a record in the state database cannot be read: {0}")]
    Document(#[from] serde_json::Error),
}

impl Error {
    /// Did a name or a port turn out to be taken?
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Sql(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()))
    }
}

/// Wrapped or sealed bytes, in records as hex.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        bytes.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        text.as_bytes()
            .chunks(2)
            .map(pair)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| "not hex".to_owned())
    }
}

/// Something that has a row of its own.
pub trait Record: Serialize + DeserializeOwned + Send + Sync {
    const KIND: &'static str;
    const SOURCE: SourceType;
    fn id(&self) -> &str;
    fn account(&self) -> &AccountId;
    fn region(&self) -> &Region;
    fn identifier(&self) -> &str;
    fn arn(&self) -> String;
    fn cluster(&self) -> Option<&str> {
        None
    }
    fn port(&self) -> Option<u16> {
        None
    }
}

/// An event as it is kept.
#[derive(Clone, Debug)]
pub struct ToldEvent {
    /// In the order in which things happened.
    pub id: i64,
    pub at: Timestamp,
    pub source_type: String,
    pub source_id: String,
    pub source_arn: String,
    pub category: String,
    pub message: String,
}

/// Reads records, and begins changes of them.
#[derive(Clone, Debug)]
pub struct Records {
    store: Store,
}

fn parse<T: Record>(rows: &[sqlx::sqlite::SqliteRow]) -> Result<Vec<T>, Error> {
    rows.iter().map(|row| Ok(serde_json::from_str(row.try_get::<&str, _>("document")?)?)).collect()
}

impl Records {
    /// Over a state database.
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Every record of a kind, or those of one account and region; by name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all<T: Record>(&self) -> Result<Vec<T>, Error> {
        let rows = sqlx::query("SELECT document FROM rds_resources WHERE kind = $1 ORDER BY identifier")
            .bind(T::KIND)
            .fetch_all(self.store.read())
            .await?;
        parse(&rows)
    }

    /// Every record of a kind in an account and region, by name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list<T: Record>(&self, account: &AccountId, region: &Region) -> Result<Vec<T>, Error> {
        let rows = sqlx::query(
            "SELECT document FROM rds_resources WHERE kind = $1 AND account = $2 AND region = $3 ORDER BY identifier",
        )
        .bind(T::KIND)
        .bind(account.as_str())
        .bind(region.as_str())
        .fetch_all(self.store.read())
        .await?;
        parse(&rows)
    }

    /// The record with a name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find<T: Record>(
        &self,
        account: &AccountId,
        region: &Region,
        name: &str,
    ) -> Result<Option<T>, Error> {
        let rows = sqlx::query(
            "SELECT document FROM rds_resources WHERE kind = $1 AND account = $2 AND region = $3 AND identifier = $4",
        )
        .bind(T::KIND)
        .bind(account.as_str())
        .bind(region.as_str())
        .bind(name)
        .fetch_all(self.store.read())
        .await?;
        Ok(parse(&rows)?.pop())
    }

    /// The record with a resource id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get<T: Record>(&self, id: &str) -> Result<Option<T>, Error> {
        let rows = sqlx::query("SELECT document FROM rds_resources WHERE kind = $1 AND id = $2")
            .bind(T::KIND)
            .bind(id)
            .fetch_all(self.store.read())
            .await?;
        Ok(parse(&rows)?.pop())
    }

    /// The instances or snapshots of a cluster, by name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn of_cluster<T: Record>(&self, cluster: &str) -> Result<Vec<T>, Error> {
        let rows = sqlx::query(
            "SELECT document FROM rds_resources WHERE kind = $1 AND cluster = $2 ORDER BY identifier",
        )
        .bind(T::KIND)
        .bind(cluster)
        .fetch_all(self.store.read())
        .await?;
        parse(&rows)
    }

    /// Events of an account and region from one instant to another, oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn events(
        &self,
        account: &AccountId,
        region: &Region,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ToldEvent>, Error> {
        let rows = sqlx::query(
            "SELECT id, at, source_type, source_id, source_arn, category, message FROM rds_events \
             WHERE account = $1 AND region = $2 AND at >= $3 AND at <= $4 ORDER BY at, id",
        )
        .bind(account.as_str())
        .bind(region.as_str())
        .bind(from.as_millis())
        .bind(to.as_millis())
        .fetch_all(self.store.read())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ToldEvent {
                    id: row.try_get("id")?,
                    at: Timestamp::from_millis(row.try_get("at")?),
                    source_type: row.try_get("source_type")?,
                    source_id: row.try_get("source_id")?,
                    source_arn: row.try_get("source_arn")?,
                    category: row.try_get("category")?,
                    message: row.try_get("message")?,
                })
            })
            .collect()
    }

    /// Begins the change that a call asked for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn edit(&self, event_id: &str) -> Result<Edit, Error> {
        Ok(Edit(self.store.change(event_id).await?))
    }

    /// Begins a change that no call asked for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn edit_internally(&self) -> Result<Edit, Error> {
        Ok(Edit(self.store.internal_change().await?))
    }
}

/// A change of records; dropped without [`Edit::commit`] it leaves nothing.
#[must_use = "a change that is not committed is undone"]
pub struct Edit(Change);

impl Edit {
    /// Takes hold of a record until the end of the change.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn take<T: Record>(&mut self, id: &str) -> Result<Option<T>, Error> {
        let rows = sqlx::query(
            "UPDATE rds_resources SET revision = revision + 1 WHERE kind = $1 AND id = $2 RETURNING document",
        )
        .bind(T::KIND)
        .bind(id)
        .fetch_all(self.0.tx())
        .await?;
        Ok(parse(&rows)?.pop())
    }

    /// The instances or snapshots of a cluster, as this change sees them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn of_cluster<T: Record>(&mut self, cluster: &str) -> Result<Vec<T>, Error> {
        let rows = sqlx::query(
            "SELECT document FROM rds_resources WHERE kind = $1 AND cluster = $2 ORDER BY identifier",
        )
        .bind(T::KIND)
        .bind(cluster)
        .fetch_all(self.0.tx())
        .await?;
        parse(&rows)
    }

    /// The ports that clusters have.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ports(&mut self) -> Result<Vec<u16>, Error> {
        let rows = sqlx::query("SELECT port FROM rds_resources WHERE port IS NOT NULL")
            .fetch_all(self.0.tx())
            .await?;
        let ports = rows.iter().map(|row| row.try_get::<i64, _>("port"));
        Ok(ports
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter_map(|port| u16::try_from(port).ok())
            .collect())
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Error`]; [`Error::is_taken`] if there is one with its name or port.
    pub async fn insert<T: Record>(&mut self, record: &T) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO rds_resources (id, kind, account, region, identifier, cluster, port, revision, document) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
        )
        .bind(record.id())
        .bind(T::KIND)
        .bind(record.account().as_str())
        .bind(record.region().as_str())
        .bind(record.identifier())
        .bind(record.cluster())
        .bind(record.port().map(i64::from))
        .bind(serde_json::to_string(record)?)
        .execute(self.0.tx())
        .await?;
        Ok(())
    }

    /// Writes a record that was taken.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put<T: Record>(&mut self, record: &T) -> Result<(), Error> {
        sqlx::query("UPDATE rds_resources SET document = $2 WHERE id = $1")
            .bind(record.id())
            .bind(serde_json::to_string(record)?)
            .execute(self.0.tx())
            .await?;
        Ok(())
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove(&mut self, id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM rds_resources WHERE id = $1").bind(id).execute(self.0.tx()).await?;
        Ok(())
    }

    /// Tells that something happened to a record; what is older than 14 days is forgotten.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tell<T: Record>(&mut self, about: &T, event: Event, now: Timestamp) -> Result<(), Error> {
        self.tell_message(about, event, &event.message(about.identifier()), now).await
    }

    /// The same, with what exactly happened, unless that is told already.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tell_once<T: Record>(
        &mut self,
        about: &T,
        event: Event,
        what: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let message = event.message_with(about.identifier(), what);
        let told = sqlx::query("SELECT 1 FROM rds_events WHERE source_arn = $1 AND message = $2 LIMIT 1")
            .bind(about.arn())
            .bind(&message)
            .fetch_optional(self.0.tx())
            .await?;
        match told {
            Some(_) => Ok(()),
            None => self.tell_message(about, event, &message, now).await,
        }
    }

    async fn tell_message<T: Record>(
        &mut self,
        about: &T,
        event: Event,
        message: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO rds_events (id, account, region, at, source_type, source_id, source_arn, category, message) \
             SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8 FROM rds_events",
        )
        .bind(about.account().as_str())
        .bind(about.region().as_str())
        .bind(now.as_millis())
        .bind(T::SOURCE.as_str())
        .bind(about.identifier())
        .bind(about.arn())
        .bind(event.category())
        .bind(message)
        .execute(self.0.tx())
        .await?;
        sqlx::query("DELETE FROM rds_events WHERE account = $1 AND region = $2 AND at < $3")
            .bind(about.account().as_str())
            .bind(about.region().as_str())
            .bind(now.minus(EVENTS_KEPT).as_millis())
            .execute(self.0.tx())
            .await?;
        Ok(())
    }

    /// Makes the change durable.
    ///
    /// # Errors
    /// [`Error`]; nothing is kept then.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hex_and_their_debug_output_shows_nothing() {
        let bytes = Bytes(vec![0, 0xab, 0x7f]);
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text, "\"00ab7f\"");
        assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap(), bytes);
        assert!(serde_json::from_str::<Bytes>("\"0\"").is_err());
        assert!(serde_json::from_str::<Bytes>("\"zz\"").is_err());
        assert_eq!(format!("{bytes:?}"), "Bytes(3)");
    }
}
