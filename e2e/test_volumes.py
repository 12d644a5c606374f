"""Volumes in trouble: put back, on a full host, damaged. Databases of others go on."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import psycopg
import pytest

from harness import clients, clusters, program, trail, waiting

MIB = 1 << 20


def _events(cluster):
    found = cluster.principal.rds.describe_events(SourceType="db-instance", SourceIdentifier=cluster.instance)
    return [event["Message"] for event in found["Events"]]


def _stopped(cluster):
    cluster.principal.rds.stop_db_cluster(DBClusterIdentifier=cluster.name)
    return cluster.wait("stopped")


def _started(cluster):
    cluster.principal.rds.start_db_cluster(DBClusterIdentifier=cluster.name)


def _volume(server, cluster):
    """What `strongroom volume status` tells of the volume of a cluster."""
    [told] = json.loads(server.run("volume", "status", cluster.name, "--json").stdout)
    return told


def _number(server, name, cluster):
    """A metric of the volume of a cluster."""
    found = [value for (metric, labels), value in server.metrics().items()
             if metric == f"strongroom_{name}" and dict(labels).get("cluster") == cluster.name]
    assert len(found) <= 1
    return found[0] if found else None


def test_a_volume_from_yesterday_is_refused_until_an_operator_accepts_it(own_server, own_root):
    cluster = clusters.running(own_root, "anchored")
    other = clusters.running(own_root, "other")
    cluster.execute("create table kept as select 1 as id")
    _stopped(cluster)
    told = _volume(own_server, cluster)
    volume, yesterday = own_server.home / "volumes" / told["volume"], own_server.home / "yesterday"
    shutil.copytree(volume, yesterday)
    _started(cluster)
    cluster.wait()
    cluster.execute("insert into kept values (2)")
    assert "there is nothing to accept" in own_server.run("volume", "accept", "anchored", check=False).stderr
    _stopped(cluster)
    assert _volume(own_server, cluster)["anchor"]["sequence"] > told["anchor"]["sequence"]

    shutil.rmtree(volume)
    shutil.copytree(yesterday, volume)
    _started(cluster)
    waiting.until(lambda: cluster.describe_instance()["DBInstanceStatus"] == "failed", "the volume to be refused")
    assert cluster.refuses_connections()
    [refusal] = [event for event in _events(cluster) if "put into failed" in event]
    assert "is an older copy" in refusal
    assert other.execute("select 1") == [(1,)]
    _stopped(cluster)
    checked = own_server.run("volume", "check", "anchored", check=False)
    assert checked.returncode == 1 and "is an older copy" in checked.stdout and "1 damaged" in checked.stdout
    salvaged = own_server.run("volume", "salvage", "anchored", "--into", own_server.home / "saved", check=False)
    assert salvaged.returncode == 1 and "the end of the log is missing" in salvaged.stdout
    assert own_server.run("volume", "check", "--dir", yesterday).returncode == 0, "a copy may be old"
    _started(cluster)

    done = own_server.run("volume", "accept", "anchored", "--reason", "the disk was restored from tape")
    assert "is accepted as it is" in done.stdout
    cluster.wait()
    assert cluster.execute("select id from kept") == [(1,)]
    [record] = trail.records(own_root, "EventName", "AcceptVolume")
    details = record["serviceEventDetails"]
    assert details["reason"] == "the disk was restored from tape" and details["volumeId"] == told["volume"]
    assert details["operator"] == "root" and details["dBClusterIdentifier"] == "anchored"
    assert "there is no cluster nobody" in own_server.run("volume", "accept", "nobody", check=False).stderr


def test_an_older_snapshot_is_not_taken_for_a_newer_one(own_server, own_root):
    cluster = clusters.running(own_root, "source")
    cluster.execute("create table kept as select 1 as id")
    old = clusters.snapshot(own_root, "source", "old")
    cluster.execute("insert into kept values (2)")
    _stopped(cluster)  # its anchor is kept with that
    clusters.snapshot(own_root, "source", "new")
    key = own_root.kms.create_key()["KeyMetadata"]["Arn"]

    [place] = [path for path in own_server.home.glob("snapshots/*") if _is_of(own_server, "new", path)]
    [older] = [path for path in own_server.home.glob("snapshots/*") if _is_of(own_server, "old", path)]
    assert old["Status"] == "available"
    shutil.rmtree(place)
    shutil.copytree(older, place)
    checked = own_server.run("volume", "check", "new", check=False)
    assert checked.returncode == 1 and "is an older copy" in checked.stdout
    own_root.rds.copy_db_cluster_snapshot(SourceDBClusterSnapshotIdentifier="new", KmsKeyId=key,
                                          TargetDBClusterSnapshotIdentifier="copy")
    clusters.restore(own_root, "restored", "new")
    clusters.create_instance(own_root, "restored")
    restored = clusters.Cluster(own_root, "restored", "restored-1")
    waiting.until(lambda: _is(restored, "failed"), "the restored volume to be refused")
    assert any("is an older copy" in event for event in _events(restored))
    shown = own_root.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier="copy")["DBClusterSnapshots"][0]
    assert shown["Status"] == "copying", "what was put there is not copied"
    # Each is what it was taken as.
    clusters.restore(own_root, "again", "old")
    assert clusters.with_instance(own_root, "again").execute("select id from kept") == [(1,)]


def _is_of(server, snapshot, path):
    """Whether a snapshot's files are in a directory."""
    told = json.loads(server.run("volume", "check", snapshot, "--output", "json").stdout)
    return pathlib.Path(told["directory"]) == path


@contextlib.contextmanager
def _small_disk(tmp_path, mib):
    """A file system of its own."""
    image, mount = tmp_path / "disk.img", tmp_path / "disk"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(mib * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)
        image.unlink()


def _free(path):
    shown = os.statvfs(path)
    return shown.f_bavail * shown.f_frsize


def _fill(path, leave):
    """Takes all space of a file system but `leave` bytes."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, _free(path.parent) - leave)


def _is(cluster, status):
    return cluster.describe_instance()["DBInstanceStatus"] == status


def _insert_until_full(cluster):
    with pytest.raises(psycopg.errors.DiskFull, match="No space left on device"):
        for _ in range(1000):
            cluster.execute("insert into kept select id, repeat(md5(id::text), 30) from generate_series(1, 4000) id")


def _until_storage_full(server, cluster):
    """Inserts as long as the cleaner still finds space for more, until status, metric and operator's view each have said
    so: space comes back in between, so they need not say so in the same moment."""
    silent = {"status": lambda: _is(cluster, "storage-full"), "metric": lambda: _number(server, "volume_full", cluster) == 1,
              "operator's view": lambda: _volume(server, cluster)["open"]["full"]}
    def full():
        _insert_until_full(cluster)
        for view in [view for view, says_so in silent.items() if says_so()]:
            del silent[view]
        return not silent
    waiting.until(full, "the volume to be full", seconds=180)


def _done(cluster, statement):
    """Whether there was space for it."""
    try:
        cluster.execute(statement)
        return True
    except psycopg.errors.DiskFull:
        return False


def _insert(cluster):
    return _done(cluster, "insert into kept values (0, repeat('x', 100000))")


def test_a_full_host_is_storage_full_and_service_goes_on_once_there_is_space(tmp_path, answers):
    with _small_disk(tmp_path, 2560) as disk:
        home = disk / "home"
        home.mkdir()
        server = program.Server(home=home, log=tmp_path / "log", volume_gib=2, volume_reserve_mib=256,
                                snapshots={"store": f"file://{tmp_path}/store"}, parameters={
            "shared_buffers": "32MB", "max_wal_size": "96MB", "min_wal_size": "32MB"}).serve()
        try:
            root = clients.root_of(server, answers, program.ACCOUNT)
            cluster = clusters.running(root, "full")
            cluster.execute("create table kept (id int, filler text)")
            cluster.execute("create table other as select id from generate_series(1, 1000) id")
            started = cluster.execute("select pg_postmaster_start_time()")
            _fill(disk / "filler", 500 * MIB)
            _until_storage_full(server, cluster)
            assert cluster.describe()["Status"] == "available"
            assert cluster.execute("select count(*) from other") == [(1000,)]
            rows = cluster.execute("select count(*) from kept")
            assert rows[0][0] > 0
            # A snapshot is taken, and brought away, all the same.
            clusters.snapshot(root, "full", "of-full")
            assert list((tmp_path / "store").glob("manifests/snap-*"))
            # Not one write to the host has failed, and something is left of the reserve.
            assert _free(disk) > 64 * MIB

            (disk / "filler").unlink()
            waiting.until(lambda: _is(cluster, "available"), "the status available")
            waiting.until(lambda: _insert(cluster), "space for another row")
            assert cluster.execute("select count(*) - 1 from kept") == rows
            told = _events(cluster)
            assert "Allocated storage has been exhausted. Allocate additional storage to resolve." in told
            assert "There is storage for the DB instance again." in told

            # Deleted data gives its space back, too.
            _fill(disk / "filler", 500 * MIB)
            _until_storage_full(server, cluster)
            root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="of-full")  # it holds rows as well
            cluster.execute("drop table kept")
            waiting.until(lambda: _is(cluster, "available") and _done(cluster, "create table kept (id int, filler text)"),
                          "the space of the rows", seconds=120)
            waiting.until(lambda: _insert(cluster), "space for more rows")
            assert cluster.execute("select pg_postmaster_start_time()") == started, "the database never went down"
        finally:
            server.close()


def _flip_bytes(home, volume):
    """Damages a run of records in the middle of every segment of a volume that was written so far."""
    for segment in pathlib.Path(home, "volumes", volume, "segments").iterdir():
        with open(segment, "r+b") as file:
            for at in range(24 * MIB, min(26 * MIB, segment.stat().st_size), 4096):
                file.seek(at)
                [byte] = file.read(1)
                file.seek(at)
                file.write(bytes([byte ^ 1]))


def test_damage_is_an_error_an_event_and_a_number_and_harms_nobody_else(own_server, own_root):
    cluster = clusters.running(own_root, "damaged")
    other = clusters.running(own_root, "healthy")
    cluster.execute("create table kept as select id, repeat(md5(id::text), 30) as filler "
                    "from generate_series(1, 60000) id")
    other.execute("create table kept as select 1 as id")
    _stopped(cluster)
    _flip_bytes(own_server.home, _volume(own_server, cluster)["volume"])
    _started(cluster)
    cluster.wait()
    with pytest.raises(psycopg.Error):
        cluster.execute("select sum(length(filler)) from kept")
    found = waiting.until(lambda: [event for event in _events(cluster) if "Its volume is damaged." in event],
                          "an event about the damage")
    waiting.until(lambda: _number(own_server, "volume_authentication_failures_total", cluster), "the metric")
    assert len(found) == len(set(found)) <= 100
    assert _volume(own_server, cluster)["open"]["damage"]
    assert _number(own_server, "volume_authentication_failures_total", other) == 0
    assert not [event for event in _events(other) if "damaged" in event]
    assert other.execute("select id from kept") == [(1,)]


def test_the_volumes_of_running_clusters_can_be_looked_at(server, orders):
    told = _volume(server, orders)
    assert told["files"]["sizeBytes"] == 4 << 30 and told["files"]["keyGenerations"]
    assert 0 < told["files"]["storedBytes"] < told["files"]["sizeBytes"]
    assert told["open"]["instance"] == orders.instance and told["open"]["damage"] == []
    assert told["anchor"]["epoch"] > 0 and told["anchor"]["sequence"] <= told["open"]["counters"]["sequence"]
    text = server.run("volume", "status").stdout
    assert f"{orders.name}  {told['volume']}  available\n" in text and "  size      4.0 GiB\n" in text
    for name in ("volume_size_bytes", "volume_segment_bytes", "volume_sequence", "volume_anchor_sequence",
                 "volume_groups_total", "volume_flushes_total"):
        assert waiting.until(lambda: _number(server, name, orders), name) > 0
    for name in ("volume_live_bytes", "volume_pending_bytes", "volume_full", "volume_stuck_segments",
                 "volume_damaged_places", "volume_written_bytes_total", "volume_checkpoints_total",
                 "volume_cleaned_bytes_total", "volume_freed_segments_total",
                 "volume_authentication_failures_total"):
        assert _number(server, name, orders) >= 0
