//! A key service from a script: keys, aliases and grants as KMS has them, and a note of everything that was asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use api_rds::{
    Answer, Authority, EncryptionContext, GrantRequest, KeyDescription, KeyFault, KeyService, VolumeKey,
};
use front::Caller;
use ids::{AccountId, Region};
use serde::{Deserialize, Serialize};

use super::death::Death;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    pub key: String,
    pub name: String,
    pub context: EncryptionContext,
}

/// One call of the key service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    /// The name of the user for whom RDS asked, or `rds` by itself.
    pub by: String,
    pub operation: &'static str,
    pub key: String,
    pub context: EncryptionContext,
    pub allowed: bool,
}

#[derive(Default)]
struct State {
    enabled: BTreeMap<String, bool>,
    asymmetric: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
    grants: BTreeMap<String, Grant>,
    granted: u32,
    made: u32,
    /// Users who lack one permission.
    forbidden: BTreeSet<(String, &'static str)>,
    /// The key policy denies the service.
    denied: BTreeSet<String>,
    unreachable: bool,
    uses: Vec<Use>,
}

/// What a wrapped key is, here.
#[derive(Serialize, Deserialize)]
struct Wrapped {
    key: String,
    context: EncryptionContext,
    plaintext: Vec<u8>,
}

pub struct ScriptedKeys {
    state: Mutex<State>,
    death: Arc<Death>,
}

impl ScriptedKeys {
    pub fn new(death: Arc<Death>) -> Self {
        Self { state: Mutex::default(), death }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Makes a key of the account with an alias.
    pub fn make(&self, alias: &str) -> String {
        self.with(|s| {
            s.made += 1;
            let arn =
                format!("arn:aws:kms:us-west-2:111122223333:key/00000000-0000-4000-8000-{:012}", s.made);
            s.enabled.insert(arn.clone(), true);
            s.aliases.insert(alias.into(), arn.clone());
            arn
        })
    }

    pub fn enable(&self, key: &str, enabled: bool) {
        self.with(|s| s.enabled.insert(key.into(), enabled));
    }

    pub fn asymmetric(&self, key: &str) {
        self.with(|s| s.asymmetric.insert(key.into()));
    }

    pub fn forbid(&self, user: &str, operation: &'static str) {
        self.with(|s| s.forbidden.insert((user.into(), operation)));
    }

    pub fn deny_service(&self, key: &str) {
        self.with(|s| s.denied.insert(key.into()));
    }

    pub fn unreachable(&self, unreachable: bool) {
        self.with(|s| s.unreachable = unreachable);
    }

    pub fn revoke(&self, grant: &str) {
        self.with(|s| s.grants.remove(grant));
    }

    pub fn grants(&self) -> Vec<(String, Grant)> {
        self.with(|s| s.grants.clone().into_iter().collect())
    }

    pub fn uses(&self) -> Vec<Use> {
        self.with(|s| s.uses.clone())
    }

    pub fn forget_uses(&self) {
        self.with(|s| s.uses.clear());
    }

    /// May a process hold the volume key that is wrapped here, as things are?
    pub fn would_open(&self, wrapped: &[u8]) -> bool {
        let Ok(wrapped) = serde_json::from_slice::<Wrapped>(wrapped) else { return true };
        self.with(|s| s.admits("rds", "Decrypt", &wrapped.key, &wrapped.context).is_ok())
    }

    async fn ask<T>(
        &self,
        by: Authority<'_>,
        operation: &'static str,
        key: &str,
        context: &EncryptionContext,
        then: impl FnOnce(&mut State, String) -> Result<T, KeyFault>,
    ) -> Result<T, KeyFault> {
        self.death.pass().await;
        let by = match by {
            Authority::Caller(call) => match &call.caller {
                Caller::User(user) => user.name.clone(),
                other => other.arn(),
            },
            Authority::Service { .. } => "rds".into(),
        };
        let done = self.with(|s| {
            let arn = s.aliases.get(key).cloned().unwrap_or_else(|| key.to_owned());
            let done = match s.admits(&by, operation, &arn, context) {
                Ok(()) => then(s, arn.clone()),
                Err(fault) => Err(fault),
            };
            s.uses.push(Use { by, operation, key: arn, context: context.clone(), allowed: done.is_ok() });
            done
        });
        self.death.pass().await;
        done
    }
}

fn refused(reason: &str) -> KeyFault {
    KeyFault::Refused(reason.to_owned())
}

impl State {
    fn admits(
        &self,
        by: &str,
        operation: &'static str,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<(), KeyFault> {
        if self.unreachable {
            return Err(KeyFault::Failed("no answer".into()));
        }
        let enabled = *self.enabled.get(key).ok_or_else(|| refused("NotFoundException"))?;
        if by == "rds" {
            let holds = |grant: &Grant| {
                grant.key == key
                    && (operation == "DescribeKey"
                        || grant.context.iter().all(|(k, v)| context.get(k) == Some(v)))
            };
            // The grant itself lets its retiring principal retire it, whatever the policy says.
            if self.denied.contains(key) && operation != "RetireGrant" || !self.grants.values().any(holds) {
                return Err(refused("AccessDeniedException"));
            }
        } else if self.forbidden.contains(&(by.to_owned(), operation)) {
            return Err(refused("AccessDeniedException"));
        }
        if !enabled && !matches!(operation, "DescribeKey" | "RetireGrant") {
            return Err(refused("DisabledException"));
        }
        Ok(())
    }
}

fn wrap(key: String, context: &EncryptionContext, plaintext: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&Wrapped { key, context: context.clone(), plaintext: plaintext.to_vec() }).unwrap()
}

fn unwrap(wrapped: &[u8], key: &str, context: &EncryptionContext) -> Result<Vec<u8>, KeyFault> {
    let wrapped: Wrapped =
        serde_json::from_slice(wrapped).map_err(|_| refused("InvalidCiphertextException"))?;
    if wrapped.key != key {
        return Err(refused("IncorrectKeyException"));
    }
    (wrapped.context == *context)
        .then_some(wrapped.plaintext)
        .ok_or_else(|| refused("InvalidCiphertextException"))
}

impl KeyService for ScriptedKeys {
    fn describe<'a>(&'a self, by: Authority<'a>, key: &'a str) -> Answer<'a, KeyDescription> {
        Box::pin(async move {
            self.ask(by, "DescribeKey", key, &EncryptionContext::new(), |s, arn| {
                let (enabled, symmetric) = (s.enabled[&arn], !s.asymmetric.contains(&arn));
                Ok(KeyDescription { arn, enabled, symmetric })
            })
            .await
        })
    }

    fn default_key<'a>(&'a self, _: &'a Region, _: &'a AccountId) -> Answer<'a, String> {
        Box::pin(async move {
            let made = self.with(|s| s.aliases.get("alias/aws/rds").cloned());
            Ok(made.unwrap_or_else(|| self.make("alias/aws/rds")))
        })
    }

    fn create_grant<'a>(
        &'a self,
        by: Authority<'a>,
        key: &'a str,
        grant: GrantRequest,
    ) -> Answer<'a, String> {
        Box::pin(async move {
            let context = grant.context.clone();
            self.ask(by, "CreateGrant", key, &context, |s, key| {
                let new = Grant { key, name: grant.name, context: grant.context };
                if let Some((id, _)) = s.grants.iter().find(|(_, old)| **old == new) {
                    return Ok(id.clone());
                }
                s.granted += 1;
                let id = format!("{:064x}", s.granted);
                s.grants.insert(id.clone(), new);
                Ok(id)
            })
            .await
        })
    }

    fn generate_wrapped_key<'a>(
        &'a self,
        by: Authority<'a>,
        key: &'a str,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            self.ask(by, "GenerateDataKeyWithoutPlaintext", key, context, |s, arn| {
                s.made += 1;
                let mut plaintext = [7; 32];
                plaintext[..4].copy_from_slice(&s.made.to_le_bytes());
                Ok(wrap(arn, context, &plaintext))
            })
            .await
        })
    }

    fn encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key: &'a str,
        plaintext: &'a VolumeKey,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            self.ask(by, "Encrypt", key, context, |_, arn| Ok(wrap(arn, context, plaintext.expose()))).await
        })
    }

    fn decrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> Answer<'a, VolumeKey> {
        Box::pin(async move {
            self.ask(by, "Decrypt", key, context, |_, arn| {
                Ok(VolumeKey::copy_from(&unwrap(wrapped, &arn, context)?).unwrap())
            })
            .await
        })
    }

    fn re_encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        wrapped: &'a [u8],
        from: (&'a str, &'a EncryptionContext),
        to: (&'a str, &'a EncryptionContext),
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let plaintext =
                self.ask(by, "ReEncryptFrom", from.0, from.1, |_, arn| unwrap(wrapped, &arn, from.1)).await?;
            self.ask(by, "ReEncryptTo", to.0, to.1, |_, arn| Ok(wrap(arn, to.1, &plaintext))).await
        })
    }

    fn retire_grant<'a>(&'a self, by: Authority<'a>, key: &'a str, grant: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let context = self.with(|s| s.grants.get(grant).map(|grant| grant.context.clone()));
            let Some(context) = context else { return Ok(()) };
            self.ask(by, "RetireGrant", key, &context, |s, _| {
                s.grants.remove(grant);
                Ok(())
            })
            .await
        })
    }
}
