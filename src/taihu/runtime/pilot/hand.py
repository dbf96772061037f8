"""One property or action of a thing that a loop may write: under a standing permit, and no more often than it must.

What several hands have to say goes to the node in one request, and so do the permits that they ask for and give back.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from taihu.control.steady import SAME_KW
from taihu.kernel.clock import HOUR_NS, MINUTE_NS, NS_PER_S
from taihu.kernel.errors import RefusedError
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.held import Held, HeldPermits

_PERMIT_HOURS = 24.0
_EARLY_NS = 2 * HOUR_NS  # before its end a permit is asked for anew ...
_LAST_NS = HOUR_NS  # ... and from then on it is not used
_PER_MINUTE = 120
_DEADLINE_S = 900.0
_DIGITS = 3
WITHDRAWN_NS = 5 * MINUTE_NS
"""After which a loop asks anew for a permit that somebody withdrew."""
_AGAIN_NS = 600 * NS_PER_S  # a setpoint that is so old is sent again


class Order(msgspec.Struct, frozen=True, eq=False):
    """What a hand has to say: the body of a command, and the value of a property; None for an action."""

    hand: "Hand"
    body: dict[str, Any]
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
        self.standing, self._until = "", 0
        self.before = permits.of(self.what)
        """The permit from before a restart, until a command was given under it."""
        if self.before is not None:
            same = (self.before.low, self.before.high) == (low, high)
            self.standing, self._until = self.before.standing, self.before.until if same else 0
        self.told: float | None = None
        self.told_at = 0

    async def write(self, now: int, value: float, why: str) -> bool:
        """Write the property; False when it need not be written again.

        Raises:
            RefusedError: the node does not take it; TransientError: it does not answer now.
        """
        order = self.order(now, value, why)
        if order is None:
            return False
        if problem := (await give(self._api, self._project, now, [order]))[self]:
            raise refused(problem)
        return True

    def order(self, now: int, value: float, why: str, same_kw: float = SAME_KW) -> Order | None:
        """What writes the property; None when it need not be written again: it would read the same, or nearly."""
        said = round(min(max(value, self._low), self._high), _DIGITS) + 0.0
        known = self.told is not None and now - self.told_at < _AGAIN_NS
        if known and self.told is not None and (abs(value - self.told) < same_kw or said == self.told):
            return None
        return self._order({"property": self._name, "input": said}, why, said)

    def action(self, why: str) -> Order:
        """What invokes the action, which has no input."""
        return self._order({"action": self._name}, why, None)

    async def leave(self, now: int, why: str) -> None:
        """Bring it to where it is when nobody drives it, and give the permit back; raises as `leave`."""
        await leave(self._api, self._project, now, [self], why)

    @property
    def what(self) -> tuple[str, str, str]:
        """What it writes: project, thing and name."""
        return self._project, self._thing, self._name

    @property
    def holds(self) -> bool:
        """Whether it has a permit, which it has once it has written."""
        return bool(self.standing)

    @property
    def drove(self) -> bool:
        """Whether it was told anything, by this process or the one before."""
        return self.told is not None or self.before is not None

    def lacks(self, now: int, early_ns: int = 0) -> bool:
        """Whether it needs a permit, now or soon."""
        return now >= self._until - early_ns

    def wish(self) -> dict[str, Any]:
        """The permit that it needs."""
        body = {
            "things": self._thing, "name": self._name, "low": self._low, "high": self._high,
            "per_minute": _PER_MINUTE, "hours": _PERMIT_HOURS,
        }  # fmt: skip
        return body if self.rest is None else body | {"rest": round(self.rest, _DIGITS)}

    def take(self, standing: str, expires_at: int) -> str:
        """It has a permit from now on; returns the one that it had, which is to be given back."""
        had, self.before = self.standing, None
        self.standing, self._until = standing, expires_at - _LAST_NS
        self._permits.keep(self.what, Held(standing, self._until, self._low, self._high, self.rest))
        return had

    def drop(self) -> None:
        """It has no permit any more, and is driven no longer."""
        self.told, self.standing, self._until, self.before = None, "", 0, None
        self._permits.drop(self.what)

    def heard(self, now: int, order: Order, problem: str) -> None:
        """What became of an order: the node has taken it over, or why not."""
        if problem:
            if self.before is not None:
                self._until = 0  # the permit from before the restart may be gone: another is asked for
            return
        self.told_at, self.before = now, None
        if order.value is not None:
            self.told = order.value

    def _order(self, what: dict[str, Any], why: str, value: float | None) -> Order:
        return Order(self, {"thing": self._thing, "why": why, "deadline_s": _DEADLINE_S} | what, value)


async def give(api: NodeApi, project: str, now: int, orders: Sequence[Order]) -> dict[Hand, str]:
    """Give what hands have to say together; returns why the node has not taken it over, empty where it has.

    Raises:
        RefusedError: the node says no to all; TransientError: it does not answer now.
    """
    problems = await permit(api, project, [one.hand for one in orders if one.hand.lacks(now)])
    ready = [one for one in orders if not problems.get(one.hand)]
    said = await api.give(project, [one.body | {"standing": one.hand.standing} for one in ready])
    for order, problem in zip(ready, said, strict=True):
        order.hand.heard(now, order, problem)
        problems[order.hand] = problem
    return problems


async def permit(api: NodeApi, project: str, hands: Sequence[Hand]) -> dict[Hand, str]:
    """Ask for permits, and give back those that they take the place of; returns why some are not given."""
    had, problems = [], dict.fromkeys(hands, "")
    for hand, given in zip(hands, await api.permit(project, [hand.wish() for hand in hands]), strict=True):
        if isinstance(given, str):
            problems[hand] = given
        elif before := hand.take(*given):
            had.append(before)
    await api.withdraw(project, had)
    return problems


async def renew(api: NodeApi, project: str, now: int, hands: Sequence[Hand]) -> None:
    """Ask anew for the permits that soon end, between turns."""
    await permit(api, project, [one for one in hands if one.holds and one.lacks(now, _EARLY_NS)])


async def withdrawn(api: NodeApi, project: str, hands: Sequence[Hand]) -> list[Hand]:
    """Those whose permit somebody withdrew, and with it the node let go of what they drove: they hold none any more."""
    held = [(one, one.standing) for one in hands if one.holds]
    there = await api.permits(project) if held else ()
    gone = [one for one, standing in held if standing not in there]
    for one in gone:
        one.drop()
    return gone


async def leave(
    api: NodeApi, project: str, now: int, hands: Sequence[Hand], why: str, *, whatever: bool = False
) -> None:
    """Bring hands to where they are when nobody drives them, those that were driven, and give their permits back.

    Raises:
        RefusedError: some are not told; they keep their permits, unless all are to go `whatever` the node says.
        TransientError: it does not answer now, and all is as it was.
    """
    await withdrawn(api, project, hands)
    orders = [one.order(now, one.rest, why) for one in hands if one.rest is not None and one.drove]
    problems = await give(api, project, now, [one for one in orders if one is not None])
    leaving = [one for one in hands if whatever or not problems.get(one)]
    await api.withdraw(project, [one.standing for one in leaving if one.holds])
    for one in leaving:
        one.drop()
    if problem := next(filter(None, problems.values()), ""):
        raise refused(problem)


def refused(problem: str) -> RefusedError:
    """What the node does not take over."""
    return RefusedError(f"The node refuses a command: {problem}", "See docs/plan.md.")
