"""Passphrases of the command line: out of files, never out of arguments, which others on the machine can see."""

from pathlib import Path

from taihu.kernel.errors import RefusedError


def read_passphrase(path: Path | None) -> bytes:
    """What a file holds without white space around it; nothing without a file. RefusedError when it cannot be used."""
    if path is None:
        return b""
    try:
        found = path.read_bytes().strip()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}.", "Name a file with the passphrase.") from None
    if not found:
        raise RefusedError(f"{path} is empty.", "Write a passphrase into it.")
    return found
