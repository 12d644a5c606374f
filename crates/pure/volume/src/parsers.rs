//! The parsers of what lies sealed on the disk, for fuzzing: nobody else gets past the seals.

use crate::{
    checkpoint::{Checkpoint, Slot},
    group::{GroupBody, GroupHead},
    layout::{BLOCK, Reader},
    tree::Node,
};

/// Reads bytes as each of them; `kind` says which.
pub fn parse(kind: u8, bytes: &[u8]) {
    match kind % 5 {
        0 => {
            if let Some(head) = GroupHead::parse(bytes, 4096, 1 << 20) {
                assert!(head.descriptor > 0 && head.length() <= 1 << 20);
            }
        }
        1 => {
            if let Ok(body) = GroupBody::decode(bytes) {
                // What was read is written back as it was; only zeros follow.
                let again = body.encode();
                assert!(bytes.starts_with(&again) && bytes[again.len()..].iter().all(|byte| *byte == 0));
            }
        }
        2 => {
            if let Ok(checkpoint) = Checkpoint::read(&mut Reader::new(bytes, "checkpoint")) {
                let mut again = Vec::new();
                checkpoint.write(&mut again);
                assert!(bytes.starts_with(&again));
            }
        }
        3 => drop(Slot::read(bytes, 1, 1)),
        _ => {
            let mut node = Node::empty();
            let length = bytes.len().min(BLOCK);
            node.bytes_mut()[..length].copy_from_slice(&bytes[..length]);
            for child in 0..256 {
                let _ = node.child(child);
            }
        }
    }
}
