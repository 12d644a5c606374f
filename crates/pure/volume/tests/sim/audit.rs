//! A volume that nobody has open, seen by those who only read: a reader, a check and a salvage.

use std::ops::ControlFlow;

use volume::{BLOCK, Flaw, Header, Observed, Reader, SECTOR, Target, VolumeError, VolumeKey, check, salvage};

use super::{
    disk::SimDisk,
    model::{Model, stamps},
};

/// What a salvage brings out.
struct Brought(Vec<u8>);

impl Target for Brought {
    fn begin(&mut self, header: &Header) -> Result<(), VolumeError> {
        self.0 = vec![0; header.blocks as usize * BLOCK];
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        assert_eq!(bytes.len(), BLOCK, "no part of a block is lost");
        self.0[offset as usize..offset as usize + BLOCK].copy_from_slice(bytes);
        Ok(())
    }
}

/// Everything that is durable is there for each of them, nothing is wrong, and nothing is changed.
pub fn audit(disk: &SimDisk, id: &str, keys: impl Fn() -> Vec<VolumeKey>, model: &Model) {
    let (before, sectors) = (disk.files(), model.sectors());
    let expected = model.expected(0..sectors);

    let reader = Reader::open(disk.clone(), id, keys(), None, 0).unwrap();
    let mut bytes = vec![0xee; sectors as usize * SECTOR];
    reader.read(0, &mut bytes).unwrap();
    assert_eq!(stamps(&bytes), expected, "a reader sees something else");
    let mut live = vec![0; bytes.len()];
    for range in reader.live_ranges(0) {
        let range = range.unwrap();
        let range = range.start as usize * BLOCK..range.end as usize * BLOCK;
        reader.read(range.start as u64, &mut live[range]).unwrap();
    }
    assert!(live == bytes, "what lies between the live ranges is not zero");

    // A slot may have been torn by a crash, and not have been written since.
    let mut damage = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed
            && finding.flaw.is_damage()
            && finding.flaw != Flaw::Slot
        {
            damage.push(finding.clone());
        }
        ControlFlow::Continue(())
    };
    let (_, flow) = check(disk, id, keys(), None, &mut observe).unwrap();
    assert!(flow.is_continue());
    assert!(damage.is_empty(), "a check finds {damage:?}");

    let mut brought = Brought(Vec::new());
    let salvaged = salvage(disk, id, keys(), None, &mut brought, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(salvaged.is_whole(), "{salvaged:?}");
    assert_eq!(stamps(&brought.0), expected, "a salvage brings out something else");
    assert!(disk.files() == before && disk.operations() == 0, "they only read");
}
