//! `iam:GetAccountSummary`: how much there is of everything, and how much there may be.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    add_user_to_group::GROUPS_PER_USER, attach_policy::MOST_ATTACHED,
    create_access_key::ACCESS_KEYS_PER_USER, create_group::GROUPS_PER_ACCOUNT,
    create_policy::POLICIES_PER_ACCOUNT, create_policy_version::VERSIONS_PER_POLICY,
    create_role::ROLES_PER_ACCOUNT, create_user::USERS_PER_ACCOUNT,
};
use crate::{
    entity::{Group, ManagedPolicy, Role, User},
    policy::{MANAGED_SIZE, TRUST_SIZE},
    principal::Principal,
    registry::Iam,
};

pub struct GetAccountSummary;

#[derive(Deserialize)]
pub struct Request {}

impl Operation for GetAccountSummary {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetAccountSummary";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Value;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:GetAccountSummary", "*")]
    }

    async fn act(iam: &Iam, call: &Call, _: Request, _: Authorized<()>) -> Result<Value, Fault> {
        let account = call.account();
        let policies = iam.of::<ManagedPolicy>(account);
        let versions: usize = policies.iter().map(|policy| policy.versions.len()).sum();
        // What is not here is none, without a quota: passwords, certificates, second factors.
        Ok(json!({"SummaryMap": {
            "Users": iam.of::<User>(account).len(), "UsersQuota": USERS_PER_ACCOUNT,
            "Groups": iam.of::<Group>(account).len(), "GroupsQuota": GROUPS_PER_ACCOUNT,
            "Roles": iam.of::<Role>(account).len(), "RolesQuota": ROLES_PER_ACCOUNT,
            "Policies": policies.len(), "PoliciesQuota": POLICIES_PER_ACCOUNT,
            "PolicyVersionsInUse": versions, "PolicyVersionsInUseQuota": POLICIES_PER_ACCOUNT * VERSIONS_PER_POLICY,
            "VersionsPerPolicyQuota": VERSIONS_PER_POLICY, "PolicySizeQuota": MANAGED_SIZE,
            "UserPolicySizeQuota": User::INLINE_SIZE, "GroupPolicySizeQuota": Group::INLINE_SIZE,
            "RolePolicySizeQuota": Role::INLINE_SIZE, "AssumeRolePolicySizeQuota": TRUST_SIZE,
            "GroupsPerUserQuota": GROUPS_PER_USER, "AccessKeysPerUserQuota": ACCESS_KEYS_PER_USER,
            "AttachedPoliciesPerUserQuota": MOST_ATTACHED, "AttachedPoliciesPerGroupQuota": MOST_ATTACHED,
            "AttachedPoliciesPerRoleQuota": MOST_ATTACHED,
            "AccountAccessKeysPresent": usize::from(!iam.access_keys_of(account, None).is_empty()),
            "AccountPasswordPresent": 0, "AccountMFAEnabled": 0, "MFADevices": 0, "MFADevicesInUse": 0,
            "AccountSigningCertificatesPresent": 0, "InstanceProfiles": 0, "Providers": 0, "ServerCertificates": 0,
            "GlobalEndpointTokenVersion": 2,
        }}))
    }
}
