"""Crashes under load, and what must hold after each: the money, the acknowledged rows, and the soundness of XFS and
PostgreSQL with `full_page_writes=off`. Over plain files, and over a store that loses at a power cut what was not synced.

`STRONGROOM_ROUNDS` is the number of crashes in each test, `STRONGROOM_CRASH_SEED` what they follow from.
"""

import contextlib
import os
import pathlib
import random
import signal
import time

import pytest

from harness import autopsy, bank, clients, clusters, leftovers, lossy, program, volumes, waiting

ROUNDS = int(os.environ.get("STRONGROOM_ROUNDS", "2"))
SEED = int(os.environ.get("STRONGROOM_CRASH_SEED", "1"))


class Machine:
    """A server with a bank on it; perhaps on a store that loses what was not synced."""

    def __init__(self, answers, store=None):
        self.answers, self.store = answers, store
        if store is None:
            self.server = program.Server().serve()
        else:
            home = store.path / "home"
            home.mkdir(mode=0o700)
            self.server = program.Server(home=home, log=store.scratch / "serve.log").serve()
        self.root = clients.root_of(self.server, answers, program.ACCOUNT)
        self.key = self.root.kms.create_key()["KeyMetadata"]["Arn"]
        self.cluster = clusters.running(self.root, "bank", KmsKeyId=self.key)
        assert self.cluster.execute("show full_page_writes") == [("off",)]
        self.server.loop_devices()  # remembers the names of what is to be gone after a crash
        self.bank = bank.Bank(self.cluster)
        [self.volume] = volumes.volumes(self.server.home)
        self.volume_key = volumes.open_key(self.volume, self.root, self.key)

    def kill_instances(self):
        _kill(self.server.instance_processes())

    def kill_all(self):
        """Every process of the home, as a power failure does; waits until the kernel has let go of everything."""
        if self.server.process is not None:
            self.server.kill()
        _kill(leftovers.processes_of(self.server.home))
        waiting.until(lambda: not self.server.remains(), "everything to be gone", seconds=60)

    def autopsy(self):
        """Looks into the volume, which nobody has open."""
        found = autopsy.of(self.volume.path.parent, self.volume.name, self.volume_key)
        self.bank.check(found.sums, found.rows)

    def check(self):
        """The service is back by itself, and nothing is lost."""
        self.cluster.wait(seconds=180)
        self.bank.check_online()
        assert len(self.server.instance_processes()) == len(self.server.loop_devices()) == 1

    def close(self):
        self.bank.close()
        self.server.close()


def _kill(processes):
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def machine(answers):
    made = Machine(answers)
    yield made
    made.close()


@pytest.fixture
def lossy_machine(answers):
    store = lossy.Store()
    made = Machine(answers, store)
    yield made
    try:
        if not store.is_on():
            store.restart(0)
        made.close()
    finally:
        store.close()


def _seeds():
    return range(SEED * 1_000_000, SEED * 1_000_000 + ROUNDS)


@contextlib.contextmanager
def _round(machine, seed):
    """A round with random choices of its own; a failure keeps what is needed to understand it."""
    try:
        yield random.Random(seed)
    except BaseException:
        print(f"round with seed {seed} failed; the end of the server's log:\n{machine.server.log_tail()}")
        if machine.store is not None:
            record = pathlib.Path(f"/tmp/strongroom-lossy-record-{seed}")
            machine.store.record(record)
            print(f"the store's operations: {record}")
        raise


def _kill_serve(machine, choices):
    machine.server.kill()
    time.sleep(choices.random() / 4)
    machine.server.serve()


def _kill_instance(machine, choices):
    del choices
    machine.kill_instances()


def _kill_again_during_recovery(machine, choices):
    for _ in range(choices.randint(2, 4)):
        machine.kill_instances()
        time.sleep(choices.random() * 1.5)
    machine.kill_instances()


def _kill_everything(machine, choices):
    del choices
    machine.kill_all()
    machine.autopsy()
    machine.server.serve()


def _kill_the_database(machine, choices):
    processes = machine.server.postgres_processes()
    if processes:
        _kill([choices.choice(processes)])


CRASHES = [_kill_everything, _kill_again_during_recovery, _kill_instance, _kill_serve, _kill_the_database]


def test_a_bank_loses_nothing_when_processes_are_killed(machine):
    for seed in _seeds():
        with _round(machine, seed) as choices:
            machine.bank.open()
            time.sleep(0.5 + choices.random() * 2)
            CRASHES[seed % len(CRASHES)](machine, choices)
            machine.bank.close()
            machine.check()


def test_a_bank_loses_nothing_when_the_power_fails(lossy_machine):
    machine, store = lossy_machine, lossy_machine.store
    for seed in _seeds():
        with _round(machine, seed) as choices:
            machine.bank.open()
            time.sleep(0.5 + choices.random() * 2)
            _cut(machine, choices, 200, "change")
            machine.bank.close()
            print(f"seed {seed}: {store.restart(seed)}")
            if choices.random() < 0.4:
                _cut_during_recovery(machine, choices)
                print(f"seed {seed}, again: {store.restart(seed)}")
            machine.autopsy()
            machine.server.serve()
            machine.check()


def _cut(machine, choices, within, operations):
    """The power fails in the middle of one of the next operations; at the latest in a second."""
    store = machine.store
    store.order("cut-in", choices.randrange(within), operations)
    with contextlib.suppress(AssertionError):
        waiting.until(lambda: not store.is_on(), "the power to fail", seconds=1, pause=0.01)
    if store.is_on():
        store.order("cut")
    machine.kill_all()


def _cut_during_recovery(machine, choices):
    machine.store.order("cut-in", choices.randrange(300), "any")
    with contextlib.suppress(AssertionError):
        machine.server.serve()  # the power may fail before it answers
    _cut(machine, choices, 100, "change")


def test_a_snapshot_and_what_is_restored_from_it_survive_power_cuts(lossy_machine):
    machine, store = lossy_machine, lossy_machine.store
    for seed in _seeds():
        with _round(machine, seed) as choices:
            taken, restored = f"kept-{seed}", f"copy-{seed}"
            machine.bank.open()
            time.sleep(1)
            before = set(machine.bank.acknowledged)
            machine.root.rds.create_db_cluster_snapshot(
                DBClusterSnapshotIdentifier=taken, DBClusterIdentifier="bank")
            _cut(machine, choices, 60, "change")
            machine.bank.close()
            print(f"seed {seed}: {store.restart(seed)}")
            machine.server.serve()

            def status():
                [shown] = machine.root.rds.describe_db_cluster_snapshots(
                    DBClusterSnapshotIdentifier=taken)["DBClusterSnapshots"]
                return shown["Status"]
            waiting.until(lambda: status() == "available", "the snapshot to be available", seconds=120)
            clusters.restore(machine.root, restored, taken)
            _cut(machine, choices, 60, "change")
            print(f"seed {seed}, restoring: {store.restart(seed)}")
            machine.server.serve()
            copy = clusters.with_instance(machine.root, restored)
            [sums] = copy.execute(bank.SUMS)
            assert len(set(sums)) == 1
            rows = {row for (row,) in copy.execute("select id from acknowledged")}
            assert before <= rows, "what was acknowledged before the snapshot is in it"
            copy.delete()
            machine.root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=taken)
            machine.check()


def test_a_snapshot_taken_under_load_is_a_sound_bank(machine):
    machine.bank.open()
    time.sleep(1)
    before = set(machine.bank.acknowledged)
    clusters.snapshot(machine.root, "bank", "kept")
    machine.bank.close()
    clusters.restore(machine.root, "copy", "kept")
    copy = clusters.with_instance(machine.root, "copy")
    [sums] = copy.execute(bank.SUMS)
    assert len(set(sums)) == 1
    rows = {row for (row,) in copy.execute("select id from acknowledged")}
    assert before <= rows, "what was acknowledged before the snapshot is in it"
    copy.delete()
    machine.check()
