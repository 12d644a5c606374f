//! The same files on a sealed volume: its process is killed while pages are written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use attach::{BlockDevice as _, MountOptions, Mounted, Options, VolumeDevice};
use volume::VolumeKey;

use crate::Test;
use crate::instance::{Volume, assert_no_device_left, eventually, wait};

pub const TESTS: &[Test] = &[
    ("pages_of_a_sealed_volume_are_whole_and_not_lost_when_its_process_is_killed", pages_of_8_kib),
    ("pages_of_16_kib_are_whole_on_file_system_blocks_of_16_kib", pages_of_16_kib),
];

const ID: &str = "vol-sealed";
const SIZE: u64 = 512 << 20;

/// How many kills: `STRONGROOM_ROUNDS`, as for the crashes of whole machines.
fn rounds() -> u64 {
    std::env::var("STRONGROOM_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[9; 32]).expect("32 bytes")
}

/// Attaches a sealed volume, uses its files (`files::run`), and detaches.
pub fn run(arguments: &[String]) -> ExitCode {
    let [volume, dir, files @ ..] = arguments else { panic!("a volume and a directory") };
    attach::enter_private_namespace().expect("root may");
    let _ = attach::harden_io_process();
    // Checkpoints and the cleaner are busy.
    let options = Options { checkpoint_after: 4 << 20, ..Options::default() };
    let device = VolumeDevice::open(Path::new(volume), ID, key(), options).expect("opened");
    let mounted = Mounted::mount(Arc::clone(&device) as _, Path::new(dir), &MountOptions::default());
    let mounted = mounted.expect("mounted");
    let mut used = Command::new("/proc/self/exe");
    let status = used.arg("files").args(files).current_dir(mounted.path()).status().expect("started");
    mounted.unmount().expect("unmounted");
    device.close().expect("closed");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(place: &Volume, sealed: &str, files: &[&str]) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.arg("sealed").arg(sealed).arg(place.dir()).args(files).stdin(Stdio::null());
    command.spawn().expect("started")
}

fn create(place: &Volume) -> String {
    let sealed = place.outside("sealed");
    VolumeDevice::create(Path::new(&sealed), ID, &key(), b"wrapped", SIZE).expect("made");
    sealed
}

fn pages_of_8_kib() {
    let place = Volume::new();
    let sealed = create(&place);
    kill_under_load(&place, &sealed, 8192);
}

/// On blocks of 8 KiB a page of 16 KiB is two blocks, and nothing is promised of it (decision 0201).
fn pages_of_16_kib() {
    if !attach::kernel_support().large_blocks {
        return println!("skipped: this kernel has no file system blocks that are larger than its pages");
    }
    let place = Volume::new();
    let sealed = create(&place);
    format(&place, &sealed, 16384);
    kill_under_load(&place, &sealed, 16384);
}

/// Gives a volume a file system with blocks of `block` bytes: made in a plain file, and copied.
fn format(place: &Volume, sealed: &str, block: u32) {
    let image = place.image();
    let made = Command::new("mkfs.xfs")
        .args(["-q", "-f", "-K", "-s", "size=4096", "-m", "reflink=0,rmapbt=0"])
        .args(["-b", &format!("size={block}"), "-l", &format!("version=2,su={block}")])
        .arg(&image)
        .status();
    assert!(made.expect("installed").success());
    let device = VolumeDevice::open(Path::new(sealed), ID, key(), Options::default()).expect("opened");
    let image = File::open(image).expect("made");
    let mut piece = vec![0; 512 << 10];
    for offset in (0..SIZE).step_by(piece.len()) {
        image.read_exact_at(&mut piece, offset).expect("as large as the volume");
        if piece.iter().any(|byte| *byte != 0) {
            device.write(offset, &piece).expect("written");
        }
    }
    device.close().expect("closed");
}

fn kill_under_load(place: &Volume, sealed: &str, page: u32) {
    let (journal, page) = (place.outside("journal"), page.to_string());
    for round in 0..rounds() {
        let mut child = start(place, sealed, &["acknowledge", "table", &page, "1000", &journal]);
        let acknowledged = || fs::metadata(&journal).map_or(0, |data| data.len());
        eventually("pages are acknowledged", || acknowledged() > 2000 * (1 + round % 8));
        child.kill().expect("killed");
        wait(&mut child);
        assert_no_device_left(&place.dir());
        let mut child = start(place, sealed, &["check-acknowledged", "table", &page, &journal]);
        assert!(wait(&mut child).success(), "round {round}");
        assert_no_device_left(&place.dir());
        fs::remove_file(&journal).expect("removed");
    }
}
