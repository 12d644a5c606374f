//! Volumes in a directory under threads, snapshots, clones and removals, while their process is killed and while the
//! power of the store beneath fails: compared with a journal that is kept elsewhere.
//!
//! This program is the list of tests, and is started again by them as the process that is killed (`work`, `remove`)
//! and as the lossy store (`store`). `STRONGROOM_ROUNDS` crashes in each test, choices from `STRONGROOM_CRASH_SEED`. The test
//! over the lossy store needs root, and is skipped without it unless `STRONGROOM_REQUIRE_ROOT_TESTS=1`.

#![allow(clippy::print_stdout, reason = "the report of the tests and the protocol of the processes")]

mod journal;
mod rounds;
mod verify;
mod work;

use std::{path::Path, process::ExitCode};

use volume::VolumeKey;

pub const UNIT: usize = attach::SECTOR;
/// Sectors of the volume.
pub const UNITS: u64 = 8192;

pub fn key() -> VolumeKey {
    VolumeKey::copy_from(&[7; 32]).expect("32 bytes")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", dir, id, journal, seed] => work::run(dir, id, journal, seed.parse().expect("a seed")),
        ["open", dir, id, journal] => work::open(dir, id, journal),
        ["remove", dir] => {
            let _ = attach::VolumeDevice::remove(Path::new(dir));
            ExitCode::SUCCESS
        }
        ["store", ..] => testkit::lossy::run(&arguments[1..]),
        flags => run_tests(flags),
    }
}

type Test = (&'static str, fn());

const TESTS: [Test; 2] = [
    ("a_volume_loses_nothing_acknowledged_when_its_process_is_killed", rounds::kills),
    ("a_volume_loses_nothing_acknowledged_when_the_power_fails", rounds::power_cuts),
];

fn run_tests(flags: &[&str]) -> ExitCode {
    if flags.contains(&"--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = flags.iter().find(|flag| !flag.starts_with('-'));
    let mut failed = 0;
    for (name, test) in TESTS {
        if filter.is_none_or(|part| name.contains(part)) {
            println!("test {name} ...");
            let passed = std::panic::catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed += usize::from(!passed);
        }
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
