//! Headers of volumes, and anchors. The digest is made to fit, so that the fields behind it are reached.
#![no_main]

use aws_lc_rs::digest::{SHA256, digest};
use libfuzzer_sys::fuzz_target;
use volume::{Anchor, Header, MAX_HEADER};

/// Digest and MAC at the end.
const TRAILER: usize = 64;

fuzz_target!(|data: &[u8]| {
    let _ = Header::parse(data);
    if let Ok(anchor) = Anchor::from_bytes(data) {
        assert_eq!(anchor.to_bytes(), data);
    }
    if data.len() < 16 + TRAILER || data.len() > MAX_HEADER {
        return;
    }
    let mut bytes = data.to_vec();
    let length = u32::try_from(bytes.len()).expect("within MAX_HEADER");
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let body = bytes.len() - TRAILER;
    let fitting = digest(&SHA256, &bytes[..body]);
    bytes[body..body + 32].copy_from_slice(fitting.as_ref());
    if let Ok(header) = Header::parse(&bytes) {
        assert!(!header.volume.is_empty() && header.blocks > 0 && !header.generations.is_empty());
    }
});
