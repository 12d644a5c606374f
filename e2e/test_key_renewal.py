"""`strongroom volume renew-key`: a volume gets another key while its database works."""

import json

from harness import bank, clients, clusters, program, trail, volumes, waiting


def _status(server, cluster):
    [told] = json.loads(server.run("volume", "status", cluster.name, "--json").stdout)
    return told


def _is_renewed(server, cluster):
    told = _status(server, cluster)
    return told["keyRenewedPercent"] is None and len(told["files"]["keyGenerations"]) == 1


def _events(cluster):
    found = cluster.principal.rds.describe_events(SourceType="db-cluster", SourceIdentifier=cluster.name)
    return [event["Message"] for event in found["Events"] if "volume key" in event["Message"]]


def _acknowledged(cluster):
    return {row for (row,) in cluster.execute("select id from acknowledged")}


def test_a_key_is_renewed_under_load_and_while_it_is_taken_away(own_server, own_root, name):
    server, root = own_server, own_root
    key, other = (root.kms.create_key()["KeyMetadata"] for _ in range(2))
    cluster = clusters.running(root, name, KmsKeyId=key["Arn"])
    load = bank.Bank(cluster, scale=3)
    [before] = volumes.volumes(server.home)
    old_key = volumes.open_key(before, root, key["Arn"])
    load.open()
    try:
        done = server.run("volume", "renew-key", name, "--reason", "once a year")
        assert "is being renewed" in done.stdout
        waiting.until(lambda: max(_status(server, cluster)["files"]["keyGenerations"]) == 2, "the new key in the header")
        snapshot = f"{name}-meanwhile"
        root.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot, DBClusterIdentifier=name)
        waiting.until(lambda: root.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot)
                      ["DBClusterSnapshots"][0]["Status"] == "available", "the snapshot")
        root.kms.disable_key(KeyId=key["KeyId"])
        waiting.until(cluster.refuses_connections, "the cluster to be locked")
    finally:
        load.close()
    cluster.wait("inaccessible-encryption-credentials-recoverable")
    refused = server.run("volume", "renew-key", name, check=False)
    assert refused.returncode == 2 and "has no access to its KMS key" in refused.stderr
    root.kms.enable_key(KeyId=key["KeyId"])
    root.rds.start_db_cluster(DBClusterIdentifier=name)
    cluster.wait()
    load.check(cluster.execute(bank.SUMS)[0], _acknowledged(cluster))
    load.open()
    try:
        waiting.until(lambda: _is_renewed(server, cluster), "the renewal to end", seconds=120)
    finally:
        load.close()
    load.check(cluster.execute(bank.SUMS)[0], _acknowledged(cluster))
    waiting.until(lambda: _events(cluster) == ["The volume key of the DB cluster is being renewed.",
                                               "The volume key of the DB cluster has been renewed."], "the events")
    [after] = volumes.volumes(server.home)
    new_key = volumes.open_key(after, root, key["Arn"])
    assert new_key != old_key and after.accepts(new_key) and not after.accepts(old_key)
    metrics = {labels: value for (metric, labels), value in server.metrics().items()
               if metric == "strongroom_volume_key_generations"}
    assert set(metrics.values()) == {1}
    [record] = trail.records(root, "EventName", "RenewVolumeKey")
    details = record["serviceEventDetails"]
    assert (details["reason"], details["dBClusterIdentifier"]) == ("once a year", name)

    # What was taken meanwhile is restored: with its keys, and under another KMS key with one of its own.
    for restored, more in ((f"{name}-same", {}), (f"{name}-moved", {"KmsKeyId": other["Arn"]})):
        clusters.restore(root, restored, snapshot, **more)
        copy = clusters.with_instance(root, restored)
        assert len(set(copy.execute(bank.SUMS)[0])) == 1
        waiting.until(lambda copy=copy: _is_renewed(server, copy), f"{restored} to need one key alone", seconds=120)
        checked = server.run("volume", "check", restored, "--output", "json")
        assert json.loads(checked.stdout)["damage"] == 0
    assert "is renewed" in server.run("volume", "renew-key", name, "--wait").stdout
    cluster.delete()


def test_a_command_without_a_server_leaves_the_renewal_to_the_next_one(own_server, own_root, answers, name):
    cluster = clusters.running(own_root, name)
    own_root.rds.stop_db_cluster(DBClusterIdentifier=name)
    cluster.wait("stopped")
    own_server.stop()
    assert "when its database runs again" in own_server.run("volume", "renew-key", name).stdout
    told = own_server.run("volume", "status", name).stdout
    assert "0 % sealed under the new one" in told
    own_server.serve()
    root = clients.root_of(own_server, answers, program.ACCOUNT)
    root.rds.start_db_cluster(DBClusterIdentifier=name)
    cluster = clusters.Cluster(root, name, cluster.instance).wait()
    waiting.until(lambda: _is_renewed(own_server, cluster), "the renewal to end", seconds=120)
    assert cluster.execute("select 1") == [(1,)]
