"""Who looks at the pages: each session reads the node with its own secret, and is shown what is its own."""

import asyncio
from collections.abc import Callable

from nicegui import Event, background_tasks

from taihu.console.account import Accounts, Who
from taihu.console.answers import NodeStatus
from taihu.console.client import NodeAway, NodeClient, TokenRefused
from taihu.console.poller import Poller, Snapshot, Want
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError

_VISITS_MAX = 200


class TooManyVisits(LimitError):
    """As many people look at the pages as may: close a page somewhere."""

    code = "visits-full"


class Visit:
    """One session's reading of the node, shared by all its pages; without `who` it is the open console's."""

    def __init__(self, client: NodeClient, clock: Clock, who: Who | None, forget: Callable[[], None]) -> None:
        self.who = who
        self.updated = Event[[Snapshot]]()
        self._client = client
        self._poller = Poller(client, clock, self.updated.emit)
        self._forget = forget
        self._pages = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def snapshot(self) -> Snapshot:
        """What is known now."""
        return self._poller.snapshot

    def watch(self, want: Want) -> Callable[[], None]:
        """One more page reads, until the returned function is called; with the last, the visit is over."""
        leave = self._poller.watch(want)
        self._pages += 1
        if self._task is None:
            self._task = background_tasks.create(self._poller.run(), name="poller")

        def left() -> None:
            leave()
            self._pages -= 1
            if not self._pages and self._task is not None:
                self._task.cancel()
                self._forget()
                background_tasks.create(self._client.close(), name="closing")

        return left


class OpenClient(NodeClient):
    """Reads with the console's token for as long as nobody can sign in at this node."""

    def __init__(self, url: str, token: str, accounts: Accounts, clock: Clock) -> None:
        super().__init__(url, token)
        self._accounts = accounts
        self._clock = clock

    async def status(self) -> NodeStatus:
        if not (await self._accounts.ways(self._clock.monotonic())).open:
            raise TokenRefused("There are people now.", "Sign in.")
        return await super().status()


class Visits:
    """All visits.

    Args:
        token: what the open console reads with; empty where it is never open.
        asks: whether people sign in; otherwise the open console is all there is.
    """

    def __init__(self, url: str, token: str, accounts: Accounts, clock: Clock, *, asks: bool) -> None:
        self._url = url
        self._token = token
        self._accounts = accounts
        self._clock = clock
        self._asks = asks
        self._visits: dict[str, Visit] = {}

    async def enter(self, secret: str, *, local: bool) -> Visit | None:
        """The visit of a session, or the open one for who asks at this machine's own address; None to sign in first.

        Raises NodeAway, when it cannot be told, and TooManyVisits.
        """
        if secret:
            try:
                return self._visit(secret, await self._accounts.who(secret))
            except TokenRefused:
                pass
        if not self._asks:
            return self._visit("", None)
        if not (self._token and local):
            return None
        try:
            if not (await self._accounts.ways(self._clock.monotonic())).open:
                return None
        except NodeAway:
            pass  # the open client asks again before it reads anything
        return self._visit("", None)

    def _visit(self, secret: str, who: Who | None) -> Visit:
        visit = self._visits.get(secret)
        if visit is None:
            if len(self._visits) >= _VISITS_MAX:
                raise TooManyVisits(f"{_VISITS_MAX} look at the pages already.", "Close one somewhere.")
            if secret or not self._asks:
                client = NodeClient(self._url, secret or self._token)
            else:
                client = OpenClient(self._url, self._token, self._accounts, self._clock)
            visit = self._visits[secret] = Visit(client, self._clock, who, lambda: self._drop(secret))
        return visit

    def _drop(self, secret: str) -> None:
        self._visits.pop(secret, None)
