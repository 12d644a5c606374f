"""What a server may leave behind on the machine: processes, mounts, loop devices, open ports."""

import os
import pathlib

PROC = pathlib.Path("/proc")


def processes():
    """Ids of all processes."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def command_line(pid):
    """Arguments of a process; empty if it is gone or a kernel thread."""
    try:
        return PROC.joinpath(str(pid), "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def status_field(pid, name):
    """A field of `/proc/PID/status`; `None` if the process is gone."""
    try:
        text = PROC.joinpath(str(pid), "status").read_text()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":")), None)


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    state = status_field(pid, "State")
    return state is not None and not state.startswith(("Z", "X"))


def children(pid):
    """Ids of the processes below `pid`, all levels."""
    below = [child for child in processes() if status_field(child, "PPid") == str(pid)]
    return below + [grandchild for child in below for grandchild in children(child)]


def processes_of(home):
    """Living processes that name a home on their command line, or have something in it open."""
    home = str(home)
    return sorted(pid for pid in processes() if pid != os.getpid() and is_alive(pid) and _belongs(pid, home))


def _belongs(pid, home):
    if any(home in argument for argument in command_line(pid)):
        return True
    try:
        links = [PROC.joinpath(str(pid), "cwd"), *PROC.joinpath(str(pid), "fd").iterdir()]
        return any(os.readlink(link).startswith(home + "/") for link in links)
    except OSError:
        return False


def mounts():
    """Every mount point of every process's mount namespace: `{point: a process that sees it}`."""
    found, seen = {}, set()
    for pid in processes():
        try:
            namespace = os.readlink(PROC / str(pid) / "ns" / "mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            for line in PROC.joinpath(str(pid), "mountinfo").read_text().splitlines():
                found[line.split(" ")[4]] = pid
        except OSError:
            continue
    return found


def loop_devices():
    """Attached loop devices and what they lie on: `{name: backing file}`."""
    found = {}
    for backing in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found[backing.parts[3]] = backing.read_text().strip()
        except OSError:
            continue
    return found


def listening_ports(first, last):
    """TCP ports in a range that something listens on."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return sorted(port for port in ports if first <= port <= last)
