//! Asks the policies, notes why they say what they say, and says a refusal in AWS's words (spec/kms.md §14,
//! spec/policy.md §14).

use std::{borrow::Cow, sync::Arc};

use iam::{Context, Decision, Document, Granted, Layer, Policies, Principal, Reason, Request, Voice};
use trail::{Authorization, DecidedBy, NearMiss};
use wire::{Audience, Fault, ServiceId};

use crate::{call::Call, caller::Caller, directory::Directory, operation::Ask};

/// Near misses, condition keys and characters of a value that a denial keeps: room for the reasons, not for whatever
/// a caller sends.
const MOST_MISSES: usize = 16;
const MOST_KEYS: usize = 64;
const LONGEST_VALUE: usize = 256;

/// Room for the keys that most requests have, tags aside.
const GLOBAL_KEYS: usize = 20;

type ConditionKeys = Vec<(Cow<'static, str>, Vec<String>)>;

/// Decides, and notes the decision for the record of the call.
///
/// # Errors
/// `AccessDeniedException` or `AccessDenied`.
pub(crate) fn authorize(
    directory: &dyn Directory,
    call: &Call,
    service: ServiceId,
    mut ask: Ask,
) -> Result<(), Fault> {
    let own = std::mem::take(&mut ask.context);
    let question = Question::new(directory, call, &ask, own);
    let ask = &ask;
    let (request, policies) = (question.request(ask), question.policies(ask));
    let judged = iam::judge(&request, &policies);
    let mut told = Authorization {
        action: ask.action.into(),
        resource: ask.resource.clone(),
        allowed: judged.decision.is_allowed(),
        granted: ask.granted != Granted::No,
        by: judged.by.iter().map(decided_by).collect(),
        ..Authorization::default()
    };
    let outcome = match judged.decision {
        Decision::Allowed => Ok(()),
        Decision::Denied(reason) => {
            told.reason = Some(because(reason, ask.action));
            if !reason.is_explicit() {
                let missed = iam::near_misses(&request, &policies).into_iter().take(MOST_MISSES);
                told.near_misses = missed
                    .map(|miss| NearMiss { statement: decided_by(&miss.voice), why: shortened(miss.why) })
                    .collect();
            }
            let shown = question.context.iter().take(MOST_KEYS);
            told.context = shown.map(|(key, values)| (key, shortened(values.to_vec()))).collect();
            Err(refusal(call, service, ask, reason))
        }
    };
    call.decided(told);
    outcome
}

fn decided_by(voice: &Voice<'_>) -> DecidedBy {
    let layer = match voice.layer {
        Layer::Identity => "identity-based policy",
        Layer::Resource => "resource-based policy",
        Layer::Boundary => "permissions boundary",
        Layer::Session => "session policy",
    };
    DecidedBy { kind: layer.into(), policy: voice.document.name().into(), statement: voice.statement_name() }
}

fn shortened(values: Vec<String>) -> Vec<String> {
    values.into_iter().take(MOST_MISSES).map(|value| value.chars().take(LONGEST_VALUE).collect()).collect()
}

/// Whether the caller could do something, without doing it: what a new policy would mean for its author.
pub fn would_allow(directory: &dyn Directory, call: &Call, ask: &Ask) -> bool {
    let question = Question::new(directory, call, ask, ask.context.clone());
    iam::decide(&question.request(ask), &question.policies(ask)).is_allowed()
}

/// A question with everything that bears on its answer.
struct Question {
    principal: Principal,
    context: Context,
    identity: Vec<Arc<Document>>,
    boundary: Option<Arc<Document>>,
    session: Option<Vec<Arc<Document>>>,
}

impl Question {
    /// `own`: the condition keys of the question itself.
    fn new(directory: &dyn Directory, call: &Call, ask: &Ask, own: ConditionKeys) -> Self {
        let mut context = Context::default();
        context.reserve(GLOBAL_KEYS + own.len());
        global(&mut context, call);
        if let Some(owner) = &ask.resource_account {
            context.set("aws:ResourceAccount", [owner.as_str()]);
        }
        for (key, values) in own {
            context.set_all(key, values);
        }
        Self {
            principal: principal(&call.caller),
            context,
            identity: directory.identity_policies(&call.caller),
            boundary: directory.permissions_boundary(&call.caller),
            session: directory.session_policies(&call.caller),
        }
    }

    fn request<'a>(&'a self, ask: &'a Ask) -> Request<'a> {
        Request {
            principal: &self.principal,
            action: ask.action,
            resource: &ask.resource,
            resource_account: ask.resource_account.as_ref().map(ids::AccountId::as_str),
            context: &self.context,
        }
    }

    fn policies<'a>(&'a self, ask: &'a Ask) -> Policies<'a> {
        Policies {
            identity: &self.identity,
            resource: ask.resource_policy.as_deref(),
            granted: ask.granted,
            boundary: self.boundary.as_deref(),
            session: self.session.as_deref(),
        }
    }
}

/// A reason as denials tell it.
fn because(reason: Reason, action: &str) -> String {
    match reason {
        Reason::ExplicitInIdentity => "with an explicit deny in an identity-based policy".to_owned(),
        Reason::ExplicitInResource => "with an explicit deny in a resource-based policy".to_owned(),
        Reason::ExplicitInBoundary => "with an explicit deny in a permissions boundary".to_owned(),
        Reason::ExplicitInSession => "with an explicit deny in a session policy".to_owned(),
        Reason::NoBoundary => format!("because no permissions boundary allows the {action} action"),
        Reason::NoSessionPolicy => format!("because no session policy allows the {action} action"),
        Reason::NoIdentityPolicy => format!("because no identity-based policy allows the {action} action"),
        Reason::NoResourcePolicy => format!("because no resource-based policy allows the {action} action"),
    }
}

fn refusal(call: &Call, service: ServiceId, ask: &Ask, reason: Reason) -> Fault {
    let (who, action, resource) = (call.caller.arn(), ask.action, &ask.resource);
    let foreign = ask.resource_account.as_ref().is_some_and(|owner| owner != call.account());
    let because = because(reason, action);
    let hidden = "because the resource does not exist in this Region, no resource-based policies allow access, \
                  or a resource-based policy explicitly denies access";
    let own_side = !matches!(reason, Reason::ExplicitInResource | Reason::NoResourcePolicy);
    let told = match (foreign || ask.from_ciphertext, reason) {
        _ if ask.without_reason => format!("on resource: {resource}"),
        (true, _) if foreign && own_side => format!("on this resource {because}"),
        (true, _) if ask.from_ciphertext => {
            format!("on the resource associated with this ciphertext {hidden}")
        }
        (true, _) => format!("on this resource {hidden}"),
        (false, _) if resource == "*" => because,
        (false, _) => format!("on resource: {resource} {because}"),
    };
    let message = format!("User: {who} is not authorized to perform: {action} {told}");
    match service.audience() {
        Audience::Json => Fault::client("AccessDeniedException", message),
        Audience::Query => Fault::client("AccessDenied", message).with_status(403),
    }
}

fn principal(caller: &Caller) -> Principal {
    let account = caller.account().to_string();
    match caller {
        Caller::Root { .. } => Principal::Root { account },
        Caller::User(user) => Principal::User { account, arn: user.arn.clone(), id: user.id.clone() },
        Caller::Session(session) => Principal::Session {
            account,
            arn: caller.arn(),
            role_arn: session.role_arn.clone(),
            role_id: session.role_id.clone(),
        },
        Caller::Federated(_) => Principal::Federated { account, arn: caller.arn() },
        Caller::Service(service) => Principal::Service { name: service.principal.clone() },
    }
}

/// The condition keys that every request has (spec/policy.md §6).
fn global(context: &mut Context, call: &Call) {
    let caller = &call.caller;
    let kind = match caller {
        Caller::Root { .. } => "Account",
        Caller::User(user) => {
            context.set("aws:username", [&user.name]);
            "User"
        }
        Caller::Session(session) => {
            context.set("aws:SourceIdentity", &session.source_identity);
            "AssumedRole"
        }
        Caller::Federated(_) => "FederatedUser",
        Caller::Service(service) => {
            context.set("aws:PrincipalServiceName", [&service.name]);
            context.set("aws:PrincipalServiceNamesList", [&service.name, &service.principal]);
            context.set("aws:SourceArn", &service.source_arn);
            context.set("aws:SourceAccount", [service.account.as_str()]);
            "Service"
        }
    };
    if let Some(began) = caller.session_began() {
        context.set("aws:TokenIssueTime", [began.iso8601_seconds()]);
        // Nobody has a second factor here.
        context.set("aws:MultiFactorAuthPresent", ["false"]);
    }
    let by_service = matches!(caller, Caller::Service(_));
    if !by_service {
        let arn = if let Caller::Session(session) = caller { session.role_arn.clone() } else { caller.arn() };
        context.set("aws:PrincipalArn", [arn]);
        context.set("aws:PrincipalAccount", [caller.account().as_str()]);
        context.set("aws:PrincipalType", [kind]);
        context.set("aws:userid", [caller.unique_id()]);
    }
    context.set("aws:PrincipalIsAWSService", [by_service.to_string()]);
    for (key, value) in caller.tags() {
        context.set(format!("aws:PrincipalTag/{key}"), [value]);
    }
    context.set("aws:SecureTransport", [call.secure.to_string()]);
    context.set("aws:CurrentTime", [call.now.iso8601_seconds()]);
    context.set("aws:EpochTime", [call.now.as_secs().to_string()]);
    context.set("aws:RequestedRegion", [call.region.as_str()]);
    context.set("aws:ViaAWSService", [call.via.is_some().to_string()]);
    match &call.via {
        Some(via) => {
            for key in ["aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast"] {
                context.set(key, [via.name()]);
            }
        }
        None if !by_service => context.set("aws:SourceIp", [&call.source_ip]),
        None => {}
    }
    context.set("aws:UserAgent", [&call.user_agent]);
}
