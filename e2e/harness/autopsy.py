"""What stock tools find in a volume that a crash has left: XFS, PostgreSQL, and the rows.

The volume is read by the product; everything above it is looked at by programs that know nothing of it, on a plain
image of the device.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import bank, program

_IMAGER = program.BINARY.parent / "examples" / "volume_image"
_POSTGRES = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))

# In namespaces of its own: when it ends, processes, mounts and loop device go.
_SCRIPT = r"""
set -euo pipefail
image=$1 scratch=$2 bin=$3
mkdir "$scratch/mount"
mount -o loop,nouuid,noatime "$image" "$scratch/mount"
data=$scratch/mount/data
as() { setpriv --reuid postgres --regid postgres --clear-groups -- "$@"; }
echo 'local all all trust' > "$scratch/hba"
printf '%s\n' "hba_file = '$scratch/hba'" "unix_socket_directories = '$scratch'" "listen_addresses = ''" \
    'port = 5432' 'fsync = off' "shared_buffers = '64MB'" > "$scratch/conf"
chown -R postgres "$scratch/hba" "$scratch/conf" "$scratch"
as "$bin/pg_ctl" -D "$data" -o "-c config_file=$scratch/conf" -l "$scratch/log" -w -t 120 start >&2 \
    || { cat "$scratch/log" >&2; exit 1; }
sql() { psql -h "$scratch" -U rdsadmin -d postgres -AtqX -v ON_ERROR_STOP=1 "$@"; }
sql -c "$4" > "$scratch/sums"
sql -c 'select id from acknowledged' > "$scratch/rows"
"$bin/pg_amcheck" -h "$scratch" -U rdsadmin --all --install-missing --heapallindexed --parent-check >&2
as "$bin/pg_ctl" -D "$data" -m fast -w -t 120 stop >&2
as "$bin/pg_checksums" --check -D "$data" >&2
umount "$scratch/mount"
xfs_repair -n -f "$image" > "$scratch/repair" 2>&1 || { cat "$scratch/repair" >&2; exit 1; }
"""


@dataclasses.dataclass
class Found:
    """What the database in an image holds."""

    sums: tuple
    rows: set


def of(volume, name, key):
    """Opens the volume or snapshot `name` in a directory that nobody has open; `key` is its key in the clear.

    Proves that XFS recovers and is sound (`xfs_repair -n`), that PostgreSQL recovers, and that its indexes
    (`pg_amcheck`) and pages (`pg_checksums`) are.
    """
    with _image(volume, name, key) as image:
        scratch = image.parent
        script = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
                  "bash", "-c", _SCRIPT, "autopsy"]
        _run([*script, image, scratch, _POSTGRES, bank.SUMS])
        sums = tuple(int(number) for number in scratch.joinpath("sums").read_text().strip().split("|"))
        return Found(sums, {int(row) for row in scratch.joinpath("rows").read_text().split()})


def repair(volume, name, key):
    """Proves that XFS on a volume that was closed in order is sound (`xfs_repair -n`); says how many bytes it has."""
    with _image(volume, name, key) as image:
        _run(["xfs_repair", "-n", "-f", image])
        shown = subprocess.run(["xfs_db", "-r", "-c", "sb 0", "-c", "print dblocks blocksize", image], text=True,
                               capture_output=True, check=True).stdout
        numbers = [int(line.split("=")[1]) for line in shown.splitlines()]
        return numbers[0] * numbers[1]


@contextlib.contextmanager
def _image(volume, name, key):
    """What a volume holds, in a file in a directory of its own."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="strongroom-autopsy-"))
    try:
        image, secret = scratch / "image", scratch / "key"
        secret.touch(0o600)
        secret.write_bytes(key)
        _run([_IMAGER, volume, name, secret, image])
        secret.unlink()
        yield image
    finally:
        shutil.rmtree(scratch)


def _run(command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                              timeout=300, env=environment)
        output.seek(0)
        assert done.returncode == 0, f"{pathlib.Path(command[0]).name}: {output.read()}"
