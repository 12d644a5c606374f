//! SIGKILL at any moment: nothing stays, and the journals bring back what was acknowledged.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::Test;
use crate::files::Random;
use crate::instance::{Volume, eventually};

pub const TESTS: &[Test] = &[
    ("a_killed_process_leaves_no_mount_loop_device_or_connection", idle_kill),
    ("what_was_synced_before_a_kill_is_there_after_recovery", kill_under_load),
    ("a_process_killed_while_it_unmounts_a_hanging_device_is_gone", kill_while_unmounting),
    ("a_process_killed_while_it_formats_starts_over", kill_while_formatting),
    ("a_process_killed_at_any_moment_leaves_nothing_and_a_clean_file_system", kill_anywhere),
];

/// How many kills, each somewhere else: `STRONGROOM_ROUNDS`, as for the crashes of whole machines.
fn rounds() -> u64 {
    std::env::var("STRONGROOM_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

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
        instance.ask(&format!("background acknowledge table 8192 1000 {journal}"));
        eventually("pages are acknowledged", || acknowledged() > before + 2000);
        instance.kill();
        eventually("the writer has failed", || {
            let size = acknowledged();
            thread::sleep(Duration::from_millis(50));
            size == acknowledged()
        });
        let mut instance = volume.attach();
        instance.must(&format!("files check-acknowledged table 8192 {journal}"));
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

/// While it attaches, serves, grows or detaches. Pages may be old, new or missing; torn they are not, and what was
/// acknowledged is there.
fn kill_anywhere() {
    let volume = Volume::new();
    let journal = volume.outside("journal");
    volume.attach().unmount();
    let mut random = Random(rounds());
    let mut mebibytes = 512;
    for round in 0..rounds() {
        mebibytes += 8;
        let orders = [
            format!("background acknowledge table 8192 1000 {journal}"),
            format!("grow {mebibytes}"),
            "files fill other 200 1".into(),
            "unmount".into(),
        ];
        let delay = Duration::from_micros(random.next() % 500_000);
        volume.run_and_kill_after(&orders, delay);
        let mut instance = volume.attach();
        if fs::metadata(&journal).is_ok_and(|journal| journal.len() > 0) {
            instance.must(&format!("files check-acknowledged table 8192 {journal}"));
        }
        instance.unmount();
        let repaired =
            Command::new("xfs_repair").args(["-n", "-f"]).arg(volume.image()).output().expect("ran");
        let found = String::from_utf8_lossy(&repaired.stderr);
        assert!(repaired.status.success(), "round {round}, after {delay:?}: {found}");
        // Later versions begin at 1 again.
        let _ = fs::remove_file(&journal);
    }
}
