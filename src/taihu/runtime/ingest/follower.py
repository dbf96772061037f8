"""The worker as the ingest process sees it: the wire to it, its place in the journal, and how far it is behind."""

import asyncio
from collections.abc import Mapping
from typing import Any

from taihu.kernel.limits import Limits
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.runtime.ingest.tally import Tally
from taihu.runtime.link import Link, LinkLost
from taihu.things.ports import Journal

_TELL_S = 0.03


class Follower:
    """Tells the worker how far the journal is, and slows the senders when it cannot follow (§6).

    `position` is what the worker has made durable: the journal may drop what is before. `applied` is what it answers
    questions from; none is put to it before it has come to `after`, the last deletion. `snapshot` is where a start
    replays from, without anything that was deleted before.
    """

    def __init__(self, journal: Journal, pipeline: Pipeline, tally: Tally, limits: Limits) -> None:
        self.link: Link | None = None
        self.position = 0
        self.applied = 0
        self.after = 0
        self.snapshot = 0
        self._moved = asyncio.Event()
        self._journal = journal
        self._pipeline = pipeline
        self._tally = tally
        self._limits = limits
        self._read_until = journal.durable  # until it tells its place, what is new is counted
        self._telling = False

    async def ask(self, question: str, arguments: dict[str, Any], timeout_s: float | None = None) -> Any:
        """Its answer to a question, within `query_timeout_s` if nothing else is said.

        Raises LinkLost when it is away or late, and what it answers with an error.
        """
        timeout_s = timeout_s or self._limits.query_timeout_s
        if self.link is not None and self.applied < self.after:
            await self._catch_up(timeout_s)
        if self.link is None:
            raise LinkLost("The worker is not running.", "It is started again by itself; try again in a moment.")
        return await self.link.call(question, arguments, timeout_s)

    async def _catch_up(self, timeout_s: float) -> None:
        """Return when it has taken over the last deletion."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.applied < self.after:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise LinkLost("The worker has not taken over a deletion yet.", "Try again in a moment.") from None

    def tell(self, what: str, body: Any) -> None:
        """Send it a note, if it is there; when it starts it reads the site itself."""
        if self.link is not None:
            self.link.note(what, body)

    def snapshot_taken(self, position: int) -> None:
        """A start replays from here on: what was deleted may go from the journal before it."""
        self.snapshot = position
        self.tell("snapshot", position)

    def durable(self) -> None:
        """There is more in the journal. It hears so some 30 times a second: more often only costs it turns."""
        self._watch()
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_S, self._tell)

    def progress(self, body: Mapping[str, int]) -> None:
        """It tells its place."""
        self.position, self.applied = body["position"], body["applied"]
        self._moved.set()
        self._read_until = self.applied
        self._tally.taken_over(self.applied)
        self._watch()

    def _tell(self) -> None:
        self._telling = False
        if self.link is not None:
            self.link.note("durable", self._pipeline.durable)

    def _watch(self) -> None:
        """Slow the senders while it, there or not, is `worker_lag_bytes_max` behind."""
        lag = self._journal.lag_bytes(self._read_until + 1)
        self._pipeline.set_lagging(lag > self._limits.worker_lag_bytes_max)
