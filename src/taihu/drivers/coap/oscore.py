"""OSCORE (RFC 8613) from a connection's secrets; the numbers that may never be used twice are kept in a file."""

from pathlib import Path
from typing import Any

from aiocoap import oscore
from filelock import FileLock, Timeout

from taihu.drivers.port import Connection, DeviceLost, DeviceRefused
from taihu.kernel.files import OsFiles, write_atomic

_AHEAD = 1_000  # numbers that are taken from the file at once: a crash skips them, and none comes twice
_WINDOW = 32


class KeptContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """A security context of a client.

    Its numbers go on where the file says. What the device sends are answers to our numbers alone, so no window of what
    was received needs to outlast a restart.
    """

    id_context = None
    echo_recovery = None

    def __init__(self, secret: bytes, salt: bytes, sender: bytes, recipient: bytes, path: Path) -> None:
        self.alg_aead = oscore.algorithms[oscore.DEFAULT_ALGORITHM]
        self.hashfun = oscore.hashfunctions[oscore.DEFAULT_HASHFUNCTION]
        self.sender_id, self.recipient_id = sender, recipient
        self.derive_keys(salt, secret)
        self.recipient_replay_window = oscore.ReplayWindow(_WINDOW, lambda: None)
        self.recipient_replay_window.initialize_empty()
        self._path = path
        self._lock = FileLock(path.with_suffix(".lock"))
        self.sender_sequence_number = self._kept = 0

    def hold(self) -> None:
        """Go on where the last holder ended; DeviceLost while another process has it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self.sender_sequence_number = self._kept = int(self._path.read_text()) if self._path.exists() else 0
        except Timeout:
            raise DeviceLost("Another process uses this OSCORE key.", "Wait, or stop it.") from None
        except (OSError, ValueError) as error:
            raise DeviceLost(f"OSCORE's numbers cannot be had: {error}.", f"Look at {self._path}.") from None

    def release(self) -> None:
        """Let another process go on."""
        self._lock.release()

    def post_seqnoincrease(self) -> None:
        """Before a number is used, those up to it are marked as used on the disk."""
        if self.sender_sequence_number > self._kept:
            self._kept = self.sender_sequence_number + _AHEAD
            write_atomic(OsFiles(), self._path, str(self._kept).encode())


def security_of(connection: Connection) -> Any:
    """The security context that a connection's secrets and options make; None when there is no secret.

    Raises:
        DeviceRefused: they are no hexadecimal, too long, or there is nowhere to keep numbers.
    """
    secret = connection.secrets.get("oscore_secret", "")
    if not secret:
        return None
    if connection.folder is None:
        raise DeviceRefused("OSCORE needs a folder of the site.", "Name the site: --site FOLDER")
    try:
        sender = bytes.fromhex(connection.option("oscore_sender", ""))
        recipient = bytes.fromhex(connection.option("oscore_recipient", "01"))
        salt = bytes.fromhex(connection.secrets.get("oscore_salt", ""))
        key = bytes.fromhex(secret)
    except ValueError:
        raise DeviceRefused(
            "A secret or identifier of OSCORE is no hexadecimal.", "Write digits 0-9 and a-f."
        ) from None
    if max(len(sender), len(recipient)) > 7 or sender == recipient or len(key) < 16:
        raise DeviceRefused(
            "OSCORE wants two identifiers of at most 7 octets that differ, and a secret of 16.", "Correct the option."
        )
    return KeptContext(key, salt, sender, recipient, connection.folder / f"{connection.name}.oscore")
