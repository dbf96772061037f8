"""Journal records that the worker cannot take over: kept beside, so that one of them does not stop all that follow.

A record that is no batch is set aside at once. One that fails in another way may fail for a reason that passes, so the
worker starts anew with it; only what fails time and again is set aside.
"""

import logging
from pathlib import Path

import msgspec

from taihu.kernel.files import Files, write_atomic
from taihu.kernel.limits import Limits
from taihu.things.ports import Record

log = logging.getLogger("taihu.aside")

_TRIES = 3
_ATTEMPT = "attempt.json"
_ENDING = ".record"


class _Attempt(msgspec.Struct, frozen=True):
    """How often the worker has died of the record at a position."""

    position: int
    tries: int


class Aside:
    """The folder of one node's records set aside."""

    def __init__(self, files: Files, folder: Path, limits: Limits) -> None:
        self._files = files
        self._folder = folder
        self._limits = limits
        files.make_folder(folder)
        self._attempt = self._last_attempt()

    def gives_up(self, record: Record) -> bool:
        """Whether the record has failed so often that it is not tried again."""
        return self._attempt.position == record.position and self._attempt.tries >= _TRIES

    def failed(self, record: Record) -> None:
        """Count, durably, that the worker is about to die of the record. Raises OSError."""
        tries = self._attempt.tries if self._attempt.position == record.position else 0
        self._attempt = _Attempt(record.position, tries + 1)
        write_atomic(self._files, self._folder / _ATTEMPT, msgspec.json.encode(self._attempt))

    def put(self, record: Record, why: str) -> None:
        """Keep the record for people to look at, if there is room for one more. Raises OSError."""
        path = self._folder / f"{record.position:020d}{_ENDING}"
        kept = self._kept()
        if path.name in kept:
            return
        room = len(kept) < self._limits.aside_records_max
        if room:
            write_atomic(self._files, path, record.payload)
        log.error(
            "record %d of the journal cannot be taken into the history (%s); %s",
            record.position,
            why,
            f"it is kept as aside/{path.name}" if room else "it is dropped: as many are kept as may be",
        )

    def forget(self, position: int) -> None:
        """Drop what was set aside before a deletion: nobody can tell whether it holds what was deleted (§10)."""
        for name in self._kept():
            if int(name.removesuffix(_ENDING)) < position:
                self._files.remove(self._folder / name)

    def _kept(self) -> list[str]:
        return [name for name in self._files.names(self._folder) if name.endswith(_ENDING)]

    def _last_attempt(self) -> _Attempt:
        try:
            return msgspec.json.decode(self._files.read(self._folder / _ATTEMPT), type=_Attempt)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Attempt(0, 0)
