"""Clusters as their users make and reach them."""

import contextlib
import dataclasses
import os
import shutil
import subprocess

import psycopg

from . import waiting

ENGINE = "aurora-postgresql"
USERNAME = "admin1"
PASSWORD = "Ocean-Drift-7415"


@dataclasses.dataclass
class Cluster:
    """A cluster with one instance, and who made it."""

    principal: object
    name: str
    instance: str

    def describe(self):
        return describe(self.principal, self.name)

    def describe_instance(self):
        found = self.principal.rds.describe_db_instances(DBInstanceIdentifier=self.instance)
        return found["DBInstances"][0]

    @contextlib.contextmanager
    def connect(self):
        """A connection through the cluster endpoint."""
        cluster = self.describe()
        with psycopg.connect(host=cluster["Endpoint"], port=cluster["Port"], user=USERNAME, password=PASSWORD,
                             dbname=cluster.get("DatabaseName", "postgres"), autocommit=True, connect_timeout=10,
                             sslmode="prefer") as connection:
            yield connection

    def execute(self, statement, parameters=None):
        """One statement; its rows, if it has any."""
        with self.connect() as connection:
            done = connection.execute(statement, parameters)
            return done.fetchall() if done.description else None

    def psql(self, command):
        """The same as a person does it: `psql` through the endpoint."""
        cluster = self.describe()
        environment = os.environ | {"PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "10"}
        done = subprocess.run(
            [shutil.which("psql"), "-h", cluster["Endpoint"], "-p", str(cluster["Port"]), "-U", USERNAME, "-d",
             cluster.get("DatabaseName", "postgres"), "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", command],
            env=environment, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refuses_connections(self):
        """Whether nobody gets in."""
        try:
            with self.connect():
                return False
        except psycopg.OperationalError:
            return True

    def wait(self, status="available", seconds=90):
        """Until cluster and instance have a status; one that is available also answers. Right after a crash the
        status may still be the one from before it."""
        def reached():
            cluster, instance = self.describe(), self.describe_instance()
            seen.append((cluster["Status"], instance["DBInstanceStatus"]))
            return set(seen[-1]) == {status} and (status != "available" or not self.refuses_connections())
        seen = []
        waiting.until(reached, _Last(self.name, status, seen), seconds, pause=0.2)
        return self

    def delete(self):
        """Instance and cluster, until both are gone."""
        self.principal.rds.delete_db_instance(DBInstanceIdentifier=self.instance)
        self.principal.rds.delete_db_cluster(DBClusterIdentifier=self.name, SkipFinalSnapshot=True)
        waiting.until(lambda: self.name not in cluster_names(self.principal), f"{self.name} to be gone")


class _Last:
    def __init__(self, name, status, seen):
        self.name, self.status, self.seen = name, status, seen

    def __str__(self):
        return f"{self.name} to be {self.status}; last seen {self.seen[-1]}"


def describe(principal, name):
    """A cluster as DescribeDBClusters shows it."""
    return principal.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]


def cluster_names(principal):
    """The clusters of the caller's account."""
    return {cluster["DBClusterIdentifier"] for cluster in principal.rds.describe_db_clusters()["DBClusters"]}


def create_cluster(principal, name, **more):
    """CreateDBCluster with the usual arguments; the answer."""
    given = {"Engine": ENGINE, "MasterUsername": USERNAME, "MasterUserPassword": PASSWORD, "StorageEncrypted": True}
    return principal.rds.create_db_cluster(DBClusterIdentifier=name, **given | more)["DBCluster"]


def create_instance(principal, cluster, name=None):
    """CreateDBInstance for a cluster; the answer."""
    return principal.rds.create_db_instance(
        DBInstanceIdentifier=name or f"{cluster}-1", DBInstanceClass="db.r6g.large", Engine=ENGINE,
        DBClusterIdentifier=cluster)["DBInstance"]


def running(principal, name, **more):
    """A cluster with an instance, both available."""
    create_cluster(principal, name, **more)
    return with_instance(principal, name)


def with_instance(principal, name):
    """Adds an instance to a cluster that has none, and waits for both."""
    create_instance(principal, name)
    return Cluster(principal, name, f"{name}-1").wait()


def snapshot(principal, cluster, name):
    """A manual snapshot, available."""
    principal.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=name, DBClusterIdentifier=cluster)

    def found():
        shown = principal.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)["DBClusterSnapshots"][0]
        return shown if shown["Status"] == "available" else None
    return waiting.until(found, f"snapshot {name} to be available", pause=0.2)


def restore(principal, name, from_snapshot, **more):
    """RestoreDBClusterFromSnapshot; the answer."""
    return principal.rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier=name, SnapshotIdentifier=from_snapshot, Engine=ENGINE, **more)["DBCluster"]
