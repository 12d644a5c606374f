//! What policies are given to: users, groups and roles. Their operations are the same but for their names.

use std::collections::{BTreeMap, BTreeSet};

use front::Call;
use serde::{Deserialize, Serialize};
use wire::Fault;

use crate::{
    entity::{Group, ManagedPolicy, Role, User},
    fault,
    policy::Policy,
    registry::{Iam, Kept},
    subject::{Managed, Subject},
};

/// What somebody may do, as far as policies of his own say.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Permissions {
    /// Inline policies by name.
    pub inline: BTreeMap<String, Policy>,
    /// Ids of the managed policies that are attached.
    pub attached: BTreeSet<String>,
}

impl Permissions {
    /// Gives the inline policies the names that explanations call them by.
    pub fn name_policies(&mut self, kind: &str, owner: &str) {
        for (name, policy) in &mut self.inline {
            policy.name_as(format!("inline policy {name} of {kind} {owner}"));
        }
    }
}

/// An operation on users, groups, roles or policies that is the same but for its name.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// `PutUserPolicy`
    pub name: &'static str,
    /// `iam:PutUserPolicy`
    pub action: &'static str,
    /// Members of the request that the trail records.
    pub recorded: &'static [&'static str],
}

/// A user, a group or a role.
pub trait Principal: Kept + Clone {
    /// `User`
    const NOUN: &'static str;
    /// `UserName`
    const NAME_MEMBER: &'static str;
    /// Characters of all inline policies together, white space not counted.
    const INLINE_SIZE: usize;
    /// `PoliciesPerUser`
    const ATTACHED_QUOTA: &'static str;
    const PUT_POLICY: Verb;
    const GET_POLICY: Verb;
    const LIST_POLICIES: Verb;
    const DELETE_POLICY: Verb;
    const ATTACH_POLICY: Verb;
    const DETACH_POLICY: Verb;
    const LIST_ATTACHED_POLICIES: Verb;

    fn permissions(&self) -> &Permissions;
    fn permissions_mut(&mut self) -> &mut Permissions;
}

macro_rules! verb {
    ($before:literal, $noun:literal, $after:literal, $($recorded:literal),* $(,)?) => {
        Verb {
            name: concat!($before, $noun, $after),
            action: concat!("iam:", $before, $noun, $after),
            recorded: &[concat!($noun, "Name"), $($recorded),*],
        }
    };
}

macro_rules! principal {
    ($type:ident, $noun:literal, $size:literal) => {
        impl Principal for $type {
            const NOUN: &'static str = $noun;
            const NAME_MEMBER: &'static str = concat!($noun, "Name");
            const INLINE_SIZE: usize = $size;
            const ATTACHED_QUOTA: &'static str = concat!("PoliciesPer", $noun);
            const PUT_POLICY: Verb = verb!("Put", $noun, "Policy", "PolicyName", "PolicyDocument");
            const GET_POLICY: Verb = verb!("Get", $noun, "Policy", "PolicyName");
            const LIST_POLICIES: Verb = verb!("List", $noun, "Policies", "MaxItems");
            const DELETE_POLICY: Verb = verb!("Delete", $noun, "Policy", "PolicyName");
            const ATTACH_POLICY: Verb = verb!("Attach", $noun, "Policy", "PolicyArn");
            const DETACH_POLICY: Verb = verb!("Detach", $noun, "Policy", "PolicyArn");
            const LIST_ATTACHED_POLICIES: Verb =
                verb!("ListAttached", $noun, "Policies", "PathPrefix", "MaxItems");

            fn permissions(&self) -> &Permissions {
                &self.permissions
            }

            fn permissions_mut(&mut self) -> &mut Permissions {
                &mut self.permissions
            }
        }
    };
}
principal!(User, "User", 2048);
principal!(Group, "Group", 5120);
principal!(Role, "Role", 10240);

/// A user or a role: what a permissions boundary can limit.
pub trait Bounded: Principal {
    const PUT_BOUNDARY: Verb;
    const DELETE_BOUNDARY: Verb;

    /// The id of the managed policy that is the boundary.
    fn boundary(&self) -> Option<&String>;
    fn set_boundary(&mut self, policy: Option<String>);
}

macro_rules! bounded {
    ($type:ident, $noun:literal) => {
        impl Bounded for $type {
            const PUT_BOUNDARY: Verb = verb!("Put", $noun, "PermissionsBoundary", "PermissionsBoundary");
            const DELETE_BOUNDARY: Verb = verb!("Delete", $noun, "PermissionsBoundary",);

            fn boundary(&self) -> Option<&String> {
                self.boundary.as_ref()
            }

            fn set_boundary(&mut self, policy: Option<String>) {
                self.boundary = policy;
            }
        }
    };
}
bounded!(User, "User");
bounded!(Role, "Role");

/// A user, a role or a managed policy: what can have tags.
pub trait Tagged: Kept + Clone {
    const TAG: Verb;
    const UNTAG: Verb;
    const LIST_TAGS: Verb;

    /// Looks up what a request names.
    ///
    /// # Errors
    /// `InvalidInput` for a text that can name nothing.
    fn subject(iam: &Iam, call: &Call, name: &str) -> Result<Subject<Self>, Fault>;
    /// `NoSuchEntity` in the words for this kind.
    fn missing(name: &str) -> Fault;
    fn tags_mut(&mut self) -> &mut BTreeMap<String, String>;
}

macro_rules! tagged {
    ($type:ident, $noun:literal, $member:literal, $subject:expr, $missing:expr) => {
        impl Tagged for $type {
            const TAG: Verb = Verb {
                name: concat!("Tag", $noun),
                action: concat!("iam:Tag", $noun),
                recorded: &[$member, "Tags"],
            };
            const UNTAG: Verb = Verb {
                name: concat!("Untag", $noun),
                action: concat!("iam:Untag", $noun),
                recorded: &[$member, "TagKeys"],
            };
            const LIST_TAGS: Verb = Verb {
                name: concat!("List", $noun, "Tags"),
                action: concat!("iam:List", $noun, "Tags"),
                recorded: &[$member, "MaxItems"],
            };

            fn subject(iam: &Iam, call: &Call, name: &str) -> Result<Subject<Self>, Fault> {
                $subject(iam, call, name)
            }

            fn missing(name: &str) -> Fault {
                $missing(name)
            }

            fn tags_mut(&mut self) -> &mut BTreeMap<String, String> {
                &mut self.tags
            }
        }
    };
}
tagged!(User, "User", "UserName", in_account, |name| fault::no_such("user", name));
tagged!(Role, "Role", "RoleName", in_account, |name| fault::no_such("role", name));
tagged!(
    ManagedPolicy,
    "Policy",
    "PolicyArn",
    |iam, call, arn| Managed::of(iam, call, arn).map(Managed::into_subject),
    fault::no_managed_policy
);

fn in_account<T: Kept>(iam: &Iam, call: &Call, name: &str) -> Result<Subject<T>, Fault> {
    Ok(Subject::of(iam, call, name))
}
