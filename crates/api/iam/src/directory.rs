//! Who a credential belongs to, and which policies speak for a caller: what the front asks on every request.

use std::{collections::BTreeSet, sync::Arc};

use front::{Caller, Credential, Directory};
use ids::{AccountId, Arn};

use crate::{
    entity::{AccessKey, Entity as _, ManagedPolicy, Role, User},
    principal::Permissions,
    registry::{Iam, Kept},
    session::Session,
};

impl Directory for Iam {
    fn credential(&self, access_key_id: &str) -> Option<Credential> {
        if let Some(session) = self.session(access_key_id) {
            return Some(Credential {
                secret: Arc::clone(&session.secret),
                caller: self.in_session(&session)?,
                active: true,
                session_token: Some(Arc::clone(&session.token)),
                expires: Some(session.expires),
            });
        }
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
        match caller {
            Caller::User(user) => self.by_id::<User>(&user.id).map(|user| self.documents(&user.permissions)),
            Caller::Session(session) => {
                self.by_id::<Role>(&session.role_id).map(|role| self.documents(&role.permissions))
            }
            Caller::Root { .. } | Caller::Service(_) => None,
        }
        .unwrap_or_default()
    }

    fn session_policies(&self, caller: &Caller) -> Option<Vec<Arc<iam::Document>>> {
        let Caller::Session(caller) = caller else { return None };
        // A session that is gone meanwhile may do nothing more.
        let Some(session) = self.session(&caller.access_key_id) else { return Some(Vec::new()) };
        session.is_limited().then(|| {
            let inline = session.inline.iter().map(|policy| Arc::clone(&policy.document));
            inline.chain(self.managed(&session.managed)).collect()
        })
    }

    fn principal_exists(&self, arn: &str) -> bool {
        match Named::read(arn) {
            Some(Named::Root(account)) => self.account_created(&account).is_some(),
            Some(Named::Session(account, role)) => self.named::<Role>(&account, &role).is_some(),
            Some(_) => self.principal_id(arn).is_some(),
            None => false,
        }
    }

    fn principal_id(&self, arn: &str) -> Option<String> {
        fn id<T: Kept>(found: Option<Arc<T>>, arn: &str) -> Option<String> {
            found.filter(|found| found.arn() == arn).map(|found| found.id().to_owned())
        }
        match Named::read(arn)? {
            Named::User(account, name) => id(self.named::<User>(&account, &name), arn),
            Named::Role(account, name) => id(self.named::<Role>(&account, &name), arn),
            Named::Root(_) | Named::Session(..) => None,
        }
    }
}

/// Whom an ARN names.
enum Named {
    Root(AccountId),
    User(AccountId, String),
    Role(AccountId, String),
    /// A session, by the name of its role: sessions come and go.
    Session(AccountId, String),
}

impl Named {
    fn read(arn: &str) -> Option<Self> {
        let arn: Arn = arn.parse().ok()?;
        let account = arn.account.parse().ok()?;
        if !arn.region.is_empty() {
            return None;
        }
        let last = |rest: &str| rest.rsplit('/').next().unwrap_or(rest).to_owned();
        match (arn.service.as_str(), arn.resource.split_once('/')) {
            ("iam", None) if arn.resource == "root" => Some(Self::Root(account)),
            ("iam", Some(("user", rest))) => Some(Self::User(account, last(rest))),
            ("iam", Some(("role", rest))) => Some(Self::Role(account, last(rest))),
            ("sts", Some(("assumed-role", rest))) => {
                let (role, session) = rest.split_once('/')?;
                (!session.is_empty() && !session.contains('/'))
                    .then(|| Self::Session(account, role.to_owned()))
            }
            _ => None,
        }
    }
}

impl Iam {
    fn documents(&self, permissions: &Permissions) -> Vec<Arc<iam::Document>> {
        let inline = permissions.inline.values().map(|policy| Arc::clone(&policy.document));
        inline.chain(self.managed(&permissions.attached)).collect()
    }

    fn managed<'a>(&'a self, ids: &'a BTreeSet<String>) -> impl Iterator<Item = Arc<iam::Document>> + 'a {
        let found = ids.iter().filter_map(|id| self.by_id::<ManagedPolicy>(id));
        found.map(|managed| Arc::clone(&managed.policy.document))
    }

    fn in_session(&self, session: &Session) -> Option<Caller> {
        let role = self.by_id::<Role>(&session.role)?;
        let mut tags = role.tags.clone();
        for (key, value) in &session.tags {
            tags.retain(|known, _| known.to_lowercase() != key.to_lowercase());
            tags.insert(key.clone(), value.clone());
        }
        Some(Caller::Session(front::Session {
            account: role.account.clone(),
            role_name: role.name.clone(),
            role_id: role.id.clone(),
            role_arn: role.arn(),
            session_name: session.name.clone(),
            access_key_id: session.id.clone(),
            created: session.created,
            tags: tags.into_iter().collect(),
        }))
    }

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
