"""Stored days are replayed walk-forward: nothing of the future is seen, and what they saved decides who drives."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.test_scheduler import BATTERY, CAR, CONFIG, JOB, PV, TANK, WASHER, with_
from tests.runtime.yard import YardNode

from taihu.decide.flexible import STEP_NS
from taihu.decide.twins import Twins
from taihu.kernel.clock import DAY_NS, HOUR_NS, parse_iso
from taihu.kernel.flexible import SchedulerConfig, TariffConfig
from taihu.kernel.limits import Limits
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.scheduling.guarding import Guard
from taihu.runtime.scheduling.replay import Replay, stand_ins
from taihu.runtime.scheduling.scheduler import Scheduler
from taihu.runtime.scheduling.stored import Stored

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

TODAY = parse_iso("2026-03-20T00:00:00Z")
QUICK = with_(batteries=(BATTERY,), every="30m")
MODEL = {"model": "blend"}
PRICES = TariffConfig(property="grid/price")
Past = Callable[[str, str, int], Any]  # what a property held, by thing, name and time


class PastNode(YardNode):
    """A node with a past: windows of what `past` says, from `begin` on."""

    def __init__(self, past: Past, begin: int, now: int = TODAY + 2 * HOUR_NS) -> None:
        super().__init__(now)
        self.past, self.begin, self.asked = past, begin, 0

    def _windows(self, query: dict[str, str]) -> list[dict[str, Any]]:
        self.asked += 1
        every = HOUR_NS if query["every"] == "1h" else STEP_NS
        first, last = max(int(query["start"]), self.begin), min(int(query["end"]), self.clock.now_ns())
        found: list[dict[str, Any]] = []
        for start in range(-(-first // every) * every, last - every + 1, every):
            window: dict[str, Any] = {"start": start, "end": start + every, "coverage": 1.0}
            value = self.past(query["thing"], query["property"], start)
            if isinstance(value, bool):
                found.append(window | {"last": None, "seconds": {str(value).lower(): every / 1e9}})
            elif value is not None:
                found.append(window | {"last": value, "time_mean": value})
        return found

    def api(self) -> NodeApi:
        return NodeApi("http://node", {"home": "token"}, httpx.MockTransport(self.handle))


def home(thing: str, name: str, at: int) -> Any:
    """Dear evenings, sun, a car at night, work at eight."""
    hour, day = at // HOUR_NS % 24, at // DAY_NS
    match thing, name:
        case "meter", _:
            return 0.5 + 2.0 * (17 <= hour < 22) + 0.2 * ((7 * day + hour) % 3)
        case "pv", _:
            return max(0.0, 3 * math.sin((hour - 6) / 12 * math.pi)) * (0.6 + 0.4 * (day % 2))
        case "charger", "plugged":
            return hour >= 18 or hour < 7
        case "charger", "state_of_charge":
            return 40.0
        case "charger", "departure":
            return (day * 24 + (31 if hour >= 12 else 7)) * 3_600.0
        case "server", "remaining":
            return 2.0 if hour == 20 else 0.0
        case "grid", "price":
            return 0.1 if hour < 6 else 0.4 + 0.1 * (day % 3)
        case "heatpump", "temperature":
            return 50.0
    return None


def walked(config: SchedulerConfig, past: Past, start: int, days: list[str], folder: Path) -> dict[str, float]:
    """What days saved, the history beginning at `start`."""

    async def run() -> dict[str, float]:
        api = PastNode(past, start).api()
        stored = Stored("home", api)
        await stored.fetch(config, start, TODAY)
        found = {
            day: saving async for day, saving in Replay("home", "UTC", config, stored, folder).run(start, TODAY, days)
        }
        await api.close()
        return found

    return asyncio.run(run())


def another(turn: int, seed: int) -> Past:
    """The same past until an instant, and another one after it."""
    noise = np.random.default_rng(seed)

    def past(thing: str, name: str, at: int) -> Any:
        value = home(thing, name, at)
        if at < turn or value is None:
            return value
        return not value if isinstance(value, bool) else value * float(noise.uniform(0, 3)) + 0.01

    return past


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 96 - 1), st.integers(0, 2**31))
def test_nothing_is_seen_of_what_comes_after_an_instant(quarter: int, seed: int) -> None:
    """§12: whatever the future, the history seen from an instant answers the same."""
    start, turn = TODAY - DAY_NS, TODAY - DAY_NS + quarter * STEP_NS
    config = with_(vehicles=(CAR,), jobs=(JOB,), solars=(PV,), buys=PRICES)

    async def seen(past: Past) -> list[Any]:
        api = PastNode(past, start).api()
        stored = Stored("home", api)
        await stored.fetch(config, start, TODAY)
        await api.close()
        stored.now = turn + 30 * 1_000_000_000
        things = [("charger", "plugged"), ("charger", "state_of_charge"), ("server", "remaining"), ("meter", "power")]
        return [
            *[await stored.windows("home", path, start, TODAY, "1h") for path in ("meter/base", "pv/power")],
            await stored.windows("home", "grid/price", start, TODAY, "15m"),
            *[(await stored.said("home", thing)).holds(name) for thing, name in things],
            *[stored.came("meter/base", "1h", at) for at in range(start, TODAY, HOUR_NS)],
        ]

    one, other = asyncio.run(seen(home)), asyncio.run(seen(another(turn, seed)))
    assert one == other
    assert len(one[2]) == quarter, "all of the past is seen"


def test_no_decision_sees_what_comes_after_it() -> None:
    """§12: another future, the same plans until it begins."""
    config = with_(batteries=(BATTERY,), vehicles=(CAR,), buys=PRICES)
    start, turn = TODAY - 3 * DAY_NS, TODAY - DAY_NS + 13 * HOUR_NS
    made: list[list[tuple[int, Any]]] = []

    class Watched(Twins):
        def plan(self, states: Any, grid: Any, expected: Any) -> None:
            super().plan(states, grid, expected)
            powers = {name: one.tolist() for name, one in self._planned.powers.items()}
            made[-1].append((grid.now, msgspec.json.encode(powers)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taihu.runtime.scheduling.replay.Twins", Watched)
        for past in (home, another(turn, 1)):
            made.append([])
            walked(config, past, start, ["2026-03-19"], Path())
    before = [[one for one in run if one[0] <= turn + STEP_NS] for run in made]
    assert len(before[0]) > 13
    assert before[0] == before[1]
    assert made[0] != made[1]


def test_forecasts_are_those_that_were_kept_then(tmp_path: Path) -> None:
    """§12: each plan asks for what was foretold by its instant; the plain forecast stands where nothing was kept."""
    start, first = TODAY - 3 * DAY_NS, TODAY - DAY_NS + 12 * HOUR_NS
    asked: list[int] = []

    class Foretelling(PastNode):
        def handle(self, request: httpx.Request) -> httpx.Response:
            if not request.url.path.endswith("/forecast"):
                return super().handle(request)
            asked.append(int(request.url.params["at"]))
            if asked[-1] < first:
                return httpx.Response(400, text="nothing was kept")
            issued = asked[-1] // HOUR_NS * HOUR_NS
            rows = [{"start": issued + hour * HOUR_NS, "q10": 1.4, "median": 1.5, "q90": 1.6} for hour in range(30)]
            return httpx.Response(
                200, json={"issued_at": issued, "step_s": 3_600, "unit": "kW", "values": rows} | MODEL
            )

    class Watched(Twins):
        def plan(self, states: Any, grid: Any, expected: Any) -> None:
            loads.append(
                (grid.now, float(expected.load_kw[1][-1]), any("stands for it" in one for one in expected.notes))
            )

    loads: list[tuple[int, float, bool]] = []
    node = Foretelling(home, start)
    node.models = [{"thing": "meter", "property": "base", "trained_at": None} | MODEL]

    async def run() -> None:
        api = node.api()
        stored = Stored("home", api)
        await stored.fetch(QUICK, start, TODAY)
        assert [_ async for _ in Replay("home", "UTC", QUICK, stored, tmp_path).run(start, TODAY, ["2026-03-19"])] == []
        await api.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taihu.runtime.scheduling.replay.Twins", Watched)
        asyncio.run(run())
    assert asked == [at for at, _, _ in loads]
    assert {(load == 1.5, stood) for at, load, stood in loads if at >= first} == {(True, False)}
    assert {stood for at, _, stood in loads if at < first} == {True}


def test_each_kind_of_asset_is_replayed_and_what_is_not_stored_is_said(tmp_path: Path) -> None:
    config = with_(batteries=(BATTERY,), vehicles=(CAR,), heats=(TANK,), jobs=(JOB,), loads=(WASHER,), solars=(PV,))

    async def noted(past: Past) -> list[str]:
        api = PastNode(past, TODAY - DAY_NS).api()
        stored = Stored("home", api)
        await stored.fetch(config, TODAY - DAY_NS, TODAY)
        await api.close()
        return stand_ins(config, stored)

    always = ["battery begins half full", "washer runs once in each of its windows"]
    assert asyncio.run(noted(home)) == always
    said = asyncio.run(noted(lambda thing, name, at: home(thing, name, at) if thing == "meter" else None))
    assert [one.partition(":")[0] for one in said] == [
        "battery begins half full", "tank begins at a quarter of its band", "washer runs once in each of its windows",
        "car takes no part", "batch takes no part",
    ]  # fmt: skip
    start, day = TODAY - 3 * DAY_NS, "2026-03-19"
    for kind in ("vehicles", "heats", "jobs", "loads"):
        alone = with_(**{kind: getattr(config, kind)})
        saved = walked(alone, home, start, [day], tmp_path)
        assert saved[day] > 0.1, kind
    assert walked(with_(solars=(PV,)), home, start, [day], tmp_path)[day] == pytest.approx(0.0, abs=1e-6)


class Guarded:
    """A guard with its own node, and what it said."""

    def __init__(self, folder: Path, node: PastNode, config: SchedulerConfig = CONFIG, **limits: Any) -> None:
        self.node, self.config, self.news = node, config, 0
        self.api, self.store = node.api(), Decisions(folder / "d.sqlite")
        self.guard = Guard(
            "home", "UTC", config, self.api, self.store, folder, Limits(**limits), self._news
        )  # fmt: skip

    def _news(self) -> None:
        self.news += 1

    async def settle(self) -> None:
        """Let it look now, and wait until it has."""
        self.guard.attend(self.node.clock.now_ns())
        if self.guard._task is not None:
            await asyncio.gather(self.guard._task)

    async def close(self) -> dict[str, Any]:
        await self.guard.close()
        await self.api.close()
        said = self.store.reported("home", self.config.name)
        self.store.close()
        return said


def test_a_scheduler_with_stored_days_drives_falls_back_and_comes_back(tmp_path: Path) -> None:
    """§12: the stored days are replayed once; after them it goes by what really happened."""

    async def run() -> None:
        one = Guarded(tmp_path, PastNode(home, TODAY - 17 * DAY_NS), QUICK)
        one.guard.lived([(f"2026-03-{day:02}", 3.0 + 0.1 * day) for day in range(6, 16)])
        await one.settle()
        said = one.guard.report()
        assert (said["days"], said["drives"], said["first"], said["last"]) == (14, True, "2026-03-06", "2026-03-19")
        assert 0 < said["lower"] < said["mean"] < said["upper"]
        assert said["replaying"] == {} and said["stand_ins"] == ["battery begins half full"]
        assert one.news == 1
        for day in range(20, 30):
            one.guard.lived([(f"2026-03-{day}", -4.0)])
        assert one.guard.verdict.text.startswith("advises: -")
        one.guard.lived([(f"2026-04-{day:02}", 3.0) for day in range(1, 13)])
        assert one.guard.verdict.text.startswith("drives: 2 a day")
        asked = one.node.asked
        again = await one.close()
        assert again["drives"]
        other = Guarded(tmp_path, PastNode(home, TODAY - 17 * DAY_NS, parse_iso("2026-04-13T02:00:00Z")), QUICK)
        await other.settle()
        assert (asked > 0, other.node.asked) == (True, 0)
        assert other.guard.verdict.drives
        assert (await other.close())["stand_ins"] == ["battery begins half full"]

    asyncio.run(run())


def test_with_fewer_days_it_advises_and_says_how_many_there_are(tmp_path: Path) -> None:
    async def run() -> None:
        one = Guarded(tmp_path, PastNode(home, TODAY - 5 * DAY_NS), QUICK)
        await one.settle()
        said = await one.close()
        assert (said["days"], said["drives"]) == (3, False)  # two are needed to learn from
        assert said["text"] == "advises: 3 of 14 days are replayed"

    asyncio.run(run())


def test_a_day_that_was_not_seen_whole_is_replayed_when_it_is_over(tmp_path: Path) -> None:
    async def run() -> None:
        one = Guarded(tmp_path, PastNode(home, TODAY - 30 * DAY_NS), QUICK)
        one.guard.lived([(f"2026-03-{day:02}", 1.0) for day in range(5, 19)])
        await one.settle()
        days = one.store.days("home", QUICK.name)
        assert list(days)[-1] == "2026-03-19" and days["2026-03-19"] != 1.0
        assert set(list(days.values())[:-1]) == {1.0}
        asked = one.node.asked
        await one.settle()
        assert one.node.asked == asked, "once a day"
        await one.close()

    asyncio.run(run())


def test_other_settings_begin_anew_and_those_that_do_not_matter_do_not(tmp_path: Path) -> None:
    async def run() -> None:
        node = PastNode(lambda thing, name, at: None, TODAY)
        for config, kept in (
            (QUICK, 14),
            (msgspec.structs.replace(QUICK, mode="advise", reflex_s=60), 14),
            (msgspec.structs.replace(QUICK, sells=TariffConfig(price=0.3)), 0),
        ):
            one = Guarded(tmp_path, node, config)
            if config is QUICK:
                one.guard.lived([(f"2026-03-{day:02}", 1.0) for day in range(6, 20)])
            assert one.guard.verdict.days == kept
            await one.close()

    asyncio.run(run())


def test_a_replay_keeps_to_its_limits(tmp_path: Path) -> None:
    """§6: time ends it after a day that is kept; what would not fit is not read."""

    async def run() -> None:
        one = Guarded(tmp_path, PastNode(home, TODAY - 20 * DAY_NS), QUICK, replay_s=1e-9, replay_rows_max=1)
        await one.settle()
        said = await one.close()
        assert said["days"] == 1
        assert one.node.asked == 2 * 3, "17 days of two properties, seven days a question"
        assert any("replay_s" in note for note in said["stand_ins"])

    asyncio.run(run())


def test_the_first_plan_does_not_wait_and_the_next_follows_the_verdict(tmp_path: Path) -> None:
    node = PastNode(home, TODAY - 17 * DAY_NS)

    async def run() -> list[str]:
        store, api = Decisions(tmp_path / "d.sqlite"), node.api()
        for day in range(6, 19):
            store.add_day("home", QUICK.name, f"2026-03-{day:02}", 2.0)
        loop = Scheduler("home", "UTC", QUICK, api, store, node.clock, tmp_path)
        modes = []
        for _ in range(2):
            await loop.turn(node.clock.now_ns())
            while loop._guard._task is not None:
                await asyncio.sleep(0.01)
            modes.append(store.last("home", QUICK.name)[0]["mode"])
        await loop.close()
        await api.close()
        store.close()
        return modes

    assert asyncio.run(run()) == ["advises", "drives"]


def test_a_node_that_does_not_answer_is_asked_again_an_hour_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        node = PastNode(home, TODAY - 4 * DAY_NS)
        one = Guarded(tmp_path, node, QUICK)
        one.api._http = httpx.AsyncClient(
            base_url="http://node", transport=httpx.MockTransport(lambda _: httpx.Response(503))
        )
        await one.settle()
        assert "503" in one.guard.report()["trouble"]
        one.api._http = httpx.AsyncClient(base_url="http://node", transport=httpx.MockTransport(node.handle))
        await one.settle()
        assert one.guard.verdict.days == 0
        node.clock.advance(3_601)
        await one.settle()
        assert (one.guard.verdict.days, one.guard.report()["trouble"]) == (2, "")
        await one.close()

    asyncio.run(run())
    assert len([one for one in caplog.messages if "cannot replay" in one]) == 1
