"""A device that grows while everything around it is killed: size, data and file system are right afterwards."""

import contextlib
import json
import os
import signal
import threading
import time

import psycopg
import pytest

from harness import autopsy, clients, clusters, program, volumes, waiting

GIB = 1 << 30
ROUNDS = int(os.environ.get("STRONGROOM_ROUNDS", "1"))
# Of the snapshot that each round begins with.
ROWS = 15_000
# Who is killed, and how many seconds after the header of the volume has its new size.
MOMENTS = [(("serve", "instance"), 0.004), (("instance",), 0.0), (("serve",), 0.001), (("instance",), 0.02),
           (("serve", "instance"), 0.0), (("instance",), 0.1), (("serve",), 0.05)]


@pytest.fixture
def small(answers):
    """A server whose volumes begin with one GiB, and grow by one."""
    server = program.Server(volume_gib=1, volume_step_gib=1, parameters={
        "shared_buffers": "32MB", "max_wal_size": "96MB", "min_wal_size": "32MB"}).serve()
    yield server, clients.root_of(server, answers, program.ACCOUNT)
    server.close()


def _told(server, name):
    [told] = json.loads(server.run("volume", "status", name, "--json").stdout)
    return told


def _fill(cluster, rows):
    """About 3 MB for each thousand rows, acknowledged one transaction after another."""
    cluster.execute("insert into kept select n, repeat(md5(n::text || random()::text), 90) "
                    "from generate_series(1, %s) n" % rows)


class _Writer:
    """Writes until the database goes, and counts what was acknowledged."""

    def __init__(self, cluster):
        self.cluster, self.rows, self.stopping = cluster, 0, False
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def _write(self):
        with contextlib.suppress(psycopg.Error, OSError, AssertionError):
            while not self.stopping:
                _fill(self.cluster, 1000)
                self.rows += 1000


def _grown(header, before):
    """Waits, without a pause, until the header has been replaced."""
    end = time.monotonic() + 120
    while os.stat(header).st_ino == before:
        assert time.monotonic() < end, "the volume does not grow"


def test_a_volume_that_is_killed_while_it_grows_has_its_size_and_its_rows(small):
    server, root = small
    key = root.kms.create_key()["KeyMetadata"]["Arn"]
    source = clusters.running(root, "source", KmsKeyId=key)
    source.execute("create table kept (id int, filler text)")
    source.execute("alter table kept alter filler set storage external")
    _fill(source, ROWS)
    clusters.snapshot(root, "source", "kept")
    source.delete()
    for number in range(ROUNDS):
        killed, pause = MOMENTS[number % len(MOMENTS)]
        name = f"grows-{number}"
        clusters.restore(root, name, "kept")
        cluster = clusters.with_instance(root, name)
        told = _told(server, name)
        assert told["files"]["sizeBytes"] == GIB
        directory = server.home / "volumes" / told["volume"]
        [process] = server.instance_processes()
        before = os.stat(directory / "header").st_ino
        writer = _Writer(cluster)
        _grown(directory / "header", before)
        time.sleep(pause)
        if "serve" in killed:
            server.kill()
        if "instance" in killed:
            os.kill(process, signal.SIGKILL)
        if "serve" in killed:
            server.serve()
        if "instance" in killed:
            waiting.until(lambda: server.instance_processes() not in ([], [process]), "a new process", seconds=60)
        writer.stopping = True
        writer.thread.join(timeout=120)
        assert not writer.thread.is_alive()
        cluster.wait(seconds=180)
        [(rows,)] = cluster.execute("select count(*) from kept")
        assert rows >= ROWS + writer.rows
        assert cluster.execute("select count(distinct length(filler)) from kept") == [(1,)]
        waiting.until(lambda: _told(server, name)["files"]["sizeBytes"] >= 2 * GIB, "the growth to be finished")
        cluster.principal.rds.stop_db_cluster(DBClusterIdentifier=name)
        cluster.wait("stopped")

        checked = json.loads(server.run("volume", "check", name, "--output", "json").stdout)
        assert checked["damage"] == 0 and not checked["inUse"]
        [volume] = [found for found in volumes.volumes(server.home) if found.name == told["volume"]]
        size = _told(server, name)["files"]["sizeBytes"]
        assert autopsy.repair(directory, told["volume"], volumes.open_key(volume, root, key)) == size
        if number == 0:
            into = server.home / "salvaged"
            saved = server.run("volume", "salvage", name, "--into", into, "--output", "json")
            assert json.loads(saved.stdout)["whole"]
