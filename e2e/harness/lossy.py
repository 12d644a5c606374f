"""The lossy store (`crates/testkit/src/lossy`): a file system whose power can be cut, mounted for a test."""

import errno
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import leftovers, program

BINARY = program.BINARY.with_name("lossy-store")

PREFIX = "strongroom-lossy-"


def clear_leftovers():
    """Takes down what killed tests have left mounted; says which.

    A store is dead when nobody has its path on the command line any more and the kernel says that its connection is
    broken. Everything else is left alone: it may belong to another run of the tests.
    """
    cleared = []
    table = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    for point in (pathlib.Path(line.split(" ")[4]) for line in table):
        if point.name != "store" or not point.parent.name.startswith(PREFIX) or _is_served(point):
            continue
        try:
            os.stat(point)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                subprocess.run(["umount", "--lazy", point], check=True)
                shutil.rmtree(point.parent)
                cleared.append(point)
    return cleared


def _is_served(point):
    return any(str(point) in leftovers.command_line(pid) for pid in leftovers.processes())


class Store:
    """A mounted store. What lies in it forgets, at a power cut, what was not synced."""

    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path = self.scratch / "store"
        self.path.mkdir()
        self.scratch.joinpath("backing").mkdir()
        self.process = subprocess.Popen([BINARY, self.scratch / "backing", self.path], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        first = self.process.stdout.readline().strip()
        assert first == "ready", first

    def order(self, *words):
        """One order and its answer; the orders are listed in `control.rs`."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        answer = self.process.stdout.readline().strip()
        assert answer.split(" ")[0] == "ok", f"{words}: {answer}"
        return answer[2:].strip()

    def is_on(self):
        return self.order("power") == "on"

    def restart(self, seed):
        """The power is back. Keeps the record of what was done before, for a failure."""
        return self.order("restart", seed)

    def record(self, path):
        """Writes what was done last into a file."""
        self.order("recent", path)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        assert not os.path.ismount(self.path)
        shutil.rmtree(self.scratch)
