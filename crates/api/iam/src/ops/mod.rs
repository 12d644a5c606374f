//! The operations of IAM and STS, one file each; those on the policies of users and of roles share theirs.

mod assume_role;
mod attach_policy;
mod create_access_key;
mod create_policy;
mod create_role;
mod create_user;
mod delete_access_key;
mod delete_inline_policy;
mod delete_policy;
mod delete_role;
mod delete_user;
mod detach_policy;
mod get_caller_identity;
mod get_inline_policy;
mod get_policy;
mod get_policy_version;
mod get_role;
mod get_user;
mod list_access_keys;
mod list_attached_policies;
mod list_inline_policies;
mod list_policies;
mod list_roles;
mod list_user_tags;
mod list_users;
mod put_inline_policy;
mod shapes;
mod tag_user;
mod untag_user;
mod update_access_key;
mod update_assume_role_policy;

use std::sync::Arc;

use front::Router;

use crate::{
    entity::{Role, User},
    principal::Principal,
    registry::Iam,
};

/// Serves every operation of IAM and STS.
pub fn operations(router: &mut Router, iam: Arc<Iam>) {
    router.add::<create_user::CreateUser>(Arc::clone(&iam));
    router.add::<get_user::GetUser>(Arc::clone(&iam));
    router.add::<list_users::ListUsers>(Arc::clone(&iam));
    router.add::<delete_user::DeleteUser>(Arc::clone(&iam));
    router.add::<create_access_key::CreateAccessKey>(Arc::clone(&iam));
    router.add::<list_access_keys::ListAccessKeys>(Arc::clone(&iam));
    router.add::<update_access_key::UpdateAccessKey>(Arc::clone(&iam));
    router.add::<delete_access_key::DeleteAccessKey>(Arc::clone(&iam));
    router.add::<tag_user::TagUser>(Arc::clone(&iam));
    router.add::<untag_user::UntagUser>(Arc::clone(&iam));
    router.add::<list_user_tags::ListUserTags>(Arc::clone(&iam));
    router.add::<create_policy::CreatePolicy>(Arc::clone(&iam));
    router.add::<get_policy::GetPolicy>(Arc::clone(&iam));
    router.add::<get_policy_version::GetPolicyVersion>(Arc::clone(&iam));
    router.add::<list_policies::ListPolicies>(Arc::clone(&iam));
    router.add::<delete_policy::DeletePolicy>(Arc::clone(&iam));
    router.add::<create_role::CreateRole>(Arc::clone(&iam));
    router.add::<get_role::GetRole>(Arc::clone(&iam));
    router.add::<list_roles::ListRoles>(Arc::clone(&iam));
    router.add::<delete_role::DeleteRole>(Arc::clone(&iam));
    router.add::<update_assume_role_policy::UpdateAssumeRolePolicy>(Arc::clone(&iam));
    permissions::<User>(router, &iam);
    permissions::<Role>(router, &iam);
    router.add::<assume_role::AssumeRole>(Arc::clone(&iam));
    router.add::<get_caller_identity::GetCallerIdentity>(iam);
}

/// What is the same for users and roles.
fn permissions<T: Principal>(router: &mut Router, iam: &Arc<Iam>) {
    router.add::<put_inline_policy::PutInlinePolicy<T>>(Arc::clone(iam));
    router.add::<get_inline_policy::GetInlinePolicy<T>>(Arc::clone(iam));
    router.add::<list_inline_policies::ListInlinePolicies<T>>(Arc::clone(iam));
    router.add::<delete_inline_policy::DeleteInlinePolicy<T>>(Arc::clone(iam));
    router.add::<attach_policy::AttachPolicy<T>>(Arc::clone(iam));
    router.add::<detach_policy::DetachPolicy<T>>(Arc::clone(iam));
    router.add::<list_attached_policies::ListAttachedPolicies<T>>(Arc::clone(iam));
}
