//! `kms:CreateGrant` (spec/kms.md §11): lets a principal use a key, within constraints. Grantable, across
//! accounts. Trail: management event, write; the token is never recorded.

use std::collections::BTreeSet;

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{Constraints, GRANTABLE, Grant, Row, permits};
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
/// Grants of one key.
const MOST_GRANTS: usize = 50_000;
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
    constraints: Wanted,
    #[serde(default)]
    grant_tokens: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    #[serde(flatten)]
    context: Constraints,
    source_arn: Option<String>,
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
        if self.grantee_service_principal.is_some()
            || self.retiring_service_principal.is_some()
            || self.constraints.source_arn.is_some()
        {
            return Err(fault::unsupported("Grants to service principals by source ARN are not supported."));
        }
        if self.operations.is_empty() {
            let rule = "Member must have length greater than or equal to 1";
            return Err(fault::constraint("'[]'", "operations", rule));
        }
        if let Some(other) = self.operations.iter().find(|name| !GRANTABLE.contains(&name.as_str())) {
            return Err(fault::validation(format!(
                "Grant operation {other} is not valid for a symmetric key."
            )));
        }
        for (key, value) in self.constraints.context.pairs() {
            if value.chars().count() > LONGEST_VALUE {
                let text =
                    format!("The value of {key} in a constraint is longer than {LONGEST_VALUE} characters.");
                return Err(fault::validation(text));
            }
        }
        if self.constraints.context.longest() > MOST_PAIRS {
            return Err(fault::validation(format!("A constraint can have {MOST_PAIRS} pairs.")));
        }
        Ok(())
    }

    fn grantee(&self) -> Result<&str, Fault> {
        self.grantee_principal.as_deref().ok_or_else(|| fault::missing("granteePrincipal"))
    }

    fn into_grant(self, kms: &Kms, call: &Call, target: &Target) -> Result<Grant, Fault> {
        let id_of = |principal: &String| kms.principal_id(principal);
        Ok(Grant {
            id: token::new_grant_id(),
            key: target.name().clone(),
            created: call.now,
            grantee: self.grantee()?.to_owned(),
            grantee_id: self.grantee_principal.as_ref().and_then(id_of),
            retiring_id: self.retiring_principal.as_ref().and_then(id_of),
            name: self.name,
            retiring: self.retiring_principal,
            issuing_account: call.account().clone(),
            operations: self.operations,
            constraints: self.constraints.context,
        })
    }
}

impl Operation for CreateGrant {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateGrant";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["Constraints", "GranteePrincipal", "KeyId", "Name", "Operations", "RetiringPrincipal"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        request.check()?;
        request.grantee()?;
        token::check(kms, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::Keys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let constraints = &request.constraints.context;
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
            .with("kms:GranteePrincipal", request.grantee_principal.clone())
            .with("kms:RetiringPrincipal", request.retiring_principal.clone());
        vec![ask]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        for principal in request.grantee_principal.iter().chain(&request.retiring_principal) {
            principal::check(kms, call, principal)?;
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
        if same.is_none() && kms.grant_count(target.name()) >= MOST_GRANTS {
            return Err(fault::limit(format!("A key can have {MOST_GRANTS} grants.")));
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
