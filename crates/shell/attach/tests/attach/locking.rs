//! Cutting a volume off.

use crate::Test;
use crate::instance::{Volume, eventually, is_in_state, is_open, kill_process};

pub const TESTS: &[Test] = &[
    ("an_aborted_volume_is_gone_at_once", abort),
    ("a_hanging_device_does_not_hold_up_an_abort", abort_while_hanging),
    ("an_abort_ends_an_unmount_that_hangs", abort_ends_unmount),
    ("a_volume_in_use_is_cut_off_by_unmounting", unmount_in_use),
    ("aborting_twice_or_after_the_unmount_does_no_harm", abort_again),
    ("clearing_leftovers_frees_who_waits_for_a_stuck_instance", stuck),
    ("leftovers_that_a_process_keeps_are_found_and_cleared", leftovers),
];

fn abort() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 1");
    instance.must("abort");
    eventually("the mounts are gone", || instance.mounts() == 0);
    instance.assert_nothing_left();
    instance.must("unmount");
    instance.end();
    let mut instance = volume.attach();
    instance.must("files verify table 500 1");
    instance.unmount();
}

fn abort_while_hanging() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 2");
    instance.must("hang");
    instance.ask("background sync waits");
    instance.ask("background verify table 500 2");
    instance.must("abort");
    instance.must("unmount");
    assert_eq!(instance.mounts(), 0);
    instance.assert_nothing_left();
    instance.kill(); // its workers hang in the device
    let mut instance = volume.attach();
    instance.must("files verify table 500 2");
    instance.unmount();
}

fn abort_ends_unmount() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 3");
    instance.must("hang");
    instance.must("abort-after 200");
    assert_eq!(instance.ask("unmount"), "error the volume was cut off");
    instance.assert_nothing_left();
    instance.kill();
}

fn unmount_in_use() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    let holder: i32 = instance.ask("background hold one").parse().expect("a process");
    eventually("the file is open", || is_open(holder, "one"));
    assert!(instance.ask("unmount").ends_with("was still in use"));
    assert_eq!(instance.mounts(), 0);
    kill_process(holder);
    instance.assert_nothing_left();
    instance.end();
}

fn abort_again() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("abort");
    instance.must("abort");
    instance.must("unmount");
    instance.must("abort");
    instance.end();
    let mut instance = volume.attach();
    instance.must("unmount");
    instance.must("abort");
    instance.end();
}

fn leftovers() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    let holder: i32 = instance.ask("background hold one").parse().expect("a process");
    eventually("the file is open", || is_open(holder, "one"));
    instance.kill_in_use();
    assert_eq!(attach::find_leftovers(&volume.dir()).expect("listed").len(), 1);
    assert_eq!(attach::clear_leftovers(&volume.dir()).expect("cleared"), 1);
    kill_process(holder);
    eventually("the loop device is free", || {
        attach::find_leftovers(&volume.dir()).expect("listed").is_empty()
    });
}

fn stuck() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("hang");
    let waiting: i32 = instance.ask("background sync waits").parse().expect("a process");
    eventually("its process waits", || is_in_state(waiting, 'D'));
    assert_eq!(attach::clear_leftovers(&volume.dir()).expect("cleared"), 1);
    eventually("its process ends", || is_in_state(waiting, 'Z'));
    instance.kill();
}
