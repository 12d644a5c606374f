"""The operations that the server has and stock clients know, by service. A run of all tests must call each of them."""

SERVED = {
    "kms": {
        "CreateKey", "DescribeKey", "ListKeys", "CreateAlias", "DeleteAlias", "ListAliases", "UpdateAlias", "EnableKey",
        "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext", "GenerateRandom", "GetKeyPolicy", "PutKeyPolicy", "ListKeyPolicies",
        "CreateGrant", "ListGrants", "ListRetirableGrants", "RetireGrant", "RevokeGrant", "EnableKeyRotation",
        "DisableKeyRotation", "GetKeyRotationStatus", "RotateKeyOnDemand", "ListKeyRotations", "TagResource",
        "UntagResource", "ListResourceTags", "UpdateKeyDescription", "GetKeyLastUsage", "GenerateMac", "VerifyMac",
        "Sign", "Verify", "GetPublicKey", "DeriveSharedSecret", "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext", "GetParametersForImport", "ImportKeyMaterial",
        "DeleteImportedKeyMaterial", "ReplicateKey", "UpdatePrimaryRegion", "CreateCustomKeyStore",
        "DescribeCustomKeyStores", "ConnectCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore",
        "DeleteCustomKeyStore",
    },
    "rds": {
        "CreateDBCluster", "DescribeDBClusters", "DeleteDBCluster", "StartDBCluster", "StopDBCluster",
        "CreateDBInstance", "DescribeDBInstances", "DeleteDBInstance", "RebootDBInstance", "CreateDBClusterSnapshot",
        "DescribeDBClusterSnapshots", "DeleteDBClusterSnapshot", "CopyDBClusterSnapshot",
        "RestoreDBClusterFromSnapshot", "AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource", "DescribeDBEngineVersions",
        "DescribeOrderableDBInstanceOptions", "DescribeEvents",
    },
    "iam": {
        "CreateUser", "GetUser", "ListUsers", "DeleteUser", "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey",
        "DeleteAccessKey", "TagUser", "UntagUser", "ListUserTags", "PutUserPolicy", "GetUserPolicy",
        "ListUserPolicies", "DeleteUserPolicy", "AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies",
        "CreatePolicy", "GetPolicy", "GetPolicyVersion", "ListPolicies", "DeletePolicy", "CreateRole", "GetRole",
        "ListRoles", "DeleteRole", "UpdateAssumeRolePolicy", "PutRolePolicy", "GetRolePolicy", "ListRolePolicies",
        "DeleteRolePolicy", "AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies",
        "CreatePolicyVersion", "ListPolicyVersions", "SetDefaultPolicyVersion", "DeletePolicyVersion",
        "ListEntitiesForPolicy", "TagRole", "UntagRole", "ListRoleTags", "TagPolicy", "UntagPolicy", "ListPolicyTags",
        "UpdateRole", "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary", "PutRolePermissionsBoundary",
        "DeleteRolePermissionsBoundary", "CreateGroup", "GetGroup", "ListGroups", "DeleteGroup", "AddUserToGroup",
        "RemoveUserFromGroup", "ListGroupsForUser", "PutGroupPolicy", "GetGroupPolicy", "ListGroupPolicies",
        "DeleteGroupPolicy", "AttachGroupPolicy", "DetachGroupPolicy", "ListAttachedGroupPolicies",
        "CreateAccountAlias", "ListAccountAliases", "DeleteAccountAlias", "GetAccountSummary",
        "GetAccountAuthorizationDetails", "GetAccessKeyLastUsed", "SimulateCustomPolicy", "SimulatePrincipalPolicy",
    },
    "sts": {"GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetFederationToken", "GetAccessKeyInfo",
            "DecodeAuthorizationMessage"},
    "cloudtrail": {"LookupEvents"},
}


def served():
    """All of them, as pairs of service and operation."""
    return {(service, operation) for service, operations in SERVED.items() for operation in operations}
