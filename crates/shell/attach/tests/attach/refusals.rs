//! What cannot be attached is refused with its reason, and leaves nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use crate::Test;
use crate::instance::Volume;

pub const TESTS: &[Test] = &[
    ("a_device_that_holds_something_else_is_not_formatted", foreign_content),
    ("a_device_too_small_for_a_file_system_is_refused", too_small),
    ("mounting_needs_a_private_namespace", needs_namespace),
    ("a_namespace_is_entered_before_threads_start", needs_single_thread),
    ("a_system_without_fuse_is_refused", no_fuse),
    ("a_system_without_loop_devices_is_refused", no_loop),
    ("a_system_without_mkfs_is_refused", no_mkfs),
    ("a_system_without_a_free_loop_device_is_refused", no_free_loop),
    ("loop_devices_that_others_always_take_first_are_not_waited_for", busy_loops),
    ("a_device_of_broken_sectors_is_refused", broken_sectors),
    ("device_nodes_that_nobody_made_are_made", no_loop_nodes),
];

fn refusal(volume: &Volume, flags: &[&str]) -> String {
    let refusal = volume.start(flags).err().expect("refused");
    assert!(attach::find_leftovers(&volume.dir()).expect("listed").is_empty());
    refusal
}

fn foreign_content() {
    let volume = Volume::new();
    let image = OpenOptions::new().read(true).write(true).open(volume.image()).expect("opened");
    image.write_all_at(b"precious", 1000).expect("written");
    let refusal = refusal(&volume, &[]);
    assert_eq!(refusal, "error the device holds something that is not an XFS file system");
    let mut kept = [0; 8];
    image.read_exact_at(&mut kept, 1000).expect("read");
    assert_eq!(&kept, b"precious");
}

fn too_small() {
    let volume = Volume::new();
    let image = OpenOptions::new().write(true).open(volume.image()).expect("opened");
    image.set_len(1 << 20).expect("cut");
    assert!(refusal(&volume, &[]).starts_with("error the device could not be formatted"));
}

fn needs_namespace() {
    let volume = Volume::new();
    let refusal = refusal(&volume, &["shared-namespace"]);
    assert_eq!(refusal, "error a volume is attached in a private mount namespace only");
}

fn needs_single_thread() {
    let volume = Volume::new();
    assert!(refusal(&volume, &["threaded"]).contains("before any thread is started (2 are running)"));
}

fn refused_for(flag: &str, reason: &str) {
    let refusal = refusal(&Volume::new(), &[flag]);
    assert_eq!(refusal, format!("error this system cannot attach a volume: {reason}"));
}

fn no_fuse() {
    refused_for("no-fuse", "the kernel has no FUSE (/dev/fuse)");
}

fn no_loop() {
    refused_for("no-loop", "the kernel has no loop devices (/dev/loop-control)");
}

fn no_mkfs() {
    refused_for("no-mkfs", "mkfs.xfs is not installed (package xfsprogs)");
}

fn no_free_loop() {
    refused_for("no-free-loop", "no loop device is free (see the kernel parameter max_loop)");
}

fn busy_loops() {
    refused_for("busy-loops", "no loop device is free (see the kernel parameter max_loop)");
}

fn broken_sectors() {
    let volume = Volume::new();
    let image = OpenOptions::new().write(true).open(volume.image()).expect("opened");
    image.set_len((512 << 20) + 512).expect("grown");
    assert_eq!(refusal(&volume, &[]), "error a device of 536871424 bytes is not one of whole sectors");
}

fn no_loop_nodes() {
    let volume = Volume::new();
    let mut instance = volume.start(&["no-loop-nodes"]).expect("attached");
    instance.must("files sync one");
    instance.unmount();
}
