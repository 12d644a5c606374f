//! Snapshots and clones.

use std::fs;

use clusters::{Process, SnapshotResourceId, VolumeId};
use engine::Host as _;

use super::{
    Test,
    machine::{Machine, port},
};

pub const TESTS: &[Test] = &[
    (
        "a_clone_of_a_running_databases_snapshot_has_its_rows",
        a_clone_of_a_running_databases_snapshot_has_its_rows,
    ),
    ("a_snapshot_of_a_closed_volume_outlives_it", a_snapshot_of_a_closed_volume_outlives_it),
    (
        "a_file_system_with_another_volumes_marker_is_refused",
        a_file_system_with_another_volumes_marker_is_refused,
    ),
];

fn snapshot() -> SnapshotResourceId {
    "snap-A".parse().unwrap()
}

fn other_volume() -> VolumeId {
    "vol-0123456789abcdef9".parse().unwrap()
}

fn a_clone_of_a_running_databases_snapshot_has_its_rows(machine: &mut Machine) {
    let first = machine.serve();
    machine.run(first, "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)");
    machine.snapshot(&snapshot(), true).unwrap();
    machine.snapshot(&snapshot(), true).unwrap();
    machine.run(first, "DROP TABLE t");
    machine.clone(&snapshot(), &other_volume()).unwrap();
    machine.clone(&snapshot(), &other_volume()).unwrap();
    let id = format!("{}B", machine.id).parse().unwrap();
    for _ in 0..2 {
        let mut order = machine.order();
        order.volume = other_volume();
        order.volume_may_be_new = false;
        order.initial.master_password = None;
        machine.open_as(&id, order);
        let second = port(&machine.wait_for_of(&id, Process::Serving));
        assert_eq!(machine.count(second, "t"), 1000);
        machine.run(second, "INSERT INTO t VALUES (0); DELETE FROM t WHERE n = 0");
        machine.runtime.block_on(machine.host.stop(&id)).unwrap();
        machine.wait_for_of(&id, Process::Absent);
    }
    let gone = machine.session(first).unwrap();
    assert!(machine.runtime.block_on(gone.batch_execute("SELECT * FROM t")).is_err());
}

fn a_snapshot_of_a_closed_volume_outlives_it(machine: &mut Machine) {
    let first = machine.serve();
    machine.run(first, "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)");
    machine.stop();
    assert!(!machine.has_snapshot(&snapshot()));
    machine.snapshot(&snapshot(), false).unwrap();
    assert!(machine.has_snapshot(&snapshot()));
    for _ in 0..2 {
        machine.runtime.block_on(machine.host.remove_volume(&machine.volume)).unwrap();
        assert!(!machine.has_volume());
    }
    machine.clone(&snapshot(), &other_volume()).unwrap();
    for _ in 0..2 {
        machine.runtime.block_on(machine.host.remove_snapshot(&snapshot())).unwrap();
        assert!(!machine.has_snapshot(&snapshot()));
    }
    machine.volume = other_volume();
    let second = machine.serve();
    assert_eq!(machine.count(second, "t"), 1000);
}

fn a_file_system_with_another_volumes_marker_is_refused(machine: &mut Machine) {
    machine.serve();
    machine.stop();
    machine.snapshot(&snapshot(), false).unwrap();
    machine.clone(&snapshot(), &other_volume()).unwrap();
    // As if the volume had come from elsewhere.
    fs::remove_file(machine.home().join("volumes").join(format!("{}.origin", other_volume()))).unwrap();
    let mut order = machine.order();
    order.volume = other_volume();
    machine.open(order);
    let failure = machine.wait_for(Process::Broken).failure.unwrap();
    assert!(failure.contains(&format!("belongs to {}", machine.volume)), "{failure}");
    assert_eq!(machine.processes().len(), 1, "only the instance is left");
}
