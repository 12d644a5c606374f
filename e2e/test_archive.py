"""Snapshots in an object store: a directory, and S3."""

import pathlib
import shutil
import subprocess

import pytest

from harness import clients, clusters, program, s3, waiting
from harness.faults import refused

ROWS = [(number, f"row {number}") for number in range(500)]


def _fill(cluster):
    with cluster.connect() as connection:
        connection.execute("create table kept (id int primary key, text text)")
        with connection.cursor() as cursor:
            cursor.executemany("insert into kept values (%s, %s)", ROWS)


def _rows(cluster):
    return cluster.execute("select id, text from kept order by id")


def _lose_snapshots(server):
    """This machine loses the files of its snapshots."""
    lost = list(pathlib.Path(server.home, "snapshots").iterdir())
    assert lost
    for directory in lost:
        shutil.rmtree(directory)


def _take(principal, cluster, name):
    """A snapshot, not waited for."""
    principal.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=name, DBClusterIdentifier=cluster)


def _shown(principal, name):
    [shown] = principal.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)["DBClusterSnapshots"]
    return shown["Status"], shown["PercentProgress"]


def _available(principal, name):
    """Waits until a snapshot is available; its progress never goes back."""
    seen = [0]

    def there():
        status, percent = _shown(principal, name)
        assert percent >= seen[-1], f"{percent} after {seen}"
        seen.append(percent)
        return (status, percent) == ("available", 100)
    waiting.until(there, f"{name} to be available", seconds=90)


def _delete_snapshot(principal, name):
    principal.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)
    waiting.until(lambda: name not in {snapshot["DBClusterSnapshotIdentifier"] for snapshot
                                       in principal.rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]},
                  f"{name} to be gone")


class _Directory:
    """A directory as the store."""

    def __init__(self, path):
        self.path = path
        self.settings = {"store": f"file://{path}"}

    def names(self):
        found = {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}
        return {name for name in found if not name.startswith("removed/")}

    def read(self, name):
        return (self.path / name).read_bytes()

    def write(self, name, content):
        (self.path / name).write_bytes(content)

    def remove(self, name):
        (self.path / name).unlink()

    def close(self):
        pass


class _S3:
    """A bucket as the store, below a prefix."""

    def __init__(self, path):
        self.bucket = s3.Bucket()
        credentials = path.with_suffix(".credentials")
        credentials.write_text(f"[default]\naws_access_key_id = {s3.ACCESS_KEY}\naws_secret_access_key = {s3.SECRET_KEY}\n")
        credentials.chmod(0o600)
        self.settings = {"store": "s3://snapshots/of/orders", "endpoint": self.bucket.endpoint, "region": s3.REGION,
                         "credentials_file": str(credentials)}

    def names(self):
        assert all(name.startswith("of/orders/") for name in self.bucket.objects)
        found = {name.removeprefix("of/orders/") for name in self.bucket.objects}
        return {name for name in found if not name.startswith("removed/")}

    def read(self, name):
        return self.bucket.objects[f"of/orders/{name}"]

    def write(self, name, content):
        self.bucket.objects[f"of/orders/{name}"] = content

    def remove(self, name):
        del self.bucket.objects[f"of/orders/{name}"]

    def close(self):
        self.bucket.close()
        assert self.bucket.refused == []


@pytest.fixture(params=[_Directory, _S3])
def store(request, tmp_path):
    made = request.param(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def archiving(store, answers):
    """A server with a store for snapshots, and its administrator."""
    server = program.Server(snapshots=store.settings).serve()
    yield server, clients.root_of(server, answers, program.ACCOUNT)
    server.close()


def test_a_snapshot_comes_back_from_the_store_when_its_files_and_its_cluster_are_gone(archiving, store, name):
    server, root = archiving
    key = root.kms.create_key()["KeyMetadata"]
    cluster = clusters.running(root, name, KmsKeyId=key["Arn"])
    _fill(cluster)
    _take(root, name, "first")
    _available(root, "first")
    first = store.names()
    cluster.execute("insert into kept values (-1, 'later')")
    _take(root, name, "second")
    _available(root, "second")
    second = store.names() - first
    assert len([n for n in second if n.startswith("manifests/")]) == 1
    assert any(n.startswith("segments/") for n in second)
    cluster.delete()
    _lose_snapshots(server)

    # Restarted in the middle of it, too.
    clusters.restore(root, f"{name}-two", "first")
    server.kill()
    server.serve()
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == ROWS
    restored.delete()
    _delete_snapshot(root, "second")
    waiting.until(lambda: store.names() == first, "what only the second needed to be collected")
    _delete_snapshot(root, "first")
    waiting.until(lambda: store.names() == {"owner"}, "everything to be collected")


def test_an_upload_goes_on_when_the_store_is_back_and_the_server_too(answers, tmp_path, name):
    store = _S3(tmp_path / "store")
    server = program.Server(snapshots=store.settings).serve()
    try:
        root = clients.root_of(server, answers, program.ACCOUNT)
        cluster = clusters.running(root, name)
        _fill(cluster)
        store.bucket.broken = True
        _take(root, name, "kept")
        waiting.until(lambda: list(pathlib.Path(server.home, "snapshots").glob("*/header")), "its files to be here")
        assert _shown(root, "kept")[0] == "creating"
        # The cluster does not wait for the store.
        cluster.delete()
        server.kill()
        server.serve()
        assert _shown(root, "kept")[0] == "creating"
        store.bucket.broken = False
        _available(root, "kept")
        assert any(name.startswith("manifests/snap-") for name in store.names())
    finally:
        server.close()
        store.close()


def _refused_fetches(server):
    return sum(value for (metric, _), value in server.metrics().items()
               if metric == "strongroom_snapshot_fetches_refused_total")


def _told(principal, snapshot):
    found = principal.rds.describe_events(SourceType="db-cluster-snapshot", SourceIdentifier=snapshot)["Events"]
    return [event["Message"] for event in found if "cannot be restored from the object store" in event["Message"]]


def test_what_the_store_gives_back_wrongly_is_refused_told_and_never_restored(archiving, store, name):
    server, root = archiving
    cluster = clusters.running(root, name)
    _fill(cluster)
    _take(root, name, "kept")
    _available(root, "kept")
    cluster.delete()
    _lose_snapshots(server)
    [manifest] = [n for n in store.names() if n.startswith("manifests/")]
    segments = sorted(n for n in store.names() if n.startswith("segments/"))
    first, another = segments[0], segments[-1]
    content = {n: store.read(n) for n in (first, another, manifest)}
    flipped = bytearray(content[first])
    flipped[len(flipped) // 2] ^= 1

    restored = None
    for wrong, spoilt in [(first, bytes(flipped)), (first, content[first][:-1]), (first, content[first] + b"x"),
                          (first, content[another] if another != first else b""), (first, None),
                          (manifest, content[first][:4096]), (manifest, None)]:
        if spoilt is None:
            store.remove(wrong)
        else:
            store.write(wrong, spoilt)
        if restored is None:
            restored = f"{name}-two"
            clusters.restore(root, restored, "kept")
        # One that began before may still have met what was there then; the one after it has not.
        before = _refused_fetches(server)
        waiting.until(lambda: _refused_fetches(server) > before + 1, f"{wrong} to be refused", seconds=120)
        assert not list(pathlib.Path(server.home, "volumes").iterdir()), "nothing was made of it"
        # What attempts fetched by half does not gather.
        assert len(list(pathlib.Path(server.home, "snapshots").rglob("*.part-*"))) <= len(segments)
        if wrong == first and spoilt is None:
            # Told each once, however often it is tried.
            assert len(_told(root, "kept")) == len(set(_told(root, "kept"))) == 2, _told(root, "kept")
    # Something is wrong at every moment up to here: an attempt would not miss the one at which all is right.
    store.write(first, content[first])
    store.write(manifest, content[manifest])
    assert any("The manifest of snap-" in told for told in _told(root, "kept"))
    # Whoever keeps the store has put it right.
    waiting.until(lambda: clusters.describe(root, restored)["Status"] == "available", "it to be restored", seconds=120)
    again = clusters.with_instance(root, restored)
    assert _rows(again) == ROWS


def test_a_snapshot_that_was_taken_before_there_was_a_store_comes_there_later(store, answers, name):
    server = program.Server().serve()
    try:
        root = clients.root_of(server, answers, program.ACCOUNT)
        cluster = clusters.running(root, name)
        _fill(cluster)
        clusters.snapshot(root, name, "early")
        cluster.delete()
        server.stop()
        server.configure({}, store.settings)
        server.serve()
        root = clients.root_of(server, answers, program.ACCOUNT)
        waiting.until(lambda: any(n.startswith("manifests/") for n in store.names()), "the snapshot in the store")
        assert _shown(root, "early") == ("available", 100)
        _lose_snapshots(server)
        clusters.restore(root, f"{name}-two", "early")
        assert _rows(clusters.with_instance(root, f"{name}-two")) == ROWS
    finally:
        server.close()


def test_a_store_that_is_full_takes_a_snapshot_once_it_has_space(tmp_path, answers, name):
    path = tmp_path / "full"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], check=True)
    server = None
    try:
        store = _Directory(path)
        server = program.Server(snapshots=store.settings).serve()
        root = clients.root_of(server, answers, program.ACCOUNT)
        cluster = clusters.running(root, name)
        _fill(cluster)
        _take(root, name, "kept")
        waiting.until(lambda: "No space left" in server.log_tail(), "the store to be full")
        assert _shown(root, "kept")[0] == "creating"
        assert _rows(cluster) == ROWS, "the database does not care"
        assert not [n for n in store.names() if n.startswith("manifests/")]
        subprocess.run(["mount", "-o", "remount,size=1g", path], check=True)
        _available(root, "kept")
        assert not [n for n in store.names() if "#" in n], "nothing is there by half"
        cluster.delete()
        _lose_snapshots(server)
        clusters.restore(root, f"{name}-two", "kept")
        assert _rows(clusters.with_instance(root, f"{name}-two")) == ROWS
    finally:
        if server is not None:
            server.close()
        subprocess.run(["umount", path], check=True)


def test_nothing_readable_and_no_name_reaches_the_store(archiving, store, name):
    _, root = archiving
    cluster = clusters.running(root, name, DatabaseName="tellall")
    _fill(cluster)
    _take(root, name, "speaking-name")
    _available(root, "speaking-name")
    content = b"".join(store.bucket.objects.values()) if isinstance(store, _S3) else b"".join(
        (store.path / file).read_bytes() for file in store.names())
    for word in (b"row 7", b"tellall", b"speaking-name", name.encode() + b"-", b"SRVOLUME", b"aws:rds:db-id"):
        assert word not in content, word


def test_a_store_that_cannot_be_one_keeps_the_server_from_starting(tmp_path):
    exposed = tmp_path / "credentials"
    exposed.write_text("[default]\n")
    exposed.chmod(0o644)
    for settings, told in [
        ({"store": "ftp://somewhere"}, "snapshots.store"),
        ({"store": "s3://bucket"}, "region"),
        ({"store": "s3://bucket", "region": "eu-west-1", "credentials_file": str(exposed)}, "chmod 600"),
        ({"store": "s3://bucket", "region": "eu-west-1", "endpoint": "http://192.0.2.1"}, "TLS"),
    ]:
        server = program.Server(snapshots=settings)
        ended = server.run("serve", check=False)
        assert ended.returncode == 64 and told in ended.stderr, ended
        server.close()


def test_a_copy_under_another_key_outlives_the_first_key(archiving, store, name):
    server, root = archiving
    first, other = (root.kms.create_key()["KeyMetadata"] for _ in range(2))
    cluster = clusters.running(root, name, KmsKeyId=first["Arn"])
    _fill(cluster)
    _take(root, name, "nightly")
    _available(root, "nightly")
    copied = root.aws("rds", "copy-db-cluster-snapshot", "--source-db-cluster-snapshot-identifier", "nightly",
                      "--target-db-cluster-snapshot-identifier", "moved", "--kms-key-id", other["KeyId"],
                      "--copy-tags")["DBClusterSnapshot"]
    assert (copied["KmsKeyId"], copied["StorageEncrypted"]) == (other["Arn"], True)
    assert copied["SourceDBClusterSnapshotArn"].endswith(":cluster-snapshot:nightly")
    root.aws("rds", "wait", "db-cluster-snapshot-available", "--db-cluster-snapshot-identifier", "moved")
    _available(root, "moved")
    _lose_snapshots(server)
    root.kms.disable_key(KeyId=first["KeyId"])
    cluster.wait("inaccessible-encryption-credentials-recoverable")
    with refused("KMSKeyNotAccessibleFault"):
        clusters.restore(root, f"{name}-no", "nightly")
    clusters.restore(root, f"{name}-two", "moved")
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == ROWS
    restored.delete()
    cluster.delete()
