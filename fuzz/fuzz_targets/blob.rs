//! Ciphertext blobs: parsing, and opening under a key that made none of them.
#![no_main]

use std::collections::BTreeMap;

use envelope::{KeyMaterial, blob::Blob};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(blob) = Blob::parse(data) else { return };
    assert!(data.len() > blob.key_arn.len() + blob.material.len());
    let material = KeyMaterial::copy_from(&[7; 32]).expect("32 bytes");
    assert!(blob.decrypt(&material, &BTreeMap::new()).is_err(), "a ciphertext was forged");
    if let Some(outer) = blob.outer() {
        let inner = blob.decrypt_inner(&material, &BTreeMap::new(), outer.ciphertext);
        assert!(inner.is_err(), "an inner layer was forged");
    }
});
