//! Asks the policies, and says a refusal in AWS's words (spec/kms.md §14, spec/policy.md §14).

use iam::{Context, Decision, Policies, Principal, Reason, Request, decide};
use wire::{Audience, Fault, ServiceId};

use crate::{call::Call, caller::Caller, directory::Directory, operation::Ask};

/// # Errors
/// `AccessDeniedException` or `AccessDenied`.
pub(crate) fn authorize(
    directory: &dyn Directory,
    call: &Call,
    service: ServiceId,
    ask: &Ask,
) -> Result<(), Fault> {
    match answer(directory, call, ask) {
        Decision::Allowed => Ok(()),
        Decision::Denied(reason) => Err(refusal(call, service, ask, reason)),
    }
}

/// Whether the caller could do something, without doing it: what a new policy would mean for its author.
pub fn would_allow(directory: &dyn Directory, call: &Call, ask: &Ask) -> bool {
    answer(directory, call, ask).is_allowed()
}

fn answer(directory: &dyn Directory, call: &Call, ask: &Ask) -> Decision {
    let principal = principal(&call.caller);
    let mut context = global(call);
    if let Some(owner) = &ask.resource_account {
        context.set("aws:ResourceAccount", [owner.as_str()]);
    }
    for (key, values) in &ask.context {
        context.set(key, values.iter().cloned());
    }
    let request = Request {
        principal: &principal,
        action: ask.action,
        resource: &ask.resource,
        resource_account: ask.resource_account.as_ref().map(ids::AccountId::as_str),
        context: &context,
    };
    let identity = directory.identity_policies(&call.caller);
    let session = directory.session_policies(&call.caller);
    let policies = Policies {
        identity: &identity,
        resource: ask.resource_policy.as_deref(),
        granted: ask.granted,
        session: session.as_deref(),
    };
    decide(&request, &policies)
}

fn refusal(call: &Call, service: ServiceId, ask: &Ask, reason: Reason) -> Fault {
    let (who, action, resource) = (call.caller.arn(), ask.action, &ask.resource);
    let foreign = ask.resource_account.as_ref().is_some_and(|owner| owner != call.account());
    let because = match reason {
        Reason::ExplicitInIdentity => "with an explicit deny in an identity-based policy".to_owned(),
        Reason::ExplicitInResource => "with an explicit deny in a resource-based policy".to_owned(),
        Reason::ExplicitInSession => "with an explicit deny in a session policy".to_owned(),
        Reason::NoSessionPolicy => format!("because no session policy allows the {action} action"),
        Reason::NoIdentityPolicy => format!("because no identity-based policy allows the {action} action"),
        Reason::NoResourcePolicy => format!("because no resource-based policy allows the {action} action"),
    };
    let hidden = "because the resource does not exist in this Region, no resource-based policies allow access, \
                  or a resource-based policy explicitly denies access";
    let own_side = matches!(
        reason,
        Reason::NoIdentityPolicy
            | Reason::ExplicitInIdentity
            | Reason::NoSessionPolicy
            | Reason::ExplicitInSession
    );
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
        Caller::Service(service) => Principal::Service { name: service.principal.clone() },
    }
}

/// The condition keys that every request has (spec/policy.md §6).
fn global(call: &Call) -> Context {
    let mut context = Context::default();
    let caller = &call.caller;
    let kind = match caller {
        Caller::Root { .. } => "Account",
        Caller::User(user) => {
            context.set("aws:username", [&user.name]);
            "User"
        }
        Caller::Session(session) => {
            context.set("aws:TokenIssueTime", [session.created.iso8601_seconds()]);
            context.set("aws:MultiFactorAuthPresent", ["false"]);
            "AssumedRole"
        }
        Caller::Service(service) => {
            context.set("aws:PrincipalServiceName", [&service.name]);
            context.set("aws:PrincipalServiceNamesList", [&service.name, &service.principal]);
            "Service"
        }
    };
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
        context.set(&format!("aws:PrincipalTag/{key}"), [value]);
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
    context
}
