//! The operations of IAM and STS, one file each.

mod attach_user_policy;
mod create_access_key;
mod create_policy;
mod create_user;
mod delete_access_key;
mod delete_policy;
mod delete_user;
mod delete_user_policy;
mod detach_user_policy;
mod get_caller_identity;
mod get_policy;
mod get_policy_version;
mod get_user;
mod get_user_policy;
mod list_access_keys;
mod list_attached_user_policies;
mod list_policies;
mod list_user_policies;
mod list_user_tags;
mod list_users;
mod put_user_policy;
mod shapes;
mod tag_user;
mod untag_user;
mod update_access_key;

use std::sync::Arc;

use front::Router;

use crate::registry::Iam;

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
    router.add::<put_user_policy::PutUserPolicy>(Arc::clone(&iam));
    router.add::<get_user_policy::GetUserPolicy>(Arc::clone(&iam));
    router.add::<list_user_policies::ListUserPolicies>(Arc::clone(&iam));
    router.add::<delete_user_policy::DeleteUserPolicy>(Arc::clone(&iam));
    router.add::<tag_user::TagUser>(Arc::clone(&iam));
    router.add::<untag_user::UntagUser>(Arc::clone(&iam));
    router.add::<list_user_tags::ListUserTags>(Arc::clone(&iam));
    router.add::<create_policy::CreatePolicy>(Arc::clone(&iam));
    router.add::<get_policy::GetPolicy>(Arc::clone(&iam));
    router.add::<get_policy_version::GetPolicyVersion>(Arc::clone(&iam));
    router.add::<list_policies::ListPolicies>(Arc::clone(&iam));
    router.add::<delete_policy::DeletePolicy>(Arc::clone(&iam));
    router.add::<attach_user_policy::AttachUserPolicy>(Arc::clone(&iam));
    router.add::<detach_user_policy::DetachUserPolicy>(Arc::clone(&iam));
    router.add::<list_attached_user_policies::ListAttachedUserPolicies>(Arc::clone(&iam));
    router.add::<get_caller_identity::GetCallerIdentity>(iam);
}
