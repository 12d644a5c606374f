//! `strongroom why`: who used a key, how, and for which database, from the trail itself. The server may run.
#![allow(clippy::print_stdout, reason = "the account of a key's uses is the command's output")]

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use clap::Args;
use ids::{Arn, Region};
use serde_json::{Value, json};
use store::sqlx::{self, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use trail::{KeyUses, Purpose, Uses};

use super::{Failure, HomeOption, read_config};

/// The encryption context's keys that name a database and its volume (spec/rds.md §5).
const DATABASE: &str = "aws:rds:db-id";
const VOLUME: &str = "aws:ebs:id";

/// Tell who used a key, when, and for which database.
#[derive(Args, Debug)]
pub struct Why {
    /// The key: an id, an ARN, or an alias such as alias/orders.
    key: String,
    #[command(flatten)]
    home: HomeOption,
    /// The region of an alias or a multi-Region key [default: that of config.toml]
    #[arg(long, value_name = "NAME")]
    region: Option<Region>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Why {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        let region = self.region.unwrap_or(read_config(&home)?.region);
        let key = super::runtime()?.block_on(resolve(&home.state(), &self.key, &region))?;
        let mut uses = KeyUses::of(&key.arn);
        audit::read_all(&home.trail(), |record| uses.add(&record))?;
        if self.json {
            println!("{:#}", as_json(&key, &uses));
        } else {
            print!("{}", as_text(&key, &uses));
        }
        Ok(())
    }
}

/// A key with the aliases that it has now.
#[derive(Debug, Default)]
struct Key {
    arn: String,
    aliases: Vec<String>,
}

/// Finds the key in the state database, which is only read. An ARN needs no key to be there: deleted keys have a
/// past as well.
async fn resolve(state: &Path, named: &str, region: &Region) -> Result<Key, Failure> {
    let options = SqliteConnectOptions::new().filename(state).read_only(true);
    let mut sql = SqliteConnection::connect_with(&options).await?;
    let arn: Option<Arn> = named.parse().ok();
    let arns = match &arn {
        Some(arn) if arn.resource.starts_with("key/") => vec![arn.to_string()],
        Some(arn) => aliased(&mut sql, &arn.resource, &arn.region, Some(&arn.account)).await?,
        None if named.starts_with("alias/") => aliased(&mut sql, named, region.as_str(), None).await?,
        None => {
            let rows = sqlx::query("SELECT arn FROM kms_keys ORDER BY arn").fetch_all(&mut sql).await?;
            let arns = rows.iter().map(|row| row.get::<String, _>(0));
            let arns: Vec<_> =
                arns.filter(|arn| arn.rsplit_once(":key/").is_some_and(|(_, id)| id == named)).collect();
            // Related multi-Region keys have one id: the region says which.
            let is_here = |arn: &&String| arn.split(':').nth(3) == Some(region.as_str());
            let here: Vec<_> = arns.iter().filter(is_here).cloned().collect();
            if here.is_empty() { arns } else { here }
        }
    };
    let arn = match arns.as_slice() {
        [arn] => arn.clone(),
        [] if named.contains("alias/") => {
            return Err(Failure::usage(format!(
                "there is no {named} in {region}: name its region, or the key's ARN"
            )));
        }
        [] => {
            return Err(Failure::usage(format!(
                "there is no key {named}: give the ARN of a key that was deleted"
            )));
        }
        several => {
            let listed = several.join("\n  ");
            return Err(Failure::usage(format!(
                "several keys are named {named}: give one by its ARN\n  {listed}"
            )));
        }
    };
    let aliases = sqlx::query("SELECT name FROM kms_aliases WHERE arn = $1 ORDER BY name").bind(&arn);
    let aliases = aliases.fetch_all(&mut sql).await?.iter().map(|row| row.get(0)).collect();
    sql.close().await?;
    Ok(Key { arn, aliases })
}

/// ARNs of the keys that an alias points to, in one account or in all of them.
async fn aliased(
    sql: &mut SqliteConnection,
    name: &str,
    region: &str,
    account: Option<&str>,
) -> Result<Vec<String>, sqlx::Error> {
    let query = "SELECT arn, account FROM kms_aliases WHERE name = $1 AND region = $2 ORDER BY account";
    let rows = sqlx::query(query).bind(name).bind(region).fetch_all(sql).await?;
    let of_account = rows.iter().filter(|row| account.is_none_or(|account| row.get::<&str, _>(1) == account));
    Ok(of_account.map(|row| row.get(0)).collect())
}

fn as_json(key: &Key, uses: &KeyUses) -> Value {
    let each = uses.groups().iter().map(|(purpose, told)| {
        let id = purpose.encryption_context.get(DATABASE);
        let database = id.map(|id| json!({"resourceId": id, "name": uses.database(id)}));
        json!({
            "principal": purpose.principal, "via": purpose.via, "operation": purpose.operation,
            "encryptionContext": purpose.encryption_context, "database": database, "count": told.count,
            "refused": told.refused, "first": told.first.iso8601_seconds(), "last": told.last.iso8601_seconds(),
        })
    });
    json!({"key": key.arn, "aliases": key.aliases, "uses": each.collect::<Vec<_>>()})
}

fn as_text(key: &Key, uses: &KeyUses) -> String {
    let mut text = format!("{}\n", key.arn);
    if !key.aliases.is_empty() {
        let _ = writeln!(text, "{}", key.aliases.join(", "));
    }
    if uses.groups().is_empty() {
        text.push_str("\nNo use is recorded.\n");
        return text;
    }
    let mut sections: BTreeMap<&BTreeMap<String, String>, Vec<(&Purpose, &Uses)>> = BTreeMap::new();
    for (purpose, told) in uses.groups() {
        sections.entry(&purpose.encryption_context).or_default().push((purpose, told));
    }
    // Databases first: they are what the question is about. Last what was done with the key itself.
    let mut sections: Vec<_> = sections.into_iter().collect();
    sections.sort_by_key(|(context, _)| (context.is_empty(), !context.contains_key(DATABASE)));
    for (context, rows) in sections {
        let _ = write!(text, "\n{}\n{}", title(context, uses), table(&rows));
    }
    text
}

/// `Database orders (cluster-…), volume vol-…`
fn title(context: &BTreeMap<String, String>, uses: &KeyUses) -> String {
    let mut pieces = Vec::new();
    if let Some(id) = context.get(DATABASE) {
        pieces.push(match uses.database(id) {
            Some(name) => format!("Database {name} ({id})"),
            None => format!("Database {id}"),
        });
    }
    if let Some(volume) = context.get(VOLUME) {
        pieces.push(format!("volume {volume}"));
    }
    let others = context.iter().filter(|(key, _)| !matches!(key.as_str(), DATABASE | VOLUME));
    pieces.extend(others.map(|(key, value)| format!("{}={}", shown(key), shown(value))));
    if pieces.is_empty() { "Without an encryption context".into() } else { pieces.join(", ") }
}

/// Rows in columns, oldest first.
fn table(rows: &[(&Purpose, &Uses)]) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|(_, told)| told.first);
    let head = ["USES", "REFUSED", "OPERATION", "FIRST", "LAST", "PRINCIPAL"].map(str::to_owned);
    let mut lines = vec![head];
    for (purpose, told) in rows {
        let refused: Vec<_> = told.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
        let via = purpose.via.as_ref().map(|service| format!(" via {service}")).unwrap_or_default();
        lines.push([
            told.count.to_string(),
            if refused.is_empty() { "-".into() } else { refused.join(", ") },
            shown(&purpose.operation),
            told.first.iso8601_seconds(),
            told.last.iso8601_seconds(),
            format!("{}{via}", shown(&purpose.principal)),
        ]);
    }
    let widths: [usize; 6] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

/// Text of callers, which must not steer a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use store::Store;

    use super::*;

    const KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/k1";

    fn record(changes: Value) -> trail::Record {
        let mut record = json!({
            "eventVersion": "1.11", "userIdentity": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"},
            "eventTime": "2026-01-05T10:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
            "awsRegion": "us-west-2", "sourceIPAddress": "rds.amazonaws.com",
            "requestParameters": {"encryptionContext": {"aws:rds:db-id": "db-A", "aws:ebs:id": "vol-1"}},
            "responseElements": null, "eventID": "e", "readOnly": true,
            "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": KEY}],
            "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
            "eventCategory": "Management"
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    fn uses() -> KeyUses {
        let mut uses = KeyUses::of(KEY);
        let named = json!({"dBInstanceIdentifier": "orders-1", "dbiResourceId": "db-A"});
        uses.add(&record(json!({"resources": [], "responseElements": named})));
        uses.add(&record(json!({})));
        uses.add(&record(json!({"eventTime": "2026-01-05T11:00:00Z", "errorCode": "DisabledException"})));
        let user = json!({"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/dba"});
        uses.add(&record(
            json!({"userIdentity": user, "eventName": "DisableKey", "requestParameters": null}),
        ));
        uses
    }

    #[test]
    fn the_text_tells_the_database_first_and_every_refusal() {
        let key = Key { arn: KEY.into(), aliases: vec!["alias/orders".into()] };
        assert_eq!(
            as_text(&key, &uses()),
            "\
arn:aws:kms:us-west-2:111122223333:key/k1
alias/orders

Database orders-1 (db-A), volume vol-1
  USES  REFUSED              OPERATION  FIRST                 LAST                  PRINCIPAL
  2     1 DisabledException  Decrypt    2026-01-05T10:00:00Z  2026-01-05T11:00:00Z  rds.amazonaws.com

Without an encryption context
  USES  REFUSED  OPERATION   FIRST                 LAST                  PRINCIPAL
  1     -        DisableKey  2026-01-05T10:00:00Z  2026-01-05T10:00:00Z  arn:aws:iam::111122223333:user/dba
"
        );
        let unused = as_text(&key, &KeyUses::of(KEY));
        assert!(unused.ends_with("\nNo use is recorded.\n"), "{unused}");
    }

    #[test]
    fn the_json_holds_the_same() {
        let told = as_json(&Key { arn: KEY.into(), aliases: Vec::new() }, &uses());
        let rows = told["uses"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        let decrypts = rows.iter().find(|row| row["operation"] == "Decrypt").unwrap();
        assert_eq!(decrypts["database"], json!({"resourceId": "db-A", "name": "orders-1"}));
        assert_eq!(decrypts["refused"], json!({"DisabledException": 1}));
        assert_eq!(decrypts["count"], 2);
    }

    #[tokio::test]
    async fn keys_are_found_by_id_arn_and_alias_while_the_state_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.db");
        let store = Store::open(&state).await.unwrap();
        let mut change = store.internal_change().await.unwrap();
        let foreign = "arn:aws:kms:us-west-2:444455556666:key/k2";
        let related =
            ["us-west-2", "eu-west-1"].map(|region| format!("arn:aws:kms:{region}:111122223333:key/mrk-1"));
        for arn in [KEY, foreign, &related[0], &related[1]] {
            sqlx::query("INSERT INTO kms_keys (arn, body) VALUES ($1, '{}')")
                .bind(arn)
                .execute(change.tx())
                .await
                .unwrap();
        }
        for (account, name, arn) in [
            ("111122223333", "alias/orders", KEY),
            ("111122223333", "alias/both", KEY),
            ("444455556666", "alias/both", foreign),
        ] {
            let insert = "INSERT INTO kms_aliases (account, region, name, arn, created, updated) VALUES ($1, 'us-west-2', $2, $3, 0, 0)";
            sqlx::query(insert).bind(account).bind(name).bind(arn).execute(change.tx()).await.unwrap();
        }
        change.commit().await.unwrap();
        let region: Region = "us-west-2".parse().unwrap();
        for named in ["k1", KEY, "alias/orders", "arn:aws:kms:us-west-2:111122223333:alias/both"] {
            let key = resolve(&state, named, &region).await.unwrap();
            assert_eq!((key.arn.as_str(), key.aliases.len()), (KEY, 2), "{named}");
        }
        let deleted = "arn:aws:kms:us-west-2:111122223333:key/gone";
        assert_eq!(resolve(&state, deleted, &region).await.unwrap().arn, deleted);
        for nothing in ["alias/nothing", "alias/both", "k3", ""] {
            assert!(resolve(&state, nothing, &region).await.is_err(), "{nothing}");
        }
        let elsewhere: Region = "eu-west-1".parse().unwrap();
        assert!(resolve(&state, "alias/orders", &elsewhere).await.is_err());
        assert_eq!(resolve(&state, "k1", &elsewhere).await.unwrap().arn, KEY);
        assert_eq!(resolve(&state, "mrk-1", &region).await.unwrap().arn, related[0]);
        assert_eq!(resolve(&state, "mrk-1", &elsewhere).await.unwrap().arn, related[1]);
        assert!(resolve(&state, "mrk-1", &"sa-east-1".parse().unwrap()).await.is_err(), "which of them?");
        store.close().await;
        assert_eq!(resolve(&state, "alias/orders", &region).await.unwrap().arn, KEY, "with nobody on it");
    }
}
