//! A check finds every damage that a read would meet; a salvage brings out exactly what is left, and says what is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
};

use proptest::prelude::*;
use volume::{
    BLOCK, Finding, Header, LogEnd, Observed, Reader, Salvaged, Target, VolumeError, check, salvage,
};

use super::*;

/// What a check says.
fn findings(files: &Files) -> Vec<Finding> {
    let disk = SimDisk::with(files.clone(), 5);
    let mut found = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed {
            found.push(finding.clone());
        }
        ControlFlow::Continue(())
    };
    let (progress, flow) = check(&disk, ID, key(), None, &mut observe).unwrap();
    assert!(flow.is_continue());
    assert_eq!(progress.findings, found.len() as u64);
    assert!(disk.files() == *files, "a check changes nothing");
    found
}

struct Brought(Content);

impl Target for Brought {
    fn begin(&mut self, header: &Header) -> Result<(), VolumeError> {
        assert_eq!((header.volume.as_str(), header.blocks), (ID, BLOCKS));
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let index = offset / BLOCK as u64;
        assert!(bytes.len() == BLOCK && bytes.iter().all(|byte| *byte == bytes[0]), "block {index} is torn");
        assert_eq!(self.0.insert(index, bytes[0]), None, "block {index} is copied twice");
        Ok(())
    }
}

/// What a salvage brings out; `None` if it can do nothing without the header.
fn salvaged(files: &Files) -> Option<(Salvaged, Content)> {
    let disk = SimDisk::with(files.clone(), 5);
    let mut brought = Brought(Content::new());
    let report = salvage(&disk, ID, key(), None, &mut brought, &mut |_| ControlFlow::Continue(()));
    assert!(disk.files() == *files, "a salvage changes nothing");
    match report {
        Ok(report) => Some((report, brought.0)),
        Err(VolumeError::Damaged(_) | VolumeError::UnknownVersion(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

fn is_in(ranges: &[Range<u64>], index: u64) -> bool {
    ranges.iter().any(|range| range.contains(&index))
}

/// Whether each block can be read by an attach; `None` if it is refused.
fn readable(files: &Files) -> Option<BTreeSet<u64>> {
    let reader = Reader::open(SimDisk::with(files.clone(), 5), ID, key(), None, 0).ok()?;
    let mut block = [0; BLOCK];
    Some((0..BLOCKS).filter(|index| reader.read(index * BLOCK as u64, &mut block).is_ok()).collect())
}

/// Holds check and salvage of damaged files to what is true of the volume. Returns what the salvage said.
fn hold(files: &Files, truth: &Content, past: &Past, what: &str) -> Option<(Salvaged, Content)> {
    let readable = readable(files);
    let damage = findings(files).iter().any(|finding| finding.flaw.is_damage());
    let all = readable.as_ref().is_some_and(|blocks| blocks.len() as u64 == BLOCKS);
    assert!(damage || all, "{what}: a check does not find what a read meets");
    let (report, content) = salvaged(files)?;
    for (index, value) in &content {
        assert!(
            past.get(index).is_some_and(|past| past.contains(value)),
            "{what}: block {index} never was {value}"
        );
        if !is_in(&report.maybe_old, *index) {
            assert_eq!(truth.get(index), Some(value), "{what}: block {index} is old, and that is not said");
        }
    }
    let told = |index| is_in(&report.missing, index) || is_in(&report.unknown, index);
    let cut = !report.missing_groups.is_empty() || report.end == LogEnd::Missing;
    for index in truth.keys().filter(|index| !content.contains_key(index)) {
        assert!(told(*index) || cut, "{what}: block {index} is missing, and that is not said");
    }
    for index in readable.into_iter().flatten() {
        assert_eq!(truth.get(&index), content.get(&index), "{what}: block {index} could be read");
    }
    if report.is_whole() {
        assert_eq!(content, *truth, "{what}: not whole");
    }
    Some((report, content))
}

fn lived_and_closed() -> (Files, Content, Past) {
    let built = lived();
    built.volume.close().unwrap();
    (built.disk.files(), built.content, built.past)
}

/// A page of a segment.
type Page = (u32, usize);

fn pages(files: &Files) -> Vec<Page> {
    let of = |(segment, bytes): (&u32, &Vec<u8>)| {
        let segment = *segment;
        (0..bytes.len() / PAGE).map(move |page| (segment, page))
    };
    files.segments.iter().flat_map(of).collect()
}

fn spoil(files: &mut Files, (segment, page): Page, offset: usize) {
    files.segments.get_mut(&segment).unwrap()[page * PAGE + offset % PAGE] ^= 0x10;
}

/// What each page is to a closed volume: a descriptor, part of the newest record of a block, or something else.
struct Map {
    descriptors: BTreeSet<Page>,
    data: BTreeMap<Page, u64>,
}

impl Map {
    fn of(files: &Files) -> Self {
        let begins = |page: &Page| files.segments[&page.0][page.1 * PAGE..].starts_with(b"SRGROUP1");
        let mut map =
            Self { descriptors: pages(files).into_iter().filter(begins).collect(), data: BTreeMap::new() };
        for page in pages(files) {
            let mut changed = files.clone();
            spoil(&mut changed, page, 100);
            if let Some(blocks) = readable(&changed)
                && let Some(lost) = (0..BLOCKS).find(|index| !blocks.contains(index))
                && blocks.len() as u64 == BLOCKS - 1
            {
                map.data.insert(page, lost);
            }
        }
        map
    }
}

/// Without blocks that were discarded: where the tree is lost, they may come back, and are told as perhaps old.
fn without_returned(mut brought: Content, truth: &Content) -> Content {
    brought.retain(|index, _| truth.contains_key(index));
    brought
}

#[test]
fn an_undamaged_volume_is_clean_and_salvaged_whole() {
    let (files, content, past) = lived_and_closed();
    assert_eq!(findings(&files), []);
    let (report, brought) = hold(&files, &content, &past, "undamaged").unwrap();
    assert!(report.is_whole() && report.end == LogEnd::Reached && brought == content);
    // As a crash leaves it.
    let built = lived();
    let (report, brought) = hold(&built.disk.files(), &built.content, &built.past, "crashed").unwrap();
    assert!(report.is_whole() && report.end == LogEnd::NotStated && brought == built.content);
    assert_eq!(findings(&built.disk.files()), []);
}

#[test]
fn a_check_names_the_place_and_the_blocks_of_what_it_finds() {
    let (files, _, _) = lived_and_closed();
    let map = Map::of(&files);
    assert_eq!(map.data.values().collect::<BTreeSet<_>>().len(), 4, "four blocks hold data");
    for ((segment, page), index) in &map.data {
        let mut changed = files.clone();
        spoil(&mut changed, (*segment, *page), 7);
        let found = findings(&changed);
        let [finding] = &found[..] else { panic!("{found:?}") };
        let place = finding.place.unwrap();
        assert_eq!((finding.flaw, finding.blocks.clone()), (volume::Flaw::Block, *index..*index + 1));
        assert_eq!(place.segment, *segment);
        assert!((place.offset as usize..place.offset as usize + BLOCK).contains(&(page * PAGE)));
    }
}

#[test]
fn every_page_that_is_spoilt_is_told_or_does_not_matter() {
    let (files, content, past) = lived_and_closed();
    let map = Map::of(&files);
    for page in pages(&files) {
        for offset in [0, 50, 70, 3000] {
            let mut changed = files.clone();
            spoil(&mut changed, page, offset);
            let (report, brought) = hold(&changed, &content, &past, &format!("{page:?} {offset}")).unwrap();
            // Whatever one page is: but for the block that lies in it, everything can be brought out.
            let mut left = content.clone();
            if let Some(index) = map.data.get(&page) {
                left.remove(index);
                assert!(report.missing.iter().cloned().flatten().eq([*index]), "{page:?}");
            }
            assert_eq!(without_returned(brought, &content), left, "{page:?} {offset}");
        }
    }
    for offset in offsets(files.checkpoint.len()) {
        let mut changed = files.clone();
        changed.checkpoint[offset] ^= 1;
        let (_, brought) = hold(&changed, &content, &past, &format!("checkpoint {offset}")).unwrap();
        assert_eq!(brought, content, "checkpoint {offset}");
        assert!(!findings(&changed).is_empty(), "checkpoint {offset}");
    }
}

#[test]
fn files_that_are_cut_short_extended_or_gone_are_told() {
    let (files, content, past) = lived_and_closed();
    for (segment, bytes) in &files.segments {
        for length in (0..bytes.len()).step_by(PAGE / 2) {
            let mut changed = files.clone();
            changed.segments.get_mut(segment).unwrap().truncate(length);
            hold(&changed, &content, &past, &format!("segment {segment} of {length}"));
        }
        let mut changed = files.clone();
        changed.segments.remove(segment);
        hold(&changed, &content, &past, &format!("no segment {segment}"));
        for filler in [0, 0xa5] {
            let mut changed = files.clone();
            let longer = changed.segments.get_mut(segment).unwrap();
            longer.resize(SEGMENT as usize + PAGE, filler);
            hold(&changed, &content, &past, &format!("segment {segment} with {filler}"));
            assert!(findings(&changed).iter().any(|finding| finding.flaw == volume::Flaw::Segment));
        }
    }
    for length in (0..files.checkpoint.len()).step_by(512) {
        let mut changed = files.clone();
        changed.checkpoint.truncate(length);
        let (_, brought) = hold(&changed, &content, &past, &format!("checkpoint of {length}")).unwrap();
        assert_eq!(brought, content);
    }
    let mut changed = files.clone();
    changed.checkpoint.resize(5 * PAGE, 7);
    hold(&changed, &content, &past, "a longer checkpoint");
    changed.header.as_mut().unwrap().push(0);
    assert!(hold(&changed, &content, &past, "a longer header").is_none());
    changed.header = None;
    assert!(salvaged(&changed).is_none());
}

#[test]
fn any_subset_of_the_files_of_two_moments_is_told() {
    let mut built = lived();
    built.volume.close().unwrap();
    let (old, then) = (built.disk.files(), built.content.clone());
    built.reopen();
    built.write(3, 40);
    built.write(5, 41);
    built.volume.checkpoint().unwrap();
    built.volume.discard(0, BLOCK as u64).unwrap();
    built.write(6, 42);
    built.volume.close().unwrap();
    let (new, now, past) = (built.disk.files(), built.content.clone(), built.past.clone());
    let numbers: Vec<u32> = old
        .segments
        .keys()
        .chain(new.segments.keys())
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert!(numbers.len() < 12, "small enough for every subset");
    for mix in 0..1_u32 << (numbers.len() + 2) {
        let pick = |bit: usize| if mix >> bit & 1 == 0 { &old } else { &new };
        let segments = numbers
            .iter()
            .zip(2..)
            .filter_map(|(number, bit)| pick(bit).segments.get(number).map(|bytes| (*number, bytes.clone())));
        let files = Files {
            header: pick(0).header.clone(),
            checkpoint: pick(1).checkpoint.clone(),
            segments: segments.collect(),
        };
        let what = format!("mix {mix:b}");
        examine(files.clone(), &[&then, &now], &what);
        // An old header is right of its own time.
        let truth = if mix & 1 == 0 { &then } else { &now };
        hold(&files, truth, &past, &what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// As long as the descriptors are left, whatever else is spoilt: exactly the blocks that are hit are lost.
    #[test]
    fn salvage_brings_out_exactly_the_undamaged_rest(
        hits in prop::collection::vec((any::<prop::sample::Index>(), 0..PAGE), 1..12), slots: bool, more: bool,
    ) {
        let (files, content, past) = BUILT.with(Clone::clone);
        let map = Map::of_built();
        let mut changed = files.clone();
        let hit: BTreeSet<Page> = hits.iter().map(|(page, _)| *page.get(&pages(&files))).collect();
        let hit: Vec<Page> = hit.into_iter().filter(|page| more || !map.descriptors.contains(page)).collect();
        for (page, (_, offset)) in hit.iter().zip(&hits) {
            spoil(&mut changed, *page, *offset);
        }
        if slots {
            changed.checkpoint.fill(0x55);
        }
        let (_, brought) = hold(&changed, &content, &past, &format!("{hit:?}")).unwrap();
        if !more {
            let lost: BTreeSet<u64> = hit.iter().filter_map(|page| map.data.get(page).copied()).collect();
            let truth = content.clone();
            let left: Content = content.into_iter().filter(|(index, _)| !lost.contains(index)).collect();
            prop_assert_eq!(without_returned(brought, &truth), left);
        }
    }
}

thread_local! {
    static BUILT: (Files, Content, Past) = lived_and_closed();
    static MAP: std::rc::Rc<Map> = std::rc::Rc::new(Map::of(&BUILT.with(|built| built.0.clone())));
}

impl Map {
    fn of_built() -> std::rc::Rc<Self> {
        MAP.with(Clone::clone)
    }
}
