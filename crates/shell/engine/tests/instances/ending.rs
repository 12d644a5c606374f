//! Stopping, locking, killing, and ends that nobody asked for: nothing stays behind, and what was committed is there.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use clusters::Process;
use engine::Host as _;
use nix::{sys::signal::Signal, unistd::Pid};

use super::{
    Test,
    machine::{KEY, Machine, signal},
};

pub const TESTS: &[Test] = &[
    ("locking_leaves_nothing_and_loses_nothing", locking_leaves_nothing_and_loses_nothing),
    ("a_killed_process_leaves_nothing_and_loses_nothing", a_killed_process_leaves_nothing_and_loses_nothing),
    ("a_process_that_hangs_is_locked_all_the_same", a_process_that_hangs_is_locked_all_the_same),
    (
        "a_database_that_dies_breaks_the_instance_which_then_holds_no_key",
        a_database_that_dies_breaks_the_instance,
    ),
    ("a_process_told_to_terminate_stops_in_order", a_process_told_to_terminate_stops_in_order),
    ("an_instance_whose_directory_is_gone_ends", an_instance_whose_directory_is_gone_ends),
    ("all_instances_of_a_home_can_be_stopped", all_instances_of_a_home_can_be_stopped),
    (
        "orders_to_an_instance_that_is_not_there_do_nothing",
        orders_to_an_instance_that_is_not_there_do_nothing,
    ),
    ("garbage_on_the_socket_does_no_harm", garbage_on_the_socket_does_no_harm),
];

/// Inserts rows until that fails; the count of those that the database has confirmed.
fn load(machine: &Machine, port: u16) -> Arc<AtomicI64> {
    machine.run(port, "CREATE TABLE t (n int, filler text)");
    let confirmed = Arc::new(AtomicI64::new(0));
    for _ in 0..4 {
        let (client, confirmed) = (machine.session(port).unwrap(), Arc::clone(&confirmed));
        machine.runtime.spawn(async move {
            while client.batch_execute("INSERT INTO t VALUES (1, repeat('x', 500))").await.is_ok() {
                confirmed.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    while confirmed.load(Ordering::SeqCst) < 200 {
        thread::sleep(Duration::from_millis(5));
    }
    confirmed
}

/// After an end under load: gone, and every confirmed row is back.
fn check_after(machine: &Machine, port: u16, confirmed: &AtomicI64) {
    machine.assert_nothing_is_left();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let confirmed = confirmed.load(Ordering::SeqCst);
    let port = machine.serve();
    let found = machine.count(port, "t");
    // Four more may have been committed without the answer having arrived.
    assert!((confirmed..=confirmed + 4).contains(&found), "{confirmed} rows were confirmed, {found} found");
}

fn locking_leaves_nothing_and_loses_nothing(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    machine.lock();
    check_after(machine, port, &confirmed);
}

fn a_killed_process_leaves_nothing_and_loses_nothing(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    signal(machine.instance_process(), Signal::SIGKILL);
    machine.wait_for(Process::Absent);
    check_after(machine, port, &confirmed);
}

fn a_process_that_hangs_is_locked_all_the_same(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    signal(machine.instance_process(), Signal::SIGSTOP);
    machine.lock();
    check_after(machine, port, &confirmed);
}

fn a_database_that_dies_breaks_the_instance(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    let instance = machine.instance_process();
    let postgres = machine.processes().into_iter().find(|(_, line)| line.contains("postgres -D")).unwrap().0;
    signal(postgres, Signal::SIGKILL);
    let sight = machine.wait_for(Process::Broken);
    assert!(sight.address.is_none());
    assert!(sight.failure.unwrap().contains("postgres ended with signal: 9"));
    assert!(!memory_has(instance, &KEY), "the process still has the volume key");
    assert_eq!(machine.processes().len(), 1, "only the instance is left");
    machine.runtime.block_on(machine.host.kill(&machine.id)).unwrap();
    check_after(machine, port, &confirmed);
}

fn a_process_told_to_terminate_stops_in_order(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    signal(machine.instance_process(), Signal::SIGTERM);
    machine.wait_for(Process::Absent);
    check_after(machine, port, &confirmed);
}

fn an_instance_whose_directory_is_gone_ends(machine: &mut Machine) {
    let port = machine.serve();
    let confirmed = load(machine, port);
    fs::remove_dir_all(machine.home().join("instances")).unwrap();
    while !machine.processes().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    check_after(machine, port, &confirmed);
}

fn all_instances_of_a_home_can_be_stopped(machine: &mut Machine) {
    let idle = "db-IDLE".parse().unwrap();
    machine.runtime.block_on(machine.host.spawn(&idle)).unwrap();
    assert_eq!(machine.sight_of(&idle).process, Process::Idle);
    machine.serve();
    let instances = machine.home().join("instances");
    machine.runtime.block_on(engine::stop_all(&instances)).unwrap();
    assert_eq!(fs::read_dir(&instances).unwrap().count(), 0);
    machine.assert_nothing_is_left();
    machine.runtime.block_on(engine::stop_all(&machine.home().join("nowhere"))).unwrap();
}

fn orders_to_an_instance_that_is_not_there_do_nothing(machine: &mut Machine) {
    for _ in 0..2 {
        machine.runtime.block_on(machine.host.stop(&machine.id)).unwrap();
        machine.runtime.block_on(machine.host.kill(&machine.id)).unwrap();
        machine.lock();
        assert!(machine.runtime.block_on(machine.host.open(&machine.id, machine.order())).is_err());
        assert_eq!(machine.sight().process, Process::Absent);
    }
    assert!(!machine.home().join("volumes").exists());
}

fn garbage_on_the_socket_does_no_harm(machine: &mut Machine) {
    use std::{io::Write as _, os::unix::net::UnixStream};
    machine.runtime.block_on(machine.host.spawn(&machine.id)).unwrap();
    let socket = machine.home().join("instances").join(machine.id.as_str()).join("control");
    for garbage in
        [&b""[..], b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff\x01", b"\x02\0\0\0\x01{}", &[0; 4096]]
    {
        let mut connection = UnixStream::connect(&socket).unwrap();
        // It may have hung up already.
        let _ = connection.write_all(garbage);
    }
    assert_eq!(machine.sight().process, Process::Idle);
}

/// Whether a pattern is anywhere in the memory of a process.
fn memory_has(process: Pid, pattern: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(from)).is_ok_and(|_| {
            // What cannot be read to its end has been read as far as it goes.
            let _ = memory.by_ref().take(to - from).read_to_end(&mut bytes);
            bytes.windows(pattern.len()).any(|window| window == pattern)
        })
    })
}
