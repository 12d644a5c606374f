//! `sts:AssumeRole`: temporary credentials with the permissions of a role (spec/policy.md §13). The trail keeps the token,
//! which is worth nothing without the secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use front::{Ask, Authorized, Call, Caller, Effect, Operation};
use ids::{AccountId, Arn, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, Secret, ServiceId};

use super::shapes::{Tag, add_tags, whole_seconds};
use crate::{
    entity::{Entity as _, ManagedPolicy, Role},
    fault, names,
    policy::{Policy, Trust},
    registry::Iam,
    session::Session,
};

/// Seconds of a session where the caller does not say, and of one that is begun from another one at most.
const HOUR: u32 = 3600;
const MOST_POLICIES: usize = 10;
/// Characters of the session policy.
const POLICY_SIZE: usize = 2048;

pub struct AssumeRole;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_arn: String,
    role_session_name: String,
    duration_seconds: Option<u32>,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<PolicyArn>,
    external_id: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    transitive_tag_keys: Vec<String>,
    serial_number: Option<String>,
    token_code: Option<String>,
    source_identity: Option<String>,
    #[serde(default)]
    provided_contexts: Vec<Value>,
}

#[derive(Deserialize)]
struct PolicyArn {
    arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed_policy_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: Arc<Secret>,
    session_token: Arc<Secret>,
    expiration: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

/// A role that a request named; one that is not there trusts nobody.
pub struct Target {
    arn: String,
    account: AccountId,
    role: Option<Arc<Role>>,
}

impl Operation for AssumeRole {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "AssumeRole";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "RoleArn",
        "RoleSessionName",
        "DurationSeconds",
        "Policy",
        "PolicyArns",
        "ExternalId",
        "Tags",
        "TransitiveTagKeys",
    ];

    type State = Iam;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Target, Fault> {
        if let Caller::Root { .. } = call.caller {
            return Err(denied("Roles may not be assumed by root accounts."));
        }
        let text = &request.role_arn;
        let invalid = || fault::validation(format!("{text} is invalid"));
        let arn: Arn = text.parse().map_err(|_| invalid())?;
        let account: AccountId = arn.account.parse().map_err(|_| invalid())?;
        let path =
            arn.resource.strip_prefix("role/").filter(|_| arn.service == "iam" && arn.region.is_empty());
        let path = path.filter(|path| !path.ends_with('/') && !path.is_empty()).ok_or_else(invalid)?;
        let role = iam.named::<Role>(&account, path.rsplit('/').next().unwrap_or(path));
        let role = role.filter(|role| role.arn() == *text);
        Ok(Target { arn: text.clone(), account, role })
    }

    fn asks(_: &Iam, _: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let trust =
            target.role.as_ref().map_or_else(Trust::of_nobody, |role| Arc::clone(&role.trust.document));
        let ask = |action| {
            let mut ask = Ask::new(action, &target.arn)
                .on(&target.account)
                .policy(Arc::clone(&trust))
                .without_reason()
                .with("sts:RoleSessionName", [request.role_session_name.clone()])
                .with("sts:ExternalId", request.external_id.clone())
                .with("aws:TagKeys", request.tags.iter().map(|tag| tag.key.clone()))
                .with("sts:TransitiveTagKeys", request.transitive_tag_keys.clone());
            for Tag { key, value } in &request.tags {
                ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
            }
            for (key, value) in target.role.iter().flat_map(|role| &role.tags) {
                for prefix in ["aws:ResourceTag", "iam:ResourceTag"] {
                    ask = ask.with(format!("{prefix}/{key}"), [value.clone()]);
                }
            }
            ask
        };
        let mut asks = vec![ask("sts:AssumeRole")];
        if !request.tags.is_empty() || !request.transitive_tag_keys.is_empty() {
            asks.push(ask("sts:TagSession"));
        }
        asks
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        refuse_unserved(&request)?;
        let role = target.role.as_ref().and_then(|role| iam.by_id::<Role>(&role.id));
        let role = role.ok_or_else(|| denied("The role is gone."))?;
        let before = call.caller.access_key_id().and_then(|id| iam.session(id));
        let duration = duration(request.duration_seconds, role.max_session, before.is_some())?;
        let (tags, transitive) = tags(request.tags, request.transitive_tag_keys, before.as_deref())?;
        let policy_size = request.policy.as_ref().map(|text| text.chars().count());
        if let Some(size) = policy_size.filter(|size| *size > POLICY_SIZE) {
            let percent = size * 100 / POLICY_SIZE;
            let text =
                format!("Packed policy consumes {percent}% of allotted space, please use smaller policy.");
            return Err(Fault::client("PackedPolicyTooLarge", text));
        }
        let inline =
            request.policy.map(Policy::try_from).transpose().map_err(|bad| fault::malformed(&bad))?;
        let session = Session {
            id: names::session_key_id(),
            role: role.id.clone(),
            name: request.role_session_name,
            created: whole_seconds(call.now),
            expires: whole_seconds(call.now).plus(Duration::from_secs(duration.into())),
            secret: Arc::new(names::secret_access_key()),
            token: Arc::new(names::session_token()),
            tags,
            transitive,
            inline,
            managed: managed(iam, &role, request.policy_arns)?,
        };
        let response = Response {
            credentials: Credentials {
                access_key_id: session.id.clone(),
                secret_access_key: Arc::clone(&session.secret),
                session_token: Arc::clone(&session.token),
                expiration: session.expires,
            },
            assumed_role_user: AssumedRoleUser {
                assumed_role_id: format!("{}:{}", role.id, session.name),
                arn: format!("arn:aws:sts::{}:assumed-role/{}/{}", role.account, role.name, session.name),
            },
            packed_policy_size: policy_size.map(|size| size * 100 / POLICY_SIZE),
        };
        let mut change = iam.begin(&call.event_id).await?;
        change.put_session(session, call.now).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        let Response { credentials, assumed_role_user: user, packed_policy_size } = response;
        Some(json!({
            "Credentials": {
                "AccessKeyId": credentials.access_key_id, "SessionToken": credentials.session_token.expose(),
                "Expiration": trail::written_date(credentials.expiration),
            },
            "AssumedRoleUser": {"AssumedRoleId": user.assumed_role_id, "Arn": user.arn},
            "PackedPolicySize": packed_policy_size,
        }))
    }
}

fn denied(text: &str) -> Fault {
    Fault::client("AccessDenied", text).with_status(403)
}

/// What a caller may ask for and does not get here, rather than a session that does less than it seems to.
fn refuse_unserved(request: &Request) -> Result<(), Fault> {
    if request.serial_number.is_some() || request.token_code.is_some() {
        return Err(denied("MultiFactorAuthentication failed with invalid MFA one time pass code."));
    }
    if request.source_identity.is_some() {
        return Err(fault::validation("SourceIdentity is not supported."));
    }
    if !request.provided_contexts.is_empty() {
        return Err(fault::validation("ProvidedContexts is not supported."));
    }
    Ok(())
}

fn duration(wanted: Option<u32>, longest: u32, chained: bool) -> Result<u32, Fault> {
    let wanted = wanted.unwrap_or(HOUR);
    if chained && wanted > HOUR {
        return Err(fault::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    if wanted > longest {
        return Err(fault::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(wanted)
}

/// The tags of a session, and which of them go on: those of the session before that do come along unchanged.
fn tags(
    sent: Vec<Tag>,
    transitive: Vec<String>,
    before: Option<&Session>,
) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Fault> {
    let mut tags = BTreeMap::new();
    add_tags(&mut tags, sent)?;
    let mut going_on: BTreeSet<String> = transitive.into_iter().collect();
    if going_on.iter().any(|key| !tags.contains_key(key)) {
        return Err(fault::invalid_input(
            "Every transitive tag key must be the key of a tag of this session.",
        ));
    }
    let inherited =
        before.into_iter().flat_map(|before| before.transitive.iter().map(|key| (key, &before.tags)));
    for (key, before) in inherited {
        if tags.keys().any(|sent| sent.to_lowercase() == key.to_lowercase()) {
            return Err(fault::invalid_input(format!(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session: {key}"
            )));
        }
        if let Some(value) = before.get(key) {
            tags.insert(key.clone(), value.clone());
            going_on.insert(key.clone());
        }
    }
    Ok((tags, going_on))
}

/// Ids of the managed policies that limit a session: they are of the role's account.
fn managed(iam: &Iam, role: &Role, arns: Vec<PolicyArn>) -> Result<BTreeSet<String>, Fault> {
    if arns.len() > MOST_POLICIES {
        return Err(fault::validation(format!("A session takes at most {MOST_POLICIES} managed policies.")));
    }
    let of_account = iam.of::<ManagedPolicy>(&role.account);
    let find = |arn: String| {
        let found = of_account.iter().find(|policy| policy.arn() == arn);
        found.map(|policy| policy.id.clone()).ok_or_else(|| {
            Fault::client(
                "MalformedPolicyDocument",
                format!("Policy {arn} does not exist or is not attachable."),
            )
        })
    };
    arns.into_iter().filter_map(|policy| policy.arn).map(find).collect()
}
