"""A node in memory with a yard of flexible loads behind it, for schedulers."""

from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec

from taihu.kernel.clock import HOUR_NS, NS_PER_S, SimClock, parse_iso
from taihu.runtime.pilot.decisions import Decisions
from taihu.sim.flexible import Yard

EVENING = parse_iso("2026-03-02T20:02:00Z")


def permits(
    body: dict[str, Any], given: list[dict[str, Any]], ended: list[str], clock: SimClock
) -> list[dict[str, Any]]:
    """What a node answers that issues and ends all standing permits that it is asked for."""
    ended += body.get("withdraw", [])
    first = len(given) + 1
    given += body.get("standing", [])
    return [{"id": f"p-{one}", "expires_at": clock.now_ns() + 24 * HOUR_NS} for one in range(first, len(given) + 1)]


def held(given: list[dict[str, Any]], ended: list[str]) -> dict[str, Any]:
    """What a node answers that is asked for its standing permits."""
    return {"standing": [{"id": f"p-{one}"} for one in range(1, len(given) + 1) if f"p-{one}" not in ended]}


class YardNode:
    """Answers as the node's API does, about the things of a yard."""

    def __init__(self, now: int = EVENING) -> None:
        self.clock = SimClock(now)
        self.yard = Yard(at=now, departure_s=(now + 11 * HOUR_NS) // NS_PER_S)
        self.commands: list[dict[str, Any]] = []
        self.permits: list[dict[str, Any]] = []
        self.withdrawn: list[str] = []
        self.stale: set[str] = set()
        self.prices: dict[int, float] = {}
        self.models: list[dict[str, Any]] = []
        self.forecast: dict[str, Any] = {}
        self.outside: dict[str, Any] = {}
        self.refuses: dict[str, dict[str, Any]] = {}
        self.store: Decisions | None = None

    def step(self, seconds: float) -> None:
        """Time goes on, and the yard with it."""
        self.clock.advance(seconds)
        self.yard.advance(self.clock.now_ns())

    def handle(self, request: httpx.Request) -> httpx.Response:
        query = {key: one[0] for key, one in parse_qs(request.url.query.decode()).items()}
        path = request.url.path
        if path.endswith("/history"):
            return httpx.Response(200, json={"windows": self._windows(query)})
        if path.endswith("/values"):
            shown = [
                {
                    "thing": thing, "property": name, "value": one, "stale": thing in self.stale,
                    "observed_at": self.clock.now_ns(),
                }
                for thing in parse_qs(request.url.query.decode())["thing"]
                for name, one in (self.yard.say(thing) | self.outside.get(thing, {})).items()
            ]  # fmt: skip
            return httpx.Response(200, json={"values": shown})
        if "/things/" in path:
            return httpx.Response(200, json={"properties": {}})
        if path.endswith("/forecast/models"):
            return httpx.Response(200, json={"models": self.models})
        if path.endswith("/forecast"):
            return httpx.Response(200, json=self.forecast)
        if path.endswith("/standing"):
            return httpx.Response(200, json=held(self.permits, self.withdrawn))
        body = msgspec.json.decode(request.content)
        if path.endswith("/standing/batch"):
            return httpx.Response(200, json={"outcomes": permits(body, self.permits, self.withdrawn, self.clock)})
        assert path.endswith("/commands/batch")
        for one in body["commands"]:
            if one["thing"] not in self.refuses:
                self.commands.append(one | {"at": self.clock.now_ns()})
                self.yard.tell(one["thing"], one.get("input"))
        return httpx.Response(200, json={"outcomes": [self.refuses.get(one["thing"], {}) for one in body["commands"]]})

    def _windows(self, query: dict[str, str]) -> list[dict[str, Any]]:
        every = HOUR_NS if query["every"] == "1h" else HOUR_NS // 4
        name, found = query["property"], []
        for start in range(-(-int(query["start"]) // every) * every, int(query["end"]), every):
            value = (
                self.prices.get(start)
                if name == "price"
                else {"intensity": 0.5, "kw": self.yard.sun_kw}.get(name, self.yard.base_kw)
            )
            if value is not None:
                found.append({"start": start, "end": start + every, "coverage": 1.0, "time_mean": value})
        return found
