//! What an operation of a service is made of. One file an operation, see `docs/recipes/`.

use std::{borrow::Cow, future::Future, ops::Deref, sync::Arc};

use ids::AccountId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::call::Call;

/// Whether an operation only reads, in CloudTrail's sense (`readOnly`). A write opens its record before
/// [`Operation::act`] and closes it after (`design.md` §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    Read,
    Write,
}

/// An operation of an AWS service. Its input has passed the checks of the service model before any method
/// here is called: required members, types, lengths, patterns, enumerations.
pub trait Operation: Send + Sync + 'static {
    const SERVICE: ServiceId;
    /// `DisableKey`
    const NAME: &'static str;
    const EFFECT: Effect;
    /// Members of the request that the trail records, by model name. An allow-list (spec/trail.md §8).
    const RECORDED: &'static [&'static str];
    /// Members recorded as `****`.
    const MASKED: &'static [&'static str] = &[];

    /// The service's own context.
    type State: Send + Sync + 'static;
    type Request: DeserializeOwned + Send + Sync;
    /// What the names in the request resolved to.
    type Target: Send + Sync;
    type Response: Serialize + Send;

    /// Turns names into things.
    ///
    /// # Errors
    /// Only what a stranger may learn: authorization comes after.
    fn resolve(
        state: &Self::State,
        call: &Call,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Target, Fault>> + Send;

    /// What must be allowed; all of it. Empty: every authenticated caller may.
    fn asks(state: &Self::State, call: &Call, request: &Self::Request, target: &Self::Target) -> Vec<Ask>;

    /// Does it.
    ///
    /// # Errors
    /// The service's own, in the words of the spec. Nothing has changed then.
    fn act(
        state: &Self::State,
        call: &Call,
        request: Self::Request,
        target: Authorized<Self::Target>,
    ) -> impl Future<Output = Result<Self::Response, Fault>> + Send;

    /// What the trail keeps of the answer (`responseElements`), with the model's names; of most reads nothing.
    fn recorded_response(_response: &Self::Response) -> Option<Value> {
        None
    }
}

/// Proof that every [`Ask`] about a target was allowed. Only this crate makes one.
#[derive(Debug)]
pub struct Authorized<T>(T);

impl<T> Authorized<T> {
    pub(crate) const fn new(target: T) -> Self {
        Self(target)
    }

    /// The target itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Authorized<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One question for the policies: may the caller do this to that?
#[derive(Clone, Debug)]
pub struct Ask {
    /// `kms:DisableKey`
    pub action: &'static str,
    /// An ARN, or `*`.
    pub resource: String,
    /// Who owns the resource; `None` where only identity policies count.
    pub resource_account: Option<AccountId>,
    /// The policy on the resource, for services that have them: the key policy.
    pub resource_policy: Option<Arc<iam::Document>>,
    /// What a grant says of this.
    pub granted: iam::Granted,
    /// The resource was found through a ciphertext; changes the text of a denial.
    pub from_ciphertext: bool,
    /// A denial names the resource and no reason: whether a role is there is nobody's business.
    pub without_reason: bool,
    /// Condition keys of this question, beside the global ones.
    pub context: Vec<(Cow<'static, str>, Vec<String>)>,
}

impl Ask {
    /// A question about a resource, in the caller's own account unless said otherwise.
    pub fn new(action: &'static str, resource: impl Into<String>) -> Self {
        Self {
            action,
            resource: resource.into(),
            resource_account: None,
            resource_policy: None,
            granted: iam::Granted::No,
            from_ciphertext: false,
            without_reason: false,
            context: Vec::new(),
        }
    }

    /// The resource belongs to this account.
    #[must_use]
    pub fn on(mut self, account: &AccountId) -> Self {
        self.resource_account = Some(account.clone());
        self
    }

    /// The resource has this policy.
    #[must_use]
    pub fn policy(mut self, policy: Arc<iam::Document>) -> Self {
        self.resource_policy = Some(policy);
        self
    }

    /// What a grant says of it.
    #[must_use]
    pub const fn granted(mut self, granted: iam::Granted) -> Self {
        self.granted = granted;
        self
    }

    /// The resource was found through a ciphertext.
    #[must_use]
    pub const fn from_ciphertext(mut self) -> Self {
        self.from_ciphertext = true;
        self
    }

    /// A denial gives no reason.
    #[must_use]
    pub const fn without_reason(mut self) -> Self {
        self.without_reason = true;
        self
    }

    /// Adds a condition key with its values; no values, no key.
    #[must_use]
    pub fn with<V: Into<String>>(
        mut self,
        key: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        if !values.is_empty() {
            self.context.push((key.into(), values));
        }
        self
    }
}
