//! What IAM keeps: users, groups, roles, managed policies, access keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ids::{AccountId, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::Secret;

use crate::{
    names,
    policy::{Policy, Trust},
    principal::Permissions,
};

/// Something with a name of its own in its account; one row of `iam_entities`.
pub trait Entity: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `user`: in the column, in ARNs and in messages.
    const KIND: &'static str;

    fn id(&self) -> &str;
    fn account(&self) -> &AccountId;
    fn name(&self) -> &str;
    fn path(&self) -> &str;
    fn tags(&self) -> &BTreeMap<String, String>;

    /// Gives its policies the names that explanations call them by. Whoever puts it into memory does this once.
    fn name_policies(&mut self);

    fn arn(&self) -> String {
        names::arn(self.account(), Self::KIND, self.path(), self.name())
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct User {
    /// `AIDA…`
    pub id: String,
    pub account: AccountId,
    pub name: String,
    /// Begins and ends with a slash.
    pub path: String,
    pub created: Timestamp,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub permissions: Permissions,
    /// Ids of the groups whose member the user is.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// The id of the managed policy that is the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

/// A group: its members have its permissions. Nobody acts as a group.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Group {
    /// `AGPA…`
    pub id: String,
    pub account: AccountId,
    pub name: String,
    pub path: String,
    pub created: Timestamp,
    pub permissions: Permissions,
}

/// A role: whoever its trust policy lets assume it gets a session with its permissions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Role {
    /// `AROA…`
    pub id: String,
    pub account: AccountId,
    pub name: String,
    pub path: String,
    pub created: Timestamp,
    pub description: Option<String>,
    /// The longest session, 3600 to 43200 seconds.
    pub max_session: u32,
    pub trust: Trust,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub permissions: Permissions,
    /// The id of the managed policy that is the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

/// A managed policy: a policy with a name of its own, for any number of users, in up to five versions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ManagedPolicy {
    /// `ANPA…`
    pub id: String,
    pub account: AccountId,
    pub name: String,
    pub path: String,
    pub created: Timestamp,
    pub description: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// One to five, oldest first.
    pub versions: Vec<PolicyVersion>,
    /// The number of the version that decides.
    pub default: u32,
    /// The number of the version that was made last: none is given twice.
    pub latest: u32,
    /// When the last version was made.
    pub updated: Timestamp,
}

/// A version of a managed policy: `v1`, `v2`…
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyVersion {
    pub number: u32,
    pub created: Timestamp,
    pub policy: Policy,
}

impl PolicyVersion {
    /// `v1`
    pub fn id(&self) -> String {
        format!("v{}", self.number)
    }
}

impl ManagedPolicy {
    /// The version that decides.
    pub fn in_force(&self) -> Option<&PolicyVersion> {
        self.versions.iter().find(|version| version.number == self.default)
    }

    /// A version by its id.
    pub fn version(&self, id: &str) -> Option<&PolicyVersion> {
        self.versions.iter().find(|version| version.id() == id)
    }
}

/// An access key of a user, or of the root user.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// `AKIA…`
    pub id: String,
    pub account: AccountId,
    /// The id of the user; `None` for the root user.
    pub owner: Option<String>,
    pub active: bool,
    pub created: Timestamp,
    pub secret: Arc<Secret>,
}

macro_rules! entity {
    ($name:ident, $kind:literal, |$self:ident| $tags:expr, |$policies:ident| $naming:expr) => {
        impl Entity for $name {
            const KIND: &'static str = $kind;

            fn id(&self) -> &str {
                &self.id
            }

            fn account(&self) -> &AccountId {
                &self.account
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn path(&self) -> &str {
                &self.path
            }

            fn tags(&self) -> &BTreeMap<String, String> {
                let $self = self;
                $tags
            }

            fn name_policies(&mut self) {
                let $policies = self;
                $naming
            }
        }
    };
}

/// Groups have none.
static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

entity!(User, "user", |user| &user.tags, |user| user.permissions.name_policies("user", &user.name));
entity!(Group, "group", |_group| &NO_TAGS, |group| group.permissions.name_policies("group", &group.name));
entity!(Role, "role", |role| &role.tags, |role| {
    role.permissions.name_policies("role", &role.name);
    role.trust.name_as(format!("trust policy of role {}", role.name));
});
entity!(ManagedPolicy, "policy", |policy| &policy.tags, |managed| {
    let arn = managed.arn();
    for version in &mut managed.versions {
        version.policy.name_as(format!("{arn} {}", version.id()));
    }
});

impl AccessKey {
    /// `Active` or `Inactive`.
    pub const fn status(&self) -> &'static str {
        if self.active { "Active" } else { "Inactive" }
    }
}
