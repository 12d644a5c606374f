//! Accounts, entities and access keys in SQL.

use custody::Custody;
use ids::{AccountId, Timestamp};
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use std::sync::Arc;
use wire::Secret;
use zeroize::Zeroizing;

use crate::{
    entity::{AccessKey, Entity},
    names,
    registry::LoadError,
    session::Session,
};

type Sql = Result<(), sqlx::Error>;

/// A session has a policy of 2048 characters and 50 tags.
const LARGEST_SESSION: usize = 256 * 1024;

/// Where a secret is sealed for: another owner's row does not open.
fn place(account: &str, owner: Option<&str>, id: &str) -> String {
    format!("iam/access-key/{account}/{}/{id}", owner.unwrap_or("root"))
}

pub async fn put_account(tx: &mut SqliteConnection, account: &AccountId, created: Timestamp) -> Sql {
    sqlx::query("INSERT INTO iam_accounts (id, created) VALUES ($1, $2)")
        .bind(account.as_str())
        .bind(created.as_millis())
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn put_account_alias(tx: &mut SqliteConnection, account: &AccountId, alias: Option<&str>) -> Sql {
    sqlx::query("DELETE FROM iam_account_aliases WHERE account = $1")
        .bind(account.as_str())
        .execute(&mut *tx)
        .await?;
    if let Some(alias) = alias {
        sqlx::query("INSERT INTO iam_account_aliases (account, alias) VALUES ($1, $2)")
            .bind(account.as_str())
            .bind(alias)
            .execute(tx)
            .await?;
    }
    Ok(())
}

pub async fn account_aliases(pool: &SqlitePool) -> Result<Vec<(AccountId, String)>, LoadError> {
    let rows = sqlx::query("SELECT account, alias FROM iam_account_aliases").fetch_all(pool).await?;
    rows.iter().map(|row| Ok((account(row.get(0))?, row.get(1)))).collect()
}

pub async fn put_entity<T: Entity>(tx: &mut SqliteConnection, entity: &T) -> Sql {
    let body = serde_json::to_string(entity).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO iam_entities (id, kind, account, folded, body) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    )
    .bind(entity.id())
    .bind(T::KIND)
    .bind(entity.account().as_str())
    .bind(names::folded(entity.name()))
    .bind(body)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete_entity(tx: &mut SqliteConnection, id: &str) -> Sql {
    sqlx::query("DELETE FROM iam_entities WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

pub async fn put_access_key(tx: &mut SqliteConnection, custody: &Custody, key: &AccessKey) -> Sql {
    let place = place(key.account.as_str(), key.owner.as_deref(), &key.id);
    let sealed = custody.seal(&place, key.secret.expose().as_bytes());
    sqlx::query(
        "INSERT INTO iam_access_keys (id, account, owner, active, created, sealed) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET active = excluded.active",
    )
    .bind(&key.id)
    .bind(key.account.as_str())
    .bind(&key.owner)
    .bind(key.active)
    .bind(key.created.as_millis())
    .bind(sealed)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete_access_key(tx: &mut SqliteConnection, id: &str) -> Sql {
    sqlx::query("DELETE FROM iam_access_keys WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

fn session_place(id: &str) -> String {
    format!("iam/session/{id}")
}

/// The whole session is sealed: its secret and its token are in it.
pub async fn put_session(tx: &mut SqliteConnection, custody: &Custody, session: &Session) -> Sql {
    // Larger than any session, so that no unwiped piece is left behind when it grows.
    let mut body = Zeroizing::new(Vec::with_capacity(LARGEST_SESSION));
    serde_json::to_writer(&mut *body, session).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let sealed = custody.seal(&session_place(&session.id), &body);
    sqlx::query("INSERT INTO iam_sessions (id, expires, sealed) VALUES ($1, $2, $3)")
        .bind(&session.id)
        .bind(session.expires.as_millis())
        .bind(sealed)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete_ended_sessions(tx: &mut SqliteConnection, now: Timestamp) -> Sql {
    sqlx::query("DELETE FROM iam_sessions WHERE expires <= $1").bind(now.as_millis()).execute(tx).await?;
    Ok(())
}

pub async fn sessions(pool: &SqlitePool, custody: &Custody) -> Result<Vec<Session>, LoadError> {
    let rows = sqlx::query("SELECT id, sealed FROM iam_sessions").fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0);
            let opened = custody.open_sealed(&session_place(&id), row.get(1));
            let opened = opened.map_err(|_| LoadError::Secret(id.clone()))?;
            serde_json::from_slice(opened.expose()).map_err(|_| LoadError::Session(id))
        })
        .collect()
}

pub async fn accounts(pool: &SqlitePool) -> Result<Vec<(AccountId, Timestamp)>, LoadError> {
    let rows = sqlx::query("SELECT id, created FROM iam_accounts").fetch_all(pool).await?;
    rows.iter().map(|row| Ok((account(row.get(0))?, Timestamp::from_millis(row.get(1))))).collect()
}

pub async fn entities<T: Entity>(pool: &SqlitePool) -> Result<Vec<T>, LoadError> {
    let rows =
        sqlx::query("SELECT body FROM iam_entities WHERE kind = $1").bind(T::KIND).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row.get(0))?)).collect()
}

/// Access keys with their secrets opened.
pub async fn access_keys(pool: &SqlitePool, custody: &Custody) -> Result<Vec<AccessKey>, LoadError> {
    let rows = sqlx::query("SELECT id, account, owner, active, created, sealed FROM iam_access_keys")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            let (id, owner): (String, Option<String>) = (row.get(0), row.get(2));
            let account = account(row.get(1))?;
            let place = place(account.as_str(), owner.as_deref(), &id);
            let opened = custody.open_sealed(&place, row.get(5)).ok();
            let secret = opened.and_then(|bytes| std::str::from_utf8(bytes.expose()).ok().map(str::to_owned));
            let secret = secret.ok_or_else(|| LoadError::Secret(id.clone()))?;
            let created = Timestamp::from_millis(row.get(4));
            Ok(AccessKey {
                id,
                account,
                owner,
                active: row.get(3),
                created,
                secret: Arc::new(Secret::new(secret)),
            })
        })
        .collect()
}

fn account(text: &str) -> Result<AccountId, LoadError> {
    text.parse().map_err(|error: ids::InvalidAccountId| LoadError::Row(error.to_string()))
}
