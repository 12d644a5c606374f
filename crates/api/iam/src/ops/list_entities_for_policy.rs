//! `iam:ListEntitiesForPolicy`: users, groups and roles that have a managed policy, or have it for a boundary.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{
    entity::{Entity, Group, ManagedPolicy, Role, User},
    names,
    page::page,
    principal::{Bounded, Principal},
    registry::Iam,
    subject::Managed,
};

pub struct ListEntitiesForPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
    entity_filter: Option<String>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy_groups: Vec<Value>,
    policy_users: Vec<Value>,
    policy_roles: Vec<Value>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListEntitiesForPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListEntitiesForPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["PolicyArn", "EntityFilter", "PathPrefix", "PolicyUsageFilter", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:ListEntitiesForPolicy")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        policy: Authorized<Managed>,
    ) -> Result<Response, Fault> {
        let policy = policy.found(iam)?;
        let (as_policy, as_boundary) = match request.policy_usage_filter.as_deref() {
            None => (true, true),
            Some(usage) => (usage == "PermissionsPolicy", usage == "PermissionsBoundary"),
        };
        let mut found = Vec::new();
        if as_policy {
            found.extend(attached::<User>(iam, &policy));
            found.extend(attached::<Group>(iam, &policy));
            found.extend(attached::<Role>(iam, &policy));
        }
        if as_boundary {
            found.extend(bounded::<User>(iam, &policy));
            found.extend(bounded::<Role>(iam, &policy));
        }
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let wanted = |one: &Found| {
            one.path.starts_with(prefix)
                && request.entity_filter.as_deref().is_none_or(|kind| kind == one.noun)
        };
        found.retain(wanted);
        found.sort_by_key(Found::key);
        found.dedup_by_key(|one| one.key());
        let list = format!("entities/{}", policy.id);
        let page = page(&list, found, Found::key, request.marker.as_deref(), count(request.max_items))?;
        let told = |noun: &str| -> Vec<Value> {
            page.items.iter().filter(|one| one.noun == noun).map(Found::told).collect()
        };
        Ok(Response {
            policy_users: told("User"),
            policy_groups: told("Group"),
            policy_roles: told("Role"),
            is_truncated: page.truncated,
            marker: page.marker,
        })
    }
}

/// Who has a policy.
struct Found {
    /// `User`
    noun: &'static str,
    name: String,
    id: String,
    path: String,
}

impl Found {
    fn of<T: Principal>(one: &T) -> Self {
        let (name, id, path) = (one.name().to_owned(), one.id().to_owned(), one.path().to_owned());
        Self { noun: T::NOUN, name, id, path }
    }

    fn key(&self) -> String {
        format!("{}/{}", self.noun, names::folded(&self.name))
    }

    fn told(&self) -> Value {
        json!({format!("{}Name", self.noun): self.name, format!("{}Id", self.noun): self.id})
    }
}

fn attached<T: Principal>(iam: &Iam, policy: &ManagedPolicy) -> Vec<Found> {
    let all = iam.of::<T>(policy.account());
    all.iter()
        .filter(|one| one.permissions().attached.contains(&policy.id))
        .map(|one| Found::of(&**one))
        .collect()
}

fn bounded<T: Bounded>(iam: &Iam, policy: &ManagedPolicy) -> Vec<Found> {
    let all = iam.of::<T>(policy.account());
    all.iter().filter(|one| one.boundary() == Some(&policy.id)).map(|one| Found::of(&**one)).collect()
}
