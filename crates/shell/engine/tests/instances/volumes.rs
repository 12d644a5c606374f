//! Anchors and space with real volumes.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use clusters::{Process, SpaceLimits};
use engine::Host as _;

use super::{
    Test,
    machine::{Machine, port},
};

pub const TESTS: &[Test] = &[
    ("nothing_is_served_before_the_anchor_is_kept", nothing_is_served_before_the_anchor_is_kept),
    ("a_volume_grows_while_its_database_runs", a_volume_grows_while_its_database_runs),
    ("a_volume_from_yesterday_is_refused_with_an_anchor_and_taken_without", a_volume_from_yesterday),
];

fn nothing_is_served_before_the_anchor_is_kept(machine: &mut Machine) {
    machine.open(machine.order());
    let look = || machine.runtime.block_on(machine.host.observe()).unwrap().remove(&machine.id).unwrap();
    let mut told = look();
    while told.open.anchor.is_none() {
        thread::sleep(Duration::from_millis(10));
        told = look();
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(look().process, Process::Opening);
    assert!(machine.runtime.block_on(machine.host.anchored(&machine.id, vec![0; 64])).is_ok());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(look().process, Process::Opening, "another anchor is none");
    machine.wait_for(Process::Serving);
    // One that is never kept does not keep an instance from being locked.
    machine.lock();
    machine.open(machine.order());
    machine.lock();
    machine.assert_nothing_is_left();
}

fn a_volume_grows_while_its_database_runs(machine: &mut Machine) {
    const FIRST: u64 = 1 << 30;
    machine.with_space(SpaceLimits { first: FIRST, step: FIRST, largest: 2 * FIRST, reserve: FIRST });
    let port_ = machine.serve();
    let size = |machine: &Machine| machine.sight().open.counters.size;
    assert_eq!(size(machine), FIRST);
    // As much again goes into the log.
    machine.run(port_, "CREATE TABLE t AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 300000)");
    while size(machine) < 2 * FIRST {
        thread::sleep(Duration::from_millis(100));
    }
    machine.run(port_, "CREATE TABLE u AS SELECT * FROM t");
    assert_eq!(machine.count(port_, "u"), 300_000);
    machine.stop();
    let port_ = machine.serve();
    assert_eq!(machine.count(port_, "u"), 300_000);
    assert_eq!(size(machine), 2 * FIRST, "and no larger than it may be");
    assert!(!machine.sight().open.full);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn a_volume_from_yesterday(machine: &mut Machine) {
    let port_ = machine.serve();
    machine.run(port_, "CREATE TABLE t AS SELECT 1 AS n");
    machine.stop();
    let (volume, yesterday) =
        (machine.home().join("volumes").join(machine.volume.as_str()), machine.home().join("yesterday"));
    copy(&volume, &yesterday);
    let again = || engine::OpenOrder { anchor: machine.kept(), ..machine.order() };
    machine.open(again());
    let port_ = port(&machine.wait_for(Process::Serving));
    machine.run(port_, "INSERT INTO t VALUES (2)");
    machine.stop();
    fs::rename(&volume, machine.home().join("today")).unwrap();
    copy(&yesterday, &volume);
    machine.open(again());
    let sight = machine.wait_for(Process::Broken);
    assert!(sight.refused, "{sight:?}");
    assert!(sight.failure.unwrap().contains("is an older copy"));
    machine.runtime.block_on(machine.host.kill(&machine.id)).unwrap();
    machine.open(machine.order());
    let port_ = port(&machine.wait_for(Process::Serving));
    assert_eq!(machine.count(port_, "t"), 1);
}
