//! Moments between two steps: what happens while a checkpoint, a close or a change of epochs is under way.

mod sim;

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use sim::{ID, Random, SeededEntropy, disk::SimDisk, key};
use volume::{BLOCK, Options, SECTOR, Segments, Volume, VolumeError};

const SEGMENT: u32 = 64 << 10;

/// Called once, at the next operation of its kind.
type Hook = Mutex<Option<Box<dyn FnOnce(&Volume<Watched>) + Send>>>;

/// A disk that lets a test in while an operation is under way.
#[derive(Clone)]
struct Watched {
    disk: SimDisk,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    volume: OnceLock<Weak<Volume<Watched>>>,
    on_read: Hook,
    on_header: Hook,
    /// The header is replaced, but the call fails.
    fail_header: AtomicBool,
    fail_writes: AtomicBool,
    /// A write came after one that had failed.
    went_on: AtomicBool,
    slow_reads: AtomicBool,
}

impl Watched {
    fn call(&self, hook: &Hook) {
        let hook = hook.lock().unwrap().take();
        if let (Some(hook), Some(volume)) = (hook, self.watch.volume.get().and_then(Weak::upgrade)) {
            hook(&volume);
        }
    }

    fn writes(&self) -> io::Result<()> {
        if !self.watch.fail_writes.load(SeqCst) {
            return Ok(());
        }
        // The first one fails; whatever comes after should not come.
        self.watch.fail_writes.store(false, SeqCst);
        Err(io::Error::other("injected"))
    }
}

impl Segments for Watched {
    fn list(&self) -> io::Result<Vec<u32>> {
        self.disk.list()
    }
    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        self.disk.create(segment, size)
    }
    fn settle(&self, segment: u32) -> io::Result<()> {
        self.disk.settle(segment)
    }
    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.writes()?;
        self.watch.went_on.store(true, SeqCst);
        self.disk.write(segment, offset, bytes)
    }
    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(&self.watch.on_read);
        if self.watch.slow_reads.load(SeqCst) {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        self.disk.read(segment, offset, buffer)
    }
    fn finish(&self, segment: u32, length: u32) -> io::Result<()> {
        self.disk.finish(segment, length)
    }
    fn is_shared(&self, segment: u32) -> bool {
        self.disk.is_shared(segment)
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        self.disk.remove(segment)
    }
    fn read_header(&self) -> io::Result<Vec<u8>> {
        self.disk.read_header()
    }
    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        self.call(&self.watch.on_header);
        self.disk.replace_header(bytes)?;
        if self.watch.fail_header.swap(false, SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        self.disk.read_checkpoint()
    }
    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.watch.went_on.store(true, SeqCst);
        self.disk.write_checkpoint(slot, bytes)
    }
}

fn create(blocks: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let size = blocks * BLOCK as u64;
    Volume::create(&disk, ID, &key(), &[], size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    disk
}

fn try_open(disk: &SimDisk, seed: u64, options: Options) -> Result<Arc<Volume<Watched>>, VolumeError> {
    let watched = Watched { disk: disk.clone(), watch: Arc::default() };
    let watch = watched.watch.clone();
    let volume = Arc::new(Volume::open(watched, ID, key(), Arc::new(SeededEntropy::new(seed)), options)?);
    watch.volume.set(Arc::downgrade(&volume)).unwrap();
    Ok(volume)
}

fn open(disk: &SimDisk, seed: u64, options: Options) -> Arc<Volume<Watched>> {
    try_open(disk, seed, options).unwrap()
}

fn small() -> Options {
    Options { node_cache: 0, keep_committed: 0, ..Options::default() }
}

fn write(volume: &Volume<Watched>, index: u64, value: u8) -> Result<(), VolumeError> {
    volume.write(index * BLOCK as u64, &[value; BLOCK])
}

fn first_byte(volume: &Volume<Watched>, index: u64) -> u8 {
    let mut block = [0; BLOCK];
    volume.read(index * BLOCK as u64, &mut block).unwrap();
    block[0]
}

#[test]
fn no_group_follows_in_an_epoch_whose_end_the_header_may_name() {
    let disk = create(40);
    let options = Options { records_per_epoch: 8, ..small() };
    let volume = open(&disk, 3, options.clone());
    for index in [0, 1] {
        write(&volume, index, 1).unwrap();
        volume.flush().unwrap();
    }
    // Three blocks need more counters than the epoch has left. The header of the next one is there, but the host says
    // that it is not.
    volume.segments().watch.fail_header.store(true, SeqCst);
    write(&volume, 2, 2).unwrap();
    volume.write(3 * BLOCK as u64, &[2; 2 * BLOCK]).unwrap();
    volume.flush().unwrap_err();
    // This would still have fitted into the old epoch.
    volume.checkpoint().unwrap();
    drop(volume);
    let volume = open(&disk, 4, options);
    assert_eq!(first_byte(&volume, 0), 1);
    assert_eq!(first_byte(&volume, 1), 1);
}

#[test]
fn nothing_is_taken_over_once_a_close_names_the_end() {
    let disk = create(40);
    let volume = open(&disk, 3, small());
    write(&volume, 0, 1).unwrap();
    let taken = Arc::new(AtomicBool::new(false));
    let seen = taken.clone();
    let hook = move |volume: &Volume<Watched>| seen.store(write(volume, 1, 2).is_ok(), SeqCst);
    *volume.segments().watch.on_header.lock().unwrap() = Some(Box::new(hook));
    // The header with the end may be durable although the host says no: no group may follow it.
    volume.segments().watch.fail_header.store(true, SeqCst);
    volume.close().unwrap_err();
    assert!(!taken.load(SeqCst));
    drop(volume);
    assert_eq!(first_byte(&open(&disk, 4, small()), 0), 1);
}

#[test]
fn a_checkpoint_under_way_writes_nothing_after_the_write_of_another_failed() {
    let disk = create(600);
    let volume = open(&disk, 3, small());
    write(&volume, 0, 1).unwrap();
    volume.close().unwrap();
    drop(volume);
    let volume = open(&disk, 4, small());
    // The tree becomes empty: the checkpoint appends no nodes, only its own group.
    volume.discard(0, volume.size()).unwrap();
    volume.flush().unwrap();
    let hook = |volume: &Volume<Watched>| {
        let watch = &volume.segments().watch;
        watch.fail_writes.store(true, SeqCst);
        write(volume, 1, 2).unwrap();
        volume.flush().unwrap_err();
        watch.went_on.store(false, SeqCst);
    };
    *volume.segments().watch.on_read.lock().unwrap() = Some(Box::new(hook));
    assert!(matches!(volume.checkpoint(), Err(VolumeError::Stopped)));
    assert!(!volume.segments().watch.went_on.load(SeqCst), "the disk was written after a failed write");
}

#[test]
fn a_file_with_the_last_number_of_all_is_refused() {
    for number in [u32::MAX, u32::MAX - 1] {
        let disk = create(40);
        let volume = open(&disk, 3, small());
        write(&volume, 0, 1).unwrap();
        volume.close().unwrap();
        drop(volume);
        disk.change(|files| drop(files.segments.insert(number, vec![0; 4096])));
        assert!(matches!(try_open(&disk, 4, small()), Err(VolumeError::Damaged(_))));
        disk.change(|files| drop(files.segments.remove(&number)));
        assert_eq!(first_byte(&open(&disk, 5, small()), 0), 1);
    }
}

#[test]
fn writes_of_parts_of_blocks_never_meet_a_segment_that_a_checkpoint_removed() {
    let disk = create(1200);
    let volume = open(&disk, 3, small());
    for index in 0..1200 {
        write(&volume, index, 1).unwrap();
    }
    volume.checkpoint().unwrap();
    volume.flush().unwrap();
    volume.segments().watch.slow_reads.store(true, SeqCst);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checkpoints = scope.spawn(|| {
            while !done.load(SeqCst) {
                volume.checkpoint().unwrap();
            }
        });
        let writers: Vec<_> = (0..3)
            .map(|lane| {
                let volume = &volume;
                scope.spawn(move || {
                    let mut random = Random::new(lane);
                    for _ in 0..200 {
                        let sector = random.below(2400);
                        volume.write(sector * SECTOR as u64, &[7; SECTOR])?;
                        volume.flush()?;
                    }
                    Ok::<_, VolumeError>(())
                })
            })
            .collect();
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, SeqCst);
        checkpoints.join().unwrap();
        written.into_iter().for_each(|written| written.unwrap());
    });
}
