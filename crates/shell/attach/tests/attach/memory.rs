//! Small memory cgroups (version 1, where the machine has them) around the database, and around both.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Test;
use crate::instance::{Volume, eventually};

pub const TESTS: &[Test] = &[
    ("a_writer_in_a_small_memory_cgroup_gets_its_writeback_served", around_the_writer),
    ("an_instance_that_could_wait_for_its_own_writeback_is_refused", around_both),
];

/// A memory cgroup of version 1 with a limit.
struct Group(PathBuf);

impl Group {
    /// `None` where there is no such hierarchy.
    fn of(mebibytes: u64) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup/memory");
        let path = root.join(format!("strongroom-test-{}", std::process::id()));
        if !root.join("memory.limit_in_bytes").exists() || fs::create_dir(&path).is_err() {
            println!("skipped: no memory cgroups of version 1");
            return None;
        }
        let limit = (mebibytes << 20).to_string();
        fs::write(path.join("memory.limit_in_bytes"), limit).expect("root may limit");
        Some(Self(path))
    }

    fn take_in(&self, process: &str) {
        fs::write(self.0.join("cgroup.procs"), process).expect("moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        eventually("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

fn around_the_writer() {
    let Some(group) = Group::of(48) else { return };
    let volume = Volume::new();
    let mut instance = volume.attach();
    let (begin, report) = (volume.outside("begin"), volume.outside("report"));
    let writer = instance.ask(&format!("background report when {begin} sequential large 256 {report}"));
    group.take_in(&writer);
    fs::write(&begin, "").expect("made");
    eventually("all is written, and read back", || {
        fs::read_to_string(&report).is_ok_and(|text| text == "ok\n")
    });
    instance.must("files reread large 256");
    instance.unmount();
}

fn around_both() {
    let Some(group) = Group::of(256) else { return };
    let volume = Volume::new();
    let flag = format!("cgroup={}", group.0.display());
    match volume.start(&[&flag]) {
        // The kernel lets its threads say what they are.
        Ok(mut instance) => {
            instance.must("files sequential large 300");
            instance.unmount();
        }
        Err(refusal) => {
            assert!(refusal.contains("memory cgroup of version 1"), "{refusal}");
            assert!(attach::find_leftovers(&volume.dir()).expect("listed").is_empty());
        }
    }
}
