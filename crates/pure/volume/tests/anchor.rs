//! An anchor kept elsewhere tells an old copy of a whole volume, and never refuses the volume itself. What takes an
//! anchor: attaching, reading (and with it copying), checking, salvaging; a clone takes that of its source.

mod sim;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use sim::{
    ID, SeededEntropy,
    disk::{Fault, Files, SimDisk},
    key,
};
use volume::{
    ANCHOR, Anchor, BLOCK, Flaw, Header, LogEnd, Observed, Options, Reader, Salvaged, Target, Volume,
    VolumeError, VolumeKey, WrappedKey, check, clone_header, salvage,
};

fn create() -> SimDisk {
    let disk = SimDisk::new(1);
    let size = 40 * BLOCK as u64;
    Volume::create(&disk, ID, &key(), &[], size, 64 << 10, &SeededEntropy::new(2)).unwrap();
    disk
}

/// Each attach has a seed of its own: epochs must not share a salt.
fn open(disk: &SimDisk, seed: u64, anchor: Option<Anchor>) -> Result<Volume<SimDisk>, VolumeError> {
    let options = Options { anchor, ..Options::default() };
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options)
}

fn write(volume: &Volume<SimDisk>, index: u64, value: u8) {
    volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
    volume.flush().unwrap();
}

fn first_byte(volume: &Volume<SimDisk>, index: u64) -> u8 {
    let mut block = [0; BLOCK];
    volume.read(index * BLOCK as u64, &mut block).unwrap();
    block[0]
}

/// Opens a copy, which must be refused and stay as it is.
#[track_caller]
fn refused(files: &Files, anchor: Anchor) -> (u64, u64) {
    let disk = SimDisk::with(files.clone(), 5);
    let opened = open(&disk, 6, Some(anchor));
    assert_eq!(disk.operations(), 0);
    match opened {
        Err(VolumeError::RolledBack { expected, found }) => (expected, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_volume_from_yesterday_is_refused_until_it_is_accepted() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    volume.close().unwrap();
    let yesterday = disk.files();
    let anchor = volume.anchor();
    let volume = open(&disk, 4, Some(anchor)).unwrap();
    write(&volume, 0, 2);
    let running = volume.anchor();
    volume.close().unwrap();
    let closed = volume.anchor();
    for newer in [running, closed] {
        let (expected, found) = refused(&yesterday, newer);
        assert_eq!((expected, found), (newer.sequence, anchor.sequence));
    }
    let disk = SimDisk::with(yesterday, 7);
    let accepted = open(&disk, 8, None).unwrap();
    assert_eq!(first_byte(&accepted, 0), 1);
    let again = accepted.anchor();
    drop(accepted);
    open(&disk, 9, Some(again)).unwrap();
}

#[test]
fn a_copy_from_before_an_attach_that_wrote_nothing_is_refused() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    let before = disk.files();
    drop(volume);
    let attached = open(&disk, 4, None).unwrap().anchor();
    let (expected, found) = refused(&before, attached);
    assert_eq!(expected, found, "the same group, but not the same attach");
}

#[test]
fn the_last_groups_of_a_volume_that_was_not_closed_cannot_be_cut_off() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    write(&volume, 1, 1);
    let anchor = volume.anchor();
    drop(volume);
    let mut files = disk.files();
    // The second group follows the first: a descriptor and a block.
    files.segments.get_mut(&1).unwrap()[4096 + BLOCK..].fill(0);
    open(&SimDisk::with(files.clone(), 4), 5, None).unwrap();
    assert_eq!(refused(&files, anchor), (2, 1));
}

#[test]
fn a_fork_is_not_the_anchored_volume_however_long_its_log_is() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    let copy = disk.files();
    write(&volume, 0, 2);
    write(&volume, 0, 3);
    let anchor = volume.anchor();
    let fork = SimDisk::with(copy, 4);
    let volume = open(&fork, 5, None).unwrap();
    for value in 0..9 {
        write(&volume, 1, value);
    }
    assert!(volume.anchor().sequence > anchor.sequence);
    refused(&fork.files(), anchor);
    volume.close().unwrap();
    refused(&fork.files(), anchor);
}

#[test]
fn crashes_between_opening_and_anchoring_never_lock_the_owner_out() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    let anchor = volume.anchor();
    drop(volume);
    for attach in 0..20 {
        let volume = open(&disk, 10 + attach, Some(anchor)).unwrap();
        match attach % 4 {
            0 => {}
            1 => write(&volume, 1, attach as u8),
            2 => volume.close().unwrap(),
            _ => {
                write(&volume, 2, attach as u8);
                volume.checkpoint().unwrap();
            }
        }
    }
}

#[test]
fn an_epoch_that_is_given_up_for_want_of_space_is_still_that_of_its_anchor() {
    let mut given_up = 0;
    for after in 0..6 {
        let disk = create();
        let volume = open(&disk, 3, None).unwrap();
        let anchor = volume.anchor();
        disk.arm(after, Fault::Full(1));
        for value in 1..4 {
            volume.write(0, &[value; BLOCK]).unwrap();
            if volume.flush().is_err() {
                volume.flush().unwrap();
            }
        }
        given_up += u32::from(volume.anchor().epoch > anchor.epoch);
        drop(volume);
        open(&disk, 4, Some(anchor)).unwrap();
    }
    assert!(given_up > 0, "no write lacked space");
}

#[test]
fn an_anchor_that_was_changed_is_not_that_of_the_volume() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    write(&volume, 0, 2);
    let anchor = volume.anchor().to_bytes();
    write(&volume, 0, 3);
    drop(volume);
    let files = disk.files();
    for at in 0..ANCHOR {
        let mut changed = anchor;
        changed[at] ^= 0x10;
        match Anchor::from_bytes(&changed) {
            Ok(changed) => drop(refused(&files, changed)),
            Err(error) => assert!(at < 4, "{error}"),
        }
    }
    open(&disk, 4, Some(Anchor::from_bytes(&anchor).unwrap())).unwrap();
}

#[test]
fn attaches_that_write_nothing_do_not_make_the_header_grow() {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    let mut anchor = volume.anchor();
    drop(volume);
    for attach in 0..40 {
        let volume = open(&disk, 10 + attach, Some(anchor)).unwrap();
        assert_eq!(first_byte(&volume, 0), 1);
        if attach % 3 > 0 {
            anchor = volume.anchor();
        }
        if attach % 2 > 0 {
            volume.close().unwrap();
        }
        let header = Header::parse(&disk.files().header.unwrap()).unwrap();
        // That of the data, the anchored one, the one before and this one.
        assert!(header.epochs.len() <= 5, "{}", header.epochs.len());
    }
}

/// A volume as it was yesterday and as it is today, and where its log stands today.
fn yesterday_and_today() -> (Files, Files, Anchor) {
    let disk = create();
    let volume = open(&disk, 3, None).unwrap();
    write(&volume, 0, 1);
    write(&volume, 7, 1);
    volume.close().unwrap();
    let yesterday = disk.files();
    let volume = open(&disk, 4, Some(volume.anchor())).unwrap();
    write(&volume, 0, 2);
    volume.close().unwrap();
    (yesterday, disk.files(), volume.anchor())
}

#[test]
fn a_reader_refuses_what_is_older_than_the_anchor() {
    let (yesterday, today, anchor) = yesterday_and_today();
    let read = |files: &Files, anchor| {
        let reader = Reader::open(SimDisk::with(files.clone(), 5), ID, key(), anchor, 0)?;
        let mut block = [0; BLOCK];
        reader.read(0, &mut block).map(|()| block[0])
    };
    assert!(matches!(read(&yesterday, Some(&anchor)), Err(VolumeError::RolledBack { .. })));
    assert_eq!(read(&yesterday, None).unwrap(), 1);
    assert_eq!(read(&today, Some(&anchor)).unwrap(), 2);
}

/// What a check calls damage.
fn damage(files: &Files, anchor: Option<&Anchor>) -> Vec<Flaw> {
    let mut found = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed
            && finding.flaw.is_damage()
        {
            found.push(finding.flaw);
        }
        ControlFlow::Continue(())
    };
    let disk = SimDisk::with(files.clone(), 5);
    let (progress, _) = check(&disk, ID, key(), anchor, &mut observe).unwrap();
    assert_eq!(progress.blocks, 2, "all of it is looked at, old or not");
    found
}

#[test]
fn a_check_tells_that_a_volume_is_older_than_its_anchor_and_looks_at_the_rest() {
    let (yesterday, today, anchor) = yesterday_and_today();
    assert_eq!(damage(&yesterday, Some(&anchor)), [Flaw::Log]);
    assert_eq!(damage(&yesterday, None), []);
    assert_eq!(damage(&today, Some(&anchor)), []);
}

struct Brought(BTreeMap<u64, u8>);

impl Target for Brought {
    fn begin(&mut self, _: &Header) -> Result<(), VolumeError> {
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.0.insert(offset / BLOCK as u64, bytes[0]);
        Ok(())
    }
}

fn salvaged(files: &Files, anchor: Option<&Anchor>) -> (Salvaged, BTreeMap<u64, u8>) {
    let mut brought = Brought(BTreeMap::new());
    let disk = SimDisk::with(files.clone(), 5);
    let mut go_on = |_: Observed<'_>| ControlFlow::Continue(());
    let salvaged = salvage(&disk, ID, key(), anchor, &mut brought, &mut go_on).unwrap();
    (salvaged, brought.0)
}

#[test]
fn a_salvage_of_what_is_older_than_the_anchor_says_that_all_of_it_may_be_old() {
    let (yesterday, today, anchor) = yesterday_and_today();
    let (report, content) = salvaged(&yesterday, Some(&anchor));
    assert_eq!(content, BTreeMap::from([(0, 1), (7, 1)]));
    assert_eq!(report.maybe_old, [0..1, 7..8]);
    let last = *report.missing_groups.last().unwrap().end();
    assert_eq!((report.end, last, report.is_whole()), (LogEnd::Missing, anchor.sequence, false));

    // The log does not fit together either.
    let mut broken = yesterday.clone();
    broken.checkpoint.fill(0);
    let (report, _) = salvaged(&broken, Some(&anchor));
    assert_eq!((report.end, report.is_whole()), (LogEnd::Missing, false));

    assert!(salvaged(&yesterday, None).0.is_whole());
    let (report, content) = salvaged(&today, Some(&anchor));
    assert!(report.is_whole());
    assert_eq!(content, BTreeMap::from([(0, 2), (7, 1)]));
}

#[test]
fn a_clone_has_the_anchor_of_what_it_is_made_of_until_it_has_its_own() {
    let (yesterday, today, anchor) = yesterday_and_today();
    let clone = |files: &Files, own: Option<WrappedKey<'_>>| {
        let key = key();
        let keys = [WrappedKey { key: &key, wrapped: b"shared" }];
        let header = files.header.as_ref().unwrap();
        let header = clone_header(header, ID, "vol-clone", &keys, own, &SeededEntropy::new(6)).unwrap();
        SimDisk::with(Files { header: Some(header), ..files.clone() }, 7)
    };
    let open = |disk: &SimDisk, keys: Vec<VolumeKey>, anchor| {
        let options = Options { anchor: Some(anchor), ..Options::default() };
        Volume::open(disk.clone(), "vol-clone", keys, Arc::new(SeededEntropy::new(8)), options)
    };
    let own = VolumeKey::copy_from(&[0x55; 32]).unwrap();
    for own in [None, Some(WrappedKey { key: &own, wrapped: b"own" })] {
        let keys = || {
            let mut keys = vec![key()];
            keys.extend(own.map(|own| VolumeKey::copy_from(own.key.expose()).unwrap()));
            keys
        };
        let older = open(&clone(&yesterday, own), keys(), anchor);
        assert!(matches!(older, Err(VolumeError::RolledBack { .. })));
        let disk = clone(&today, own);
        let volume = open(&disk, keys(), anchor).unwrap();
        let later = volume.anchor();
        assert!((later.epoch, later.sequence) > (anchor.epoch, anchor.sequence));
        drop(volume);
        // The server has not heard of the first attach, or it has.
        drop(open(&disk, keys(), anchor).unwrap());
        drop(open(&disk, keys(), later).unwrap());
    }
}
