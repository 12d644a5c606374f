"""A volume as an auditor sees it: files on the disk, and the key service."""

import pathlib

from . import trail

# The layout of a ciphertext blob: magic, length of the key's ARN, ARN, material id, sealed data key (crate envelope).
_MAGIC = b"SRK1"
_MATERIAL = 32
_SEALED_KEY = 16 + 12 + 32 + 16


def wrapped_keys(home, key_arn):
    """Wrapped data keys of a KMS key that lie on the disk beside the volumes."""
    found = set()
    start = _MAGIC + len(key_arn).to_bytes(2, "little") + key_arn.encode()
    for path in pathlib.Path(home, "volumes").rglob("*"):
        content = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 20 else b""
        at = content.find(start)
        while at >= 0:
            found.add(content[at:at + len(start) + _MATERIAL + _SEALED_KEY])
            at = content.find(start, at + 1)
    return found


def volume_keys(home, owner, key_arn):
    """The volume keys in the clear, as the owner of the KMS key may have them: by Decrypt with the right context.

    The context is no secret: it is in the trail.
    """
    contexts = {tuple(sorted(context.items())) for record in trail.records(owner, "ResourceName", key_arn)
                for context in _contexts(record)}
    opened = set()
    for blob in wrapped_keys(home, key_arn):
        for context in contexts:
            try:
                answer = owner.kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(context))
            except owner.kms.exceptions.InvalidCiphertextException:
                continue
            opened.add(answer["Plaintext"])
    return opened


def _contexts(record):
    parameters = record.get("requestParameters") or {}
    return [parameters[name] for name in ("encryptionContext", "sourceEncryptionContext", "destinationEncryptionContext")
            if parameters.get(name)]
