//! `sts:GetFederationToken`: temporary credentials for somebody else, with what the user may do and the given policies
//! allow as well; IAM does not take them (spec/policy.md §13).

use std::collections::BTreeMap;

use front::{Ask, Authorized, Call, Caller, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::{
    shapes::{Tag, add_tags},
    temporary::{Begun, Credentials, Limits, PolicyArn, denied, user_duration},
};
use crate::{registry::Iam, session::Session};

pub struct GetFederationToken;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    name: String,
    duration_seconds: Option<u32>,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<PolicyArn>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    credentials: Credentials,
    federated_user: FederatedUser,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed_policy_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FederatedUser {
    federated_user_id: String,
    arn: String,
}

/// Who lends.
pub struct Lender {
    /// The user's id, or the account of the root user.
    principal: String,
    root: bool,
    /// The ARN of the federated user.
    arn: String,
}

impl Operation for GetFederationToken {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "GetFederationToken";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["Name", "DurationSeconds", "Policy", "PolicyArns", "Tags"];

    type State = Iam;
    type Request = Request;
    type Target = Lender;
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, request: &Request) -> Result<Lender, Fault> {
        let arn = format!("arn:aws:sts::{}:federated-user/{}", call.account(), request.name);
        match &call.caller {
            Caller::User(user) if user.session_began.is_none() => {
                Ok(Lender { principal: user.id.clone(), root: false, arn })
            }
            Caller::Root { account, access_key_id } if !access_key_id.starts_with("ASIA") => {
                Ok(Lender { principal: account.to_string(), root: true, arn })
            }
            _ => Err(denied("Cannot call GetFederationToken with session credentials")),
        }
    }

    fn asks(_: &Iam, call: &Call, request: &Request, lender: &Lender) -> Vec<Ask> {
        let ask = |action| {
            let keys = request.tags.iter().map(|tag| tag.key.clone());
            let mut ask = Ask::new(action, &lender.arn).on(call.account()).with("aws:TagKeys", keys);
            for Tag { key, value } in &request.tags {
                ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
            }
            ask
        };
        let mut asks = vec![ask("sts:GetFederationToken")];
        if !request.tags.is_empty() {
            asks.push(ask("sts:TagSession"));
        }
        asks
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        lender: Authorized<Lender>,
    ) -> Result<Response, Fault> {
        let Lender { principal, root, arn } = lender.into_inner();
        let mut tags = BTreeMap::new();
        add_tags(&mut tags, request.tags)?;
        let limits = Limits::read(iam, call.account(), request.policy, request.policy_arns)?;
        let packed_policy_size = limits.packed_size();
        let seconds = user_duration(request.duration_seconds, root);
        let federated_user_id = format!("{}:{}", call.account(), request.name);
        let Begun { session, credentials } = Begun::new(call, seconds, |drawn| Session {
            principal,
            name: Some(request.name),
            tags,
            inline: limits.inline,
            managed: limits.managed,
            ..drawn
        });
        let mut change = iam.begin(&call.event_id).await?;
        change.put_session(session, call.now).await?;
        change.commit().await.map_err(Fault::internal)?;
        let federated_user = FederatedUser { federated_user_id, arn };
        Ok(Response { credentials, federated_user, packed_policy_size })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        let user = &response.federated_user;
        Some(json!({
            "Credentials": response.credentials.recorded(),
            "FederatedUser": {"FederatedUserId": user.federated_user_id, "Arn": user.arn},
            "PackedPolicySize": response.packed_policy_size,
        }))
    }
}
