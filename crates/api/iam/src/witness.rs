//! What IAM and STS tell from the trail: when a key was used last, and why a call was denied.

use std::sync::Arc;

use audit::{Query, Trail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ids::AccountId;
use trail::{Attribute, Record};
use wire::Fault;

use crate::registry::Iam;

/// Where messages about denials are sealed for: nothing else opens as one.
const MESSAGE_PLACE: &str = "sts/authorization-message";
/// Records of a key's last moments: those of calls that a service made for its owner are skipped.
const LOOKED_AT: u32 = 16;

/// IAM with the audit trail beside it.
pub struct Witness {
    pub iam: Arc<Iam>,
    trail: Arc<Trail>,
}

impl Witness {
    pub const fn new(iam: Arc<Iam>, trail: Arc<Trail>) -> Self {
        Self { iam, trail }
    }

    /// The last call that was signed with an access key of an account; none within the trail's memory is no call.
    ///
    /// # Errors
    /// An internal fault if the trail cannot be read.
    pub async fn last_use(&self, account: &AccountId, access_key: &str) -> Result<Option<Record>, Fault> {
        let found = self.find(account, Attribute::AccessKeyId(access_key.into()), LOOKED_AT).await?;
        Ok(found.into_iter().find(|record| record.user_identity.invoked_by.is_none()))
    }

    /// The record of a denial in an account that a message speaks of; `None` for what is no such message.
    ///
    /// # Errors
    /// An internal fault if the trail cannot be read.
    pub async fn denial(&self, account: &AccountId, message: &str) -> Result<Option<Record>, Fault> {
        let Some(event_id) = self.iam.read_message(message) else { return Ok(None) };
        Ok(self.find(account, Attribute::EventId(event_id), 1).await?.into_iter().next())
    }

    async fn find(&self, account: &AccountId, by: Attribute, limit: u32) -> Result<Vec<Record>, Fault> {
        let query = Query {
            account: account.clone(),
            region: None,
            attribute: Some(by),
            from: None,
            to: None,
            after: None,
            limit,
        };
        let found = self.trail.lookup(&query).await.map_err(Fault::internal)?;
        Ok(found.into_iter().map(|(record, _)| record).collect())
    }
}

impl Iam {
    /// The message about a denial: the sealed id of its record.
    pub(crate) fn encoded_message(&self, event_id: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.custody.seal(MESSAGE_PLACE, event_id.as_bytes()))
    }

    fn read_message(&self, message: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(message).ok()?;
        let opened = self.custody.open_sealed(MESSAGE_PLACE, &sealed).ok()?;
        String::from_utf8(opened.expose().to_vec()).ok()
    }
}
