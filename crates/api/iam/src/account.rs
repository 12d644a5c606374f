//! Making accounts. An account's administrator is its root user, who has an access key.

use std::sync::Arc;

use ids::AccountId;
use wire::Secret;

use crate::{entity::AccessKey, names, registry::Iam};

/// An access key as its owner gets it: the secret is told once.
#[derive(Debug)]
pub struct NewKey {
    pub access_key_id: String,
    pub secret: Arc<Secret>,
}

impl NewKey {
    /// A new key, not yet anybody's.
    pub fn generate() -> Self {
        Self { access_key_id: names::access_key_id(), secret: Arc::new(names::secret_access_key()) }
    }
}

/// Why an account cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("account {0} exists already")]
    AccountExists(AccountId),
    #[error("access key {0} exists already")]
    KeyExists(String),
    #[error("an access key id has 16 to 128 letters, digits and underscores")]
    BadKeyId,
    #[error("a secret access key has 16 to 128 printable ASCII characters without spaces")]
    BadSecret,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Iam {
    /// Makes an account with an access key of its root user, given or new.
    ///
    /// # Errors
    /// [`CreateError`]; nothing has changed then.
    pub async fn create_account(
        &self,
        account: AccountId,
        root_key: Option<(String, Secret)>,
    ) -> Result<NewKey, CreateError> {
        let key = root_key.map(|(access_key_id, secret)| NewKey { access_key_id, secret: Arc::new(secret) });
        self.create_account_with(account, key.unwrap_or_else(NewKey::generate)).await
    }

    /// Makes an account whose root user has this access key.
    ///
    /// # Errors
    /// As [`Iam::create_account`].
    pub async fn create_account_with(&self, account: AccountId, key: NewKey) -> Result<NewKey, CreateError> {
        let NewKey { access_key_id: id, secret } = key;
        if !(16..=128).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(CreateError::BadKeyId);
        }
        let text = secret.expose();
        if !(16..=128).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CreateError::BadSecret);
        }
        let mut change = self.begin_internal().await?;
        if self.account_created(&account).is_some() {
            return Err(CreateError::AccountExists(account));
        }
        if self.access_key(&id).is_some() {
            return Err(CreateError::KeyExists(id));
        }
        let created = self.clock.now();
        change.put_account(&account, created).await?;
        let key = AccessKey {
            id: id.clone(),
            account,
            owner: None,
            active: true,
            created,
            secret: Arc::clone(&secret),
        };
        change.put_access_key(key).await?;
        change.commit().await?;
        Ok(NewKey { access_key_id: id, secret })
    }
}
