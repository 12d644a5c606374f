//! Simulations: the evaluator of every request, asked about what nobody has done (spec/policy.md §12).

use std::sync::Arc;

use iam::{Context, Decision, Document, Kind, Layer, Policies, Principal, Reason, Request, decide, speaking};
use ids::{AccountId, Arn};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::Fault;

use crate::{
    fault,
    page::{Page, page},
    position,
    registry::Iam,
};

/// What both simulations take.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scenario {
    action_names: Vec<String>,
    #[serde(default)]
    policy_input_list: Vec<String>,
    #[serde(default)]
    permissions_boundary_policy_input_list: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    resource_policy: Option<String>,
    resource_owner: Option<String>,
    caller_arn: Option<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEntry {
    context_key_name: Option<String>,
    #[serde(default)]
    context_key_values: Vec<String>,
}

/// A policy with the text in which its statements are pointed out.
pub struct Source {
    pub document: Arc<Document>,
    pub text: String,
    /// `PolicyInputList.1`, or the policy's own name.
    pub id: String,
    /// `user`, `group`, `role`, `user-managed`, `resource`, `none`.
    pub kind: &'static str,
}

/// Whose policies are tried.
pub struct Subject {
    pub principal: Principal,
    pub policies: Vec<Source>,
    pub boundary: Option<Source>,
    /// Condition keys that every request of the principal has.
    pub context: Vec<(String, String)>,
}

impl Subject {
    /// Somebody without a name or policies of his own.
    pub fn anybody(account: &AccountId) -> Self {
        let principal = Principal::User {
            account: account.to_string(),
            arn: format!("arn:aws:iam::{account}:user/simulated"),
            id: String::new(),
        };
        Self { principal, policies: Vec::new(), boundary: None, context: Vec::new() }
    }
}

impl Scenario {
    /// Tries every action on every resource.
    ///
    /// # Errors
    /// `InvalidInput` for what is no action, ARN or policy.
    pub fn play(self, iam: &Iam, account: &AccountId, mut subject: Subject) -> Result<Page<Value>, Fault> {
        for (index, text) in self.policy_input_list.iter().enumerate() {
            let id = format!("PolicyInputList.{}", index + 1);
            subject.policies.push(source(text, Kind::Identity, id, "none")?);
        }
        if let Some(text) = self.permissions_boundary_policy_input_list.first() {
            let id = "PermissionsBoundaryPolicyInputList.1".to_owned();
            subject.boundary = Some(source(text, Kind::Identity, id, "none")?);
        }
        let resource = self.resource_policy.as_deref();
        let resource =
            resource.map(|text| source(text, Kind::Key, "ResourcePolicy".into(), "resource")).transpose()?;
        if let Some(arn) = &self.caller_arn {
            subject.principal = caller(iam, arn)?;
        } else if resource.is_some() {
            return Err(fault::invalid_input("A caller must be given with a resource policy."));
        }
        let owner = self.resource_owner.as_deref().map(owner).transpose()?;
        let owner = owner.or_else(|| subject.principal.account().map(str::to_owned));
        let mut context = Context::default();
        for (key, value) in std::mem::take(&mut subject.context) {
            context.set(key, [value]);
        }
        for entry in self.context_entries {
            let unnamed = || fault::invalid_input("A context entry has no ContextKeyName.");
            let key = entry.context_key_name.filter(|key| !key.is_empty()).ok_or_else(unnamed)?;
            context.set(key, entry.context_key_values);
        }
        let stage = Stage { subject, resource, owner: owner.unwrap_or_else(|| account.to_string()), context };
        let any = vec!["*".to_owned()];
        let resources = if self.resource_arns.is_empty() { &any } else { &self.resource_arns };
        let mut results = Vec::new();
        for action in &self.action_names {
            check_action(action)?;
            for resource in resources {
                check_resource(resource)?;
                let place = format!("{:06}", results.len());
                results.push((place, stage.result(action, resource)));
            }
        }
        let count = self.max_items.and_then(|count| usize::try_from(count).ok());
        let Page { items, truncated, marker } =
            page("simulation", results, |(place, _)| place.clone(), self.marker.as_deref(), count)?;
        Ok(Page { items: items.into_iter().map(|(_, result)| result).collect(), truncated, marker })
    }
}

/// Everything that a simulated request meets.
struct Stage {
    subject: Subject,
    resource: Option<Source>,
    owner: String,
    context: Context,
}

impl Stage {
    /// `EvaluationResult`
    fn result(&self, action: &str, resource: &str) -> Value {
        let identity: Vec<_> =
            self.subject.policies.iter().map(|source| Arc::clone(&source.document)).collect();
        let boundary = self.subject.boundary.as_ref().map(|source| &*source.document);
        let policies = Policies {
            identity: &identity,
            resource: self.resource.as_ref().map(|source| &*source.document),
            boundary,
            ..Policies::default()
        };
        let request = Request {
            principal: &self.subject.principal,
            action,
            resource,
            resource_account: Some(&self.owner),
            context: &self.context,
        };
        let decision = decide(&request, &policies);
        let told = match decision {
            Decision::Allowed => "allowed",
            Decision::Denied(reason) if reason.is_explicit() => "explicitDeny",
            Decision::Denied(_) => "implicitDeny",
        };
        let missing: Vec<_> = self.missing();
        let mut result = json!({
            "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": told,
            "MatchedStatements": self.matched(&request, told), "MissingContextValues": missing,
        });
        if boundary.is_some() {
            let refused =
                matches!(decision, Decision::Denied(Reason::NoBoundary | Reason::ExplicitInBoundary));
            result["PermissionsBoundaryDecisionDetail"] = json!({"AllowedByPermissionsBoundary": !refused});
        }
        result
    }

    fn sources(&self) -> impl Iterator<Item = (Layer, &Source)> {
        let own = self.subject.policies.iter().map(|source| (Layer::Identity, source));
        let resource = self.resource.iter().map(|source| (Layer::Resource, source));
        own.chain(resource).chain(self.subject.boundary.iter().map(|source| (Layer::Boundary, source)))
    }

    /// The statements that made a decision: those that deny, or those that allow.
    fn matched(&self, request: &Request<'_>, told: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for (layer, source) in self.sources() {
            let spans = position::statements(&source.text);
            for voice in speaking(request, layer, &source.document) {
                let counts = if voice.denies() { told == "explicitDeny" } else { told == "allowed" };
                if !counts {
                    continue;
                }
                let (from, to) = spans.get(voice.statement).copied().unwrap_or_default();
                all.push(json!({
                    "SourcePolicyId": source.id, "SourcePolicyType": source.kind,
                    "StartPosition": position::position(&source.text, from),
                    "EndPosition": position::position(&source.text, to),
                }));
            }
        }
        all
    }

    /// Condition keys that the policies ask for and the request does not have.
    fn missing(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.sources().flat_map(|(_, source)| source.document.context_keys()).collect();
        all.retain(|key| self.context.values(key).is_none());
        all.sort();
        all.dedup();
        all
    }
}

/// Reads a policy that a request brought.
fn source(text: &str, kind: Kind, id: String, of: &'static str) -> Result<Source, Fault> {
    let document = Document::parse(text, kind).map_err(|bad| fault::invalid_input(format!("{id}: {bad}")))?;
    Ok(Source { document: Arc::new(document.named(id.as_str())), text: text.to_owned(), id, kind: of })
}

/// Who is to call: a user, there or not, or a session of a role.
fn caller(iam: &Iam, text: &str) -> Result<Principal, Fault> {
    use front::Directory as _;
    let invalid = || fault::invalid_input(format!("Invalid ARN: {text}"));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let account: AccountId = arn.account.parse().map_err(|_| invalid())?;
    let (account, id) = (account.to_string(), iam.principal_id(text).unwrap_or_default());
    match (arn.service.as_str(), arn.resource.split_once('/')) {
        ("iam", Some(("user", _))) => Ok(Principal::User { account, arn: text.into(), id }),
        ("iam", Some(("role", name))) => {
            let session = format!("arn:aws:sts::{account}:assumed-role/{name}/simulated");
            Ok(Principal::Session { account, arn: session, role_arn: text.into(), role_id: id })
        }
        _ => Err(invalid()),
    }
}

/// The account that owns the resource, by its id or the ARN of its root user.
fn owner(text: &str) -> Result<String, Fault> {
    let account =
        text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).unwrap_or(text);
    let account: Result<AccountId, _> = account.parse();
    account
        .map(|account| account.to_string())
        .map_err(|_| fault::invalid_input(format!("Invalid ARN: {text}")))
}

fn check_action(action: &str) -> Result<(), Fault> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    let well_formed = action.split_once(':').is_some_and(|(vendor, name)| plain(vendor) && plain(name));
    well_formed.then_some(()).ok_or_else(|| fault::invalid_input(format!("Invalid Action Name: {action}")))
}

fn check_resource(resource: &str) -> Result<(), Fault> {
    let well_formed =
        resource == "*" || (resource.starts_with("arn:") && resource.splitn(6, ':').count() == 6);
    well_formed.then_some(()).ok_or_else(|| fault::invalid_input(format!("Invalid ARN: {resource}")))
}
