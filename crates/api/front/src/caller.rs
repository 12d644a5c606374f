//! Who calls (spec/trail.md §2, spec/policy.md §3).

use ids::{AccountId, Region, Timestamp};

/// The identity behind a request, proven by its signature, or a service acting by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// The root user of an account.
    Root { account: AccountId, access_key_id: String },
    /// An IAM user.
    User(User),
    /// A session of a role.
    Session(Session),
    /// Whom a user has lent permissions.
    Federated(Federated),
    /// A service without a user, acting for an account: RDS by a grant.
    Service(Service),
}

/// An IAM user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    pub account: AccountId,
    pub name: String,
    /// `AIDA…`
    pub id: String,
    /// With the user's path: `arn:aws:iam::111122223333:user/ops/dba`.
    pub arn: String,
    pub access_key_id: String,
    pub tags: Vec<(String, String)>,
    /// When GetSessionToken made the credentials, if it did.
    pub session_began: Option<Timestamp>,
}

/// A session of a role, with temporary credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    pub account: AccountId,
    pub role_name: String,
    /// `AROA…`
    pub role_id: String,
    pub role_arn: String,
    pub session_name: String,
    pub access_key_id: String,
    pub created: Timestamp,
    pub tags: Vec<(String, String)>,
    /// Who is behind the session, as he said when it began; it goes on to sessions begun with this one.
    pub source_identity: Option<String>,
}

/// A session that GetFederationToken began: what a user may do, narrowed by policies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Federated {
    pub account: AccountId,
    /// As the user named it.
    pub name: String,
    /// The user who lent his permissions; `None` for the root user.
    pub lender: Option<Lender>,
    pub access_key_id: String,
    pub created: Timestamp,
    pub tags: Vec<(String, String)>,
}

/// The user behind a federated one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lender {
    pub name: String,
    /// `AIDA…`
    pub id: String,
    pub arn: String,
}

/// A service principal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// `rds.amazonaws.com`: how the trail names it.
    pub name: String,
    /// `rds.us-west-2.amazonaws.com`: the grantee of its grants.
    pub principal: String,
    /// On whose behalf.
    pub account: AccountId,
    /// The ARN of the resource that it acts for (`aws:SourceArn`).
    pub source_arn: Option<String>,
}

impl Service {
    /// RDS in a region, for a resource of an account.
    pub fn rds(region: &Region, account: AccountId, source_arn: Option<String>) -> Self {
        let principal = format!("rds.{region}.amazonaws.com");
        Self { name: "rds.amazonaws.com".into(), principal, account, source_arn }
    }
}

impl Caller {
    /// The account that the caller belongs to, or acts for.
    pub const fn account(&self) -> &AccountId {
        match self {
            Self::Root { account, .. } => account,
            Self::User(user) => &user.account,
            Self::Session(session) => &session.account,
            Self::Federated(federated) => &federated.account,
            Self::Service(service) => &service.account,
        }
    }

    /// The name by which policies and messages know the caller.
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account, .. } => format!("arn:aws:iam::{account}:root"),
            Self::User(user) => user.arn.clone(),
            Self::Session(Session { account, role_name, session_name, .. }) => {
                format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}")
            }
            Self::Federated(Federated { account, name, .. }) => {
                format!("arn:aws:sts::{account}:federated-user/{name}")
            }
            Self::Service(service) => service.principal.clone(),
        }
    }

    /// The unique id: `AIDA…`, `AROA…:session`, `account:name` of a federated user, the account of a root user.
    pub fn unique_id(&self) -> String {
        match self {
            Self::Root { account, .. } => account.to_string(),
            Self::User(user) => user.id.clone(),
            Self::Session(session) => format!("{}:{}", session.role_id, session.session_name),
            Self::Federated(federated) => format!("{}:{}", federated.account, federated.name),
            Self::Service(service) => service.principal.clone(),
        }
    }

    /// The access key that signed, if one did.
    pub fn access_key_id(&self) -> Option<&str> {
        match self {
            Self::Root { access_key_id, .. } => Some(access_key_id),
            Self::User(user) => Some(&user.access_key_id),
            Self::Session(session) => Some(&session.access_key_id),
            Self::Federated(federated) => Some(&federated.access_key_id),
            Self::Service(_) => None,
        }
    }

    /// When the temporary credentials were made; `None` for those that last.
    pub const fn session_began(&self) -> Option<Timestamp> {
        match self {
            Self::User(user) => user.session_began,
            Self::Session(session) => Some(session.created),
            Self::Federated(federated) => Some(federated.created),
            Self::Root { .. } | Self::Service(_) => None,
        }
    }

    /// Tags of the principal, for `aws:PrincipalTag`.
    pub fn tags(&self) -> &[(String, String)] {
        match self {
            Self::User(user) => &user.tags,
            Self::Session(session) => &session.tags,
            Self::Federated(federated) => &federated.tags,
            Self::Root { .. } | Self::Service(_) => &[],
        }
    }
}
