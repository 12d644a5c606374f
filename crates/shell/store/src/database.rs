//! Opening the database, reading it and changing it.

use std::{path::Path, time::Duration};

use sqlx::{
    Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
/// SQLite has one writer at a time; this is how long another one waits for it.
const BUSY: Duration = Duration::from_secs(30);

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the state database cannot be opened or migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the state database failed: {0}")]
    Sql(#[from] sqlx::Error),
}

/// The state database.
#[derive(Clone, Debug)]
pub struct Store {
    readers: SqlitePool,
    /// One connection: writers queue here instead of failing with SQLITE_BUSY.
    writer: SqlitePool,
}

impl Store {
    /// Opens the file, makes it if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error`] if the file is not a database of ours, or cannot be read or written.
    pub async fn open(file: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Deleted rows held sealed secrets: overwrite them.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        MIGRATIONS.run(&writer).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Self { readers, writer })
    }

    /// Where reads go.
    pub const fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins the change that belongs to a trail record. Nothing is kept until [`Change::commit`].
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn change(&self, event_id: &str) -> Result<Change, Error> {
        let mut change = self.internal_change().await?;
        change.mark(event_id).await?;
        Ok(change)
    }

    /// Begins a change that no call asked for (a worker, the reconciler).
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn internal_change(&self) -> Result<Change, Error> {
        Ok(Change(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// Whether the change of an event was committed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn committed(&self, event_id: &str) -> Result<bool, Error> {
        let found = sqlx::query("SELECT 1 FROM trail_marks WHERE event_id = $1")
            .bind(event_id)
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.is_some())
    }

    /// Forgets the marks of events whose records are closed: they have done their work.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_marks(&self) -> Result<(), Error> {
        sqlx::query("DELETE FROM trail_marks").execute(&self.writer).await?;
        Ok(())
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction that writes. Dropping it undoes everything.
#[derive(Debug)]
#[must_use = "a change that is not committed is undone"]
pub struct Change(Transaction<'static, Sqlite>);

impl Change {
    /// The connection to run statements on.
    pub fn tx(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }

    /// Says that the change belongs to one more trail record.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn mark(&mut self, event_id: &str) -> Result<(), Error> {
        // A call of one event may commit in several steps: the first one marks it.
        sqlx::query("INSERT INTO trail_marks (event_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(event_id)
            .execute(self.tx())
            .await?;
        Ok(())
    }

    /// Makes the change durable.
    ///
    /// # Errors
    /// [`Error::Sql`]; nothing is kept then.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_and_its_mark_stay_or_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        drop(store.change("undone").await.unwrap());
        store.change("done").await.unwrap().commit().await.unwrap();
        assert!(!store.committed("undone").await.unwrap());
        assert!(store.committed("done").await.unwrap());
        store.close().await;
        let again = Store::open(&dir.path().join("state.db")).await.unwrap();
        assert!(again.committed("done").await.unwrap(), "after opening again");
        again.forget_marks().await.unwrap();
        assert!(!again.committed("done").await.unwrap());
    }

    #[tokio::test]
    async fn writers_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        let writers: Vec<_> = (0..20)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(
                    async move { store.change(&format!("e{n}")).await.unwrap().commit().await.unwrap() },
                )
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(store.committed("e19").await.unwrap());
    }
}
