//! The index behind the log: what LookupEvents asks by. Built from the log, and again whenever it is not
//! there or does not fit; nothing in it is truth.

use std::path::{Path, PathBuf};

use ids::{AccountId, Region, Timestamp};
use sqlx::{
    QueryBuilder, Row as _, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use trail::{Attribute, Record, resource_names};

use crate::{
    error::Error,
    frame::Kind,
    segments::{Entry, Position},
};

/// Changes with the tables below: another number, another build of the index.
const VERSION: i64 = 3;
const TABLES: &[&str] = &[
    "CREATE TABLE progress (version BIGINT NOT NULL, segment BIGINT NOT NULL, place BIGINT NOT NULL)",
    "CREATE TABLE events (segment BIGINT NOT NULL, place BIGINT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, \
     at BIGINT NOT NULL, event_id TEXT NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, username TEXT, \
     access_key TEXT, read_only TEXT NOT NULL, PRIMARY KEY (segment, place))",
    "CREATE INDEX events_by_time ON events (account, region, at)",
    "CREATE INDEX events_by_id ON events (event_id)",
    "CREATE INDEX events_by_key ON events (access_key, at)",
    "CREATE TABLE event_resources (segment BIGINT NOT NULL, place BIGINT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL)",
    "CREATE INDEX resources_by_name ON event_resources (name)",
    "CREATE INDEX resources_by_place ON event_resources (segment, place)",
    "CREATE TABLE intents (event_id TEXT NOT NULL PRIMARY KEY, segment BIGINT NOT NULL, place BIGINT NOT NULL)",
];

/// What to look for; times are inclusive.
#[derive(Clone, Debug)]
pub struct Query {
    pub account: AccountId,
    /// `None`: of every region.
    pub region: Option<Region>,
    pub attribute: Option<Attribute>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Only events older than this one: the last of the page before.
    pub after: Option<Cursor>,
    pub limit: u32,
}

/// A place in the order of a lookup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    pub at: Timestamp,
    pub segment: u64,
    pub place: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    pool: SqlitePool,
}

impl Index {
    /// Opens the index and says how far it has come.
    pub(crate) async fn open(dir: &Path, end: Position) -> Result<(Self, Position), Error> {
        let path = dir.join("index.db");
        if let Ok((index, done)) = Self::try_open(&path).await {
            if done <= end {
                return Ok((index, done));
            }
            index.pool.close().await;
        }
        tracing::info!("the index of the audit trail is built anew");
        for suffix in ["", "-wal", "-shm"] {
            let stale = PathBuf::from(format!("{}{suffix}", path.display()));
            let _ = std::fs::remove_file(stale);
        }
        Self::try_open(&path).await
    }

    async fn try_open(path: &Path) -> Result<(Self, Position), Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        let known = sqlx::query("SELECT version, segment, place FROM progress").fetch_optional(&pool).await;
        let row = match known {
            Ok(Some(row)) => Some(row),
            Ok(None) => return Err(sqlx::Error::RowNotFound.into()),
            Err(_) => None,
        };
        if let Some(row) = row {
            if row.get::<i64, _>(0) != VERSION {
                return Err(sqlx::Error::RowNotFound.into());
            }
            let done = Position { segment: unsigned(row.get(1)), offset: unsigned(row.get(2)) };
            return Ok((Self { pool }, done));
        }
        let mut tx = pool.begin().await?;
        for statement in TABLES {
            sqlx::query(*statement).execute(&mut *tx).await?;
        }
        sqlx::query("INSERT INTO progress (version, segment, place) VALUES ($1, 0, 0)")
            .bind(VERSION)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok((Self { pool }, Position::default()))
    }

    /// Takes entries in; `end` is where the log was read to.
    pub(crate) async fn add(&self, entries: &[Entry], end: Position) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        for entry in entries {
            let record: Record = serde_json::from_slice(&entry.payload)?;
            let (segment, place) = (signed(entry.at.segment), signed(entry.at.offset));
            if entry.kind == Kind::Intent {
                sqlx::query("INSERT INTO intents (event_id, segment, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                    .bind(&record.event_id)
                    .bind(segment)
                    .bind(place)
                    .execute(&mut *tx)
                    .await?;
                continue;
            }
            if entry.kind == Kind::Outcome {
                sqlx::query("DELETE FROM intents WHERE event_id = $1")
                    .bind(&record.event_id)
                    .execute(&mut *tx)
                    .await?;
            }
            sqlx::query(
                "INSERT INTO events (segment, place, account, region, at, event_id, name, source, username, access_key, \
                 read_only) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(segment)
            .bind(place)
            .bind(record.recipient_account_id.as_str())
            .bind(record.aws_region.as_str())
            .bind(record.event_time.as_secs() * 1000)
            .bind(&record.event_id)
            .bind(&record.event_name)
            .bind(&record.event_source)
            .bind(record.username())
            .bind(&record.user_identity.access_key_id)
            .bind(record.read_only.to_string())
            .execute(&mut *tx)
            .await?;
            for (kind, name) in resource_names(&record) {
                sqlx::query(
                    "INSERT INTO event_resources (segment, place, kind, name) VALUES ($1, $2, $3, $4)",
                )
                .bind(segment)
                .bind(place)
                .bind(kind)
                .bind(name)
                .execute(&mut *tx)
                .await?;
            }
        }
        sqlx::query("UPDATE progress SET segment = $1, place = $2")
            .bind(signed(end.segment))
            .bind(signed(end.offset))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Places of intents without an outcome, oldest first.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Position>, Error> {
        let rows = sqlx::query("SELECT segment, place FROM intents ORDER BY segment, place")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .iter()
            .map(|row| Position { segment: unsigned(row.get(0)), offset: unsigned(row.get(1)) })
            .collect())
    }

    /// Places of what a query finds, newest first.
    pub(crate) async fn find(&self, query: &Query) -> Result<Vec<(Position, Cursor)>, Error> {
        let mut sql: QueryBuilder<Sqlite> =
            QueryBuilder::new("SELECT segment, place, at FROM events WHERE account = ");
        sql.push_bind(query.account.as_str());
        if let Some(region) = &query.region {
            sql.push(" AND region = ").push_bind(region.as_str());
        }
        if let Some(from) = query.from {
            sql.push(" AND at >= ").push_bind(from.as_millis());
        }
        if let Some(to) = query.to {
            sql.push(" AND at <= ").push_bind(to.as_millis());
        }
        if let Some(Cursor { at, segment, place }) = query.after {
            let at = at.as_millis();
            sql.push(" AND (at < ").push_bind(at);
            sql.push(" OR (at = ").push_bind(at).push(" AND (segment < ").push_bind(signed(segment));
            sql.push(" OR (segment = ")
                .push_bind(signed(segment))
                .push(" AND place < ")
                .push_bind(signed(place))
                .push("))))");
        }
        if let Some(attribute) = &query.attribute {
            let (condition, value, end) = condition(attribute);
            sql.push(condition).push_bind(value).push(end);
        }
        sql.push(" ORDER BY at DESC, segment DESC, place DESC LIMIT ").push_bind(i64::from(query.limit));
        let rows = sql.build().fetch_all(&self.pool).await?;
        let found = rows.iter().map(|row| {
            let (segment, place) = (unsigned(row.get(0)), unsigned(row.get(1)));
            let cursor = Cursor { at: Timestamp::from_millis(row.get(2)), segment, place };
            (Position { segment, offset: place }, cursor)
        });
        Ok(found.collect())
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn condition(attribute: &Attribute) -> (&'static str, &str, &'static str) {
    const OF_RESOURCE: &str = " AND EXISTS (SELECT 1 FROM event_resources r WHERE r.segment = events.segment AND \
                               r.place = events.place AND r.kind = ";
    const OF_NAME: &str = " AND EXISTS (SELECT 1 FROM event_resources r WHERE r.segment = events.segment AND \
                           r.place = events.place AND r.name = ";
    match attribute {
        Attribute::EventId(value) => (" AND event_id = ", value, ""),
        Attribute::EventName(value) => (" AND name = ", value, ""),
        Attribute::ReadOnly(value) => (" AND read_only = ", value, ""),
        Attribute::Username(value) => (" AND username = ", value, ""),
        Attribute::EventSource(value) => (" AND source = ", value, ""),
        Attribute::AccessKeyId(value) => (" AND access_key = ", value, ""),
        Attribute::ResourceType(value) => (OF_RESOURCE, value, ")"),
        Attribute::ResourceName(value) => (OF_NAME, value, ")"),
    }
}

/// SQL has no unsigned integers; segments and places are far below the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
