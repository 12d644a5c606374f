//! A host without space.

use std::fs;

use crate::Test;
use crate::instance::{Instance, Volume, eventually};

pub const TESTS: &[Test] = &[
    ("writes_wait_for_space_while_reads_are_served", waits),
    ("an_abort_ends_the_wait_for_space", abort),
    ("detaching_does_not_wait_for_space_for_ever", detach),
];

/// More writes than there are threads, none of them done.
fn writers(instance: &mut Instance, volume: &Volume) {
    instance.must("files sequential before 8");
    instance.must("full true");
    for number in 0..3 {
        instance.ask(&format!("background report sequential new{number} 8 {}", volume.outside("report")));
    }
    eventually("they wait", || instance.ask("waits-for-space") == "true");
}

fn waits() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    writers(&mut instance, &volume);
    let before = instance.counters().reads;
    eventually("reads come and are served", || {
        instance.must("files reread before 8");
        instance.counters().reads > before
    });
    instance.must("full false");
    let report = volume.outside("report");
    eventually("all have written", || fs::read_to_string(&report).is_ok_and(|text| text == "ok\n".repeat(3)));
    assert_eq!(instance.ask("waits-for-space"), "false");
    instance.must("files sync one");
    instance.unmount();
}

fn abort() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    writers(&mut instance, &volume);
    instance.must("abort");
    eventually("the mounts are gone", || instance.mounts() == 0);
    instance.must("unmount");
    instance.assert_nothing_left();
    instance.end();
    let mut instance = volume.attach();
    instance.must("files reread before 8");
    instance.unmount();
}

fn detach() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    writers(&mut instance, &volume);
    assert!(instance.ask("unmount").starts_with("error"));
    assert_eq!(instance.mounts(), 0);
    instance.assert_nothing_left();
    instance.end();
    let mut instance = volume.attach();
    instance.must("files reread before 8");
    instance.unmount();
}
