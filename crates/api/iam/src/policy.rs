//! Policy documents as IAM stores them: the text as it was given, and what it means.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use front::Directory as _;
use iam::{Document, Kind, Malformed};
use ids::AccountId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use wire::Fault;

use crate::{
    entity::{Entity as _, ManagedPolicy},
    fault,
    registry::Iam,
};

/// Characters of a trust policy, white space not counted.
pub const TRUST_SIZE: usize = 2048;
/// Characters of a version of a managed policy, white space not counted.
pub const MANAGED_SIZE: usize = 6144;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An identity policy. Stored as its text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Policy {
    pub text: String,
    pub document: Arc<Document>,
}

impl Policy {
    /// Reads the document of a managed policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocument`, or `LimitExceeded` for one that is too long.
    pub fn managed(text: String) -> Result<Self, Fault> {
        let policy = Self::try_from(text).map_err(|bad| fault::malformed(&bad))?;
        if policy.size() > MANAGED_SIZE {
            return Err(fault::quota("PolicySize", MANAGED_SIZE));
        }
        Ok(policy)
    }

    /// The text as answers carry it: percent-encoded (spec/policy.md §11).
    pub fn encoded(&self) -> String {
        encoded(&self.text)
    }

    /// Gives it the name that explanations call it by.
    pub fn name_as(&mut self, name: String) {
        self.document = Arc::new((*self.document).clone().named(name));
    }

    /// Characters that count against quotas: all but white space.
    pub fn size(&self) -> usize {
        self.text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

/// A trust policy: who may assume a role. Stored as its text and the unique ids behind the ARNs in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "StoredTrust", into = "StoredTrust")]
pub struct Trust {
    pub text: String,
    pub document: Arc<Document>,
    ids: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize)]
struct StoredTrust {
    text: String,
    ids: BTreeMap<String, String>,
}

impl Trust {
    /// Reads a trust policy. `id_of` tells the unique id behind an ARN: who is made again under an old name is
    /// somebody else.
    ///
    /// # Errors
    /// [`Malformed`], with AWS's text.
    pub fn new(text: String, id_of: impl Fn(&str) -> Option<String>) -> Result<Self, Malformed> {
        let document = Document::parse(&text, Kind::Trust)?;
        let ids = document.named_principals().filter_map(|arn| Some((arn.to_owned(), id_of(arn)?))).collect();
        let document = Arc::new(document.bound_to(&ids));
        Ok(Self { text, document, ids })
    }
}

impl Trust {
    /// Gives it the name that explanations call it by.
    pub fn name_as(&mut self, name: String) {
        self.document = Arc::new((*self.document).clone().named(name));
    }

    /// The trust policy of a role that is not there: whoever asks for it reads what a stranger reads.
    pub fn of_nobody() -> Arc<Document> {
        static NOBODY: LazyLock<Arc<Document>> = LazyLock::new(|| {
            let text = r#"{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#;
            Arc::new(Document::parse(text, Kind::Trust).expect("a constant"))
        });
        Arc::clone(&NOBODY)
    }
}

impl TryFrom<StoredTrust> for Trust {
    type Error = Malformed;
    fn try_from(stored: StoredTrust) -> Result<Self, Malformed> {
        let StoredTrust { text, ids } = stored;
        let known = ids.clone();
        Self::new(text, move |arn| known.get(arn).cloned())
    }
}

impl From<Trust> for StoredTrust {
    fn from(trust: Trust) -> Self {
        Self { text: trust.text, ids: trust.ids }
    }
}

impl Iam {
    /// The id of the managed policy that is to be a permissions boundary.
    ///
    /// # Errors
    /// `NoSuchEntity` for what is no policy of the account.
    pub fn boundary_id(&self, account: &AccountId, arn: &str) -> Result<String, Fault> {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        let found = self.named::<ManagedPolicy>(account, name).filter(|policy| policy.arn() == arn);
        let missing = || fault::missing(format!("Scope ARN: {arn} does not exist or is not attachable."));
        found.map(|policy| policy.id.clone()).ok_or_else(missing)
    }

    /// A trust policy as answers carry it: percent-encoded, and who was deleted stands by the unique id.
    pub fn shown_trust(&self, trust: &Trust) -> String {
        let bound = trust.ids.iter().map(|(arn, id)| (arn.as_str(), id.as_str()));
        let gone = bound.filter(|(arn, id)| self.principal_id(arn).as_deref() != Some(*id)).collect();
        encoded(&iam::with_deleted_principals(&trust.text, &gone))
    }

    /// Reads the trust policy of a role, and checks that everybody it names is there.
    ///
    /// # Errors
    /// `MalformedPolicyDocument`.
    pub fn trust(&self, text: String) -> Result<Trust, Fault> {
        if text.chars().filter(|c| !c.is_whitespace()).count() > TRUST_SIZE {
            return Err(fault::quota("ACLSizePerRole", TRUST_SIZE));
        }
        let trust = Trust::new(text, |arn| self.principal_id(arn)).map_err(|bad| match bad {
            Malformed::BadPrincipal => {
                Fault::client("MalformedPolicyDocument", "Invalid principal in policy")
            }
            bad => fault::malformed(&bad),
        })?;
        let missing = trust.document.named_principals().find(|arn| !self.principal_exists(arn));
        if let Some(arn) = missing {
            let text = format!("Invalid principal in policy: \"AWS\":\"{arn}\"");
            return Err(Fault::client("MalformedPolicyDocument", text));
        }
        Ok(trust)
    }
}

/// Percent-encodes a document.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl TryFrom<String> for Policy {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        let document = Arc::new(Document::parse(&text, Kind::Identity)?);
        Ok(Self { text, document })
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> Self {
        policy.text
    }
}
