//! Fills a home with many keys, grants and policies, straight into its state: through the API it would take hours.

use std::{collections::BTreeSet, path::Path};

use custody::{Custody, Source};
use ids::{AccountId, Region, Timestamp};
use kms::{Constraints, Grant, Key, KeyId, KeyName, KeySpec, KeyUsage, Manager, default_policy};
use store::Store;

use crate::Failure;

/// How much of everything there will be.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    pub keys: usize,
    /// Spread over the keys, but for [`Many::ON_ONE_KEY`] of them.
    pub grants: usize,
    /// Different key policies.
    pub policies: usize,
}

/// Rows of one transaction.
const BATCH: usize = 50_000;
/// Different principals that grants are for.
const GRANTEES: usize = 1000;

impl Many {
    /// As many grants as AWS lets one key have: they are the first key's.
    pub const ON_ONE_KEY: usize = 50_000;

    /// Writes them into the state of a home that no server runs on; the id of the first key.
    ///
    /// # Errors
    /// What the system, the root key or the state store says.
    pub async fn fill(self, home: &Path, account: &AccountId, region: &Region) -> Result<String, Failure> {
        let custody = Custody::open(&Source::File(home.join("root.key")))?;
        let store = Store::open(&home.join("state.db")).await?;
        let now = Timestamp::from_millis(1_780_000_000_000);
        let mut names = Vec::with_capacity(self.keys);
        for number in 0..self.keys {
            names.push(KeyName { account: account.clone(), region: region.clone(), id: key_id(number) });
        }
        for (batch, names) in names.chunks(BATCH).enumerate() {
            let mut change = store.internal_change().await?;
            for (index, name) in names.iter().enumerate() {
                let number = batch * BATCH + index;
                let (arn, material) = (name.to_string(), format!("{number:064x}"));
                let key = Key::new(
                    name.clone(),
                    (KeySpec::default(), KeyUsage::default()),
                    Manager::Customer,
                    now,
                    policy(account, number % self.policies.max(1)),
                    material.clone(),
                );
                sqlx::query("INSERT INTO kms_keys (arn, body) VALUES ($1, $2)")
                    .bind(&arn)
                    .bind(serde_json::to_string(&key)?)
                    .execute(change.tx())
                    .await?;
                let mut bytes = [7; 32];
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                sqlx::query("INSERT INTO kms_materials (arn, id, sealed) VALUES ($1, $2, $3)")
                    .bind(&arn)
                    .bind(&material)
                    .bind(custody.seal(&format!("kms/material/{arn}/{material}"), &bytes))
                    .execute(change.tx())
                    .await?;
            }
            change.commit().await?;
        }
        let mut number = 0;
        while number < self.grants {
            let mut change = store.internal_change().await?;
            for number in number..self.grants.min(number + BATCH) {
                let on = if number < Self::ON_ONE_KEY { 0 } else { number % names.len() };
                let grant = grant(&names[on], account, number, now);
                sqlx::query("INSERT INTO kms_grants (arn, id, body) VALUES ($1, $2, $3)")
                    .bind(grant.key.to_string())
                    .bind(&grant.id)
                    .bind(serde_json::to_string(&grant)?)
                    .execute(change.tx())
                    .await?;
            }
            change.commit().await?;
            number += BATCH;
        }
        store.close().await;
        Ok(names.first().map(|name| name.id.to_string()).unwrap_or_default())
    }
}

fn key_id(number: usize) -> KeyId {
    // Far apart, as random ones are.
    let spread = (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    KeyId::from_random(spread.to_be_bytes())
}

/// The policy that new keys have, with a statement of its own: for a role in its condition.
fn policy(account: &AccountId, number: usize) -> String {
    let own = format!(
        r#", {{"Sid": "Application{number}", "Effect": "Allow", "Principal": {{"AWS": "*"}},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*",
        "Condition": {{"StringEquals": {{"aws:PrincipalTag/application": "a{number}", "kms:CallerAccount": "{account}"}}}}}}"#
    );
    let text = default_policy(account);
    let end = text.rfind(']').unwrap_or(text.len());
    format!("{}{own}{}", &text[..end], &text[end..])
}

fn grant(key: &KeyName, account: &AccountId, number: usize, now: Timestamp) -> Grant {
    let user = |number: usize| format!("arn:aws:iam::{account}:user/app-{number}");
    Grant {
        id: format!("{:064x}", (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        key: key.clone(),
        name: None,
        created: now,
        grantee: user(number % GRANTEES),
        grantee_id: None,
        retiring: Some(user((number + 1) % GRANTEES)),
        retiring_id: None,
        to_service: false,
        retired_by_service: false,
        issuing_account: account.clone(),
        operations: BTreeSet::from(["Decrypt".to_owned(), "GenerateDataKey".to_owned()]),
        constraints: Constraints::default(),
    }
}
