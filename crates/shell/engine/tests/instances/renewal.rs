//! Renewal of the volume key while a database runs.

use std::{thread, time::Duration};

use clusters::{Process, SnapshotResourceId, VolumeId};
use engine::{CloneOrder, Host as _, OpenOrder, Wrapped};
use nix::sys::signal::Signal;
use volume::VolumeKey;

use super::{
    Test,
    machine::{KEY, Machine, port, signal},
};

pub const TESTS: &[Test] = &[
    ("a_renewal_survives_whatever_ends_the_process", a_renewal_survives_whatever_ends_the_process),
    ("a_snapshot_taken_during_a_renewal_is_cloned", a_snapshot_taken_during_a_renewal_is_cloned),
];

/// Number 0 is that of the volume as it was made.
fn key(number: u8) -> VolumeKey {
    let mut bytes = KEY;
    bytes[0] ^= number;
    VolumeKey::copy_from(&bytes).unwrap()
}

fn wrapped(number: u8) -> Vec<u8> {
    if number == 0 { b"wrapped".to_vec() } else { vec![number; 200] }
}

/// With every key up to `newest`, as the records have them while a renewal is under way.
fn order(machine: &Machine, newest: u8) -> OpenOrder {
    OpenOrder {
        key: key(newest),
        wrapped_key: wrapped(newest),
        older_keys: (0..newest).map(key).collect(),
        anchor: machine.kept(),
        ..machine.order()
    }
}

/// As the server does: one that is slow is asked again.
fn renew(machine: &Machine, number: u8) {
    let order = || Wrapped { key: key(number), wrapped: wrapped(number) };
    while machine.runtime.block_on(machine.host.renew_key(&machine.id, order())).is_err() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the header names the key with this number alone.
fn wait_for_end(machine: &Machine, number: u8) {
    while machine.sight().open.wrapped_keys != [wrapped(number)] {
        thread::sleep(Duration::from_millis(20));
    }
}

fn a_renewal_survives_whatever_ends_the_process(machine: &mut Machine) {
    const ROWS: i64 = 20_000;
    let first = machine.serve();
    machine
        .run(first, "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 20000) AS n");
    let mut rows = ROWS;
    for round in 1..=8_u8 {
        renew(machine, round);
        renew(machine, round);
        assert_eq!(machine.sight().open.wrapped_keys.last(), Some(&wrapped(round)), "it is said at once");
        let serving = port(&machine.sight());
        machine.run(serving, "INSERT INTO t VALUES (0, repeat('y', 1000))");
        rows += 1;
        thread::sleep(Duration::from_millis(u64::from(round % 4) * 30));
        match round % 4 {
            0 => machine.stop(),
            1 => machine.lock(),
            _ => signal(machine.instance_process(), Signal::SIGKILL),
        }
        machine.wait_for(Process::Absent);
        machine.open(order(machine, round));
        let serving = port(&machine.wait_for(Process::Serving));
        assert_eq!(machine.count(serving, "t"), rows, "round {round}");
    }
    wait_for_end(machine, 8);
    while machine.sight().open.counters.renewed_percent().is_some() {
        thread::sleep(Duration::from_millis(20));
    }
    machine.stop();
    // The new key is enough, and no older one is of use.
    machine.open(OpenOrder { older_keys: Vec::new(), ..order(machine, 8) });
    let serving = port(&machine.wait_for(Process::Serving));
    assert_eq!(machine.count(serving, "t"), rows);
    machine.stop();
    machine.open(order(machine, 7));
    assert!(machine.wait_for(Process::Broken).refused);
}

fn a_snapshot_taken_during_a_renewal_is_cloned(machine: &mut Machine) {
    let snapshot: SnapshotResourceId = "snap-A".parse().unwrap();
    let first = machine.serve();
    machine
        .run(first, "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 20000) AS n");
    renew(machine, 1);
    machine.snapshot(&snapshot, true).unwrap();
    wait_for_end(machine, 1);
    // One shares the keys, and goes on with the renewal; the other has a key of its own.
    for (name, own) in [("1", None), ("2", Some(9))] {
        let volume: VolumeId = format!("vol-0123456789abcdef{name}").parse().unwrap();
        let wrap = |number| Wrapped { key: key(number), wrapped: wrapped(number) };
        for _ in 0..2 {
            let keys = [0, 1].map(wrap).into();
            let order = CloneOrder {
                snapshot: snapshot.clone(),
                source: machine.volume.clone(),
                volume: volume.clone(),
                keys,
                own: own.map(wrap),
            };
            machine.runtime.block_on(machine.host.clone_volume(order)).unwrap();
        }
        let id = format!("{}{name}", machine.id).parse().unwrap();
        let newest = own.unwrap_or(1);
        machine.open_as(
            &id,
            OpenOrder { volume, volume_may_be_new: false, anchor: None, ..order(machine, newest) },
        );
        let serving = port(&machine.wait_for_of(&id, Process::Serving));
        assert_eq!(machine.count(serving, "t"), 20_000);
        while machine.sight_of(&id).open.wrapped_keys != [wrapped(newest)] {
            thread::sleep(Duration::from_millis(20));
        }
        machine.runtime.block_on(machine.host.stop(&id)).unwrap();
        machine.wait_for_of(&id, Process::Absent);
    }
    assert_eq!(machine.count(first, "t"), 20_000);
}
