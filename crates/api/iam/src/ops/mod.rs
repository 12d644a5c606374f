//! The operations of IAM and STS, one file each; those on the policies of users and of roles share theirs.

mod add_user_to_group;
mod assume_role;
mod attach_policy;
mod create_access_key;
mod create_account_alias;
mod create_group;
mod create_policy;
mod create_policy_version;
mod create_role;
mod create_user;
mod decode_authorization_message;
mod delete_access_key;
mod delete_account_alias;
mod delete_boundary;
mod delete_group;
mod delete_inline_policy;
mod delete_policy;
mod delete_policy_version;
mod delete_role;
mod delete_user;
mod detach_policy;
mod get_access_key_info;
mod get_access_key_last_used;
mod get_account_authorization_details;
mod get_account_summary;
mod get_caller_identity;
mod get_federation_token;
mod get_group;
mod get_inline_policy;
mod get_policy;
mod get_policy_version;
mod get_role;
mod get_session_token;
mod get_user;
mod list_access_keys;
mod list_account_aliases;
mod list_attached_policies;
mod list_entities_for_policy;
mod list_groups;
mod list_groups_for_user;
mod list_inline_policies;
mod list_policies;
mod list_policy_versions;
mod list_roles;
mod list_tags;
mod list_users;
mod put_boundary;
mod put_inline_policy;
mod remove_user_from_group;
mod set_default_policy_version;
mod shapes;
mod simulate_custom_policy;
mod simulate_principal_policy;
mod tag;
mod temporary;
mod untag;
mod update_access_key;
mod update_assume_role_policy;
mod update_role;

use std::sync::Arc;

use audit::Trail;
use front::Router;

use crate::{
    entity::{Group, ManagedPolicy, Role, User},
    principal::{Bounded, Principal, Tagged},
    registry::Iam,
    witness::Witness,
};

/// Serves every operation of IAM and STS. The trail tells when keys were used, and why calls were denied.
pub fn operations(router: &mut Router, iam: Arc<Iam>, trail: Arc<Trail>) {
    router.add::<create_user::CreateUser>(Arc::clone(&iam));
    router.add::<get_user::GetUser>(Arc::clone(&iam));
    router.add::<list_users::ListUsers>(Arc::clone(&iam));
    router.add::<delete_user::DeleteUser>(Arc::clone(&iam));
    router.add::<create_access_key::CreateAccessKey>(Arc::clone(&iam));
    router.add::<list_access_keys::ListAccessKeys>(Arc::clone(&iam));
    router.add::<update_access_key::UpdateAccessKey>(Arc::clone(&iam));
    router.add::<delete_access_key::DeleteAccessKey>(Arc::clone(&iam));
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
    router.add::<create_policy_version::CreatePolicyVersion>(Arc::clone(&iam));
    router.add::<list_policy_versions::ListPolicyVersions>(Arc::clone(&iam));
    router.add::<set_default_policy_version::SetDefaultPolicyVersion>(Arc::clone(&iam));
    router.add::<delete_policy_version::DeletePolicyVersion>(Arc::clone(&iam));
    router.add::<list_entities_for_policy::ListEntitiesForPolicy>(Arc::clone(&iam));
    router.add::<update_role::UpdateRole>(Arc::clone(&iam));
    router.add::<create_group::CreateGroup>(Arc::clone(&iam));
    router.add::<get_group::GetGroup>(Arc::clone(&iam));
    router.add::<list_groups::ListGroups>(Arc::clone(&iam));
    router.add::<delete_group::DeleteGroup>(Arc::clone(&iam));
    router.add::<add_user_to_group::AddUserToGroup>(Arc::clone(&iam));
    router.add::<remove_user_from_group::RemoveUserFromGroup>(Arc::clone(&iam));
    router.add::<list_groups_for_user::ListGroupsForUser>(Arc::clone(&iam));
    router.add::<create_account_alias::CreateAccountAlias>(Arc::clone(&iam));
    router.add::<list_account_aliases::ListAccountAliases>(Arc::clone(&iam));
    router.add::<delete_account_alias::DeleteAccountAlias>(Arc::clone(&iam));
    router.add::<get_account_summary::GetAccountSummary>(Arc::clone(&iam));
    router.add::<get_account_authorization_details::GetAccountAuthorizationDetails>(Arc::clone(&iam));
    router.add::<simulate_custom_policy::SimulateCustomPolicy>(Arc::clone(&iam));
    router.add::<simulate_principal_policy::SimulatePrincipalPolicy>(Arc::clone(&iam));
    router.add::<get_session_token::GetSessionToken>(Arc::clone(&iam));
    router.add::<get_federation_token::GetFederationToken>(Arc::clone(&iam));
    router.add::<get_access_key_info::GetAccessKeyInfo>(Arc::clone(&iam));
    permissions::<User>(router, &iam);
    permissions::<Group>(router, &iam);
    permissions::<Role>(router, &iam);
    boundaries::<User>(router, &iam);
    boundaries::<Role>(router, &iam);
    tags::<User>(router, &iam);
    tags::<Role>(router, &iam);
    tags::<ManagedPolicy>(router, &iam);
    let witness = Arc::new(Witness::new(Arc::clone(&iam), trail));
    router.add::<get_access_key_last_used::GetAccessKeyLastUsed>(Arc::clone(&witness));
    router.add::<decode_authorization_message::DecodeAuthorizationMessage>(witness);
    router.add::<assume_role::AssumeRole>(Arc::clone(&iam));
    router.add::<get_caller_identity::GetCallerIdentity>(iam);
}

/// What is the same for users, groups and roles.
fn permissions<T: Principal>(router: &mut Router, iam: &Arc<Iam>) {
    router.add::<put_inline_policy::PutInlinePolicy<T>>(Arc::clone(iam));
    router.add::<get_inline_policy::GetInlinePolicy<T>>(Arc::clone(iam));
    router.add::<list_inline_policies::ListInlinePolicies<T>>(Arc::clone(iam));
    router.add::<delete_inline_policy::DeleteInlinePolicy<T>>(Arc::clone(iam));
    router.add::<attach_policy::AttachPolicy<T>>(Arc::clone(iam));
    router.add::<detach_policy::DetachPolicy<T>>(Arc::clone(iam));
    router.add::<list_attached_policies::ListAttachedPolicies<T>>(Arc::clone(iam));
}

/// What is the same for users and roles.
fn boundaries<T: Bounded>(router: &mut Router, iam: &Arc<Iam>) {
    router.add::<put_boundary::PutBoundary<T>>(Arc::clone(iam));
    router.add::<delete_boundary::DeleteBoundary<T>>(Arc::clone(iam));
}

/// What is the same for users, roles and managed policies.
fn tags<T: Tagged>(router: &mut Router, iam: &Arc<Iam>) {
    router.add::<tag::Tag<T>>(Arc::clone(iam));
    router.add::<untag::Untag<T>>(Arc::clone(iam));
    router.add::<list_tags::ListTags<T>>(Arc::clone(iam));
}
