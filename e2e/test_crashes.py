"""`kill -9` at any moment converges, and nothing stale stays behind."""

import os
import signal
import time

import pytest

from harness import clusters, leftovers, waiting
from harness.faults import refused


def _is_running(cluster):
    found = {shown["DBInstanceIdentifier"]: shown["DBInstanceStatus"]
             for shown in cluster.principal.rds.describe_db_instances()["DBInstances"]}
    return found.get(cluster.instance) == "available"


def _restart(server):
    server.kill()
    return server.serve()


def test_serve_that_is_killed_adopts_running_databases(own_server, own_root):
    cluster = clusters.running(own_root, "adopted")
    cluster.execute("create table kept as select 1 as id")
    instances, databases = own_server.instance_processes(), own_server.postgres_processes()
    started = cluster.execute("select pg_postmaster_start_time()")
    own_server.kill()
    assert own_server.instance_processes() == instances and set(databases) & set(own_server.postgres_processes())
    own_server.serve()
    cluster.wait()
    assert own_server.instance_processes() == instances
    assert cluster.execute("select pg_postmaster_start_time()") == started
    own_server.stop()
    own_server.serve()
    cluster.wait()
    assert cluster.execute("select pg_postmaster_start_time()") == started
    assert own_server.instance_processes() == instances


def test_serve_may_be_killed_at_any_moment_of_the_making_of_a_cluster(own_server, own_root):
    for number, pause in enumerate((0.0, 0.15, 0.4, 0.9, 1.8)):
        name = f"torn-{number}"
        clusters.create_cluster(own_root, name)
        if number % 2:
            _restart(own_server)
        clusters.create_instance(own_root, name)
        time.sleep(pause)
        _restart(own_server)
        cluster = clusters.Cluster(own_root, name, f"{name}-1").wait()
        assert cluster.execute("select 1") == [(1,)]
        assert len(own_server.instance_processes()) == 1
        cluster.delete()
    waiting.until(lambda: not own_server.instance_processes() and not own_server.mounts(),
                  "nothing to be left of the clusters")
    assert own_server.loop_devices() == {}


def test_an_instance_that_is_killed_starts_anew_with_its_rows(own_server, own_root):
    cluster = clusters.running(own_root, "killed")
    cluster.execute("create table kept (id int)")
    for round_, pause in enumerate((0.0, 0.2, 0.7)):
        cluster.execute(f"insert into kept values ({round_})")
        [process] = own_server.instance_processes()
        databases = own_server.postgres_processes()
        time.sleep(pause)
        os.kill(process, signal.SIGKILL)
        waiting.until(lambda: not any(map(leftovers.is_alive, databases)), "the old database to be gone")
        waiting.until(lambda: own_server.instance_processes() not in ([], [process]), "a new process")
        waiting.until(lambda: not cluster.refuses_connections(), "it to serve")
        cluster.wait()
        assert cluster.execute("select id from kept order by id") == [(number,) for number in range(round_ + 1)]
        assert len(own_server.instance_processes()) == len(own_server.loop_devices()) == 1


def test_a_database_that_dies_is_started_again(own_server, own_root):
    cluster = clusters.running(own_root, "crashed")
    cluster.execute("create table kept as select 7 as id")
    [process] = own_server.instance_processes()
    [postmaster] = [pid for pid in own_server.postgres_processes()
                    if leftovers.status_field(pid, "PPid") == str(process)] or own_server.postgres_processes()[:1]
    os.kill(postmaster, signal.SIGKILL)
    waiting.until(lambda: not leftovers.is_alive(postmaster), "the database to be gone")
    waiting.until(lambda: not cluster.refuses_connections(), "the database to be back")
    cluster.wait()
    assert cluster.execute("select id from kept") == [(7,)]


def test_both_killed_at_once_come_back(own_server, own_root):
    cluster = clusters.running(own_root, "both")
    cluster.execute("create table kept as select 7 as id")
    own_server.kill()
    for process in own_server.instance_processes():
        os.kill(process, signal.SIGKILL)
    waiting.until(lambda: not own_server.postgres_processes(), "the database to be gone")
    own_server.serve()
    cluster.wait()
    assert cluster.execute("select id from kept") == [(7,)]


def test_a_key_disabled_while_serve_is_down_shuts_the_database_when_it_is_back(own_server, own_root):
    key = own_root.kms.create_key()["KeyMetadata"]["KeyId"]
    cluster = clusters.running(own_root, "late", KmsKeyId=key)
    own_root.kms.disable_key(KeyId=key)
    own_server.kill()  # at the moment of the loss: the locking may not have happened yet
    own_server.serve()
    cluster.wait("inaccessible-encryption-credentials-recoverable")
    assert not own_server.postgres_processes()
    assert cluster.refuses_connections()
    own_root.kms.enable_key(KeyId=key)
    own_root.rds.start_db_cluster(DBClusterIdentifier="late")
    cluster.wait()


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_serve_may_be_killed_while_snapshots_are_taken_restored_and_deleted(own_server, own_root, pause):
    cluster = clusters.running(own_root, "source")
    cluster.execute("create table kept as select id from generate_series(1, 1000) id")
    own_root.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier="kept", DBClusterIdentifier="source")
    time.sleep(pause)
    _restart(own_server)

    def taken():
        [shown] = own_root.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier="kept")["DBClusterSnapshots"]
        return shown["Status"] == "available"
    waiting.until(taken, "the snapshot to be available")
    clusters.restore(own_root, "copy", "kept")
    time.sleep(pause)
    _restart(own_server)
    copy = clusters.with_instance(own_root, "copy")
    assert copy.execute("select count(*) from kept") == [(1000,)]
    own_root.rds.delete_db_instance(DBInstanceIdentifier="copy-1")
    time.sleep(pause)
    _restart(own_server)
    waiting.until(lambda: not _is_running(copy) and len(own_server.instance_processes()) == 1,
                  "the instance to be gone")
    own_root.rds.delete_db_cluster(DBClusterIdentifier="copy", SkipFinalSnapshot=True)
    own_root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="kept")
    time.sleep(pause)
    _restart(own_server)
    waiting.until(lambda: clusters.cluster_names(own_root) == {"source"}, "the copy to be gone")
    waiting.until(lambda: not own_root.rds.describe_db_cluster_snapshots()["DBClusterSnapshots"],
                  "the snapshot to be gone")
    assert cluster.execute("select count(*) from kept") == [(1000,)]
    assert len(list((own_server.home / "volumes").iterdir())) == 1, "no files of the copy are left"


def test_state_and_trail_survive_a_kill_in_the_middle_of_calls(own_server, own_root):
    made = []
    for _ in range(40):
        made.append(own_root.kms.create_key()["KeyMetadata"]["KeyId"])
    _restart(own_server)
    listed = {entry["KeyId"] for page in own_root.kms.get_paginator("list_keys").paginate() for entry in page["Keys"]}
    assert listed == set(made)
    with refused("NotFoundException"):
        own_root.kms.describe_key(KeyId="11111111-2222-4333-8444-555555555555")
