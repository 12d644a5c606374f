//! Who a credential belongs to, and which policies speak for a caller: what the front asks on every request.

use std::sync::Arc;

use front::{Caller, Credential, Directory};
use ids::{AccountId, Arn};

use crate::{
    entity::{AccessKey, Entity as _, ManagedPolicy, User},
    registry::Iam,
};

impl Directory for Iam {
    fn credential(&self, access_key_id: &str) -> Option<Credential> {
        let key = self.access_key(access_key_id)?;
        let caller = self.owner_of(&key)?;
        Some(Credential {
            secret: Arc::clone(&key.secret),
            caller,
            active: key.active,
            session_token: None,
            expires: None,
        })
    }

    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<iam::Document>> {
        let Caller::User(user) = caller else { return Vec::new() };
        let Some(user) = self.by_id::<User>(&user.id) else { return Vec::new() };
        let inline = user.policies.values().map(|policy| Arc::clone(&policy.document));
        let attached = user.attached.iter().filter_map(|id| self.by_id::<ManagedPolicy>(id));
        inline.chain(attached.map(|managed| Arc::clone(&managed.policy.document))).collect()
    }

    fn principal_exists(&self, arn: &str) -> bool {
        match Named::read(arn) {
            Some(Named::Root(account)) => self.account_created(&account).is_some(),
            Some(_) => self.principal_id(arn).is_some(),
            None => false,
        }
    }

    fn principal_id(&self, arn: &str) -> Option<String> {
        let Some(Named::User(account, name)) = Named::read(arn) else { return None };
        let user = self.named::<User>(&account, &name)?;
        (user.arn() == arn).then(|| user.id.clone())
    }
}

/// Whom an ARN names.
enum Named {
    Root(AccountId),
    User(AccountId, String),
}

impl Named {
    fn read(arn: &str) -> Option<Self> {
        let arn: Arn = arn.parse().ok()?;
        let account = arn.account.parse().ok()?;
        if arn.service != "iam" || !arn.region.is_empty() {
            return None;
        }
        match arn.resource.split_once('/') {
            None if arn.resource == "root" => Some(Self::Root(account)),
            Some(("user", rest)) => {
                let name = rest.rsplit('/').next().unwrap_or(rest);
                Some(Self::User(account, name.to_owned()))
            }
            _ => None,
        }
    }
}

impl Iam {
    fn owner_of(&self, key: &AccessKey) -> Option<Caller> {
        let (account, access_key_id) = (key.account.clone(), key.id.clone());
        let Some(owner) = &key.owner else { return Some(Caller::Root { account, access_key_id }) };
        let user = self.by_id::<User>(owner)?;
        Some(Caller::User(front::User {
            account,
            name: user.name.clone(),
            id: user.id.clone(),
            arn: user.arn(),
            access_key_id,
            tags: user.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        }))
    }
}
