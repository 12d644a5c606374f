//! Many threads at once over a disk that breaks: what each was told is durable is there afterwards, and every write is
//! there wholly or not at all.

mod sim;

use std::sync::{Arc, Barrier};

use sim::{
    ID, Random, SeededEntropy,
    disk::{Fault, SimDisk},
    key, unwrap_keys, wrap,
};
use volume::{BLOCK, Options, Volume, VolumeError, VolumeKey};

const WRITERS: usize = 4;
/// Places that a writer writes in turn, each of so many blocks.
const PLACES: usize = 3;
const LENGTH: usize = 5;
const SEEDS: u64 = 150;

/// What a writer knows of each of its places: the last stamp that a flush covered, and the last that was tried.
type Known = [(u64, u64); PLACES];

fn place(writer: usize, place: usize) -> u64 {
    ((writer * PLACES + place) * LENGTH * BLOCK) as u64
}

fn stamped(stamp: u64) -> Vec<u8> {
    stamp.to_le_bytes().repeat(LENGTH * BLOCK / 8)
}

/// Writes and flushes until something fails.
fn write(volume: &Volume<SimDisk>, writer: usize, rounds: u64, random: &mut Random) -> Known {
    let mut known = Known::default();
    for stamp in 1..=rounds {
        let at = random.below(PLACES as u64) as usize;
        known[at].1 = stamp;
        if volume.write(place(writer, at), &stamped(stamp)).is_err() {
            return known;
        }
        let before = known;
        match random.below(4) {
            0 => drop(volume.commit_down_to(4 * BLOCK)),
            _ if volume.flush().is_ok() => known = before.map(|(_, tried)| (tried, tried)),
            _ => {}
        }
    }
    known
}

fn open(disk: &SimDisk, seed: u64) -> Result<Volume<SimDisk>, VolumeError> {
    let options =
        Options { node_cache: 0, checkpoint_after: 256 << 10, records_per_epoch: 300, ..Options::default() };
    let keys = unwrap_keys(&disk.files().header.unwrap());
    Volume::open(disk.clone(), ID, keys, Arc::new(SeededEntropy::new(seed)), options)
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(random.next());
    let size = (WRITERS * PLACES * LENGTH * BLOCK) as u64;
    let segment_size = if random.chance(2) { 256 << 10 } else { 1 << 20 };
    Volume::create(&disk, ID, &key(), &wrap(&key()), size, segment_size, &SeededEntropy::new(random.next()))
        .unwrap();
    let volume = open(&disk, random.next()).unwrap();
    let fault = match random.below(4) {
        0 => Fault::Error,
        1 => Fault::Full(3),
        _ => Fault::Crash,
    };
    disk.arm(random.below(120), fault);
    let start = Barrier::new(WRITERS + 1);
    let mut snapshots = Vec::new();
    let known: Vec<Known> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (volume, start, mut random) = (&volume, &start, Random::new(random.next()));
                scope.spawn(move || {
                    start.wait();
                    write(volume, writer, 40, &mut random)
                })
            })
            .collect();
        start.wait();
        // Whatever fails here: those who write are told, or need not be.
        for _ in 0..8 {
            match random.below(6) {
                0 => drop(volume.snapshot(|image| {
                    snapshots.push(disk.link(&image.header, &image.checkpoint, &image.segments));
                    Ok(())
                })),
                1 => {
                    let renewed = VolumeKey::generate(&SeededEntropy::new(random.next()));
                    let wrapped = wrap(&renewed);
                    drop(volume.renew_key(renewed, &wrapped));
                }
                2 => drop(volume.grow(volume.size() + 300 * BLOCK as u64)),
                3 => drop(volume.discard(size, volume.size() - size)),
                _ => {
                    let _ = volume.checkpoint();
                    let _ = volume.clean_step(64 << 10);
                }
            }
            volume.anchor();
        }
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    drop(volume);
    disk.restart();
    for files in snapshots {
        // Of one moment, whatever was going on.
        whole(&open(&SimDisk::with(files, 1), random.next()).unwrap(), seed);
    }
    let volume = open(&disk, random.next()).unwrap();
    whole(&volume, seed);
    let mut found = vec![0; LENGTH * BLOCK];
    for (writer, places) in known.iter().enumerate() {
        for (at, (durable, tried)) in places.iter().enumerate() {
            volume.read(place(writer, at), &mut found).unwrap();
            let stamp = u64::from_le_bytes(found[..8].try_into().unwrap());
            assert!((*durable..=*tried).contains(&stamp), "seed {seed}: {stamp} of {durable}..={tried}");
        }
    }
}

/// Every write is there wholly or not at all.
fn whole(volume: &Volume<SimDisk>, seed: u64) {
    let mut found = vec![0; LENGTH * BLOCK];
    for number in 0..WRITERS * PLACES {
        volume.read((number * LENGTH * BLOCK) as u64, &mut found).unwrap();
        let stamp = u64::from_le_bytes(found[..8].try_into().unwrap());
        assert!(found == stamped(stamp), "seed {seed}: a write to place {number} is torn");
    }
}

#[test]
fn what_many_threads_were_told_is_durable_survives_whatever_breaks() {
    (0..SEEDS).for_each(run);
}
