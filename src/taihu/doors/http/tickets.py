"""Tickets: what opens a stream for clients that cannot send a header, such as a browser's EventSource and WebSocket.

A ticket stands for the bearer token it was issued with, for a minute and for streams alone: where an address is
written down, in a log or a history, it opens nothing any more.
"""

from collections import OrderedDict

from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.ids import new_token, token_hash
from taihu.kernel.limits import Limits


class Tickets:
    """The tickets that are valid now, each project's bounded: the oldest gives way (§6)."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._tickets: dict[bytes, tuple[str, int]] = {}
        self._of_project: dict[str, OrderedDict[bytes, None]] = {}

    def issue(self, token: str, project: str) -> tuple[str, int]:
        """A ticket for a token of `project`, and when it ends (UTC ns)."""
        held = self._of_project.setdefault(project, OrderedDict())
        now = self._clock.now_ns()
        while held:
            oldest = next(iter(held))
            if self._tickets[oldest][1] > now and len(held) < self._limits.tickets_per_project_max:
                break
            del held[oldest], self._tickets[oldest]
        ticket, ends = new_token(), now + self._limits.ticket_s * NS_PER_S
        held[token_hash(ticket)] = None
        self._tickets[token_hash(ticket)] = (token, ends)
        return ticket, ends

    def token_of(self, ticket: str) -> str:
        """The token a ticket stands for; empty when it is unknown or has ended."""
        token, ends = self._tickets.get(token_hash(ticket), ("", 0))
        return token if ends > self._clock.now_ns() else ""
