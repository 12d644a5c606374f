//! A device that grows while it is attached.

use crate::Test;
use crate::instance::Volume;

pub const TESTS: &[Test] = &[
    ("a_mounted_file_system_grows_with_its_device", grows),
    ("a_growth_that_a_crash_has_cut_short_is_finished_by_the_next_attach", finishes),
    ("growing_without_a_device_that_has_grown_does_nothing", nothing_to_do),
    ("growing_a_volume_that_was_cut_off_is_refused", cut_off),
];

fn grows() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 1");
    for mebibytes in [600, 1024, 3000] {
        instance.must(&format!("grow {mebibytes}"));
        instance.must(&format!("files larger-than {}", mebibytes * 8 / 10));
    }
    instance.must("files sequential large 700"); // would not have fitted
    instance.must("files verify table 500 1");
    instance.kill();
    let mut instance = volume.attach();
    instance.must("files larger-than 2400");
    instance.must("files verify table 500 1");
    instance.unmount();
}

fn finishes() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 500 2");
    instance.must("grow-device 1024");
    instance.kill();
    let mut instance = volume.attach();
    instance.must("files larger-than 800");
    instance.must("files verify table 500 2");
    instance.unmount();
}

fn nothing_to_do() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("grow 512");
    instance.must("grow 512");
    instance.must("files sync one");
    instance.unmount();
}

fn cut_off() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("abort");
    assert!(instance.ask("grow 1024").starts_with("error"));
    instance.must("unmount");
    instance.end();
}
