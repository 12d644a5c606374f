"""What an auditor looks for: bytes on the disk, and in the memory of processes."""

import base64
import pathlib
import re

_STEP = 8 * 1024 * 1024


def files_with(root, *needles):
    """Files under `root` (one file, or a directory) that hold one of the byte strings, in name or content."""
    root = pathlib.Path(root)
    files = [root] if root.is_file() else [path for path in sorted(root.rglob("*")) if path.is_file()]
    found = []
    for path in files:
        named = any(needle in str(path).encode() for needle in needles)
        if named or _holds(path, needles):
            found.append(str(path))
    return found


def _holds(path, needles):
    keep = max(map(len, needles)) - 1
    with open(path, "rb") as file:
        tail = b""
        while piece := file.read(_STEP):
            window = tail + piece
            if any(needle in window for needle in needles):
                return True
            tail = window[-keep:] if keep else b""
    return False


def memory_of(pid):
    """The readable memory of a process, copied: pieces of bytes, one for each mapping."""
    pieces = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, last in _regions(pid):
            piece = bytearray()
            while first + len(piece) < last:
                try:
                    memory.seek(first + len(piece))
                    read = memory.read(min(_STEP, last - first - len(piece)))
                except (OSError, ValueError):
                    break  # a guard page, or a mapping of the kernel's
                if not read:
                    break
                piece += read
            pieces.append(bytes(piece))
    return pieces


def found_in(pieces, *needles):
    """Which of the byte strings are in a copy of memory."""
    return {needle for needle in needles if any(needle in piece for piece in pieces)}


def _regions(pid):
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+\s*(.*)", line)
        if match and match[3] not in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
            yield int(match[1], 16), int(match[2], 16)


def renderings(secret):
    """A secret in the forms in which it could leak: raw, hexadecimal, base64."""
    return [secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")]
