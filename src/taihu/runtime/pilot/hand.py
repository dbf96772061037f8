"""One property or action of a thing that a loop may write: under a standing permit, and no more often than it must."""

from typing import Any

from taihu.kernel.clock import NS_PER_S
from taihu.runtime.pilot.api import NodeApi

_HOUR_NS = 3_600 * NS_PER_S
_PERMIT_HOURS = 24.0
_PER_MINUTE = 120
_DEADLINE_S = 900.0
SAME_KW = 0.02  # a setpoint that has moved less is not sent again ...
_AGAIN_NS = 600 * NS_PER_S  # ... unless it is so old


class Hand:
    """What is written of one thing. `low` and `high` are the permit's corridor."""

    def __init__(self, api: NodeApi, project: str, thing: str, name: str, low: float, high: float) -> None:
        self._api, self._project = api, project
        self._thing, self._name = thing, name
        self._low, self._high = low, high
        self._standing, self._standing_until = "", 0
        self.told: float | None = None
        self.told_at = 0

    async def write(self, now: int, value: float, why: str, same_kw: float = SAME_KW) -> bool:
        """Write the property; False when it need not be written again."""
        value = min(max(value, self._low), self._high)
        same = self.told is not None and abs(value - self.told) < same_kw
        if same and now - self.told_at < _AGAIN_NS:
            return False
        await self._give(now, {"property": self._name, "input": round(value, 3) + 0.0}, why)
        self.told, self.told_at = value, now
        return True

    async def invoke(self, now: int, why: str) -> None:
        """Invoke the action, which has no input."""
        await self._give(now, {"action": self._name}, why)
        self.told_at = now

    async def leave(self, now: int, rest: float | None, why: str) -> None:
        """Bring it to where it is when nobody drives it, if it was driven, and give the permit back."""
        if self.told is not None and rest is not None:
            await self.write(now, rest, why)
        if self._standing:
            await self._api.withdraw(self._project, self._standing)
        self.told, self._standing, self._standing_until = None, "", 0

    @property
    def holds(self) -> bool:
        """Whether it has a permit, which it has once it has written."""
        return bool(self._standing)

    async def _give(self, now: int, what: dict[str, Any], why: str) -> None:
        if now >= self._standing_until:
            permit = {
                "things": self._thing, "name": self._name, "low": self._low, "high": self._high,
                "per_minute": _PER_MINUTE, "hours": _PERMIT_HOURS,
            }  # fmt: skip
            given = await self._api.post(self._project, "standing", permit)
            self._standing, self._standing_until = given["id"], given["expires_at"] - _HOUR_NS
        body = {"thing": self._thing, "why": why, "deadline_s": _DEADLINE_S, "standing": self._standing}
        await self._api.post(self._project, "commands", body | what)
