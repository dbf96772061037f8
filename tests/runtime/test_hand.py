"""What several hands ask of a node at once: permits and commands, of which it may refuse some."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.limits import renew as change
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.pilot.hand import Hand, give, leave, renew, withdrawn

HOUR_NS = 3_600 * NS_PER_S
NO = {"problem": {"title": "No.", "status": 403}}


class Desk:
    """Answers as the node does; `forbids` names things without a permit, `refuses` those whose commands it refuses."""

    def __init__(self) -> None:
        self.now = 480_000 * HOUR_NS
        self.forbids: set[str] = set()
        self.refuses: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.permits: dict[str, str] = {}
        self.told: list[tuple[str, Any, str]] = []
        self.away = False
        self._numbers = count()

    def handle(self, request: httpx.Request) -> httpx.Response:
        if "/things/" in request.url.path:
            return httpx.Response(200, json={"properties": {}})
        if self.away:
            return httpx.Response(503)
        self.requests.append(request.url.path.split("/projects/home/")[1])
        if request.url.path.endswith("/standing"):
            return httpx.Response(200, json={"standing": [{"id": one} for one in self.permits]})
        body = msgspec.json.decode(request.content)
        if request.url.path.endswith("/standing/batch"):
            outcomes = [self._permit(one["things"]) for one in body.get("standing", [])]
            for number in body.get("withdraw", []):
                del self.permits[number]
        else:
            outcomes = [self._take(one) for one in body["commands"]]
        return httpx.Response(200, json={"outcomes": outcomes})

    def _permit(self, thing: str) -> dict[str, Any]:
        if thing in self.forbids:
            return NO
        number = f"p-{next(self._numbers)}"
        self.permits[number] = thing
        return {"id": number, "expires_at": self.now + 24 * HOUR_NS}

    def _take(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["thing"] in self.refuses:
            return self.refuses[one["thing"]]
        if self.permits.get(one["standing"]) != one["thing"]:
            return {"state": "refused", "detail": "there is no standing permit"}
        self.told.append((one["thing"], one["input"], one["standing"]))
        return {"state": "sent", "id": "c"}


Work = Callable[[NodeApi, list[Hand]], Awaitable[None]]


def play(folder: Path, desk: Desk, work: Work, many: int = 3, limits: Limits = DEFAULT) -> None:
    """Let so many hands work, `a`, `b` and so on."""

    async def run() -> None:
        store = Decisions(folder / "decisions.sqlite")
        api = NodeApi("http://node", {"home": "token"}, httpx.MockTransport(desk.handle), limits)
        try:
            await work(api, [Hand(api, "home", thing, "kw", -5.0, 5.0, 0.0, store.permits) for thing in "abc"[:many]])
        finally:
            await api.close()
            store.close()

    asyncio.run(run())


def test_many_are_told_in_two_requests_and_then_in_one(tmp_path: Path) -> None:
    """§7: nothing is told but under a permit, and permits are asked for together."""
    desk = Desk()

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        for kw in (1.0, 2.0):
            orders = [order for hand in hands if (order := hand.order(desk.now, kw, "why"))]
            assert list((await give(api, "home", desk.now, orders)).values()) == [""] * 3
        assert [hand.order(desk.now, 2.01, "why") for hand in hands] == [None] * 3

    play(tmp_path, desk, work)
    assert desk.requests == ["standing/batch", "commands/batch", "commands/batch"]
    assert [one[:2] for one in desk.told] == [("a", 1.0), ("b", 1.0), ("c", 1.0), ("a", 2.0), ("b", 2.0), ("c", 2.0)]


@pytest.mark.parametrize("what", ["permit", "command", "rule"])
def test_what_one_is_refused_the_others_get(tmp_path: Path, what: str) -> None:
    """Who was not told is told again next time, and the reason is said."""
    desk = Desk()
    desk.forbids = {"b"} if what == "permit" else set()
    if what != "permit":
        desk.refuses = {"b": NO if what == "command" else {"state": "refused", "detail": "5 is above 4"}}

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        for _ in range(2):
            orders = [order for hand in hands if (order := hand.order(desk.now, 1.0, "why"))]
            problems = await give(api, "home", desk.now, orders)
            assert {problem for hand, problem in problems.items() if hand is not hands[1]} <= {""}
            assert problems[hands[1]] == ("5 is above 4" if what == "rule" else "No.")
            assert [hand.told for hand in hands] == [1.0, None, 1.0]
        assert hands[1].holds is (what != "permit")

    play(tmp_path, desk, work)
    assert [thing for thing, _, _ in desk.told] == ["a", "c"]


def test_permits_are_renewed_together_before_they_end(tmp_path: Path) -> None:
    """Those that new ones take the place of are given back; there is never none."""
    desk = Desk()

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        begin = desk.now
        for hours, asked in ((0.0, 2), (20.0, 0), (22.5, 2), (22.6, 0)):
            desk.requests.clear()
            desk.now = now = begin + int(hours * HOUR_NS)
            if not hours:
                await give(api, "home", now, [order for hand in hands if (order := hand.order(now, 1.0, "why"))])
            await renew(api, "home", now, hands)
            assert len(desk.requests) == asked
        assert sorted(desk.permits.values()) == ["a", "b", "c"]
        desk.forbids = {"b"}
        desk.now += 24 * HOUR_NS
        await renew(api, "home", desk.now, hands)  # what is refused is said when something is to be told
        orders = [order for hand in hands if (order := hand.order(desk.now, 2.0, "why"))]
        assert list((await give(api, "home", desk.now, orders)).values()) == ["No.", "", ""]

    play(tmp_path, desk, work)
    assert [thing for thing, kw, _ in desk.told if kw == 2.0] == ["a", "c"]


def test_a_permit_of_the_time_before_a_restart_serves_until_it_is_gone(tmp_path: Path) -> None:
    desk = Desk()

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        assert await hands[0].write(desk.now, 1.0, "why")

    play(tmp_path, desk, work, 1)
    play(tmp_path, desk, work, 1)
    assert desk.requests == ["standing/batch", "commands/batch", "commands/batch"]
    desk.permits.clear()  # an operator withdrew it, or the node was put back from a backup

    async def again(api: NodeApi, hands: list[Hand]) -> None:
        with pytest.raises(RefusedError, match="no standing permit"):
            await hands[0].write(desk.now, 1.0, "why")
        desk.permits[hands[0].standing] = "a"
        assert await hands[0].write(desk.now, 1.0, "why")

    play(tmp_path, desk, again, 1)
    assert list(desk.permits.values()) == ["a"]


def test_no_request_has_more_than_the_node_takes(tmp_path: Path) -> None:
    """A node may say less than the pilot's own 500; the limit of now counts, as a reload may change it."""
    desk, limits = Desk(), Limits(commands_per_batch_max=2)

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        for kw in (1.0, 2.0):
            orders = [order for hand in hands if (order := hand.order(desk.now, kw, "why"))]
            assert list((await give(api, "home", desk.now, orders)).values()) == [""] * 3
            change(limits, Limits(commands_per_batch_max=3))
        change(limits, Limits(commands_per_batch_max=1))
        await leave(api, "home", desk.now, hands, "over")

    play(tmp_path, desk, work, limits=limits)
    assert desk.requests == [
        *["standing/batch"] * 2, *["commands/batch"] * 2, "commands/batch", "standing",
        *["commands/batch"] * 3, *["standing/batch"] * 3,
    ]  # fmt: skip
    assert desk.permits == {}


def test_who_has_no_permit_any_more_holds_none_and_leaves_nothing(tmp_path: Path) -> None:
    """§7: one that somebody withdrew is not given back, and what was issued since the node was asked is there."""
    desk = Desk()

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        assert await withdrawn(api, "home", hands) == [] and desk.requests == []
        for hand in hands:
            await hand.write(desk.now, 1.0, "why")
            assert await withdrawn(api, "home", hands) == []
        assert desk.requests.count("standing") == 1
        del desk.permits[hands[1].standing]
        api._permitted["home"].until = 0.0
        assert await withdrawn(api, "home", hands) == [hands[1]]
        assert [hand.holds for hand in hands] == [True, False, True]
        del desk.permits[hands[2].standing]
        api._permitted["home"].until = 0.0
        await leave(api, "home", desk.now, hands, "over")
        assert await withdrawn(api, "home", hands) == []

    play(tmp_path, desk, work)
    assert [one[:2] for one in desk.told] == [("a", 1.0), ("b", 1.0), ("c", 1.0), ("a", 0.0)]


def test_leaving_gives_back_the_permits_of_those_who_rest(tmp_path: Path) -> None:
    desk = Desk()

    async def work(api: NodeApi, hands: list[Hand]) -> None:
        await give(api, "home", desk.now, [order for hand in hands if (order := hand.order(desk.now, 1.0, "why"))])
        desk.now += NS_PER_S
        desk.away = True
        with pytest.raises(TransientError):
            await leave(api, "home", desk.now, hands, "over")
        assert len(desk.permits) == 3
        desk.away, desk.refuses = False, {"b": {"state": "refused", "detail": "it is night"}}
        with pytest.raises(RefusedError, match="night"):
            await leave(api, "home", desk.now, hands, "over")
        assert list(desk.permits.values()) == ["b"]
        assert [hand.holds for hand in hands] == [False, True, False]
        await leave(api, "home", desk.now + 1, hands[::2], "over")  # who has left is not told again
        with pytest.raises(RefusedError):
            await leave(api, "home", desk.now + 1, hands, "over", whatever=True)

    play(tmp_path, desk, work)
    assert desk.permits == {}
    assert [(thing, kw) for thing, kw, _ in desk.told] == [("a", 1.0), ("b", 1.0), ("c", 1.0), ("a", 0.0), ("c", 0.0)]
