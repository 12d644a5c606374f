//! Policy documents as IAM stores them: the text as it was given, and what it means.

use std::sync::Arc;

use iam::{Document, Kind, Malformed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

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
    /// The text as answers carry it: percent-encoded (spec/policy.md §11).
    pub fn encoded(&self) -> String {
        encoded(&self.text)
    }

    /// Characters that count against quotas: all but white space.
    pub fn size(&self) -> usize {
        self.text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

/// Percent-encodes a document.
pub fn encoded(text: &str) -> String {
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
