"""How far each named reader of the journal has come, kept in one small file beside the segments."""

from pathlib import Path
from zlib import crc32

import msgspec

from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files, write_atomic

_VERSION = 1


class Checkpoints:
    """The last position that each named reader has taken over for good; 0 for one that never did.

    Each change is durable when the call returns. Raises DamagedError when the file does not hold together, OSError.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._path = folder / "checkpoints.json"
        files.make_folder(folder)
        self._positions = self._load() if self._path.name in files.names(folder) else {}

    def get(self, name: str) -> int:
        """The position of reader `name`; 0 when it has none."""
        return self._positions.get(name, 0)

    def set(self, name: str, position: int) -> None:
        """Reader `name` and its stores hold everything up to `position`, synced. Blocks; raises OSError."""
        self._save(self._positions | {name: position})

    def remove(self, name: str) -> None:
        """Forget a reader, so that it holds back nothing any more. Blocks; raises OSError."""
        self._save({known: position for known, position in self._positions.items() if known != name})

    def lowest(self) -> int:
        """The position that every reader has passed; 0 when there is no reader."""
        return min(self._positions.values(), default=0)

    def _load(self) -> dict[str, int]:
        try:
            stored = msgspec.json.decode(self._files.read(self._path), type=_Stored)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            stored = _Stored(0, 0, {})
        if stored.version != _VERSION or stored.crc32 != _check(stored.positions):
            raise DamagedError(
                f"{self._path} is not a checkpoint file of version {_VERSION} or is damaged:",
                "remove it; every reader then starts from the oldest record kept, which changes no result.",
            )
        return stored.positions

    def _save(self, positions: dict[str, int]) -> None:
        data = msgspec.json.encode(_Stored(_VERSION, _check(positions), positions))
        write_atomic(self._files, self._path, data)
        self._positions = positions


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    crc32: int
    positions: dict[str, int]


def _check(positions: dict[str, int]) -> int:
    return crc32(msgspec.json.encode(positions, order="sorted"))
