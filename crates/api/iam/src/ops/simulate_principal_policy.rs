//! `iam:SimulatePrincipalPolicy`: what the policies of a user, a group or a role say, and further ones with them.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Arn;
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::simulate_custom_policy::Response;
use crate::{
    entity::{Entity, Group, ManagedPolicy, Role, User},
    fault,
    principal::{Permissions, Principal},
    registry::Iam,
    simulation::{Scenario, Source, Subject},
};

pub struct SimulatePrincipalPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_source_arn: String,
    #[serde(flatten)]
    scenario: Scenario,
}

impl Operation for SimulatePrincipalPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "SimulatePrincipalPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["PolicySourceArn", "ActionNames", "ResourceArns", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, call: &Call, request: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:SimulatePrincipalPolicy", &request.policy_source_arn).on(call.account())]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let subject = subject(iam, call, &request.policy_source_arn)?;
        let page = request.scenario.play(iam, call.account(), subject)?;
        Ok(Response { evaluation_results: page.items, is_truncated: page.truncated, marker: page.marker })
    }
}

fn subject(iam: &Iam, call: &Call, text: &str) -> Result<Subject, Fault> {
    let invalid = || fault::invalid_input(format!("Invalid ARN: {text}"));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let (kind, path) = arn.resource.split_once('/').filter(|_| arn.service == "iam").ok_or_else(invalid)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    match kind {
        "user" => {
            let user = found::<User>(iam, call, name, text)?;
            let groups = user.groups.iter().filter_map(|id| iam.by_id::<Group>(id));
            let of_groups = groups.flat_map(|group| sources(iam, &*group, &group.permissions));
            Ok(Subject {
                policies: sources(iam, &*user, &user.permissions).into_iter().chain(of_groups).collect(),
                boundary: boundary(iam, user.boundary.as_ref()),
                context: context(&*user, "User", &user.arn(), vec![("aws:username", &user.name)]),
                principal: iam::Principal::User {
                    account: user.account.to_string(),
                    arn: user.arn(),
                    id: user.id.clone(),
                },
            })
        }
        "group" => {
            let group = found::<Group>(iam, call, name, text)?;
            let policies = sources(iam, &*group, &group.permissions);
            Ok(Subject { policies, ..Subject::anybody(call.account()) })
        }
        "role" => {
            let role = found::<Role>(iam, call, name, text)?;
            Ok(Subject {
                policies: sources(iam, &*role, &role.permissions),
                boundary: boundary(iam, role.boundary.as_ref()),
                context: context(&*role, "AssumedRole", &role.arn(), Vec::new()),
                principal: iam::Principal::Session {
                    account: role.account.to_string(),
                    arn: format!("arn:aws:sts::{}:assumed-role/{}/simulated", role.account, role.name),
                    role_arn: role.arn(),
                    role_id: role.id.clone(),
                },
            })
        }
        _ => Err(invalid()),
    }
}

fn found<T: Principal>(iam: &Iam, call: &Call, name: &str, arn: &str) -> Result<Arc<T>, Fault> {
    let found = iam.named::<T>(call.account(), name).filter(|found| found.arn() == arn);
    found.ok_or_else(|| fault::no_such(T::KIND, name))
}

/// The condition keys that every request of a principal has.
fn context<T: Entity>(one: &T, kind: &str, arn: &str, more: Vec<(&str, &String)>) -> Vec<(String, String)> {
    let account = one.account().to_string();
    let fixed =
        [("aws:PrincipalArn", arn), ("aws:PrincipalAccount", account.as_str()), ("aws:PrincipalType", kind)];
    let fixed = fixed.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tags = one.tags().iter().map(|(key, value)| (format!("aws:PrincipalTag/{key}"), value.clone()));
    let more = more.into_iter().map(|(key, value)| (key.to_owned(), value.clone()));
    fixed.into_iter().chain(more).chain(tags).collect()
}

fn sources<T: Principal>(iam: &Iam, owner: &T, permissions: &Permissions) -> Vec<Source> {
    let inline = permissions.inline.iter().map(|(name, policy)| Source {
        document: Arc::clone(&policy.document),
        text: policy.text.clone(),
        id: format!("{}_{}_{name}", T::KIND, owner.name()),
        kind: T::KIND,
    });
    let managed = permissions.attached.iter().filter_map(|id| managed(iam, id));
    inline.chain(managed).collect()
}

fn boundary(iam: &Iam, policy: Option<&String>) -> Option<Source> {
    managed(iam, policy?)
}

fn managed(iam: &Iam, id: &str) -> Option<Source> {
    let managed = iam.by_id::<ManagedPolicy>(id)?;
    let policy = &managed.in_force()?.policy;
    let (document, text) = (Arc::clone(&policy.document), policy.text.clone());
    Some(Source { document, text, id: managed.name.clone(), kind: "user-managed" })
}
