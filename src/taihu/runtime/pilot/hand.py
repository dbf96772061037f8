"""One property or action of a thing that a loop may write: under a standing permit, and no more often than it must.

What several hands have to say goes to the node in one request.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.held import Held, HeldPermits

_HOUR_S = 3_600
_PERMIT_HOURS = 24.0
_PER_MINUTE = 120
_DEADLINE_S = 900.0
_DIGITS = 3
SAME_KW = 0.02  # a setpoint that has moved less is not sent again ...
_AGAIN_NS = 600 * NS_PER_S  # ... unless it is so old


class Order(NamedTuple):
    """What a hand has to say: a command, and the value of a property; None for an action."""

    hand: "Hand"
    command: dict[str, Any]
    value: float | None


class Hand:
    """What is written of one thing. `low` and `high` are the permit's corridor; `rest` is told when nobody drives it.

    What it holds is kept in `permits`: whoever writes the same after a restart goes on with it.
    """

    def __init__(
        self, api: NodeApi, project: str, thing: str, name: str, low: float, high: float, rest: float | None,
        permits: HeldPermits,
    ) -> None:  # fmt: skip
        self._api, self._project = api, project
        self._thing, self._name = thing, name
        self._low, self._high, self.rest = low, high, rest
        self._permits = permits
        self._standing, self._standing_until = "", 0
        self._before = permits.of(self.what)
        if self._before is not None:
            same = (self._before.low, self._before.high) == (low, high)
            self._standing, self._standing_until = self._before.standing, self._before.until if same else 0
        self.told: float | None = None
        self.told_at = 0

    async def write(self, now: int, value: float, why: str, same_kw: float = SAME_KW) -> bool:
        """Write the property; False when it need not be written again.

        Raises:
            RefusedError: the node does not take it; TransientError: it does not answer now.
        """
        order = await self.order(now, value, why, same_kw)
        if order is None:
            return False
        if problem := (await give(self._api, self._project, now, [order]))[self]:
            raise RefusedError(f"The node refuses a command: {problem}", "See docs/plan.md.")
        return True

    async def order(self, now: int, value: float, why: str, same_kw: float = SAME_KW) -> Order | None:
        """What writes the property; None when it need not be written again: it would read the same, or nearly."""
        value = min(max(value, self._low), self._high)
        said = round(value, _DIGITS) + 0.0
        known = self.told is not None and now - self.told_at < _AGAIN_NS
        if known and self.told is not None and (abs(value - self.told) < same_kw or said == round(self.told, _DIGITS)):
            return None
        return await self._order(now, {"property": self._name, "input": said}, why, value)

    async def action(self, now: int, why: str) -> Order:
        """What invokes the action, which has no input."""
        return await self._order(now, {"action": self._name}, why, None)

    async def leave(self, now: int, why: str) -> None:
        """Bring it to where it is when nobody drives it, if it was driven, and give the permit back."""
        if self.rest is not None and (self.told is not None or self._before is not None):
            await self.write(now, self.rest, why)
        if self._standing:
            await self._api.withdraw(self._project, self._standing)
        self.told, self._standing, self._standing_until, self._before = None, "", 0, None
        self._permits.drop(self.what)

    @property
    def what(self) -> tuple[str, str, str]:
        """What it writes: project, thing and name."""
        return self._project, self._thing, self._name

    @property
    def holds(self) -> bool:
        """Whether it has a permit, which it has once it has written."""
        return bool(self._standing)

    async def _order(self, now: int, what: dict[str, Any], why: str, value: float | None) -> Order:
        if now >= self._standing_until:
            await self._permit()
        body = {"thing": self._thing, "why": why, "deadline_s": _DEADLINE_S, "standing": self._standing}
        return Order(self, body | what, value)

    def heard(self, now: int, order: Order, problem: str) -> None:
        """What became of an order: the node has taken it over, or why not."""
        if problem:
            if self._before is not None:
                self._standing_until = 0  # the permit from before the restart may be gone: another is asked for
            return
        self.told_at, self._before = now, None
        if order.value is not None:
            self.told = order.value

    async def _permit(self) -> None:
        """Get a permit; one from before a restart is given back for it."""
        permit = {
            "things": self._thing, "name": self._name, "low": self._low, "high": self._high,
            "per_minute": _PER_MINUTE, "hours": _PERMIT_HOURS,
        }  # fmt: skip
        given = await self._api.post(self._project, "standing", permit)
        before, self._before = self._before, None
        early_s = _HOUR_S + crc32(self._thing.encode()) % _HOUR_S  # not all of many at once
        self._standing, self._standing_until = given["id"], given["expires_at"] - early_s * NS_PER_S
        self._permits.keep(self.what, Held(self._standing, self._standing_until, self._low, self._high, self.rest))
        if before is not None:
            await self._api.withdraw(self._project, before.standing)


async def give(api: NodeApi, project: str, now: int, orders: Sequence[Order]) -> dict[Hand, str]:
    """Give what hands have to say together; returns why the node has not taken it over, empty where it has.

    Raises:
        RefusedError: the node says no to all; TransientError: it does not answer now.
    """
    problems = await api.give(project, [one.command for one in orders]) if orders else []
    for order, problem in zip(orders, problems, strict=True):
        order.hand.heard(now, order, problem)
    return {order.hand: problem for order, problem in zip(orders, problems, strict=True)}
