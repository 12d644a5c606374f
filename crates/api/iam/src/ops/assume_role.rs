//! `sts:AssumeRole`: temporary credentials with the permissions of a role (spec/policy.md §13). The trail keeps the token,
//! which is worth nothing without the secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use front::{Ask, Authorized, Call, Caller, Effect, Operation};
use ids::{AccountId, Arn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    shapes::{Tag, add_tags},
    temporary::{Begun, Credentials, Limits, PolicyArn, denied},
};
use crate::{
    entity::{Entity as _, Role},
    fault,
    policy::Trust,
    registry::Iam,
    session::Session,
};

/// Seconds of a session where the caller does not say, and of one that is begun from another one at most.
const HOUR: u32 = 3600;

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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed_policy_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_identity: Option<String>,
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
        "SourceIdentity",
    ];

    type State = Iam;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Target, Fault> {
        match call.caller {
            Caller::Root { .. } => return Err(denied("Roles may not be assumed by root accounts.")),
            Caller::Federated(_) => return Err(denied("Cannot call AssumeRole with federated credentials")),
            Caller::User(_) | Caller::Session(_) | Caller::Service(_) => {}
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

    fn asks(iam: &Iam, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let trust =
            target.role.as_ref().map_or_else(Trust::of_nobody, |role| Arc::clone(&role.trust.document));
        let before = begun_with(iam, call);
        let source = before.as_ref().and_then(|before| before.source_identity.clone());
        let source = source.or_else(|| request.source_identity.clone());
        let ask = |action| {
            let mut ask = Ask::new(action, &target.arn)
                .on(&target.account)
                .policy(Arc::clone(&trust))
                .without_reason()
                .with("sts:RoleSessionName", [request.role_session_name.clone()])
                .with("sts:ExternalId", request.external_id.clone())
                .with("sts:SourceIdentity", source.clone())
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
        // Whoever hands a source identity on needs the same leave as he who sets it.
        if source.is_some() {
            asks.push(ask("sts:SetSourceIdentity"));
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
        let before = begun_with(iam, call);
        let seconds = duration(request.duration_seconds, role.max_session, before.is_some())?;
        let (tags, transitive) = tags(request.tags, request.transitive_tag_keys, before.as_deref())?;
        let source_identity = source_identity(request.source_identity, before.as_deref())?;
        let limits = Limits::read(iam, &role.account, request.policy, request.policy_arns)?;
        let packed_policy_size = limits.packed_size();
        let Begun { session, credentials } = Begun::new(call, seconds, |drawn| Session {
            principal: role.id.clone(),
            name: Some(request.role_session_name),
            tags,
            transitive,
            inline: limits.inline,
            managed: limits.managed,
            source_identity: source_identity.clone(),
            ..drawn
        });
        let name = session.name.clone().unwrap_or_default();
        let response = Response {
            credentials,
            assumed_role_user: AssumedRoleUser {
                assumed_role_id: format!("{}:{name}", role.id),
                arn: format!("arn:aws:sts::{}:assumed-role/{}/{name}", role.account, role.name),
            },
            packed_policy_size,
            source_identity,
        };
        // Another account's role: its owner has a record of this as well (spec/trail.md §4.7).
        call.touches(&role.account, "AWS::IAM::Role", &role.arn());
        let mut change = iam.begin(&call.event_id).await?;
        change.put_session(session, call.now).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        let user = &response.assumed_role_user;
        let mut told = json!({
            "Credentials": response.credentials.recorded(),
            "AssumedRoleUser": {"AssumedRoleId": user.assumed_role_id, "Arn": user.arn},
            "PackedPolicySize": response.packed_policy_size,
        });
        if let Some(source) = &response.source_identity {
            told["SourceIdentity"] = json!(source);
        }
        Some(told)
    }
}

/// The session that the caller is in, if he is in one of a role: what it says about him goes on.
fn begun_with(iam: &Iam, call: &Call) -> Option<Arc<Session>> {
    let Caller::Session(session) = &call.caller else { return None };
    iam.session(&session.access_key_id)
}

/// Who is behind the new session: it does not change on the way from one role to the next.
fn source_identity(sent: Option<String>, before: Option<&Session>) -> Result<Option<String>, Fault> {
    match (sent, before.and_then(|before| before.source_identity.clone())) {
        (Some(sent), Some(before)) if sent != before => Err(denied(
            "The source identity of the calling session is set, and cannot be changed when a role is assumed with it.",
        )),
        (sent, before) => Ok(before.or(sent)),
    }
}

/// What a caller may ask for and does not get here, rather than a session that does less than it seems to.
fn refuse_unserved(request: &Request) -> Result<(), Fault> {
    if request.serial_number.is_some() || request.token_code.is_some() {
        return Err(denied("MultiFactorAuthentication failed with invalid MFA one time pass code."));
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
