//! `kms:RetireGrant` (spec/kms.md §11): whoever a grant serves ends it. The grant itself says who may; key
//! policies can only forbid it. Across accounts. Trail: management event, write; the token is never recorded.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use iam::Granted;
use kms::{Grant, Named};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    fault,
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, found, with_user},
    token,
};

const ACTION: &str = "kms:RetireGrant";

/// Ends a grant.
pub struct RetireGrant;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    grant_token: Option<String>,
    /// An ARN.
    key_id: Option<String>,
    grant_id: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// A grant and its key.
#[derive(Debug)]
pub struct Retiring {
    grant: Arc<Grant>,
    key: Target,
}

impl Operation for RetireGrant {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "RetireGrant";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["GrantId", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Retiring;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Retiring, Fault> {
        let grant = match (&request.grant_token, &request.key_id, &request.grant_id) {
            (Some(token), None, None) => token::granted(kms, call, token)?,
            (None, Some(key), Some(id)) => grant_of(kms, call, key, id)?,
            _ => {
                let text = "Specify either a grant token, or the ARN of a key and the id of a grant.";
                return Err(fault::validation(text));
            }
        };
        let key = found(kms, call, &grant.key, Accept::Keys, ACTION)?;
        Ok(Retiring { grant, key })
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, Retiring { grant, key }: &Retiring) -> Vec<Ask> {
        let granted = with_user(call, |user| match user.account {
            _ if grant.may_retire(user) => Granted::ToCaller,
            Some(account) if grant.retirable_from(account) => Granted::ToAccount,
            _ => Granted::No,
        });
        let denials = Arc::new(key.entry.policy.denials());
        vec![ask(kms, call, ACTION, key).policy(denials).granted(granted)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        retiring: Authorized<Retiring>,
    ) -> Result<Done, Fault> {
        let id = &retiring.grant.id;
        let mut change = kms.begin(&call.event_id).await?;
        let grant = kms.grant(id).ok_or_else(|| fault::no_grant("NotFoundException", id))?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        change.delete_grant(grant).await?;
        change.commit().await?;
        call.adds("grantId", id.as_str());
        Ok(Done::with(&retiring.key))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}

/// A grant by its id and the ARN of its key. Ids cannot be guessed: who knows one may learn that it is gone.
fn grant_of(kms: &Kms, call: &Call, key: &str, id: &str) -> Result<Arc<Grant>, Fault> {
    if !key.starts_with("arn:") {
        return Err(Fault::client("InvalidArnException", format!("{key} is not an ARN of a KMS key")));
    }
    let named = kms::read_name(key, call.account(), &call.region).map_err(|bad| fault::bad_name(&bad))?;
    let grant = kms.grant(id).filter(|grant| named == Named::Key(grant.key.clone()));
    grant.ok_or_else(|| fault::no_grant("NotFoundException", id))
}
