//! Manifests of snapshots: what reads is written back the same. The parser is taken from its source, as its crate
//! brings clients of object stores along.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// As the crate has it; nothing is hashed here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest(pub [u8; 32]);

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/shell/archive/src/manifest.rs"]
mod manifest;

use manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    // The length is made to fit, so that the fields behind it are reached.
    if let Some(length) = bytes.get_mut(8..12) {
        length.copy_from_slice(&u32::try_from(data.len()).expect("far below 4 GiB").to_le_bytes());
    }
    for bytes in [data, &bytes] {
        if let Ok(manifest) = Manifest::parse(bytes) {
            assert_eq!(manifest.encode(), bytes);
            assert!(manifest.segments.iter().all(|segment| segment.number > 0));
        }
    }
});
