"""How pieces of backups are named and kept: as they are, or sealed with a key that a passphrase opens.

Sealed, a piece is AES-256-GCM under a random nonce, bound to its name; its name is an HMAC-SHA256 of what is in it, so
that neither tells a stranger what a file holds. Both keys come from one random key, which the folder's marker holds
sealed with what argon2id makes of the passphrase (RFC 9106).
"""

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from taihu.kernel.errors import RefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES, _NONCE_BYTES, _TAG_BYTES, _SALT_BYTES = 32, 12, 16, 16
_MEMORY_KIB, _PASSES, _LANES = 65_536, 3, 4  # what RFC 9106 recommends second
_MEMORY_KIB_MAX, _PASSES_MAX, _LANES_MAX = 1_048_576, 64, 64  # of a marker, which somebody else may have written
_PIECES, _NAMES, _MASTER = b"taihu backup pieces", b"taihu backup names", b"taihu backup key"


class BackupKey(RefusedError):
    """The passphrase does not open the backups, or is lacking, or they have none: give the one they were made with."""

    code = "backup-key"


class Seal(Protocol):
    """Names and keeps pieces. `overhead` is what keeping one adds to its bytes."""

    overhead: int

    def name(self, data: bytes) -> str:
        """What a piece is called: equal for equal bytes, else different."""
        ...

    def close(self, label: str, data: bytes) -> bytes:
        """Data as it is kept under a label."""
        ...

    def open(self, label: str, kept: bytes) -> bytes | None:
        """The data that was kept under a label; None when it is not what was kept."""
        ...


class Plain:
    """Pieces as they are, under their SHA-256, which whoever reads one compares."""

    overhead = 0

    def name(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def close(self, label: str, data: bytes) -> bytes:
        return data

    def open(self, label: str, kept: bytes) -> bytes | None:
        return kept


class Marker(msgspec.Struct, frozen=True):
    """What a folder says of its key: how the passphrase is stretched, and the key that this opens."""

    salt: bytes
    key: bytes
    memory_kib: int = _MEMORY_KIB
    passes: int = _PASSES
    lanes: int = _LANES

    @property
    def bounded(self) -> bool:
        """Whether it asks for no more work than a release ever would."""
        return (
            8 * self.lanes <= self.memory_kib <= _MEMORY_KIB_MAX
            and 0 < self.passes <= _PASSES_MAX
            and 0 < self.lanes <= _LANES_MAX
            and len(self.salt) == _SALT_BYTES
        )


class Sealed:
    """Pieces that only the key opens."""

    overhead = _NONCE_BYTES + _TAG_BYTES

    def __init__(self, key: bytes) -> None:
        self._cipher = _cipher(hmac.digest(key, _PIECES, "sha256"))
        self._names = hmac.digest(key, _NAMES, "sha256")

    def name(self, data: bytes) -> str:
        return hmac.digest(self._names, data, "sha256").hex()

    def close(self, label: str, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, label.encode())

    def open(self, label: str, kept: bytes) -> bytes | None:
        return _opened(self._cipher, kept, label.encode())


def new_marker(passphrase: bytes) -> Marker:
    """What a folder says of a new key; raises RefusedError where the cipher is not installed."""
    return _locked(os.urandom(_KEY_BYTES), passphrase)


def known_seal(marker: Marker, passphrase: bytes) -> Sealed:
    """The key that a passphrase opens; raises BackupKey, and RefusedError where the cipher is not installed."""
    return Sealed(_unlocked(marker, passphrase))


def changed_marker(marker: Marker, old: bytes, new: bytes) -> Marker:
    """What a folder says when another passphrase opens its key; errors as of `known_seal`."""
    return _locked(_unlocked(marker, old), new)


def _locked(key: bytes, passphrase: bytes) -> Marker:
    marker, nonce = Marker(os.urandom(_SALT_BYTES), b""), os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(_stretched(passphrase, marker)).encrypt(nonce, key, _MASTER)
    return msgspec.structs.replace(marker, key=sealed)


def _unlocked(marker: Marker, passphrase: bytes) -> bytes:
    key = _opened(_cipher(_stretched(passphrase, marker)), marker.key, _MASTER) if marker.bounded else None
    if key is None:
        raise BackupKey("The passphrase does not open the backups.", "Give the one that they were made with.")
    return key


def _stretched(passphrase: bytes, marker: Marker) -> bytes:
    from argon2.low_level import Type, hash_secret_raw  # only where backups have a key

    return hash_secret_raw(
        passphrase, marker.salt, marker.passes, marker.memory_kib, marker.lanes, _KEY_BYTES, Type.ID
    )  # fmt: skip


def _opened(cipher: "AESGCM", kept: bytes, label: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], label)
    except (InvalidTag, ValueError):  # changed, or too short to have a tag
        return None


def _cipher(key: bytes) -> "AESGCM":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise RefusedError(
            "Backups with a key need the package cryptography:", "pip install 'taihu[certificates]'"
        ) from None
    return AESGCM(key)
