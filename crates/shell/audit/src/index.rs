//! The index behind the log: what LookupEvents asks by. Built from the log, and again whenever it is not
//! there or does not fit; nothing in it is truth.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use ids::{AccountId, Region, Timestamp};
use sqlx::{
    QueryBuilder, Row as _, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use trail::Attribute;

use crate::{
    error::Error,
    frame::Kind,
    row::Row,
    segments::{Entry, Position},
};

/// Changes with the tables below: another number, another build of the index.
const VERSION: i64 = 4;
const TABLES: &[&str] = &[
    "CREATE TABLE progress (version BIGINT NOT NULL, segment BIGINT NOT NULL, place BIGINT NOT NULL)",
    // `id` is a place in the log (`id_of`), so that rows come in the order of their key. `kinds` has each kind of
    // resource once, between newlines.
    "CREATE TABLE events (id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, at BIGINT NOT NULL, \
     event_id TEXT NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, username TEXT, access_key TEXT, \
     read_only TEXT NOT NULL, kinds TEXT NOT NULL)",
    "CREATE INDEX events_by_time ON events (account, region, at)",
    // Ids are random: apart for each stretch of the log, so that new ones come close to each other.
    "CREATE INDEX events_by_id ON events (id >> 24, event_id)",
    "CREATE INDEX events_by_key ON events (access_key, at)",
    "CREATE TABLE event_resources (name TEXT NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (name, event)) WITHOUT ROWID",
    "CREATE TABLE intents (event_id TEXT NOT NULL PRIMARY KEY, id INTEGER NOT NULL)",
];
/// Rows of one statement: SQLite takes no more than 32766 values.
const ROWS: usize = 256;
/// A segment is far shorter than this.
const PLACE_BITS: u32 = 28;

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
    path: PathBuf,
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
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options(path)).await?;
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
            return Ok((Self { path: path.into(), pool }, done));
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
        Ok((Self { path: path.into(), pool }, Position::default()))
    }

    /// The same index by a connection of its own, which is opened here.
    pub(crate) async fn beside(&self) -> Result<Self, Error> {
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options(&self.path)).await?;
        Ok(Self { path: self.path.clone(), pool })
    }

    /// Takes entries in; `end` is where the log was read to. Safe to repeat: whoever waits for it may go away.
    pub(crate) async fn add(&self, entries: &[Entry], end: Position) -> Result<(), Error> {
        let mut rows = Vec::with_capacity(entries.len());
        let mut names = Vec::with_capacity(entries.len() * 2);
        let mut intents = Vec::new();
        let mut closed = Vec::new();
        for entry in entries {
            let mut row = Row::read(&entry.payload)?;
            let id = id_of(entry.at);
            match entry.kind {
                Kind::Intent => {
                    intents.push((row.event_id, id));
                    continue;
                }
                Kind::Outcome => closed.push(row.event_id.clone()),
                Kind::Record => {}
            }
            let mut kinds = String::from("\n");
            for (kind, name) in std::mem::take(&mut row.names) {
                if !kinds.contains(&between_newlines(&kind)) {
                    kinds.push_str(&kind);
                    kinds.push('\n');
                }
                names.push((name, id));
            }
            rows.push((id, row, kinds));
        }
        let mut tx = self.pool.begin().await?;
        for (event_id, id) in intents {
            sqlx::query("INSERT INTO intents (event_id, id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(event_id)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        for event_id in closed {
            sqlx::query("DELETE FROM intents WHERE event_id = $1").bind(event_id).execute(&mut *tx).await?;
        }
        for rows in rows.chunks(ROWS) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT OR IGNORE INTO events (id, account, region, at, event_id, name, source, username, access_key, read_only, \
                 kinds) ",
            );
            insert.push_values(rows, |mut values, (id, row, kinds)| {
                values
                    .push_bind(id)
                    .push_bind(row.recipient_account_id.as_str())
                    .push_bind(row.aws_region.as_str())
                    .push_bind(row.event_time.as_secs() * 1000)
                    .push_bind(&row.event_id)
                    .push_bind(&row.event_name)
                    .push_bind(&row.event_source)
                    .push_bind(row.user_identity.username())
                    .push_bind(&row.user_identity.access_key_id)
                    .push_bind(if row.read_only { "true" } else { "false" })
                    .push_bind(kinds);
            });
            insert.build().persistent(rows.len() == ROWS).execute(&mut *tx).await?;
        }
        for names in names.chunks(ROWS) {
            let mut insert =
                QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO event_resources (name, event) ");
            insert.push_values(names, |mut row, (name, event)| {
                row.push_bind(name).push_bind(event);
            });
            insert.build().persistent(names.len() == ROWS).execute(&mut *tx).await?;
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
        let rows = sqlx::query("SELECT id FROM intents ORDER BY id").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| place_of(row.get(0))).collect())
    }

    /// Places of what a query finds, newest first.
    pub(crate) async fn find(&self, query: &Query) -> Result<Vec<(Position, Cursor)>, Error> {
        // With the plus, SQLite does not go through all events of an account for the few that an id has.
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new(match query.attribute {
            Some(Attribute::EventId(_)) => "SELECT id, at FROM events WHERE +account = ",
            _ => "SELECT id, at FROM events WHERE account = ",
        });
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
            let id = id_of(Position { segment, offset: place });
            sql.push(" AND (at < ").push_bind(at);
            sql.push(" OR (at = ").push_bind(at).push(" AND id < ").push_bind(id).push("))");
        }
        if let Some(attribute) = &query.attribute {
            let (condition, value, end) = condition(attribute);
            sql.push(condition).push_bind(value).push(end);
        }
        sql.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(i64::from(query.limit));
        let rows = sql.build().fetch_all(&self.pool).await?;
        let found = rows.iter().map(|row| {
            let at = place_of(row.get(0));
            let instant = Timestamp::from_millis(row.get(1));
            (at, Cursor { at: instant, segment: at.segment, place: at.offset })
        });
        Ok(found.collect())
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
}

/// The condition, the value in it, and how it ends.
fn condition(attribute: &Attribute) -> (&'static str, Cow<'_, str>, &'static str) {
    const OF_NAME: &str =
        " AND EXISTS (SELECT 1 FROM event_resources r WHERE r.event = events.id AND r.name = ";
    const OF_ID: &str = " AND id IN (WITH RECURSIVE stretch (n) AS (SELECT min(id) >> 24 FROM events UNION ALL \
                         SELECT n + 1 FROM stretch WHERE n < (SELECT max(id) >> 24 FROM events)) \
                         SELECT e.id FROM stretch CROSS JOIN events e ON e.id >> 24 = n AND e.event_id = ";
    let (condition, value, end) = match attribute {
        Attribute::EventId(value) => (OF_ID, value, ")"),
        Attribute::EventName(value) => (" AND name = ", value, ""),
        Attribute::ReadOnly(value) => (" AND read_only = ", value, ""),
        Attribute::Username(value) => (" AND username = ", value, ""),
        Attribute::EventSource(value) => (" AND source = ", value, ""),
        Attribute::AccessKeyId(value) => (" AND access_key = ", value, ""),
        Attribute::ResourceName(value) => (OF_NAME, value, ")"),
        Attribute::ResourceType(value) => {
            return (" AND instr(kinds, ", between_newlines(value).into(), ") > 0");
        }
    };
    (condition, value.into(), end)
}

fn between_newlines(kind: &str) -> String {
    format!("\n{kind}\n")
}

/// A place in the log as one number, in the order of the log.
fn id_of(at: Position) -> i64 {
    signed(at.segment << PLACE_BITS | at.offset)
}

fn place_of(id: i64) -> Position {
    let id = unsigned(id);
    Position { segment: id >> PLACE_BITS, offset: id & ((1 << PLACE_BITS) - 1) }
}

/// SQL has no unsigned integers; segments and places are far below the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
