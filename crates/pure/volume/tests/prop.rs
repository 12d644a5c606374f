//! Headers of foreign bytes.

use aws_lc_rs::digest;
use proptest::prelude::*;
use volume::{Header, VolumeError, VolumeKey};

mod sim;

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[1; 32]).unwrap()
}

fn written() -> Vec<u8> {
    let disk = sim::disk::SimDisk::new(1);
    let entropy = sim::SeededEntropy::new(2);
    volume::Volume::create(&disk, "vol-1", &key(), b"wrapped", 1 << 20, 64 << 10, &entropy).unwrap();
    let opened = volume::Volume::open(
        disk.clone(),
        "vol-1",
        key(),
        std::sync::Arc::new(entropy),
        volume::Options::default(),
    );
    opened.unwrap().close().unwrap();
    disk.files().header.unwrap()
}

/// Makes the digest fit, as whoever changes a header on purpose would.
fn sign(bytes: &mut [u8]) {
    if let Some(body) = bytes.len().checked_sub(64) {
        let digest = digest::digest(&digest::SHA256, &bytes[..body]);
        bytes[body..body + 32].copy_from_slice(digest.as_ref());
    }
}

#[test]
fn a_header_reads_back() {
    let header = Header::parse(&written()).unwrap();
    assert_eq!((header.volume.as_str(), header.blocks, header.segment_size), ("vol-1", 128, 64 << 10));
    assert_eq!(header.generations[0].wrapped_key, b"wrapped");
    assert_eq!(header.epochs.len(), 1);
    assert!(header.end.is_some());
}

#[test]
fn another_version_is_named() {
    let mut bytes = written();
    bytes[8] = 2;
    assert!(matches!(Header::parse(&bytes), Err(VolumeError::UnknownVersion(2))));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Header::parse(&bytes).is_err());
    }

    #[test]
    fn a_changed_header_with_a_fitting_digest_never_panics_and_never_opens(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in 0..40_usize,
    ) {
        let whole = written();
        let mut bytes = whole.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len() - 64);
            bytes[place] = value;
        }
        bytes.truncate(bytes.len() - cut);
        let length = bytes.len() as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        sign(&mut bytes);
        let _ = Header::parse(&bytes);
        let disk = sim::disk::SimDisk::new(1);
        disk.change(|files| files.header = Some(bytes.clone()));
        let entropy = std::sync::Arc::new(sim::SeededEntropy::new(2));
        let opened = volume::Volume::open(disk, "vol-1", key(), entropy, volume::Options::default());
        prop_assert!(opened.is_err() || bytes == whole);
    }
}
