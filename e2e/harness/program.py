"""The `strongroom` binary: a home of its own, and the server on it."""

import configparser
import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import tomllib
import urllib.request

from . import leftovers, waiting

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("STRONGROOM_BINARY", ROOT / "target" / "debug" / "strongroom"))

ACCOUNT = "111122223333"
REGION = "us-west-2"
ACCESS_KEY = "AKIAE2EROOTE2EROOT01"
SECRET_KEY = "e2eRootSecret/e2eRootSecret/e2eRootSecr1"

# Each server gets a range of its own for its endpoint and its clusters' endpoints, below the ports that the kernel gives to
# anybody; other runs on this machine begin elsewhere, as the ports of a server that is down for a moment look free.
PORTS = 40
FIRST_PORTS = range(12000, 32768 - PORTS, PORTS)
_ranges = itertools.islice(itertools.cycle(FIRST_PORTS), os.getpid() % len(FIRST_PORTS), None)


def _free_ports():
    return next(first for first in itertools.islice(_ranges, len(FIRST_PORTS))
                if not leftovers.listening_ports(first, first + PORTS - 1))


class Server:
    """A home and what runs on it. The home is a new directory, or an empty one that is given, with a place for the log."""

    def __init__(self, init=(), scheme="http", home=None, log=None, snapshots=None, regions=(), external_key_stores=None,
                 **clusters):
        self.home = home or pathlib.Path(tempfile.mkdtemp(prefix="strongroom-e2e-"))
        self.first_port = _free_ports()
        self.process = None
        self._ids = set()
        self.log = log or self.home.with_suffix(".log")
        self.scheme = scheme
        self.init(init)
        self.configure(clusters, snapshots or {}, regions, external_key_stores)

    # --- the command line

    def run(self, *arguments, check=True, environment=None):
        """A subcommand; its result with text streams."""
        command = [str(BINARY), *arguments]
        done = subprocess.run(command, text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
                              env=self.environment() | (environment or {}))
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def environment(self):
        """What the server's processes get: nothing of the tests' own AWS settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STRONGROOM_"))}
        return kept | {"STRONGROOM_HOME": str(self.home)}

    def init(self, more=()):
        """A home with a known account, region and administrator."""
        with tempfile.NamedTemporaryFile("w", prefix="strongroom-e2e-") as file:
            file.write(SECRET_KEY + "\n")
            file.flush()
            self.run("init", "--account-id", ACCOUNT, "--region", REGION, "--access-key-id", ACCESS_KEY,
                     "--secret-access-key-file", file.name, *more)

    def configure(self, clusters, snapshots, regions=(), external_key_stores=None):
        """Rewrites the settings that the tests fix: ports, small volumes, quick key checks."""
        path = self.home / "config.toml"
        config = tomllib.loads(path.read_text())
        config["listen"] = f"{'127.0.0.1' if self.scheme == 'http' else '0.0.0.0'}:{self.first_port}"
        config["clusters"] |= {"first_port": self.first_port + 1, "last_port": self.first_port + PORTS - 1,
                               "volume_gib": 4, "key_check_seconds": 2,
                               "parameters": {"shared_buffers": "32MB"}} | clusters
        config["snapshots"] |= snapshots
        if regions:
            config["regions"] = list(regions)
        config["external_key_stores"] |= external_key_stores or {}
        with open(path, "w") as file:
            file.write(_toml(config))
            file.flush()
            os.fsync(file.fileno())  # no part of what a power cut is to take

    def metrics(self):
        """Numbers that Prometheus reads: `{(name, {label: value}): value}`, labels as sorted pairs."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE)
        return {(name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))): float(value)
                for name, labels, value in found}

    def credentials(self, profile="default"):
        """Access key id and secret of a profile in the home's credentials file."""
        file = configparser.RawConfigParser()
        file.read(self.home / "credentials")
        return file[profile]["aws_access_key_id"], file[profile]["aws_secret_access_key"]

    def create_account(self):
        """A second account: its id, and the access key id and secret of its administrator."""
        told = self.run("account", "create").stdout
        account = re.search(r"^account +(\d{12})$", told, re.MULTILINE)[1]
        return account, *self.credentials(f"account-{account}")

    # --- the server

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.first_port}"

    def serve(self):
        """Starts the server and waits until it answers."""
        assert self.process is None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(BINARY), "serve"], env=self.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        waiting.until(self._is_ready, f"the server of {self.home} to answer", seconds=30, pause=0.05)
        return self

    def _is_ready(self):
        assert self.process.poll() is None, f"serve ended with {self.process.returncode}:\n{self.log_tail()}"
        try:
            trusted = ssl.create_default_context(cafile=self.authority()) if self.scheme == "https" else None
            with urllib.request.urlopen(self.url + "/readyz", timeout=5, context=trusted) as answer:
                return answer.status == 200
        except OSError:
            return False

    def authority(self):
        """The certificate that clients are told to trust."""
        told = self.run("env").stdout
        return re.search(r"^export AWS_CA_BUNDLE='(.+)'$", told, re.MULTILINE)[1]

    def kill(self):
        """`kill -9` of the server; databases go on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        """An orderly end of the server; databases go on."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=40) == 0, self.log_tail()
        self.process = None

    def log_tail(self):
        """The end of what the server wrote."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def instance_processes(self):
        """Ids of the living instance processes of this home."""
        return [pid for pid in leftovers.processes_of(self.home) if leftovers.command_line(pid)[1:2] == ["instance"]]

    def postgres_processes(self):
        """Ids of the living database processes below the instances of this home."""
        below = [child for pid in self.instance_processes() for child in leftovers.children(pid)]
        return [pid for pid in below if leftovers.is_alive(pid)
                and re.search("postgres|postmaster", " ".join(leftovers.command_line(pid)))]

    def database_ids(self):
        """The resource ids of all instances that there ever were in this home: its trail tells of them."""
        with contextlib.suppress(OSError):  # a home whose disk has failed; what was told before holds
            told = b"".join(path.read_bytes() for path in self.home.glob("trail/*.log"))
            self._ids |= {name.decode() for name in re.findall(rb"db-[A-Z2-7]{26}", told)}
        return self._ids

    def loop_devices(self):
        """Attached loop devices that lie on a volume of this home: `{name: backing file}`."""
        return self._ours(leftovers.loop_devices(), lambda name, backing: backing)

    def mounts(self):
        """Mount points of this home's volumes: `{point: a process that sees it}`."""
        return self._ours(leftovers.mounts(), lambda point, process: point)

    def _ours(self, found, path):
        ours = [str(self.home), *self.database_ids()]
        return {name: value for name, value in found.items() if any(mark in path(name, value) for mark in ours)}

    def remains(self):
        """What of this home is still on the machine, as sentences."""
        found = [f"process {pid}: {' '.join(leftovers.command_line(pid))}" for pid in leftovers.processes_of(self.home)]
        found += [f"mount {point}" for point in self.mounts()]
        found += [f"loop device {name} on {backing}" for name, backing in self.loop_devices().items()]
        last = self.first_port + PORTS - 1
        found += [f"port {port}" for port in leftovers.listening_ports(self.first_port, last)]
        return found

    def close(self):
        """Stops everything, proves that nothing is left, and removes the home."""
        try:
            if self.process is not None:
                self.stop()
            self.run("stop", "--instances")
            waiting.until(lambda: not self.remains(), _Remains(self), seconds=20)
        finally:
            for pid in leftovers.processes_of(self.home):
                os.kill(pid, signal.SIGKILL)
            self.process = None
        shutil.rmtree(self.home)
        self.log.unlink(missing_ok=True)


class _Remains:
    """Says what remains at the moment it is asked."""

    def __init__(self, server):
        self.server = server

    def __str__(self):
        return f"nothing to be left, but there is: {self.server.remains()}"


def _toml(table, name=""):
    """Plain values and tables of them, as the settings are."""
    lines = [f"[{name}]"] if name else []
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(_toml(value, f"{name}.{key}" if name else key))
    return "\n".join(lines) + "\n"


def _toml_key(key):
    return key if re.fullmatch(r"[\w-]+", key) else f'"{key}"'


def _toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return str(value) if isinstance(value, (int, float)) else '"' + str(value).replace('"', '\\"') + '"'
