//! From a blank device to a file system and back.

use crate::Test;
use crate::instance::{Volume, eventually};

pub const TESTS: &[Test] = &[
    ("a_blank_device_becomes_xfs_and_keeps_its_files_over_a_remount", keeps_files),
    ("no_request_tears_a_page_of_the_database", tears_no_page),
    ("fsync_of_a_file_flushes_the_device", fsync_flushes),
    ("removing_a_file_discards_its_blocks", removal_discards),
    ("a_device_keeps_the_block_size_that_it_was_formatted_with", keeps_block_size),
    ("two_volumes_are_attached_side_by_side", side_by_side),
    ("a_failing_device_fails_the_file_and_still_comes_off", failing_device),
];

fn keeps_files() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    if attach::kernel_support().large_blocks {
        assert_eq!(instance.block_size, 8192);
    }
    assert_eq!(instance.mounts(), 2);
    instance.must("files fill table 2000 1");
    instance.must("files verify table 2000 1");
    instance.unmount();
    let mut instance = volume.attach();
    instance.must("files verify table 2000 1");
    instance.must("files fill table 2000 2");
    instance.unmount();
    let mut instance = volume.attach();
    instance.must("files verify table 2000 2");
    instance.unmount();
}

fn tears_no_page() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    if instance.block_size != 8192 {
        println!("skipped: this kernel has no file system blocks of 8 KiB");
        return instance.unmount();
    }
    instance.must("files sequential large 200");
    instance.must("files fill table 4000 3");
    let counters = instance.counters();
    assert!(counters.writes > 0 && counters.reads > 0, "{counters:?}");
    assert_eq!(counters.torn, 0);
    instance.unmount();
}

fn fsync_flushes() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    let before = instance.counters().flushes;
    instance.must("files sync one");
    assert!(instance.counters().flushes > before);
    instance.unmount();
}

fn removal_discards() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files sequential large 64");
    let before = instance.counters().discarded;
    instance.must("files remove large");
    eventually("the blocks are discarded", || {
        instance.must("files sync another"); // blocks are free once the log that says so is on the disk
        instance.counters().discarded - before >= 64 << 20
    });
    instance.unmount();
}

fn keeps_block_size() {
    let volume = Volume::new();
    let mut instance = volume.start(&["small-blocks"]).expect("attached");
    assert_eq!(instance.block_size, 4096);
    instance.must("files fill table 500 4");
    instance.unmount();
    let mut instance = volume.attach();
    assert_eq!(instance.block_size, 4096);
    instance.must("files verify table 500 4");
    instance.unmount();
}

fn side_by_side() {
    let volumes = [Volume::new(), Volume::new()];
    let mut instances = [volumes[0].attach(), volumes[1].attach()];
    instances[0].must("files fill table 500 5");
    instances[1].must("files fill table 500 6");
    instances[0].must("files verify table 500 5");
    instances[1].must("files verify table 500 6");
    let [one, other] = instances;
    one.kill();
    let mut other = other;
    other.must("files verify table 500 6");
    other.unmount();
}

fn failing_device() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 7");
    instance.must("fail");
    assert!(instance.ask("files sync lost").starts_with("error"));
    instance.ask("unmount");
    instance.assert_nothing_left();
    instance.end();
}
