//! The wrapped copies of a volume's keys that one holder has.

use serde::{Deserialize, Serialize};

use super::Bytes;

/// One copy, and several while the key of the volume is renewed. The volume's header says which of them it needs; it may be
/// fewer than there are here, never more (docs/decisions/0530).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct WrappedKeys {
    #[serde(rename = "wrapped_key")]
    pub newest: Bytes,
    /// Those before it, oldest first; none unless a renewal is under way.
    #[serde(default, rename = "older_wrapped_keys", skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<Bytes>,
}

impl WrappedKeys {
    /// One key alone.
    pub const fn one(wrapped: Vec<u8>) -> Self {
        Self { newest: Bytes(wrapped), older: Vec::new() }
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.older.iter().chain([&self.newest]).map(|bytes| bytes.0.as_slice())
    }

    /// The same and a newer one.
    #[must_use]
    pub fn renewed(&self, newest: Vec<u8>) -> Self {
        let older = self.all().map(|wrapped| Bytes(wrapped.to_vec())).collect();
        Self { newest: Bytes(newest), older }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_renewed_comes_last_until_it_is_alone() {
        let one = WrappedKeys::one(vec![1]);
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"wrapped_key":"01"}"#);
        let mut two = one.renewed(vec![2]);
        assert_eq!(two.renewed(vec![3]).all().collect::<Vec<_>>(), [[1], [2], [3]]);
        let text = serde_json::to_string(&two).unwrap();
        assert_eq!(text, r#"{"wrapped_key":"02","older_wrapped_keys":["01"]}"#);
        assert_eq!(serde_json::from_str::<WrappedKeys>(&text).unwrap(), two);
        two.older.clear();
        assert_eq!(two, WrappedKeys::one(vec![2]));
    }
}
