"""A volume as an auditor sees it: the files on the disk, the key service, and the published format of the header.

Written from `docs/volume-format.md`, not from the product's code: what both say alike is likely true.
"""

import dataclasses
import hashlib
import hmac
import pathlib
import struct

from . import trail


@dataclasses.dataclass
class Volume:
    """What the header of a volume tells to everybody."""

    path: pathlib.Path
    name: str
    generation_salt: bytes
    commitment: bytes
    wrapped_key: bytes
    # Number, salt and bound volume of each epoch.
    epochs: list

    def epoch_keys(self, volume_key):
        """The keys of all epochs, derived from the volume key."""
        return [_derive(volume_key, salt, b"epoch " + struct.pack("<I", number) + bound)
                for number, salt, bound in self.epochs]

    def accepts(self, volume_key):
        """Whether this is the key to which the header commits."""
        return _derive(volume_key, self.generation_salt, b"commitment") == self.commitment


def _derive(key, salt, purpose):
    """HKDF-SHA256, one block of output."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, b"strongroom volume 1 " + purpose + b"\x01", "sha256")


def volumes(home):
    """The volumes of a home."""
    return [_read(path) for path in sorted(pathlib.Path(home, "volumes").glob("*/header"))]


def _read(path):
    content = path.read_bytes()
    assert content[:8] == b"SRVOLUME" and struct.unpack_from("<II", content, 8) == (1, len(content))
    assert hashlib.sha256(content[:-64]).digest() == content[-64:-32]
    fields = _Fields(content, 32)
    name = fields.text()
    assert fields.number("<H") == 1, "one generation"
    fields.take(4)
    salt, commitment = fields.take(32), fields.take(32)
    wrapped_key = fields.take(fields.number("<I"))
    epochs = []
    for _ in range(fields.number("<I")):
        fields.take(4)
        epoch_salt, bound, position = fields.take(32), fields.text(), fields.take(40)
        epochs.append((struct.unpack_from("<I", position)[0], epoch_salt, bound))
    return Volume(path, name.decode(), salt, commitment, wrapped_key, epochs)


class _Fields:
    def __init__(self, content, at):
        self.content, self.at = content, at

    def take(self, length):
        piece = self.content[self.at:self.at + length]
        assert len(piece) == length
        self.at += length
        return piece

    def number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self):
        return self.take(self.number("<H"))


def open_key(volume, owner, key_arn):
    """The volume key in the clear, as the owner of the KMS key may have it: by Decrypt with the right context.

    The context is no secret: it is in the trail.
    """
    for context in _contexts(owner, key_arn):
        try:
            return owner.kms.decrypt(CiphertextBlob=volume.wrapped_key, EncryptionContext=context)["Plaintext"]
        except owner.kms.exceptions.InvalidCiphertextException:
            continue
    raise AssertionError(f"no context of the trail opens the wrapped key of {volume.name}")


def _contexts(owner, key_arn):
    names = ("encryptionContext", "sourceEncryptionContext", "destinationEncryptionContext")
    for record in trail.records(owner, "ResourceName", key_arn):
        parameters = record.get("requestParameters") or {}
        yield from (parameters[name] for name in names if parameters.get(name))
