//! What policies are given to: users and roles. The operations of both are the same but for their names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    entity::{Role, User},
    policy::Policy,
    registry::Kept,
};

/// What somebody may do, as far as policies of his own say.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Permissions {
    /// Inline policies by name.
    pub inline: BTreeMap<String, Policy>,
    /// Ids of the managed policies that are attached.
    pub attached: BTreeSet<String>,
}

/// An operation on the policies of a user or a role.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// `PutUserPolicy`
    pub name: &'static str,
    /// `iam:PutUserPolicy`
    pub action: &'static str,
    /// Members of the request that the trail records.
    pub recorded: &'static [&'static str],
}

/// A user or a role.
pub trait Principal: Kept + Clone {
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
    ($before:literal, $noun:literal, $after:literal, $($recorded:literal),*) => {
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
principal!(Role, "Role", 10240);
