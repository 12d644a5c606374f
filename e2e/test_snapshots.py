"""Snapshots and restores: E2, A6, A7 and S22 of the coverage table."""

import pytest

from harness import clients, clusters, waiting
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT, REGION

ROWS = [(number, f"row {number}") for number in range(500)]


def _fill(cluster):
    with cluster.connect() as connection:
        connection.execute("create table kept (id int primary key, text text)")
        with connection.cursor() as cursor:
            cursor.executemany("insert into kept values (%s, %s)", ROWS)


def _rows(cluster):
    return cluster.execute("select id, text from kept order by id")


def _gone(principal, name):
    waiting.until(lambda: name not in clusters.cluster_names(principal), f"{name} to be gone")


def test_a06_a_snapshot_has_the_key_of_its_cluster(dba, orders, orders_key, name):
    shown = clusters.snapshot(dba, "orders", name)
    assert (shown["KmsKeyId"], shown["StorageEncrypted"]) == (orders_key["Arn"], True)
    assert shown["DBClusterSnapshotArn"] == f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster-snapshot:{name}"
    assert (shown["SnapshotType"], shown["PercentProgress"]) == ("manual", 100)
    with refused("DBClusterSnapshotAlreadyExistsFault"):
        dba.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=name, DBClusterIdentifier="orders")
    dba.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)

    def is_gone():
        left = dba.rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]
        return name not in {snapshot["DBClusterSnapshotIdentifier"] for snapshot in left}
    waiting.until(is_gone, "the snapshot to be gone")
    with refused("DBClusterSnapshotNotFoundFault", f"DBClusterSnapshot {name} not found."):
        dba.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)


def test_e02_a_snapshot_and_its_key_are_enough_to_have_the_data_back(root, key, name):
    cluster = clusters.running(root, name, KmsKeyId=key["Arn"])
    _fill(cluster)
    clusters.snapshot(root, name, f"{name}-kept")
    root.rds.copy_db_cluster_snapshot(SourceDBClusterSnapshotIdentifier=f"{name}-kept",
                                      TargetDBClusterSnapshotIdentifier=f"{name}-copy")
    root.rds.get_waiter("db_cluster_snapshot_available").wait(
        DBClusterSnapshotIdentifier=f"{name}-copy", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    cluster.execute("drop table kept")
    clusters.restore(root, f"{name}-two", f"{name}-kept")
    cluster.delete()
    assert len(root.kms.list_grants(KeyId=key["KeyId"])["Grants"]) >= 1, "the snapshot's own grant outlives the cluster"
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == ROWS
    assert restored.describe()["KmsKeyId"] == key["Arn"]
    restored.execute("insert into kept values (-1, 'written after the restore')")
    clusters.restore(root, f"{name}-three", f"{name}-copy")
    again = clusters.with_instance(root, f"{name}-three")
    assert _rows(again) == ROWS, "a restored cluster writes into a volume of its own"
    for one in (restored, again):
        one.delete()
    for snapshot in (f"{name}-kept", f"{name}-copy"):
        root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot)
    waiting.until(lambda: not root.kms.list_grants(KeyId=key["KeyId"])["Grants"], "every grant to be retired")


def test_a07_unencrypted_data_is_encrypted_by_restoring_it_under_a_key(root, key, name):
    cluster = clusters.running(root, name, StorageEncrypted=False)
    _fill(cluster)
    shown = clusters.snapshot(root, name, f"{name}-plain")
    assert shown["StorageEncrypted"] is False and "KmsKeyId" not in shown
    cluster.delete()
    restored = clusters.restore(root, f"{name}-sealed", f"{name}-plain", KmsKeyId=key["Arn"])
    assert (restored["StorageEncrypted"], restored["KmsKeyId"]) == (True, key["Arn"])
    sealed = clusters.with_instance(root, f"{name}-sealed")
    assert _rows(sealed) == ROWS
    sealed.delete()
    root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=f"{name}-plain")


def test_s22_the_user_needs_no_other_permission_on_the_key(root, key, user, name):
    owner = user(allow("rds:*"), allow(["kms:CreateGrant", "kms:DescribeKey"], key["Arn"]))
    cluster = clusters.running(owner, name, KmsKeyId=key["Arn"])
    _fill(cluster)
    owner.rds.stop_db_cluster(DBClusterIdentifier=name)
    cluster.wait("stopped")
    owner.rds.start_db_cluster(DBClusterIdentifier=name)
    cluster.wait()
    clusters.snapshot(owner, name, f"{name}-kept")
    assert _rows(cluster) == ROWS
    clusters.restore(owner, f"{name}-two", f"{name}-kept")
    restored = clusters.with_instance(owner, f"{name}-two")
    assert _rows(restored) == ROWS
    for one in (cluster, restored):
        one.delete()
    owner.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=f"{name}-kept")


def test_a_cluster_can_leave_a_last_snapshot(root, name):
    cluster = clusters.running(root, name)
    _fill(cluster)
    root.rds.delete_db_instance(DBInstanceIdentifier=cluster.instance)
    waiting.until(lambda: not clusters.describe(root, name)["DBClusterMembers"], "the instance to be gone")
    for wrong in ({}, {"SkipFinalSnapshot": True, "FinalDBSnapshotIdentifier": f"{name}-last"}):
        with refused("InvalidParameterCombination"):
            root.rds.delete_db_cluster(DBClusterIdentifier=name, **wrong)
    root.rds.delete_db_cluster(DBClusterIdentifier=name, FinalDBSnapshotIdentifier=f"{name}-last")
    _gone(root, name)
    [shown] = root.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=f"{name}-last")["DBClusterSnapshots"]
    assert shown["Status"] == "available"
    clusters.restore(root, f"{name}-two", f"{name}-last")
    restored = clusters.with_instance(root, f"{name}-two")
    assert _rows(restored) == ROWS
    restored.delete()
    root.rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=f"{name}-last")


@pytest.mark.parametrize("identifier", ["no-such-snapshot", f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster-snapshot:none"])
def test_a_snapshot_that_does_not_exist_is_not_restored(root, name, identifier):
    with refused("DBClusterSnapshotNotFoundFault"):
        clusters.restore(root, name, identifier)
    assert name not in clusters.cluster_names(root)


def test_the_command_line_waits_for_clusters_and_snapshots(root, name):
    arguments = ["--db-cluster-identifier", name]
    made = root.aws("rds", "create-db-cluster", *arguments, "--engine", clusters.ENGINE, "--storage-encrypted",
                    "--master-username", clusters.USERNAME, "--master-user-password", clusters.PASSWORD)["DBCluster"]
    assert made["Status"] == "creating"
    root.aws("rds", "wait", "db-cluster-available", *arguments)
    root.aws("rds", "create-db-instance", *arguments, "--db-instance-identifier", f"{name}-1", "--engine",
             clusters.ENGINE, "--db-instance-class", "db.r6g.large")
    waiting.until(lambda: clusters.Cluster(root, name, f"{name}-1").describe_instance()["DBInstanceStatus"] ==
                  "available", "the instance to be available", seconds=90)
    root.aws("rds", "wait", "db-instance-available", "--db-instance-identifier", f"{name}-1")
    cluster = clusters.Cluster(root, name, f"{name}-1")
    assert cluster.psql("select 1") == "1"
    cluster.delete()
    root.aws("rds", "wait", "db-cluster-deleted", *arguments)
    root.aws("rds", "wait", "db-instance-deleted", "--db-instance-identifier", f"{name}-1")


def test_a_stranger_has_no_part_in_clusters_or_snapshots(foreign_root, orders):
    assert foreign_root.rds.describe_db_clusters()["DBClusters"] == []
    with refused("DBClusterNotFoundFault"):
        clusters.describe(foreign_root, "orders")
    arn = orders.describe()["DBClusterArn"]
    stranger = clients.user(foreign_root, "stranger", allow("rds:*"))
    for call in (lambda: stranger.rds.describe_db_clusters(DBClusterIdentifier=arn),
                 lambda: stranger.rds.list_tags_for_resource(ResourceName=arn)):
        with refused() as refusal:
            call()
        assert refusal.code in ("AccessDenied", "DBClusterNotFoundFault", "InvalidParameterValue")
