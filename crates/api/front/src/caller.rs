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
}

impl Service {
    /// RDS in a region, for an account.
    pub fn rds(region: &Region, account: AccountId) -> Self {
        Self { name: "rds.amazonaws.com".into(), principal: format!("rds.{region}.amazonaws.com"), account }
    }
}

impl Caller {
    /// The account that the caller belongs to, or acts for.
    pub const fn account(&self) -> &AccountId {
        match self {
            Self::Root { account, .. } => account,
            Self::User(user) => &user.account,
            Self::Session(session) => &session.account,
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
            Self::Service(service) => service.principal.clone(),
        }
    }

    /// The unique id: `AIDA…`, `AROA…:session`, the account of a root user.
    pub fn unique_id(&self) -> String {
        match self {
            Self::Root { account, .. } => account.to_string(),
            Self::User(user) => user.id.clone(),
            Self::Session(session) => format!("{}:{}", session.role_id, session.session_name),
            Self::Service(service) => service.principal.clone(),
        }
    }

    /// The access key that signed, if one did.
    pub fn access_key_id(&self) -> Option<&str> {
        match self {
            Self::Root { access_key_id, .. } => Some(access_key_id),
            Self::User(user) => Some(&user.access_key_id),
            Self::Session(session) => Some(&session.access_key_id),
            Self::Service(_) => None,
        }
    }

    /// Tags of the principal, for `aws:PrincipalTag`.
    pub fn tags(&self) -> &[(String, String)] {
        match self {
            Self::User(user) => &user.tags,
            Self::Session(session) => &session.tags,
            Self::Root { .. } | Self::Service(_) => &[],
        }
    }
}
