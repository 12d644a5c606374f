//! An error as the caller of an AWS service reads it: code, text, HTTP status.

use std::{borrow::Cow, fmt};

use crate::model::ServiceId;

/// What most services call a mistake of theirs.
const INTERNAL: &str = "InternalFailure";

/// What goes back instead of an answer. `Display` is for logs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The name on the wire: `DisabledException`, `DBClusterNotFoundFault`.
    pub code: Cow<'static, str>,
    /// The text; some errors of KMS have none (spec/kms.md §1).
    pub message: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// For operators only: never sent.
    pub detail: Option<String>,
    /// For callers inside this process, never sent: nothing follows from it for what was asked about, as something in
    /// between has failed.
    pub transient: bool,
}

/// Whose spelling of the shared errors a fault takes: JSON services and Query services differ
/// (spec/policy.md §10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    Json,
    Query,
}

impl Fault {
    /// A mistake of the caller: HTTP 400.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: Some(message.into()), status: 400, detail: None, transient: false }
    }

    /// A mistake of the caller that AWS answers without a text.
    pub fn bare(code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), message: None, status: 400, detail: None, transient: false }
    }

    /// A mistake of ours: HTTP 500. The detail is for the log, the caller reads a fixed text.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self {
            code: INTERNAL.into(),
            message: Some(
                "The request processing has failed because of an unknown error, exception or failure.".into(),
            ),
            status: 500,
            detail: Some(detail.to_string()),
            transient: true,
        }
    }

    /// The same as a service spells it: KMS has a name of its own for a mistake of ours (spec/kms.md §15).
    #[must_use]
    pub fn spelled_by(mut self, service: ServiceId) -> Self {
        if service == ServiceId::Kms && self.code == INTERNAL {
            self.code = "KMSInternalException".into();
            self.message =
                Some("The request was rejected because an internal exception occurred. The request can be retried.".into());
        }
        self
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same, from which nothing follows for what was asked about.
    #[must_use]
    pub const fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The same with a note for the log.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kms_has_its_own_name_for_a_mistake_of_ours() {
        let kms = Fault::internal("disk").spelled_by(ServiceId::Kms);
        assert_eq!(
            (&*kms.code, kms.status, kms.detail.as_deref()),
            ("KMSInternalException", 500, Some("disk"))
        );
        assert_eq!(Fault::internal("disk").spelled_by(ServiceId::Rds), Fault::internal("disk"));
        let refusal = Fault::client("DisabledException", "x");
        assert_eq!(refusal.clone().spelled_by(ServiceId::Kms), refusal);
    }
}
