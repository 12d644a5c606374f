//! `kms:CreateGrant` (spec/kms.md §11): lets a principal use a key, within constraints. Grantable, across
//! accounts. Trail: management event, write; the token is never recorded.

use std::collections::BTreeSet;

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{Constraints, Grant, Key, KeySpec, Row, grantable, permits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    fault, principal,
    registry::Kms,
    target::{Accept, Target, ask, granted, resolve, with_context},
    token,
};

const ACTION: &str = "kms:CreateGrant";
/// Pairs of a constraint, and characters of a value in it (spec/kms.md §7).
const MOST_PAIRS: usize = 8;
const LONGEST_VALUE: usize = 384;

/// Makes a grant.
pub struct CreateGrant;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    grantee_principal: Option<String>,
    grantee_service_principal: Option<String>,
    retiring_principal: Option<String>,
    retiring_service_principal: Option<String>,
    operations: BTreeSet<String>,
    #[serde(default)]
    constraints: Constraints,
    #[serde(default)]
    grant_tokens: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    grant_id: String,
    grant_token: String,
    #[serde(skip)]
    key_arn: String,
}

impl Request {
    fn check(&self) -> Result<(), Fault> {
        self.check_principals()?;
        if self.operations.is_empty() {
            let rule = "Member must have length greater than or equal to 1";
            return Err(fault::constraint("'[]'", "operations", rule));
        }
        for (key, value) in self.constraints.pairs() {
            if value.chars().count() > LONGEST_VALUE {
                let text =
                    format!("The value of {key} in a constraint is longer than {LONGEST_VALUE} characters.");
                return Err(fault::validation(text));
            }
        }
        if self.constraints.longest() > MOST_PAIRS {
            return Err(fault::validation(format!("A constraint can have {MOST_PAIRS} pairs.")));
        }
        Ok(())
    }

    /// A principal or a service, not both; a service only for a resource, and not without somebody who ends it.
    fn check_principals(&self) -> Result<(), Fault> {
        let both = |name: &str| {
            Err(fault::validation(format!(
                "Specify either {name}Principal or {name}ServicePrincipal, not both."
            )))
        };
        if self.grantee_principal.is_some() && self.grantee_service_principal.is_some() {
            return both("Grantee");
        }
        if self.retiring_principal.is_some() && self.retiring_service_principal.is_some() {
            return both("Retiring");
        }
        if self.grantee_service_principal.is_some()
            && (self.constraints.source_arn.is_none() || self.retiring().is_none())
        {
            let text =
                "A grant to a service principal requires a SourceArn constraint and a retiring principal.";
            return Err(fault::validation(text));
        }
        Ok(())
    }

    /// Checks that a grant on such a key can be so.
    fn check_fit(&self, key: &Key) -> Result<(), Fault> {
        let unfit = |name: &&String| !grantable(name, key.spec, key.usage);
        if let Some(other) = self.operations.iter().find(unfit) {
            let text = format!(
                "Grant operation {other} is not valid for key spec {} and usage {}.",
                key.spec, key.usage
            );
            return Err(fault::validation(text));
        }
        if key.spec != KeySpec::Symmetric && self.constraints.has_context() {
            let text = "Encryption context constraints are only valid for symmetric encryption KMS keys.";
            return Err(fault::validation(text));
        }
        Ok(())
    }

    fn grantee(&self) -> Result<&str, Fault> {
        let named = self.grantee_principal.as_deref().or(self.grantee_service_principal.as_deref());
        named.ok_or_else(|| fault::missing("granteePrincipal"))
    }

    fn retiring(&self) -> Option<&String> {
        self.retiring_principal.as_ref().or(self.retiring_service_principal.as_ref())
    }

    fn into_grant(self, kms: &Kms, call: &Call, target: &Target) -> Result<Grant, Fault> {
        let id_of = |principal: &String| kms.principal_id(principal);
        Ok(Grant {
            id: token::new_grant_id(),
            key: target.name().clone(),
            created: call.now,
            grantee: self.grantee()?.to_owned(),
            grantee_id: self.grantee_principal.as_ref().and_then(id_of),
            retiring: self.retiring().cloned(),
            retiring_id: self.retiring_principal.as_ref().and_then(id_of),
            to_service: self.grantee_service_principal.is_some(),
            retired_by_service: self.retiring_service_principal.is_some(),
            name: self.name,
            issuing_account: call.account().clone(),
            operations: self.operations,
            constraints: self.constraints,
        })
    }
}

impl Operation for CreateGrant {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateGrant";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "Constraints",
        "GranteePrincipal",
        "GranteeServicePrincipal",
        "KeyId",
        "Name",
        "Operations",
        "RetiringPrincipal",
        "RetiringServicePrincipal",
    ];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        request.check()?;
        request.grantee()?;
        token::check(kms, call, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::Keys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let constraints = &request.constraints;
        let by_grant = granted(kms, call, target.name(), |user, grant| {
            grant.allows_child(user, &request.operations, constraints)
        });
        let mut pairs = constraints.encryption_context_subset.clone().unwrap_or_default();
        pairs.extend(constraints.encryption_context_equals.clone().unwrap_or_default());
        let kinds = [
            constraints.encryption_context_equals.as_ref().map(|_| "EncryptionContextEquals"),
            constraints.encryption_context_subset.as_ref().map(|_| "EncryptionContextSubset"),
        ];
        let ask = with_context(ask(kms, call, ACTION, target), &pairs)
            .granted(by_grant)
            .with("kms:GrantConstraintType", kinds.into_iter().flatten())
            .with("kms:GrantIsForAWSResource", [call.via.is_some().to_string()])
            .with("kms:GrantOperations", request.operations.iter().cloned())
            .with("kms:GranteePrincipal", request.grantee().map(str::to_owned).ok())
            .with("kms:RetiringPrincipal", request.retiring().cloned());
        vec![ask]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        request.check_fit(target.key())?;
        for principal in request.grantee_principal.iter().chain(&request.retiring_principal) {
            principal::check(kms, call, principal)?;
        }
        for service in request.grantee_service_principal.iter().chain(&request.retiring_service_principal) {
            principal::check_service(call, service)?;
        }
        let dry_run = request.dry_run;
        let grant = request.into_grant(kms, call, &target)?;
        let mut change = kms.begin(&call.event_id).await?;
        let state = kms.still_there(target.name())?.key.state;
        permits(Row::CreateGrant, state).map_err(|state| fault::blocked(target.name(), state))?;
        let key_arn = target.arn();
        let answer =
            |grant_id: String| Response { grant_token: token::new_token(&grant_id), grant_id, key_arn };
        let mut same = None;
        kms.each_grant_to(target.name(), std::slice::from_ref(&grant.grantee), |known| {
            if known.is_same_request(&grant) {
                same = Some(known.id.clone());
            }
        });
        let most = kms.quotas.grants_per_key;
        if same.is_none() && kms.grant_count(target.name()) >= most {
            return Err(fault::limit(format!("A key can have {most} grants.")));
        }
        if dry_run {
            return Err(fault::dry_run());
        }
        if let Some(id) = same {
            return Ok(answer(id));
        }
        let id = grant.id.clone();
        change.put_grant(grant).await?;
        change.commit().await?;
        Ok(answer(id))
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"GrantId": response.grant_id, "KeyId": response.key_arn}))
    }
}
