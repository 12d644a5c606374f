//! SIGKILL at any moment: nothing stays, and the journals bring back what was acknowledged.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::Test;
use crate::instance::{Volume, eventually};

pub const TESTS: &[Test] = &[
    ("a_killed_process_leaves_no_mount_loop_device_or_connection", idle_kill),
    ("what_was_synced_before_a_kill_is_there_after_recovery", kill_under_load),
    ("a_process_killed_while_it_unmounts_a_hanging_device_is_gone", kill_while_unmounting),
    ("a_process_killed_while_it_formats_starts_over", kill_while_formatting),
];

fn idle_kill() {
    let volume = Volume::new();
    for _ in 0..5 {
        let mut instance = volume.attach();
        instance.must("files sync one"); // leaves work for the kernel's unmount
        instance.kill();
    }
}

fn kill_under_load() {
    let volume = Volume::new();
    let journal = volume.outside("journal");
    let acknowledged = || fs::metadata(&journal).map_or(0, |data| data.len());
    for _ in 0..4 {
        let mut instance = volume.attach();
        let before = acknowledged();
        instance.ask(&format!("background acknowledge table 1000 {journal}"));
        eventually("pages are acknowledged", || acknowledged() > before + 2000);
        instance.kill();
        eventually("the writer has failed", || {
            let size = acknowledged();
            thread::sleep(Duration::from_millis(50));
            size == acknowledged()
        });
        let mut instance = volume.attach();
        instance.must(&format!("files check-acknowledged table {journal}"));
        instance.unmount();
        fs::remove_file(&journal).expect("removed");
    }
}

fn kill_while_unmounting() {
    let volume = Volume::new();
    let mut instance = volume.attach();
    instance.must("files fill table 100 8");
    instance.must("hang");
    instance.must("unmount-later");
    thread::sleep(Duration::from_millis(100));
    instance.kill();
    let mut instance = volume.attach();
    instance.must("files verify table 100 8");
    instance.unmount();
}

fn kill_while_formatting() {
    let volume = Volume::new();
    for milliseconds in [5, 10, 20, 40, 80, 160] {
        volume.start_and_kill_after(Duration::from_millis(milliseconds));
    }
    let mut instance = volume.attach();
    instance.must("files sync one");
    instance.unmount();
}
