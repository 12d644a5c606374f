//! Binary and secret members of requests and answers. Both are wiped when dropped.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes: standard base64 with padding on the wire. Wiped on drop, as many blobs are plaintext.
#[derive(Clone, Default, ZeroizeOnDrop)]
pub struct Blob(pub Vec<u8>);

impl Blob {
    /// Gives the bytes away to an owner who wipes them.
    pub fn take(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Text that must not be seen: a password, a secret access key. Wiped on drop.
#[derive(Clone, Default, Deserialize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The only door to the text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(&self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|_| de::Error::custom("not base64"))
    }
}

/// Overwrites every text in a value that held something secret.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_base64_with_padding_in_both_directions() {
        assert_eq!(serde_json::to_string(&Blob(b"hi".to_vec())).unwrap(), "\"aGk=\"");
        assert_eq!(serde_json::from_str::<Blob>("\"aGk=\"").unwrap().0, b"hi");
        assert!(serde_json::from_str::<Blob>("\"aGk\"").is_err());
    }

    #[test]
    fn debug_output_shows_no_content() {
        assert_eq!(
            format!("{:?} {:?}", Blob(vec![7]), Secret::new("x".into())),
            "Blob(1 bytes) Secret(redacted)"
        );
    }
}
