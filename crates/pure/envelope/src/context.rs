//! Encryption contexts: pairs that bind a ciphertext to what it is for (spec/kms.md §12).

use std::collections::BTreeMap;

/// Pairs of the caller's, not secret. Order means nothing: the map is sorted by the bytes of the keys.
pub type EncryptionContext = BTreeMap<String, String>;

/// One text for one context, and no other context has it: the number of pairs, then each key and value behind
/// its length (u32, little-endian), sorted by key. The empty context is the same as none.
pub fn canonical(context: &EncryptionContext) -> Vec<u8> {
    let size = context.iter().map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(4 + size);
    push_length(&mut bytes, context.len());
    for (key, value) in context {
        for text in [key, value] {
            push_length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

fn push_length(into: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a request is far shorter than 4 GiB");
    into.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs() -> impl Strategy<Value = EncryptionContext> {
        proptest::collection::btree_map("[a-c]{0,3}", "[a-c]{0,3}", 0..4)
    }

    proptest! {
        #[test]
        fn two_contexts_have_one_text_only_if_they_are_one(left in pairs(), right in pairs()) {
            prop_assert_eq!(canonical(&left) == canonical(&right), left == right);
        }
    }
}
