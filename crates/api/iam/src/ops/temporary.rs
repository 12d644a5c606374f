//! What the operations have in common that hand out temporary credentials (spec/policy.md §13).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use front::Call;
use ids::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, Secret};

use super::shapes::whole_seconds;
use crate::{
    entity::{Entity as _, ManagedPolicy},
    fault, names,
    policy::Policy,
    registry::Iam,
    session::Session,
};

const MOST_POLICIES: usize = 10;
/// Characters of the session policy.
const POLICY_SIZE: usize = 2048;

/// `Credentials`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: Arc<Secret>,
    session_token: Arc<Secret>,
    expiration: Timestamp,
}

impl Credentials {
    /// As the trail keeps them: the token is worth nothing without the secret.
    pub fn recorded(&self) -> Value {
        json!({
            "AccessKeyId": self.access_key_id, "SessionToken": self.session_token.expose(),
            "Expiration": trail::written_date(self.expiration),
        })
    }
}

/// A policy's ARN, as requests have it.
#[derive(Deserialize)]
pub struct PolicyArn {
    arn: Option<String>,
}

/// A new session and its credentials.
pub struct Begun {
    pub session: Session,
    pub credentials: Credentials,
}

impl Begun {
    /// Draws credentials that end after `seconds`; `complete` says whose they are.
    pub fn new(call: &Call, seconds: u32, complete: impl FnOnce(Session) -> Session) -> Self {
        let session = complete(Session {
            id: names::session_key_id(),
            principal: String::new(),
            name: None,
            created: whole_seconds(call.now),
            expires: whole_seconds(call.now).plus(Duration::from_secs(seconds.into())),
            secret: Arc::new(names::secret_access_key()),
            token: Arc::new(names::session_token()),
            tags: BTreeMap::new(),
            transitive: BTreeSet::new(),
            inline: None,
            managed: BTreeSet::new(),
            source_identity: None,
        });
        let credentials = Credentials {
            access_key_id: session.id.clone(),
            secret_access_key: Arc::clone(&session.secret),
            session_token: Arc::clone(&session.token),
            expiration: session.expires,
        };
        Self { session, credentials }
    }
}

/// The policies that a session is begun with.
pub struct Limits {
    pub inline: Option<Policy>,
    /// Ids of managed policies.
    pub managed: BTreeSet<String>,
    /// Characters of the policy as it was sent.
    size: Option<usize>,
}

impl Limits {
    /// Reads them; the managed ones are of the session's account.
    ///
    /// # Errors
    /// `PackedPolicyTooLarge`, `MalformedPolicyDocument`, `ValidationError`.
    pub fn read(
        iam: &Iam,
        account: &AccountId,
        policy: Option<String>,
        arns: Vec<PolicyArn>,
    ) -> Result<Self, Fault> {
        let size = policy.as_ref().map(|text| text.chars().count());
        if let Some(size) = size.filter(|size| *size > POLICY_SIZE) {
            let percent = size * 100 / POLICY_SIZE;
            let text =
                format!("Packed policy consumes {percent}% of allotted space, please use smaller policy.");
            return Err(Fault::client("PackedPolicyTooLarge", text));
        }
        if arns.len() > MOST_POLICIES {
            return Err(fault::validation(format!(
                "A session takes at most {MOST_POLICIES} managed policies."
            )));
        }
        let inline = policy.map(Policy::try_from).transpose().map_err(|bad| fault::malformed(&bad))?;
        let of_account = iam.of::<ManagedPolicy>(account);
        let find = |arn: String| {
            let found = of_account.iter().find(|policy| policy.arn() == arn);
            found.map(|policy| policy.id.clone()).ok_or_else(|| {
                let text = format!("Policy {arn} does not exist or is not attachable.");
                Fault::client("MalformedPolicyDocument", text)
            })
        };
        let managed = arns.into_iter().filter_map(|policy| policy.arn).map(find).collect::<Result<_, _>>()?;
        Ok(Self { inline, managed, size })
    }

    /// Percent of the room that the policy takes.
    pub fn packed_size(&self) -> Option<usize> {
        self.size.map(|size| size * 100 / POLICY_SIZE)
    }
}

pub fn denied(text: &str) -> Fault {
    Fault::client("AccessDenied", text).with_status(403)
}

/// The answer to a code of a second factor, which nobody has here.
pub fn wrong_code() -> Fault {
    denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
}

/// Seconds of a user's session: 12 hours where nobody says, an hour at most for the root user.
pub fn user_duration(wanted: Option<u32>, root: bool) -> u32 {
    const HOUR: u32 = 3600;
    let seconds = wanted.unwrap_or(12 * HOUR);
    if root { seconds.min(HOUR) } else { seconds }
}
