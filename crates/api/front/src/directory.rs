//! Where callers and their policies come from. `api-iam` implements it.

use std::sync::Arc;

use ids::Timestamp;
use wire::Secret;

use crate::caller::Caller;

/// A credential and whose it is.
#[derive(Clone, Debug)]
pub struct Credential {
    pub secret: Arc<Secret>,
    pub caller: Caller,
    /// Inactive keys are refused as unknown ones are.
    pub active: bool,
    /// What must come along in `X-Amz-Security-Token`; only temporary credentials have one.
    pub session_token: Option<Arc<Secret>>,
    pub expires: Option<Timestamp>,
}

/// Looks up credentials and the policies of callers. Both are on the path of every request: from memory.
pub trait Directory: Send + Sync {
    /// The credential of an access key id.
    fn credential(&self, access_key_id: &str) -> Option<Credential>;

    /// The identity policies of a caller; none for root users and services.
    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<iam::Document>>;

    /// The policies that a session was begun with, which limit it; `None` if there are none.
    fn session_policies(&self, _caller: &Caller) -> Option<Vec<Arc<iam::Document>>> {
        None
    }

    /// The permissions boundary of a user, or of the role behind a session.
    fn permissions_boundary(&self, _caller: &Caller) -> Option<Arc<iam::Document>> {
        None
    }

    /// What a denied caller gets in the header [`AUTHORIZATION_MESSAGE`](crate::AUTHORIZATION_MESSAGE): text that tells
    /// him nothing, and that `sts:DecodeAuthorizationMessage` turns into the reasons for whoever may ask for them.
    fn authorization_message(&self, _event_id: &str) -> Option<String> {
        None
    }

    /// Whether the account root, user, role or session that an ARN names is there: policies and grants must
    /// not name nobody. A directory that cannot tell says yes.
    fn principal_exists(&self, _arn: &str) -> bool {
        true
    }

    /// The unique id (`AIDA…`, `AROA…`) behind the ARN of a user or role: who is made again under an old name
    /// is somebody else (spec/policy.md §3). `None` if there is nobody, or the directory cannot tell.
    fn principal_id(&self, _arn: &str) -> Option<String> {
        None
    }
}
