//! Opening: what a new cluster is like, and what is never opened.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use clusters::Process;
use engine::Host as _;
use volume::VolumeKey;

use super::{
    Test,
    machine::{KEY, Machine, files},
};

pub const TESTS: &[Test] = &[
    ("rows_survive_a_stop_and_a_start", rows_survive_a_stop_and_a_start),
    ("an_order_given_twice_is_followed_once", an_order_given_twice_is_followed_once),
    (
        "the_master_user_is_strong_and_cannot_leave_the_database",
        the_master_user_is_strong_and_cannot_leave_the_database,
    ),
    ("clients_can_verify_the_server", clients_can_verify_the_server),
    ("nothing_on_the_disk_shows_what_is_in_the_database", nothing_on_the_disk_shows_what_is_in_the_database),
    (
        "a_wrong_key_breaks_the_instance_and_changes_nothing",
        a_wrong_key_breaks_the_instance_and_changes_nothing,
    ),
    ("a_volume_that_is_lost_is_not_made_anew", a_volume_that_is_lost_is_not_made_anew),
    ("a_parameter_that_would_harm_the_data_is_refused", a_parameter_that_would_harm_the_data_is_refused),
    (
        "an_opening_that_is_cut_short_anywhere_is_done_again",
        an_opening_that_is_cut_short_anywhere_is_done_again,
    ),
    ("a_new_server_finds_the_instances_of_the_old_one", a_new_server_finds_the_instances_of_the_old_one),
];

fn rows_survive_a_stop_and_a_start(machine: &mut Machine) {
    let port = machine.serve();
    machine.run(port, "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 10000)");
    machine.stop();
    machine.assert_nothing_is_left();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let mut order = machine.order();
    order.volume_may_be_new = false;
    order.initial.master_password = None;
    machine.open(order);
    let port = super::machine::port(&machine.wait_for(Process::Serving));
    assert_eq!(machine.count(port, "t"), 10_000);
    machine.stop();
    machine.assert_nothing_is_left();
}

fn an_order_given_twice_is_followed_once(machine: &mut Machine) {
    let port = machine.serve();
    machine.open(machine.order());
    assert_eq!(super::machine::port(&machine.sight()), port);
    let mut other = machine.order();
    other.volume = "vol-0123456789abcdef1".parse().unwrap();
    let refused = machine.runtime.block_on(machine.host.open(&machine.id, other)).unwrap_err();
    assert!(refused.detail.contains("another volume"), "{refused}");
    machine.run(port, "SELECT 1");
}

fn the_master_user_is_strong_and_cannot_leave_the_database(machine: &mut Machine) {
    let port = machine.serve();
    machine.run(port, "CREATE ROLE app LOGIN; CREATE EXTENSION pgcrypto; CHECKPOINT");
    machine.run(port, "CREATE DATABASE more");
    let client = machine.session(port).unwrap();
    for forbidden in [
        "ALTER SYSTEM SET fsync = off",
        "CREATE ROLE boss SUPERUSER",
        "ALTER ROLE rdsadmin PASSWORD 'x'",
        "SET ROLE rdsadmin",
        "GRANT rdsadmin TO dba",
        "GRANT pg_execute_server_program TO dba",
        "GRANT pg_read_server_files TO dba",
        "GRANT pg_write_server_files TO dba",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('PG_VERSION')",
        "CREATE EXTENSION file_fdw",
        "LOAD 'pg_stat_statements'",
    ] {
        let refused = machine.runtime.block_on(client.batch_execute(forbidden));
        assert!(refused.is_err(), "{forbidden}");
    }
    let ask = |query: &str| {
        let row = machine.runtime.block_on(client.query_one(query, &[])).unwrap();
        row.get::<_, String>(0)
    };
    assert_eq!(ask("SHOW data_checksums"), "on");
    assert_eq!(ask("SHOW fsync"), "on");
    assert_eq!(ask("SHOW server_encoding"), "UTF8");
    assert_eq!(ask("SHOW ssl"), "on");
    assert_eq!(ask("SHOW password_encryption"), "scram-sha-256");
    let owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'orders'";
    assert_eq!(ask(owner), "dba");
    // The password never reached the database in the clear, and its verifier is not in the log.
    assert!(!machine.psql(port, "rdsadmin", "sslmode=require", "SELECT 1").status.success());
}

fn clients_can_verify_the_server(machine: &mut Machine) {
    let port = machine.serve();
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let verified = machine.psql(port, "dba", "sslmode=verify-full", query);
    assert_eq!(String::from_utf8_lossy(&verified.stdout), "t\n", "{verified:?}");
    machine.stop();
    machine.restart_server(&[("rds.force_ssl", "1")]);
    let port = machine.serve();
    assert!(machine.psql(port, "dba", "sslmode=require", query).status.success());
    assert!(!machine.psql(port, "dba", "sslmode=disable", query).status.success());
}

fn nothing_on_the_disk_shows_what_is_in_the_database(machine: &mut Machine) {
    let marker = "a-marker-that-can-be-recognised";
    let port = machine.serve();
    machine
        .run(port, &format!("CREATE TABLE t AS SELECT '{marker}' || n AS m FROM generate_series(1, 1000) n"));
    machine.run(port, "CHECKPOINT");
    machine.stop();
    let marker = marker.as_bytes();
    let all = files(machine.home());
    assert!(all.values().map(Vec::len).sum::<usize>() > 1 << 20);
    for (path, content) in all {
        assert!(!content.windows(marker.len()).any(|window| window == marker), "{}", path.display());
        assert!(!content.windows(KEY.len()).any(|window| window == KEY), "{}", path.display());
    }
    let mode = fs::metadata(machine.home().join("ca/ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn a_wrong_key_breaks_the_instance_and_changes_nothing(machine: &mut Machine) {
    let port = machine.serve();
    machine.run(port, "CREATE TABLE t (n int)");
    machine.stop();
    let dir = machine.home().join("volumes");
    let before = files(&dir);
    let mut order = machine.order();
    order.key = VolumeKey::copy_from(&[7; 32]).unwrap();
    machine.open(order);
    let failure = machine.wait_for(Process::Broken).failure.unwrap();
    assert!(failure.contains("key"), "{failure}");
    assert!(before == files(&dir), "the volume's files have changed");
    machine.runtime.block_on(machine.host.kill(&machine.id)).unwrap();
    machine.assert_nothing_is_left();
    let port = machine.serve();
    assert_eq!(machine.count(port, "t"), 0);
}

fn a_volume_that_is_lost_is_not_made_anew(machine: &mut Machine) {
    let mut order = machine.order();
    order.volume_may_be_new = false;
    machine.open(order);
    machine.wait_for(Process::Broken);
    assert!(!machine.has_volume());
    // A broken instance has to be ended before it is told anything else.
    let refused = machine.runtime.block_on(machine.host.open(&machine.id, machine.order())).unwrap_err();
    assert!(refused.detail.contains("Broken"), "{refused}");
    machine.lock();
    machine.assert_nothing_is_left();
}

fn a_parameter_that_would_harm_the_data_is_refused(machine: &mut Machine) {
    machine.restart_server(&[("fsync", "off")]);
    machine.open(machine.order());
    let failure = machine.wait_for(Process::Broken).failure.unwrap();
    assert!(failure.contains("the parameter fsync cannot be set"), "{failure}");
    machine.lock();
    machine.restart_server(&[("work_mem", "many")]);
    machine.open(machine.order());
    let failure = machine.wait_for(Process::Broken).failure.unwrap();
    assert!(failure.contains("invalid value for parameter \"work_mem\""), "{failure}");
}

fn an_opening_that_is_cut_short_anywhere_is_done_again(machine: &mut Machine) {
    for millis in [0, 20, 60, 150, 300, 600, 900, 1200, 1500, 2000] {
        machine.open(machine.order());
        thread::sleep(Duration::from_millis(millis));
        if millis % 20 == 0 {
            machine.lock();
        } else {
            machine.runtime.block_on(machine.host.kill(&machine.id)).unwrap();
        }
        machine.assert_nothing_is_left();
    }
    let port = machine.serve();
    machine.run(port, "CREATE TABLE t (n int)");
}

fn a_new_server_finds_the_instances_of_the_old_one(machine: &mut Machine) {
    let port = machine.serve();
    let client = machine.session(port).unwrap();
    machine.restart_server(&[]);
    assert_eq!(super::machine::port(&machine.sight()), port);
    machine.runtime.block_on(client.batch_execute("CREATE TABLE t (n int)")).unwrap();
    machine.runtime.block_on(machine.host.spawn(&machine.id)).unwrap();
    machine.stop();
    machine.assert_nothing_is_left();
}
