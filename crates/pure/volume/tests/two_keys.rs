//! The header of a volume whose key is being renewed: it names two keys, and whoever changes any byte of it, exchanges
//! the two, or puts those of another volume in gets an error.

mod sim;

use std::{ops::ControlFlow, ops::Range, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use sim::{
    ID, SeededEntropy,
    disk::{Files, SimDisk},
    key, unwrap_keys, wrap,
};
use volume::{BLOCK, Header, Keys, Options, Volume, VolumeError, VolumeKey, check};

/// Digest and MAC at the end of a header.
const TRAILER: usize = 64;
const BLOCKS: u64 = 64;

fn numbered(number: u8) -> VolumeKey {
    VolumeKey::copy_from(&[number; 32]).unwrap()
}

/// A volume of which some blocks are sealed under `key()`, some under `own`, with two or three epochs; closed.
fn in_renewal(id: &str, own: u8) -> Files {
    let disk = SimDisk::new(own.into());
    let entropy = |seed: u8| SeededEntropy::new(u64::from(own) << 8 | u64::from(seed));
    let size = BLOCKS * BLOCK as u64;
    Volume::create(&disk, id, &key(), &wrap(&key()), size, 64 << 10, &entropy(1)).unwrap();
    let volume = Volume::open(disk.clone(), id, key(), Arc::new(entropy(2)), Options::default()).unwrap();
    for index in 0..40 {
        volume.write(index * BLOCK as u64, &[1; BLOCK]).unwrap();
    }
    volume.checkpoint().unwrap();
    volume.renew_key(numbered(own), &wrap(&numbered(own))).unwrap();
    for index in 30..60 {
        volume.write(index * BLOCK as u64, &[2; BLOCK]).unwrap();
    }
    volume.close().unwrap();
    disk.files()
}

fn with_header(files: &Files, header: Vec<u8>) -> Files {
    Files { header: Some(header), ..files.clone() }
}

fn open(files: Files, keys: impl Into<Keys>) -> Result<Volume<SimDisk>, VolumeError> {
    let entropy = Arc::new(SeededEntropy::new(99));
    Volume::open(SimDisk::with(files, 5), ID, keys, entropy, Options::default())
}

fn both() -> Vec<VolumeKey> {
    vec![key(), numbered(7)]
}

/// Makes the digest fit again, so that what lies behind it has to notice.
fn fitting(mut header: Vec<u8>) -> Vec<u8> {
    let body = header.len() - TRAILER;
    let sum = digest(&SHA256, &header[..body]);
    header[body..body + 32].copy_from_slice(sum.as_ref());
    header
}

/// Where the rows of the generations are.
fn rows(header: &[u8]) -> Vec<Range<usize>> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let mut at = 32 + 2 + u16_at(32);
    let count = u16_at(at);
    at += 2;
    let mut rows = Vec::new();
    for _ in 0..count {
        let wrapped = u32::from_le_bytes(header[at + 68..at + 72].try_into().unwrap()) as usize;
        rows.push(at..at + 72 + wrapped);
        at += 72 + wrapped;
    }
    rows
}

/// Neither an attach nor a check takes the header for one of this volume.
#[track_caller]
fn refused(files: &Files, header: Vec<u8>, keys: impl Fn() -> Vec<VolumeKey>, what: &str) {
    let changed = with_header(files, header);
    match open(changed.clone(), keys()) {
        Err(
            VolumeError::Damaged(_)
            | VolumeError::WrongKey
            | VolumeError::WrongVolume { .. }
            | VolumeError::UnknownVersion(_),
        ) => {}
        other => panic!("{what}: {other:?}"),
    }
    let disk = SimDisk::with(changed, 5);
    let checked = check(&disk, ID, keys(), None, &mut |_| ControlFlow::Continue(()));
    assert!(checked.is_err() || checked.is_ok_and(|(progress, _)| progress.damage > 0), "{what}");
    assert_eq!(disk.operations(), 0, "{what}");
}

#[test]
fn every_byte_of_a_header_that_names_two_keys_is_authentic() {
    let files = in_renewal(ID, 7);
    let header = files.header.clone().unwrap();
    assert_eq!(Header::parse(&header).unwrap().generations.len(), 2);
    assert_eq!(unwrap_keys(&header).len(), 2);
    let volume = open(files.clone(), both()).unwrap();
    for (index, value) in [(0, 1), (29, 1), (30, 2), (59, 2), (60, 0)] {
        let mut block = [0xee; BLOCK];
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert_eq!(block, [value; BLOCK]);
    }
    for at in 0..header.len() {
        for bit in [0x01, 0x80] {
            let mut changed = header.clone();
            changed[at] ^= bit;
            refused(&files, changed.clone(), both, &format!("byte {at}"));
            let changed = fitting(changed);
            if changed != header {
                refused(&files, changed, both, &format!("byte {at}, and the digest fits"));
            }
        }
    }
    for length in 0..header.len() {
        refused(&files, header[..length].to_vec(), both, &format!("{length} bytes"));
    }
}

#[test]
fn one_of_two_keys_does_not_open_a_volume_in_renewal() {
    let files = in_renewal(ID, 7);
    for keys in [vec![key()], vec![numbered(7)], vec![numbered(7), numbered(8)], vec![]] {
        assert!(matches!(open(files.clone(), keys), Err(VolumeError::WrongKey)));
    }
    let keys = vec![numbered(7), numbered(8), key()];
    open(files, keys).unwrap();
}

#[test]
fn generations_that_are_exchanged_doubled_or_left_out_are_no_header() {
    let files = in_renewal(ID, 7);
    let header = files.header.clone().unwrap();
    let [first, second] = &rows(&header)[..] else { panic!("two generations") };
    let number = 4;
    let (one, two) = (header[first.clone()].to_vec(), header[second.clone()].to_vec());
    let rest = |range: &Range<usize>| range.start + number..range.end;
    let rebuilt = |rows: &[&[u8]]| {
        let mut changed = header[..first.start].to_vec();
        let count = changed.len() - 2;
        changed[count..].copy_from_slice(&u16::try_from(rows.len()).unwrap().to_le_bytes());
        changed.extend(rows.concat());
        changed.extend(&header[second.end..]);
        let length = u32::try_from(changed.len()).unwrap();
        changed[12..16].copy_from_slice(&length.to_le_bytes());
        fitting(changed)
    };
    assert_eq!(rebuilt(&[&one, &two]), header);
    refused(&files, rebuilt(&[&two, &one]), both, "exchanged, with their numbers");
    for doubled in [[&one[..], &one], [&two, &two]] {
        refused(&files, rebuilt(&doubled), both, "doubled");
    }
    refused(&files, rebuilt(&[&one]), both, "the newer one left out");
    refused(&files, rebuilt(&[&two]), both, "the older one left out");
    refused(&files, rebuilt(&[&one, &two, &two]), both, "one more");
    // Each keeps its number, and gets the key of the other.
    let mut changed = header.clone();
    changed[rest(first)].copy_from_slice(&two[number..]);
    changed[rest(second)].copy_from_slice(&one[number..]);
    refused(&files, fitting(changed), both, "the keys exchanged");
}

#[test]
fn a_key_of_another_volume_is_none_of_this_one() {
    let files = in_renewal(ID, 7);
    let header = files.header.clone().unwrap();
    let foreign = in_renewal("vol-0b0b0b0b0b0b0b0b0", 8).header.unwrap();
    let all = || vec![key(), numbered(7), numbered(8)];
    for (ours, theirs) in rows(&header).into_iter().zip(rows(&foreign)) {
        let wrapped = |row: &Range<usize>| row.start + 72..row.end;
        let mut changed = header.clone();
        changed[wrapped(&ours)].copy_from_slice(&foreign[wrapped(&theirs)]);
        if changed != header {
            let changed = fitting(changed);
            refused(&files, changed.clone(), all, "a wrapped key of another volume");
            // Whoever has the keys unwrapped that the header names gets others.
            refused(&files, changed.clone(), || unwrap_keys(&changed), "and unwrapped");
        }
        let mut changed = header.clone();
        changed[ours.clone()].copy_from_slice(&foreign[theirs]);
        refused(&files, fitting(changed), all, "a generation of another volume");
    }
    refused(&files, foreign, all, "the header of another volume");
}

#[test]
fn headers_from_before_and_after_a_renewal_do_not_open_its_files() {
    let before = {
        let disk = SimDisk::new(7);
        let size = BLOCKS * BLOCK as u64;
        let entropy = SeededEntropy::new(7 << 8 | 1);
        Volume::create(&disk, ID, &key(), &wrap(&key()), size, 64 << 10, &entropy).unwrap();
        let entropy = Arc::new(SeededEntropy::new(7 << 8 | 2));
        let volume = Volume::open(disk.clone(), ID, key(), entropy, Options::default()).unwrap();
        volume.write(0, &[1; BLOCK]).unwrap();
        volume.flush().unwrap();
        disk.files().header.unwrap()
    };
    // It is authentic, and of this very volume: but the log is of an epoch that it does not know.
    refused(&in_renewal(ID, 7), before, both, "a header from before the renewal");
}
