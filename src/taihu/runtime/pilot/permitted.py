"""A project's standing permits, as the node has them: whoever holds one sees so that somebody has withdrawn it."""

import asyncio
from collections.abc import Awaitable, Callable, Container

import httpx
import msgspec

_FRESH_S = 5.0


class _Standing(msgspec.Struct):
    id: str


class _Standings(msgspec.Struct):
    standing: list[_Standing]


_decode = msgspec.json.Decoder(_Standings).decode

Ask = Callable[[str], Awaitable[httpx.Response]]  # with the tag of the answer before, for which 304 is an answer too


class Permitted:
    """Ids of permits: those that the node had some seconds ago, and those issued since."""

    def __init__(self) -> None:
        self.until, self._tag = 0.0, ""
        self._ids: frozenset[str] = frozenset()
        self.issued: set[str] = set()
        self._asking = asyncio.Lock()

    async def ids(self, ask: Ask) -> Container[str]:
        """What there is now; asked anew every few seconds. Raises as `ask`."""
        now = asyncio.get_running_loop().time()
        async with self._asking:
            if now >= self.until:
                self.issued.clear()
                answer = await ask(self._tag)
                self.until, self._tag = now + _FRESH_S, answer.headers.get("etag", "")
                if answer.status_code != httpx.codes.NOT_MODIFIED:
                    self._ids = frozenset(one.id for one in _decode(answer.content).standing)
        return self._ids | self.issued
