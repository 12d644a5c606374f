//! Shapes that several answers have, with the model's names.

use std::collections::BTreeMap;

use ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::Fault;

use crate::{
    entity::{Entity as _, Group, ManagedPolicy, PolicyVersion, Role, User},
    fault,
    registry::Iam,
};

/// Tags that one user, role or policy may have.
const MOST_TAGS: usize = 50;

/// An answer without members.
#[derive(Debug, Serialize)]
pub struct Empty {}

/// A tag, in requests and answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// `User`. The root user has neither name nor path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    pub user_id: String,
    pub arn: String,
    pub create_date: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<BoundaryShape>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// `AttachedPermissionsBoundary`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BoundaryShape {
    permissions_boundary_type: &'static str,
    permissions_boundary_arn: String,
}

impl BoundaryShape {
    pub fn of(iam: &Iam, policy: Option<&String>) -> Option<Self> {
        let policy = iam.by_id::<ManagedPolicy>(policy?)?;
        Some(Self {
            permissions_boundary_type: "PermissionsBoundaryPolicy",
            permissions_boundary_arn: policy.arn(),
        })
    }
}

/// `Group`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupShape {
    path: String,
    group_name: String,
    group_id: String,
    arn: String,
    create_date: Timestamp,
}

impl GroupShape {
    pub fn of(group: &Group) -> Self {
        Self {
            path: group.path.clone(),
            group_name: group.name.clone(),
            group_id: group.id.clone(),
            arn: group.arn(),
            create_date: group.created,
        }
    }

    /// As the trail keeps it.
    pub fn recorded(&self) -> Value {
        json!({
            "Path": self.path, "GroupName": self.group_name, "GroupId": self.group_id, "Arn": self.arn,
            "CreateDate": trail::written_date(self.create_date),
        })
    }
}

/// `PolicyVersion`; lists leave the document out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    version_id: String,
    is_default_version: bool,
    create_date: Timestamp,
}

impl VersionShape {
    pub fn of(policy: &ManagedPolicy, version: &PolicyVersion) -> Self {
        Self {
            document: Some(version.policy.encoded()),
            version_id: version.id(),
            is_default_version: version.number == policy.default,
            create_date: version.created,
        }
    }

    /// As lists have it.
    pub fn listed(self) -> Self {
        Self { document: None, ..self }
    }

    /// As the trail keeps it.
    pub fn recorded(&self) -> Value {
        json!({
            "VersionId": self.version_id, "IsDefaultVersion": self.is_default_version,
            "CreateDate": trail::written_date(self.create_date),
        })
    }
}

impl UserShape {
    pub fn of(iam: &Iam, user: &User) -> Self {
        Self {
            path: Some(user.path.clone()),
            user_name: Some(user.name.clone()),
            user_id: user.id.clone(),
            arn: user.arn(),
            create_date: user.created,
            permissions_boundary: BoundaryShape::of(iam, user.boundary.as_ref()),
            tags: tags(&user.tags),
        }
    }

    /// As the trail keeps it.
    pub fn recorded(&self) -> Value {
        json!({
            "Path": self.path, "UserName": self.user_name, "UserId": self.user_id, "Arn": self.arn,
            "CreateDate": trail::written_date(self.create_date),
        })
    }
}

/// `Policy`: a managed policy without its document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyShape {
    pub policy_name: String,
    pub policy_id: String,
    pub arn: String,
    pub path: String,
    pub default_version_id: String,
    pub attachment_count: usize,
    pub permissions_boundary_usage_count: usize,
    pub is_attachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub create_date: Timestamp,
    pub update_date: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl PolicyShape {
    pub fn of(iam: &Iam, policy: &ManagedPolicy) -> Self {
        Self {
            policy_name: policy.name.clone(),
            policy_id: policy.id.clone(),
            arn: policy.arn(),
            path: policy.path.clone(),
            default_version_id: format!("v{}", policy.default),
            attachment_count: iam.attachments(policy),
            permissions_boundary_usage_count: iam.bounded_by(policy),
            is_attachable: true,
            description: policy.description.clone(),
            create_date: policy.created,
            update_date: policy.updated,
            tags: tags(&policy.tags),
        }
    }

    /// As the trail keeps it.
    pub fn recorded(&self) -> Value {
        json!({
            "PolicyName": self.policy_name, "PolicyId": self.policy_id, "Arn": self.arn, "Path": self.path,
            "DefaultVersionId": self.default_version_id, "AttachmentCount": self.attachment_count,
            "PermissionsBoundaryUsageCount": self.permissions_boundary_usage_count,
            "IsAttachable": self.is_attachable, "CreateDate": trail::written_date(self.create_date),
            "UpdateDate": trail::written_date(self.update_date),
        })
    }
}

/// `Role`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoleShape {
    pub path: String,
    pub role_name: String,
    pub role_id: String,
    pub arn: String,
    pub create_date: Timestamp,
    pub assume_role_policy_document: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_session_duration: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<BoundaryShape>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl RoleShape {
    pub fn of(iam: &Iam, role: &Role) -> Self {
        Self {
            path: role.path.clone(),
            role_name: role.name.clone(),
            role_id: role.id.clone(),
            arn: role.arn(),
            create_date: role.created,
            assume_role_policy_document: iam.shown_trust(&role.trust),
            description: role.description.clone(),
            max_session_duration: Some(role.max_session),
            permissions_boundary: BoundaryShape::of(iam, role.boundary.as_ref()),
            tags: tags(&role.tags),
        }
    }

    /// As the trail keeps it.
    pub fn recorded(&self) -> Value {
        json!({
            "Path": self.path, "RoleName": self.role_name, "RoleId": self.role_id, "Arn": self.arn,
            "CreateDate": trail::written_date(self.create_date),
            "AssumeRolePolicyDocument": self.assume_role_policy_document,
        })
    }
}

/// Tags as answers list them.
pub fn tags(map: &BTreeMap<String, String>) -> Vec<Tag> {
    map.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// Adds tags to those there are.
///
/// # Errors
/// `InvalidInput` for doubled or reserved keys, `LimitExceeded` for too many.
pub fn add_tags(map: &mut BTreeMap<String, String>, sent: Vec<Tag>) -> Result<(), Fault> {
    let mut seen: Vec<String> = Vec::new();
    for Tag { key, value } in sent {
        let folded = key.to_lowercase();
        if folded.starts_with("aws:") {
            return Err(fault::invalid_input("Tag keys beginning with aws: are reserved for system use."));
        }
        if seen.contains(&folded) {
            return Err(fault::invalid_input(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        // The case of a key is that of its last use.
        map.retain(|known, _| known.to_lowercase() != folded);
        map.insert(key, value);
        seen.push(folded);
    }
    if map.len() > MOST_TAGS {
        return Err(fault::limit_exceeded(format!(
            "The number of tags has reached the maximum limit of {MOST_TAGS}."
        )));
    }
    Ok(())
}

/// Whole seconds: IAM keeps no finer instants.
pub const fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_secs() * 1000)
}

/// Reads what a model calls a number of items.
pub fn count(max_items: Option<u32>) -> Option<usize> {
    max_items.and_then(|count| usize::try_from(count).ok())
}
