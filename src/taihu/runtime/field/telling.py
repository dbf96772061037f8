"""A connection that tells another system what our things are: the node as its teller sees it, and its life.

The view is a client of the node's own API, with the connection's token: what it may not read is not told, and what is
commanded goes the way of every command (§7).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from taihu.drivers.files import ConnectionFile
from taihu.drivers.telling import Newest, Teller
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError, TransientError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.runtime.ask import Ask
from taihu.things.property import DataType, Property

log = logging.getLogger("taihu.field")

_RETRY_S_MIN, _RETRY_S_MAX = 0.5, 60.0
_PAGE = 10_000
_PAGES_MAX = 20
_TYPES = {one.value for one in DataType}


class NodeView:
    """One project of this node, for a teller (`drivers.telling.View`)."""

    def __init__(self, ask: Ask, file: ConnectionFile, kept: Path) -> None:
        self._ask = ask
        self._project = f"/api/v1/projects/{quote(file.project)}"
        self._patterns = [str(one) for one in file.connection.option("things", [])] or ["*"]
        self._kept = kept
        self.heard: Callable[[], None] = lambda: None

    async def properties(self, thing: str) -> Mapping[str, Property]:
        """See `View.properties`."""
        described = await self._get(f"/things/{quote(thing, safe='')}")
        found = {}
        for name, one in described.get("properties", {}).items():
            type_ = one.get("type")
            data_type = DataType(type_) if type_ in _TYPES else DataType.OBJECT
            found[name] = Property(
                name=name, data_type=data_type, unit=one.get("unit"), writable=one.get("readOnly") is not True
            )
        return found

    async def newest(self) -> Sequence[Newest]:
        """See `View.newest`."""
        values = (await self._get("/values"))["values"]
        return [
            Newest(one["thing"], one["property"], one["value"], one["observed_at"], bool(one.get("stale")))
            for one in values
            if one["kind"] != "event" and any(fnmatchcase(one["thing"], pattern) for pattern in self._patterns)
        ]

    async def history(self, thing: str, name: str, start: int, end: int) -> Sequence[tuple[int, Any]]:
        """See `View.history`; at most _PAGES_MAX pages."""
        found: list[tuple[int, Any]] = []
        for _ in range(_PAGES_MAX):
            asked = urlencode({"thing": thing, "property": name, "start": start, "end": end, "limit": _PAGE})
            readings = (await self._get(f"/history?{asked}"))["readings"]
            found += [(one["observed_at"], one["value"]) for one in readings]
            if len(readings) < _PAGE:
                break
            start = found[-1][0] + 1
        return found

    async def command(self, thing: str, name: str, value: Any, why: str) -> None:
        """See `View.command`."""
        await self._ask.post(
            f"{self._project}/commands", {"thing": thing, "property": name, "input": value, "why": why}
        )

    def recall(self) -> Mapping[str, Any]:
        """See `View.recall`."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(self._kept.read_bytes(), type=dict[str, Any])
        return {}

    def remember(self, kept: Mapping[str, Any]) -> None:
        """See `View.remember`."""
        write_atomic(OsFiles(), self._kept, msgspec.json.encode(kept))

    def told(self) -> None:
        """See `View.told`."""
        self.heard()

    async def _get(self, path: str) -> Any:
        answer = await self._ask.get(self._project + path)
        if answer is None:
            raise TransientError("The node does not answer.")
        return answer


class Telling:
    """One such connection, from start to stop."""

    def __init__(self, file: ConnectionFile, teller: Teller, view: NodeView, clock: Clock, random: Random) -> None:
        self.file = file
        self.counts: Counter[str] = Counter()
        self.lost = ""
        self._teller = teller
        self._view = view
        view.heard = self._heard
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Tell until cancelled. Logs once on loss and once on return."""
        pause, name = _RETRY_S_MIN, self.file.connection.name
        try:
            while True:
                began = self._clock.monotonic()
                try:
                    await self._teller.tell(self._view)
                except TaihuError as error:
                    if not self.lost:
                        log.warning("%s can tell nobody: %s", name, error, extra={"connection": name})
                    self.lost = str(error)
                    self.counts["losses"] += 1
                if self._clock.monotonic() - began > _RETRY_S_MAX:
                    pause = _RETRY_S_MIN
                await asyncio.sleep(pause * (0.5 + self._random.random()))
                pause = min(2 * pause, _RETRY_S_MAX)
        finally:
            with suppress(TaihuError, OSError):
                await self._teller.close()

    def _heard(self) -> None:
        if self.lost:
            log.info("%s tells again", self.file.connection.name)
        self.lost = ""
        self.counts["told"] += 1
