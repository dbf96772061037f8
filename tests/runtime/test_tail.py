"""The tail: what a watcher holds is bounded, however large the messages and however slow he is (§6)."""

import asyncio
from array import array
from typing import Any

import msgspec
import pytest

from taihu.kernel.limits import Limits
from taihu.runtime.ingest.tail import Tail, TailFull
from taihu.things.batch import Batch, Column

LIMITS = Limits(tail_queue_max=4, tail_watchers_per_project_max=2)


def batch(**values: Any) -> Batch:
    return Batch(
        project="plant",
        model="",
        properties=tuple(values),
        things=("pump",),
        thing_of=b"",
        received_at=1,
        observed=array("q", [1]).tobytes(),
        flags=b"",
        columns=tuple(Column("o", msgspec.msgpack.encode([value])) for value in values.values()),
    )


def test_what_is_shown_is_cut_and_what_is_missed_is_counted() -> None:
    async def body() -> None:
        tail = Tail(LIMITS)
        watch = tail.watch("plant")
        first = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        many = {f"p{number}": number for number in range(1_000)}
        tail.accepted(batch(text="x" * 1_000_000, deep={"a": ["y" * 1_000_000]}, short={"a": 1}, level=3.5, **many))
        (shown,) = (await first)["last"]
        assert (shown["short"], shown["level"]) == ({"a": 1}, 3.5)
        assert len(msgspec.json.encode(shown)) < 2_000
        for _ in range(10):
            tail.accepted(batch(level=1))
        assert await anext(watch) == {"event": "missed", "count": 6}
        await watch.aclose()
        tail.accepted(batch(level=1))

    asyncio.run(body())


def test_so_many_may_watch_a_project_and_no_more() -> None:
    async def body() -> None:
        tail = Tail(LIMITS)
        watches = [tail.watch("plant") for _ in range(3)]
        waiting = [asyncio.ensure_future(anext(watch)) for watch in watches[:2]]
        await asyncio.sleep(0)
        with pytest.raises(TailFull):
            tail.check_room("plant")
        assert [event async for event in watches[2]] == []
        tail.check_room("other")
        for task, watch in zip(waiting, watches, strict=False):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await watch.aclose()
        tail.check_room("plant")

    asyncio.run(body())
