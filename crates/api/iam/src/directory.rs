//! Who a credential belongs to, and which policies speak for a caller: what the front asks on every request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use front::{Caller, Credential, Directory};
use iam::{Document, Kind};
use ids::{AccountId, Arn, Timestamp};

use crate::{
    entity::{AccessKey, Entity as _, Group, ManagedPolicy, Role, User},
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

    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<Document>> {
        match caller {
            Caller::User(user) => self.policies_of_user(&user.id),
            Caller::Session(session) => self.policies_of_role(&session.role_id),
            Caller::Federated(federated) => match &federated.lender {
                Some(user) => self.policies_of_user(&user.id),
                // The root user lends what he likes.
                None => vec![everything()],
            },
            Caller::Root { .. } | Caller::Service(_) => Vec::new(),
        }
    }

    fn session_policies(&self, caller: &Caller) -> Option<Vec<Arc<Document>>> {
        let (access_key_id, always) = match caller {
            Caller::Session(session) => (&session.access_key_id, false),
            // Nothing is lent but what the policies name.
            Caller::Federated(federated) => (&federated.access_key_id, true),
            Caller::Root { .. } | Caller::User(_) | Caller::Service(_) => return None,
        };
        // A session that is gone meanwhile may do nothing more.
        let Some(session) = self.session(access_key_id) else { return Some(Vec::new()) };
        (always || session.is_limited()).then(|| {
            let inline = session.inline.iter().map(|policy| Arc::clone(&policy.document));
            inline.chain(self.managed(&session.managed)).collect()
        })
    }

    fn permissions_boundary(&self, caller: &Caller) -> Option<Arc<Document>> {
        let policy = match caller {
            Caller::User(user) => self.by_id::<User>(&user.id)?.boundary.clone()?,
            Caller::Session(session) => self.by_id::<Role>(&session.role_id)?.boundary.clone()?,
            Caller::Federated(federated) => {
                let lender = federated.lender.as_ref()?;
                self.by_id::<User>(&lender.id)?.boundary.clone()?
            }
            Caller::Root { .. } | Caller::Service(_) => return None,
        };
        Some(self.document_in_force(&policy).unwrap_or_else(nothing))
    }

    fn authorization_message(&self, event_id: &str) -> Option<String> {
        Some(self.encoded_message(event_id))
    }

    fn principal_exists(&self, arn: &str) -> bool {
        match Named::read(arn) {
            Some(Named::Root(account)) => self.account_created(&account).is_some(),
            Some(Named::Session(account, role)) => self.named::<Role>(&account, &role).is_some(),
            Some(Named::Federated(account)) => self.account_created(&account).is_some(),
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
            Named::Root(_) | Named::Session(..) | Named::Federated(_) => None,
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
    /// A federated user of an account: whoever is given the name.
    Federated(AccountId),
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
            ("sts", Some(("federated-user", name))) => {
                (!name.is_empty() && !name.contains('/')).then_some(Self::Federated(account))
            }
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
    /// The identity policies of a user: his own and those of his groups.
    pub(crate) fn policies_of_user(&self, id: &str) -> Vec<Arc<Document>> {
        let Some(user) = self.by_id::<User>(id) else { return Vec::new() };
        let groups = user.groups.iter().filter_map(|group| self.by_id::<Group>(group));
        let of_groups = groups.flat_map(|group| self.documents(&group.permissions));
        self.documents(&user.permissions).into_iter().chain(of_groups).collect()
    }

    /// The identity policies of a role.
    pub(crate) fn policies_of_role(&self, id: &str) -> Vec<Arc<Document>> {
        self.by_id::<Role>(id).map_or_else(Vec::new, |role| self.documents(&role.permissions))
    }

    /// What policies of one's own say.
    pub(crate) fn documents(&self, permissions: &Permissions) -> Vec<Arc<Document>> {
        let inline = permissions.inline.values().map(|policy| Arc::clone(&policy.document));
        inline.chain(self.managed(&permissions.attached)).collect()
    }

    fn managed<'a>(&'a self, ids: &'a BTreeSet<String>) -> impl Iterator<Item = Arc<Document>> + 'a {
        ids.iter().filter_map(|id| self.document_in_force(id))
    }

    /// The default version of a managed policy.
    pub(crate) fn document_in_force(&self, id: &str) -> Option<Arc<Document>> {
        let policy = self.by_id::<ManagedPolicy>(id)?;
        policy.in_force().map(|version| Arc::clone(&version.policy.document))
    }

    fn in_session(&self, session: &Session) -> Option<Caller> {
        let (created, access_key_id) = (session.created, session.id.clone());
        if let Some(role) = self.by_id::<Role>(&session.principal) {
            return Some(Caller::Session(front::Session {
                account: role.account.clone(),
                role_name: role.name.clone(),
                role_id: role.id.clone(),
                role_arn: role.arn(),
                session_name: session.name.clone()?,
                access_key_id,
                created,
                tags: with_tags(&role.tags, &session.tags),
                source_identity: session.source_identity.clone(),
            }));
        }
        let user = self.by_id::<User>(&session.principal);
        let root = session.principal.parse::<AccountId>().ok();
        let account = user.as_ref().map(|user| user.account.clone()).or(root)?;
        match (&session.name, user) {
            (Some(name), user) => Some(Caller::Federated(front::Federated {
                account,
                name: name.clone(),
                tags: with_tags(user.as_ref().map_or(&BTreeMap::new(), |user| &user.tags), &session.tags),
                lender: user.map(|user| front::Lender {
                    name: user.name.clone(),
                    id: user.id.clone(),
                    arn: user.arn(),
                }),
                access_key_id,
                created,
            })),
            (None, Some(user)) => Some(as_user(&user, access_key_id, Some(created))),
            (None, None) => Some(Caller::Root { account, access_key_id }),
        }
    }

    fn owner_of(&self, key: &AccessKey) -> Option<Caller> {
        let (account, access_key_id) = (key.account.clone(), key.id.clone());
        let Some(owner) = &key.owner else { return Some(Caller::Root { account, access_key_id }) };
        Some(as_user(&*self.by_id::<User>(owner)?, access_key_id, None))
    }
}

fn as_user(user: &User, access_key_id: String, session_began: Option<Timestamp>) -> Caller {
    Caller::User(front::User {
        account: user.account.clone(),
        name: user.name.clone(),
        id: user.id.clone(),
        arn: user.arn(),
        access_key_id,
        tags: user.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        session_began,
    })
}

/// The tags of a session beside those of its principal, which give way.
fn with_tags(
    of_principal: &BTreeMap<String, String>,
    of_session: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut tags = of_principal.clone();
    for (key, value) in of_session {
        tags.retain(|known, _| known.to_lowercase() != key.to_lowercase());
        tags.insert(key.clone(), value.clone());
    }
    tags.into_iter().collect()
}

fn everything() -> Arc<Document> {
    constant(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#, "the root user")
}

/// A boundary that is not there any more lets nothing through.
fn nothing() -> Arc<Document> {
    constant(r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#, "a boundary that is gone")
}

fn constant(text: &str, name: &str) -> Arc<Document> {
    let document = Document::parse(text, Kind::Identity).expect("a constant");
    Arc::new(document.named(name))
}
