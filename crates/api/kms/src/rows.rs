//! Keys, materials, aliases and grants in SQL.

use custody::Custody;
use ids::Timestamp;
use kms::{AliasName, Grant, Key, KeyName, KeySpec, KeyStore, KeyStoreName};
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use wire::Secret;

use crate::{entries::Alias, material::Material, registry::LoadError};

type Sql = Result<(), sqlx::Error>;

fn place(arn: &str, material_id: &str) -> String {
    format!("kms/material/{arn}/{material_id}")
}

fn store_place(name: &KeyStoreName) -> String {
    format!("kms/key-store/{name}")
}

fn body<T: serde::Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

pub async fn put_key(tx: &mut SqliteConnection, key: &Key) -> Sql {
    sqlx::query(
        "INSERT INTO kms_keys (arn, body) VALUES ($1, $2) \
         ON CONFLICT (arn) DO UPDATE SET body = excluded.body",
    )
    .bind(key.name.to_string())
    .bind(body(key)?)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn put_material(
    tx: &mut SqliteConnection,
    custody: &Custody,
    key: &KeyName,
    id: &str,
    material: &Material,
) -> Sql {
    let arn = key.to_string();
    let sealed = custody.seal(&place(&arn, id), material.expose());
    sqlx::query(
        "INSERT INTO kms_materials (arn, id, sealed) VALUES ($1, $2, $3) \
         ON CONFLICT (arn, id) DO UPDATE SET sealed = excluded.sealed",
    )
    .bind(arn)
    .bind(id)
    .bind(sealed)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete_material(tx: &mut SqliteConnection, key: &KeyName, id: &str) -> Sql {
    sqlx::query("DELETE FROM kms_materials WHERE arn = $1 AND id = $2")
        .bind(key.to_string())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes a key with everything that belongs to it.
pub async fn delete_key(tx: &mut SqliteConnection, key: &KeyName) -> Sql {
    let arn = key.to_string();
    for statement in [
        "DELETE FROM kms_grants WHERE arn = $1",
        "DELETE FROM kms_aliases WHERE arn = $1",
        "DELETE FROM kms_materials WHERE arn = $1",
        "DELETE FROM kms_keys WHERE arn = $1",
    ] {
        sqlx::query(statement).bind(&arn).execute(&mut *tx).await?;
    }
    Ok(())
}

pub async fn put_alias(tx: &mut SqliteConnection, name: &AliasName, alias: &Alias) -> Sql {
    sqlx::query(
        "INSERT INTO kms_aliases (account, region, name, arn, created, updated) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (account, region, name) DO UPDATE SET arn = excluded.arn, updated = excluded.updated",
    )
    .bind(name.account.as_str())
    .bind(name.region.as_str())
    .bind(&name.name)
    .bind(alias.target.to_string())
    .bind(alias.created.as_millis())
    .bind(alias.updated.as_millis())
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete_alias(tx: &mut SqliteConnection, name: &AliasName) -> Sql {
    sqlx::query("DELETE FROM kms_aliases WHERE account = $1 AND region = $2 AND name = $3")
        .bind(name.account.as_str())
        .bind(name.region.as_str())
        .bind(&name.name)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn put_grant(tx: &mut SqliteConnection, grant: &Grant) -> Sql {
    sqlx::query("INSERT INTO kms_grants (arn, id, body) VALUES ($1, $2, $3)")
        .bind(grant.key.to_string())
        .bind(&grant.id)
        .bind(body(grant)?)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete_grant(tx: &mut SqliteConnection, grant: &Grant) -> Sql {
    sqlx::query("DELETE FROM kms_grants WHERE arn = $1 AND id = $2")
        .bind(grant.key.to_string())
        .bind(&grant.id)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn put_store(
    tx: &mut SqliteConnection,
    custody: &Custody,
    store: &KeyStore,
    secret: &Secret,
) -> Sql {
    let sealed = custody.seal(&store_place(&store.name), secret.expose().as_bytes());
    sqlx::query(
        "INSERT INTO kms_key_stores (name, body, sealed) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET body = excluded.body, sealed = excluded.sealed",
    )
    .bind(store.name.to_string())
    .bind(body(store)?)
    .bind(sealed)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete_store(tx: &mut SqliteConnection, name: &KeyStoreName) -> Sql {
    sqlx::query("DELETE FROM kms_key_stores WHERE name = $1").bind(name.to_string()).execute(tx).await?;
    Ok(())
}

/// Key stores with the secrets that their requests are signed with.
pub async fn stores(pool: &SqlitePool, custody: &Custody) -> Result<Vec<(KeyStore, Secret)>, LoadError> {
    let rows = sqlx::query("SELECT body, sealed FROM kms_key_stores").fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let store: KeyStore = serde_json::from_str(row.get(0))?;
            let opened = custody.open_sealed(&store_place(&store.name), row.get(1)).ok();
            let secret = opened.and_then(|bytes| String::from_utf8(bytes.take()).ok());
            let secret = secret.ok_or_else(|| LoadError::Store(store.name.to_string()))?;
            Ok((store, Secret::new(secret)))
        })
        .collect()
}

pub async fn keys(pool: &SqlitePool) -> Result<Vec<Key>, LoadError> {
    let rows = sqlx::query("SELECT body FROM kms_keys").fetch_all(pool).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row.get(0))?)).collect()
}

/// Materials by key ARN and id, opened as those of a key with the spec that `spec_of` tells.
pub async fn materials(
    pool: &SqlitePool,
    custody: &Custody,
    spec_of: impl Fn(&str) -> Option<KeySpec>,
) -> Result<Vec<(String, String, Material)>, LoadError> {
    let rows = sqlx::query("SELECT arn, id, sealed FROM kms_materials").fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let (arn, id): (String, String) = (row.get(0), row.get(1));
            let spec = spec_of(&arn).ok_or_else(|| LoadError::Row(arn.clone()))?;
            let opened = custody.open_sealed(&place(&arn, &id), row.get(2)).ok();
            let material = opened.and_then(|bytes| Material::open(spec, bytes));
            let material = material.ok_or_else(|| LoadError::Material(arn.clone()))?;
            Ok((arn, id, material))
        })
        .collect()
}

pub async fn aliases(pool: &SqlitePool) -> Result<Vec<(AliasName, Alias)>, LoadError> {
    let rows = sqlx::query("SELECT account, region, name, arn, created, updated FROM kms_aliases")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            let broken = |what: String| LoadError::Row(what);
            let account = row.get::<String, _>(0).parse().map_err(|e| broken(format!("{e}")))?;
            let region = row.get::<String, _>(1).parse().map_err(|e| broken(format!("{e}")))?;
            let name = AliasName { account, region, name: row.get(2) };
            let named = kms::read_name(row.get(3), &name.account, &name.region);
            let Ok(kms::Named::Key(target)) = named else { return Err(broken(row.get(3))) };
            let (created, updated) = (Timestamp::from_millis(row.get(4)), Timestamp::from_millis(row.get(5)));
            Ok((name, Alias { target, created, updated }))
        })
        .collect()
}

pub async fn grants(pool: &SqlitePool) -> Result<Vec<Grant>, LoadError> {
    let rows = sqlx::query("SELECT body FROM kms_grants").fetch_all(pool).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row.get(0))?)).collect()
}
