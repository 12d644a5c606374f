//! Temporary credentials: sessions of roles, of users, and of those whom users lend permissions (spec/policy.md §13).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Secret;

use crate::policy::Policy;

/// A session. It lives in memory, and sealed in SQL until it ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    /// `ASIA…`
    pub id: String,
    /// Whose permissions it has: the id of a role (`AROA…`) or of a user (`AIDA…`), or an account for its root user.
    #[serde(alias = "role")]
    pub principal: String,
    /// The name of a role's session, or of a federated user; a user's own session has none.
    pub name: Option<String>,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub secret: Arc<Secret>,
    pub token: Arc<Secret>,
    /// Tags of the session, beside the role's.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags that go on to sessions begun with this one.
    pub transitive: BTreeSet<String>,
    /// The policies that limit it, given as text and by the ids of managed ones; both empty: no limit.
    pub inline: Option<Policy>,
    pub managed: BTreeSet<String>,
    /// Who is behind the session of a role.
    #[serde(default)]
    pub source_identity: Option<String>,
}

impl Session {
    /// Whether the session was begun with policies.
    pub fn is_limited(&self) -> bool {
        self.inline.is_some() || !self.managed.is_empty()
    }
}
