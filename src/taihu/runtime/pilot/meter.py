"""The meter of a loop, observed: its readings wake the loop, which else has a turn now and then."""

import asyncio
import logging

from taihu.kernel.errors import RefusedError, TaihuError
from taihu.runtime.pilot.api import NodeApi

log = logging.getLogger("taihu.pilot")

_RETRY_S = 5.0
_PATIENCE = 1.5  # periods: so long a meter that speaks each period is waited for
_LEAST = 0.5  # of a period: what lies between two turns


class Meter:
    """One property of a project, by its path."""

    def __init__(self, api: NodeApi, project: str, path: str) -> None:
        self._api, self._project, self._path = api, project, path
        self._said = asyncio.Event()
        self._speaks = False

    async def observe(self) -> None:
        """Until cancelled; returns when it may not be observed, and turns go by the clock alone."""
        while True:
            try:
                async for _ in self._api.observe(self._project, self._path):
                    self._said.set()
            except RefusedError:
                return
            except (TaihuError, OSError) as error:
                log.debug("%s/%s is not observed now: %s", self._project, self._path, error)
            await asyncio.sleep(_RETRY_S)

    async def wait(self, period_s: float) -> None:
        """Until it says something, no sooner than half a period; or else for a period."""
        await asyncio.sleep(_LEAST * period_s)
        most_s = (_PATIENCE if self._speaks else 1.0) * period_s
        try:
            async with asyncio.timeout(most_s - _LEAST * period_s):
                await self._said.wait()
            self._speaks = True
        except TimeoutError:
            self._speaks = False
        self._said.clear()
