"""Observers: what one holds is bounded however slow it is, and the newest value is never lost (§5, §6)."""

import asyncio
from array import array
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message
from tests.waiting import WAIT_S

from taihu.doors.http.streams import EventStream, unnamed
from taihu.doors.http.wot_ports import Notice
from taihu.kernel.limits import Limits
from taihu.runtime.serving.observers import Observer, Observers, ObserversFull
from taihu.things.batch import Batch, Column
from taihu.things.property import Kind, Property
from taihu.twin.twin import Twin

DEFINITIONS = {"power": Property(name="power"), "trip": Property(name="trip", kind=Kind.EVENT)}
LIMITS = Limits(
    observer_queue_max=4,
    observer_queue_bytes_max=100,
    observers_max=3,
    observers_per_project_max=2,
    observer_heartbeat_s=0.2,
    observer_linger_s=0.2,
)


def batch(name: str, rows: list[tuple[str, int, Any]]) -> Batch:
    """Rows of (thing, observed_at, value)."""
    things = tuple(dict.fromkeys(thing for thing, _, _ in rows))
    return Batch(
        project="plant",
        model="",
        properties=(name,),
        things=things,
        thing_of=array("i", [things.index(thing) for thing, _, _ in rows]).tobytes() if len(things) > 1 else b"",
        received_at=1,
        observed=array("q", [at for _, at, _ in rows]).tobytes(),
        flags=b"",
        columns=(Column("o", msgspec.msgpack.encode([value for _, _, value in rows])),),
    )


class Site:
    """Observers over a twin, fed as a node feeds them."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.twin = Twin()
        self.position = 0
        self.reason = ""
        self.hub = Observers(limits, self.definitions, self.twin.newest)

    def definitions(self, project: str, thing: str) -> Mapping[str, Property]:
        return DEFINITIONS

    def tell(self, name: str, *rows: tuple[str, int, Any]) -> None:
        self.position += 1
        told = batch(name, list(rows))
        self.twin.apply(self.position, told)
        self.hub.tell(self.position, told)

    def open(self, thing: str = "meter") -> Observer:
        return self.hub.open("plant", thing, lambda: self.reason)


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await body

    asyncio.run(bounded())


def values(notices: list[Notice]) -> list[Any]:
    return [msgspec.json.decode(notice.data) for notice in notices]


ROWS = st.lists(st.tuples(st.sampled_from(["meter", "pump"]), st.integers(1, 20)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), ROWS), max_size=12))
def test_whatever_comes_the_last_that_is_told_is_the_newest(steps: list[tuple[bool, list[tuple[str, int]]]]) -> None:
    """§5: told in event time, each later than the last; §6: what is not told is counted."""

    async def body() -> None:
        site = Site()
        site.tell("power", ("meter", 0, -1))
        observer = site.open()
        observer.begin("power")
        told: list[Notice] = []
        news, newest, number = 1, 0, 0
        for take, rows in steps:
            numbered = []
            for thing, at in rows:
                number += 1
                numbered.append((thing, at, number))
                news += thing == "meter" and at >= newest
                newest = max(newest, at) if thing == "meter" else newest
            site.tell("power", *numbered)
            if take and (observer._waiting or told == []):
                told += await observer.take()
        if observer._waiting:
            told += await observer.take()
        assert [notice.observed_at for notice in told] == sorted(notice.observed_at for notice in told)
        assert len({(notice.observed_at, notice.seq) for notice in told}) == len(told)
        final = site.twin.value("plant", "meter", "power")
        assert final is not None
        assert (told[-1].seq, values(told)[-1]) == (final.seq, final.value)
        assert observer.missed == news - len(told)

    run(body())


def test_the_oldest_gives_way_by_number_and_by_bytes() -> None:
    async def body() -> None:
        site = Site()
        observer = site.open()
        observer.begin("power")
        for number in range(10):
            site.tell("power", ("meter", number, number))
        assert values(await observer.take()) == [6, 7, 8, 9]
        assert (observer.missed, site.hub.missed) == (6, 6)
        for number in range(3):
            site.tell("power", ("meter", 20 + number, "x" * 60))
        assert len(await observer.take()) == 1
        site.tell("power", ("meter", 30, "y" * 500))
        assert values(await observer.take()) == ["y" * 500], "the newest is told, however large"

    run(body())


def test_who_comes_back_is_told_the_events_since_then_for_a_while() -> None:
    async def body() -> None:
        site = Site()
        observer = site.open()
        observer.begin_all(events=True)
        site.tell("trip", ("meter", 1, "a"))
        (first,) = await observer.take()
        observer.end("gone")
        site.tell("trip", ("meter", 1, "b"), ("meter", 1, "c"))
        site.tell("power", ("meter", 1, 5))
        again = site.open()
        again.begin("trip", first.seq)
        assert values(await again.take()) == ["b", "c"]
        again.end("gone")
        await asyncio.sleep(0.5)
        assert site.hub._topics == {}, "nobody observes, and nothing is kept"
        last = site.open()
        last.begin("trip", first.seq)
        assert await last.take() == [], "a heartbeat"

    run(body())


def test_so_many_observe_and_no_more() -> None:
    async def body() -> None:
        site = Site()
        first, _ = site.open(), site.open("pump")
        with pytest.raises(ObserversFull, match="observers_per_project_max"):
            site.open()
        site.hub.open("other", "meter", lambda: "")
        with pytest.raises(ObserversFull, match="observers_max"):
            site.hub.open("third", "meter", lambda: "")
        first.end("gone")
        first.end("again")
        site.open()
        site.hub.close("the end")
        assert site.hub.count == 0

    run(body())


def test_nothing_is_told_after_the_permission_ends() -> None:
    """§11: not what waits already, and who waits hears so by itself."""

    async def body() -> None:
        site = Site()
        waiting, full = site.open(), site.open("pump")
        full.begin("power")
        site.tell("power", ("pump", 1, 1))
        taking = asyncio.ensure_future(waiting.take())
        await asyncio.sleep(0)
        site.reason = "revoked"
        assert await full.take() == []
        assert await taking == []
        assert (waiting.reason, full.reason, site.hub.count) == ("revoked", "revoked", 0)

    run(body())


def test_an_observer_whose_connection_is_gone_ends() -> None:
    """As one does that takes nothing (§6): the connection gives it up."""

    async def body() -> None:
        site = Site()
        observer = site.open()
        observer.begin("power")
        site.tell("power", ("meter", 1, 1))
        sent: list[Message] = []
        gone = asyncio.Event()

        async def send(message: Message) -> None:
            sent.append(message)
            if b"data" in message.get("body", b""):
                gone.set()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        await EventStream(observer, unnamed)({}, receive, send)
        assert (observer.reason, site.hub.count) == ("gone", 0)
        assert sent[0]["type"] == "http.response.start"

    run(body())
