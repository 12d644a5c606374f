"""What the disk and the memory hold: S2, E1 and A1 of the coverage table."""

import os
import re
import secrets

import psycopg
import pytest

from harness import clients, clusters, leftovers, program, scan, volumes, waiting

# New in every run: nothing else on the machine can hold them.
MARKER = f"marker-{secrets.token_hex(12)}"
TABLE = f"table_{secrets.token_hex(12)}"
LOGGED = f"logged-{secrets.token_hex(12)}"


class Scene:
    """One server, one sealed database full of markers, one snapshot of it."""

    def __init__(self, answers):
        self.server = program.Server(key_check_seconds=2).serve()
        self.root = clients.root_of(self.server, answers, program.ACCOUNT)
        self.key = self.root.kms.create_key()["KeyMetadata"]
        self.cluster = clusters.running(self.root, "sealed", KmsKeyId=self.key["Arn"])
        with self.cluster.connect() as connection:
            connection.execute(f"create table {TABLE} as select id, '{MARKER}-' || id as text "
                               "from generate_series(1, 20000) id")
            connection.execute(f"create index on {TABLE} (text)")
            # Sorts that do not fit into memory go to temporary files; errors go to the server's log.
            connection.execute("set work_mem = '64kB'")
            connection.execute(f"select count(*) from (select text from {TABLE} order by text desc offset 1) t")
            for statement in (f"select '{LOGGED}' from no_such_table", f"copy {TABLE} from '/{LOGGED}'"):
                with pytest.raises(psycopg.Error):
                    connection.execute(statement)
            connection.execute("checkpoint")
        clusters.snapshot(self.root, "sealed", "sealed-snapshot")
        self.needles = [text.encode() for text in (MARKER, TABLE, LOGGED, clusters.PASSWORD)]

    def ours(self):
        """Every living process of ours."""
        return leftovers.processes_of(self.server.home)


@pytest.fixture(scope="module")
def scene(answers):
    made = Scene(answers)
    yield made
    made.server.close()


def test_a01_no_file_holds_what_is_in_the_database(scene):
    assert sum(path.stat().st_size for path in (scene.server.home / "volumes").rglob("*") if path.is_file()) > 1 << 20
    assert scan.files_with(scene.server.home, *scene.needles) == []
    assert scan.files_with(scene.server.log, *scene.needles) == []


def test_a01_no_file_outside_holds_it_either(scene):
    """Nothing is spilt to the places where programs put temporary files."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run"):
        recent = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names
                  if not folder.startswith(("/tmp/pytest", "/tmp/strongroom-e2e"))]
        fresh = [path for path in recent if os.path.isfile(path) and not os.path.islink(path)
                 and os.stat(path).st_mtime >= scene.server.home.stat().st_ctime and os.stat(path).st_size < 1 << 26]
        assert [path for path in fresh if scan.files_with(path, MARKER.encode(), TABLE.encode())] == []


def test_the_mount_is_seen_by_no_process_outside(scene):
    points = scene.server.mounts()
    assert points, "the instance has its volume mounted"
    assert not [point for point in points if os.path.ismount(point)], "in a namespace of its own"


def test_when_the_key_is_gone_no_process_remembers_data_or_key(scene):
    scene.cluster.execute(f"select sum(length(text)) from {TABLE}")
    in_memory = (scan.found_in(scan.memory_of(pid), MARKER.encode()) for pid in scene.server.postgres_processes())
    assert any(in_memory), "the scan finds what is in memory while the database runs"
    [instance] = scene.server.instance_processes()
    before, while_open = scene.ours(), scan.memory_of(instance)
    scene.root.kms.disable_key(KeyId=scene.key["KeyId"])
    scene.cluster.wait("inaccessible-encryption-credentials-recoverable")
    waiting.until(lambda: not scene.server.postgres_processes(), "postgres to be gone")
    assert scene.server.mounts() == {} and scene.server.loop_devices() == {}
    assert scene.server.process.pid in scene.ours() and set(scene.ours()) <= set(before)
    copies = {pid: scan.memory_of(pid) for pid in scene.ours()}
    # Only now is the key asked for: the answer itself would leave traces in the server.
    scene.root.kms.enable_key(KeyId=scene.key["KeyId"])
    [volume] = volumes.volumes(scene.server.home)
    volume_key = volumes.open_key(volume, scene.root, scene.key["Arn"])
    keys = [volume_key, *volume.epoch_keys(volume_key)]
    assert scan.found_in(while_open, *keys), "the scan finds the keys in the process that had the volume open"
    needles = [MARKER.encode(), TABLE.encode(), *(form for key in keys for form in scan.renderings(key))]
    for pid, copy in copies.items():
        assert scan.found_in(copy, *needles) == set(), leftovers.command_line(pid)
    assert scan.files_with(scene.server.home, *needles) == []


def test_s02_only_the_wrapped_volume_key_is_on_the_disk(scene):
    [volume] = volumes.volumes(scene.server.home)
    key = volumes.open_key(volume, scene.root, scene.key["Arn"])
    assert len(key) == 32 and volume.accepts(key) and volume.epochs
    needles = [form for secret in (key, *volume.epoch_keys(key)) for form in scan.renderings(secret)]
    assert scan.files_with(scene.server.home, *needles) == []
    assert scan.files_with(scene.server.log, *needles) == []


def test_e01_no_key_is_on_the_disk_but_the_root_key_in_its_file(scene):
    data_key = scene.root.kms.generate_data_key(KeyId=scene.key["Arn"], KeySpec="AES_256")["Plaintext"]
    assert scan.files_with(scene.server.home, *scan.renderings(data_key)) == []
    root_file = scene.server.home / "root.key"
    assert root_file.stat().st_mode & 0o777 == 0o600
    # What the file holds is found nowhere else, in whole lines or as bytes.
    held = root_file.read_bytes()
    parts = [part for part in [held, *held.split()] if len(part) >= 32]
    assert parts and scan.files_with(scene.server.home, *parts) == [str(root_file)]


def test_no_core_is_dumped_and_nobody_else_may_look(scene):
    for pid in [scene.server.process.pid, *scene.server.instance_processes()]:
        limits = open(f"/proc/{pid}/limits").read()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def test_the_home_is_closed_to_others(scene):
    assert scene.server.home.stat().st_mode & 0o777 == 0o700
    for name in ("root.key", "credentials"):
        assert (scene.server.home / name).stat().st_mode & 0o777 == 0o600
