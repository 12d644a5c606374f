"""A bank that is always open: pgbench's TPC-B beside clients that note what was acknowledged to them.

What must hold after any crash: the sums of balances agree, and every acknowledged row is there.
"""

import os
import shutil
import subprocess
import threading

import psycopg

from . import clusters

SUMS = ("select (select coalesce(sum(abalance), 0) from pgbench_accounts), "
        "(select coalesce(sum(tbalance), 0) from pgbench_tellers), "
        "(select coalesce(sum(bbalance), 0) from pgbench_branches), "
        "(select coalesce(sum(delta), 0) from pgbench_history)")


class Bank:
    """The load on one cluster. The notes are kept here, outside of every volume."""

    def __init__(self, cluster, scale=2, clients=2):
        self.cluster, self.clients = cluster, clients
        self.acknowledged = set()
        self.threads, self.pgbench, self.stopping = [], None, threading.Event()
        self._next, self._lock = 0, threading.Lock()
        cluster.execute("create table acknowledged (id int primary key, filler text)")
        done = subprocess.run(self._command("-i", "-q", "-s", str(scale)), env=self._environment(),
                              text=True, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr

    def _command(self, *arguments):
        shown = self.cluster.describe()
        return [shutil.which("pgbench"), "-h", shown["Endpoint"], "-p", str(shown["Port"]), "-U", clusters.USERNAME,
                *arguments, shown.get("DatabaseName", "postgres")]

    def _environment(self):
        return os.environ | {"PGPASSWORD": clusters.PASSWORD, "PGCONNECT_TIMEOUT": "10"}

    def open(self):
        """Begins the load; it ends by itself when the database goes."""
        self.stopping.clear()
        self.pgbench = subprocess.Popen(
            self._command("-n", "-c", str(self.clients), "-T", "3600"), env=self._environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.threads = [threading.Thread(target=self._note, daemon=True) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def close(self):
        """Ends the load."""
        self.stopping.set()
        if self.pgbench is not None:
            self.pgbench.kill()
            self.pgbench.wait()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client hangs"
        self.threads, self.pgbench = [], None

    def _note(self):
        try:
            with self.cluster.connect() as connection:
                while not self.stopping.is_set():
                    with self._lock:
                        self._next += 1
                        row = self._next
                    connection.execute("insert into acknowledged values (%s, %s)", (row, "x" * (row * 37 % 3000)))
                    self.acknowledged.add(row)
        except (psycopg.Error, OSError, AssertionError):
            pass  # the database has gone, perhaps together with the server

    def check(self, sums, rows):
        """Holds what a database says now to what it has acknowledged."""
        assert len(set(sums)) == 1, f"the balances do not agree: {sums}"
        missing = self.acknowledged - rows
        assert not missing, f"{len(missing)} of {len(self.acknowledged)} rows are lost: {sorted(missing)[:10]}"

    def check_online(self):
        """Holds the running database to it."""
        with self.cluster.connect() as connection:
            sums = connection.execute(SUMS).fetchone()
            rows = {row for (row,) in connection.execute("select id from acknowledged").fetchall()}
        self.check(tuple(map(int, sums)), rows)
