//! The operations of IAM and STS, one file each.

mod create_access_key;
mod create_user;
mod delete_access_key;
mod delete_user;
mod delete_user_policy;
mod get_caller_identity;
mod get_user;
mod get_user_policy;
mod list_access_keys;
mod list_user_policies;
mod list_users;
mod put_user_policy;
mod shapes;
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
    router.add::<get_caller_identity::GetCallerIdentity>(iam);
}
