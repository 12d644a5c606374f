"""When the key of a database goes away: S13 to S18, A11, A12, A15, X10 and R4 of the coverage table."""

import psycopg
import pytest

from harness import clients, clusters, program, waiting
from harness.clients import allow, document
from harness.faults import refused
from harness.program import ACCOUNT

RECOVERABLE = "inaccessible-encryption-credentials-recoverable"
TERMINAL = "inaccessible-encryption-credentials"


def _fill(cluster, rows=100):
    cluster.execute(f"create table kept as select id, 'row ' || id as text from generate_series(1, {rows}) id")


def _rows(cluster):
    return cluster.execute("select count(*), max(text) from kept")


def _traces(server, before):
    """What a locked database must not leave: processes of postgres, mounts, loop devices."""
    return (set(server.postgres_processes()) - before["postgres"], set(server.mounts()) - before["mounts"],
            set(server.loop_devices()) - before["loops"])


@pytest.fixture
def before(server, orders):
    """What runs for the shared cluster, before the test's own cluster is made."""
    return {"postgres": set(server.postgres_processes()), "mounts": set(server.mounts()),
            "loops": set(server.loop_devices())}


@pytest.fixture
def sealed(before, root, key, name):
    """A running cluster with rows under a key of its own, of the root user."""
    cluster = clusters.running(root, name, KmsKeyId=key["Arn"])
    _fill(cluster)
    yield cluster
    root.kms.enable_key(KeyId=key["KeyId"])
    cluster.delete()


def test_s13_s15_disabling_the_key_shuts_the_database_at_once(server, root, key, sealed, before):
    assert all(_traces(server, before))
    with sealed.connect() as held:
        root.kms.disable_key(KeyId=key["KeyId"])
        waiting.until(sealed.refuses_connections, "connections to be refused", pause=0.05)
        waiting.until(lambda: not any(_traces(server, before)), "postgres, mount and loop device to be gone",
                      pause=0.05)
        with pytest.raises(psycopg.OperationalError):
            held.execute("select 1")
    sealed.wait(RECOVERABLE)
    events = root.rds.describe_events(SourceType="db-instance", SourceIdentifier=sealed.instance)["Events"]
    text = ("Amazon RDS has been unable to access the KMS encryption key for database instance "
            f"{sealed.instance}. This database will be placed into an inaccessible state.")
    assert any(text in event["Message"] for event in events)


def test_what_was_committed_a_moment_before_the_key_went_is_there(own_server, own_root):
    key = own_root.kms.create_key()["KeyMetadata"]["Arn"]
    cluster = clusters.running(own_root, "new", KmsKeyId=key)
    cluster.execute("create table kept as select 7 as id")
    own_root.kms.disable_key(KeyId=key)
    waiting.until(cluster.refuses_connections, "the database to be shut")
    own_root.kms.enable_key(KeyId=key)
    waiting.until(lambda: cluster.describe()["Status"] == RECOVERABLE, "the cluster to say so")
    own_root.rds.start_db_cluster(DBClusterIdentifier="new")
    cluster.wait()
    assert cluster.execute("select id from kept") == [(7,)]


@pytest.mark.parametrize("how", ["disable_key", "schedule_key_deletion"])
def test_s14_a_start_without_the_key_fails_at_once(root, key, sealed, how):
    root.rds.stop_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait("stopped")
    getattr(root.kms, how)(KeyId=key["KeyId"])
    with refused("KMSKeyNotAccessibleFault"):
        root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    assert sealed.refuses_connections()
    if how == "schedule_key_deletion":
        root.kms.cancel_key_deletion(KeyId=key["KeyId"])


def test_s14_a_revoked_grant_is_noticed_by_the_next_use(root, key, sealed):
    for grant in root.kms.list_grants(KeyId=key["KeyId"])["Grants"]:
        root.kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])
    sealed.wait(RECOVERABLE)
    assert sealed.refuses_connections()
    root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)  # makes new grants, as its caller
    sealed.wait()
    assert _rows(sealed) == [(100, "row 99")]


def test_s14_a_deny_in_the_key_policy_is_noticed(root, key, sealed):
    own = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    denied = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(own, denied))
    sealed.wait(RECOVERABLE)
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(own))
    root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait()
    assert _rows(sealed) == [(100, "row 99")]


def test_c11_scheduling_the_deletion_of_the_key_shuts_the_database(root, key, sealed):
    root.kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    sealed.wait(RECOVERABLE)
    root.kms.cancel_key_deletion(KeyId=key["KeyId"])
    with refused("KMSKeyNotAccessibleFault"):  # cancelled, the key is still disabled
        root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    root.kms.enable_key(KeyId=key["KeyId"])
    root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait()


def test_a11_a_recoverable_cluster_starts_once_the_key_works(root, key, sealed):
    root.kms.disable_key(KeyId=key["KeyId"])
    sealed.wait(RECOVERABLE)
    calls = [
        ("InvalidDBClusterStateFault", lambda: root.rds.stop_db_cluster(DBClusterIdentifier=sealed.name)),
        ("InvalidDBInstanceState", lambda: root.rds.reboot_db_instance(DBInstanceIdentifier=sealed.instance)),
        ("InvalidDBClusterStateFault", lambda: clusters.create_instance(root, sealed.name, f"{sealed.name}-2")),
        ("InvalidDBClusterStateFault", lambda: root.rds.create_db_cluster_snapshot(
            DBClusterIdentifier=sealed.name, DBClusterSnapshotIdentifier=f"{sealed.name}-none")),
        ("KMSKeyNotAccessibleFault", lambda: root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)),
    ]
    for code, call in calls:
        with refused(code):
            call()
    sealed.wait(RECOVERABLE)
    root.kms.enable_key(KeyId=key["KeyId"])
    assert sealed.describe()["Status"] == RECOVERABLE, "nothing starts by itself"
    root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait()
    assert _rows(sealed) == [(100, "row 99")]
    told = " ".join(event["Message"] for event in root.rds.describe_events(
        SourceType="db-instance", SourceIdentifier=sealed.instance)["Events"])
    assert f"can now successfully access the KMS encryption key for database instance {sealed.instance}" in told


def test_s17_s18_a_restore_needs_the_key_and_brings_the_data_back(root, key, sealed, name):
    clusters.snapshot(root, sealed.name, f"{name}-kept")
    root.kms.disable_key(KeyId=key["KeyId"])
    with refused("KMSKeyNotAccessibleFault"):
        clusters.restore(root, f"{name}-two", f"{name}-kept")
    sealed.wait(RECOVERABLE)
    with refused("KMSKeyNotAccessibleFault"):
        clusters.restore(root, f"{name}-two", f"{name}-kept")
    assert f"{name}-two" not in clusters.cluster_names(root)
    root.kms.enable_key(KeyId=key["KeyId"])
    clusters.restore(root, f"{name}-two", f"{name}-kept")
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == [(100, "row 99")]
    restored.delete()
    root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=f"{name}-kept")


def test_a15_a_key_that_is_disabled_shuts_every_cluster_under_it_and_no_other(root, key, sealed, orders, name):
    second = clusters.running(root, f"{name}-second", KmsKeyId=key["Arn"])
    root.kms.disable_key(KeyId=key["KeyId"])
    for cluster in (sealed, second):
        cluster.wait(RECOVERABLE)
        assert cluster.refuses_connections()
    assert orders.execute("select 1") == [(1,)]
    root.kms.enable_key(KeyId=key["KeyId"])
    second.delete()


def test_x10_only_disabling_stops_the_cluster_of_another_account(root, foreign_root, key, name):
    own = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(
        own, allow("kms:*", Principal={"AWS": foreign_root.account})))
    owner = clients.user(foreign_root, f"{name}-owner", allow(["rds:*", "kms:*"]))
    cluster = clusters.running(owner, name, KmsKeyId=key["Arn"])
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(own))
    owner.rds.reboot_db_instance(DBInstanceIdentifier=cluster.instance)
    cluster.wait()
    assert cluster.execute("select 1") == [(1,)]
    root.kms.disable_key(KeyId=key["KeyId"])
    cluster.wait(RECOVERABLE)
    cluster.delete()


def test_r04_rotation_changes_nothing_for_clusters_and_snapshots(root, key, sealed, name):
    clusters.snapshot(root, sealed.name, f"{name}-before")
    root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert _rows(sealed) == [(100, "row 99")]
    root.rds.stop_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait("stopped")
    root.rds.start_db_cluster(DBClusterIdentifier=sealed.name)
    sealed.wait()
    assert _rows(sealed) == [(100, "row 99")]
    clusters.restore(root, f"{name}-two", f"{name}-before")
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == [(100, "row 99")]
    restored.delete()
    root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=f"{name}-before")


def test_s16_a12_a_terminal_cluster_never_comes_back_and_only_its_backup_does(answers):
    server = program.Server(recoverable_days=0).serve()
    root = clients.root_of(server, answers, ACCOUNT)
    key = root.kms.create_key()["KeyMetadata"]
    cluster = clusters.running(root, "lost", KmsKeyId=key["Arn"])
    _fill(cluster)
    clusters.snapshot(root, "lost", "backup")
    root.kms.disable_key(KeyId=key["KeyId"])
    cluster.wait(TERMINAL)
    root.kms.enable_key(KeyId=key["KeyId"])
    for call in (root.rds.start_db_cluster, root.rds.stop_db_cluster):
        with refused("InvalidDBClusterStateFault"):
            call(DBClusterIdentifier="lost")
    with refused("InvalidDBClusterStateFault"):
        root.rds.create_db_cluster_snapshot(DBClusterIdentifier="lost", DBClusterSnapshotIdentifier="too-late")
    assert cluster.describe()["Status"] == TERMINAL
    clusters.restore(root, "found", "backup")
    assert _rows(clusters.with_instance(root, "found")) == [(100, "row 99")]
    cluster.delete()
    server.close()

