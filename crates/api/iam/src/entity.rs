//! What IAM keeps: users, roles, managed policies, access keys.

use std::{collections::BTreeMap, sync::Arc};

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
}

/// A managed policy: a policy with a name of its own, for any number of users. It has one version, `v1`.
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
    pub policy: Policy,
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
    ($name:ident, $kind:literal) => {
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
                &self.tags
            }
        }
    };
}
entity!(User, "user");
entity!(Role, "role");
entity!(ManagedPolicy, "policy");

impl AccessKey {
    /// `Active` or `Inactive`.
    pub const fn status(&self) -> &'static str {
        if self.active { "Active" } else { "Inactive" }
    }
}
