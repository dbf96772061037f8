"""One poller for all sessions: it rests while nobody watches, backs off, and says that the node is away."""

import asyncio

from taihu.console.answers import CarbonAnswer, Newest, NodeStatus, Project, Series, Thing, Window
from taihu.console.client import NodeAway, TokenRefused
from taihu.console.foretold import ModelsAnswer, Outlook
from taihu.console.planned import Plan, PlansAnswer
from taihu.console.poller import BACKOFF_S_MAX, PAGES_MAX, THINGS_PER_PAGE, Link, Poller, Snapshot, Want
from taihu.kernel.clock import NS_PER_S, SimClock

NOW = 1_700_000_000 * NS_PER_S


class FakeSource:
    def __init__(self) -> None:
        self.error: NodeAway | TokenRefused | None = None
        self.asked: list[str] = []
        self.planned: list[tuple[str, ...]] = []
        self.forecasts: NodeAway | None = None
        self.slow_s = 0.0
        self.more = False
        self.now = NOW

    async def status(self) -> NodeStatus:
        self.asked.append("status")
        if self.error:
            raise self.error
        return NodeStatus(self.now, clock_speed=600.0)

    async def projects(self) -> tuple[Project, ...]:
        return (Project("district"), Project("house-01", granted=True))

    async def things(self, project: str, after: str, limit: int) -> tuple[tuple[Thing, ...], bool]:
        assert limit == THINGS_PER_PAGE
        self.asked.append(f"things {project} {after}".strip())
        return ((Thing("grid" if project == "district" else "meter"),), self.more)

    async def values(self, project: str, things: tuple[str, ...] = ()) -> tuple[Newest, ...]:
        self.asked.append(f"values {project} {','.join(things)}".strip())
        return ()

    async def plans(self, projects: tuple[str, ...]) -> PlansAnswer:
        self.planned.append(projects)
        return PlansAnswer(tuple(Plan(one, "battery") for one in projects if one.startswith("house")))

    async def plan(self, project: str) -> PlansAnswer:
        self.asked.append(f"plan {project}")
        return PlansAnswer((Plan(project, "battery"),))

    async def carbon(self, projects: tuple[str, ...], days: int) -> CarbonAnswer:
        self.asked.append(f"carbon {','.join(projects)} {days}")
        await asyncio.sleep(self.slow_s)
        return CarbonAnswer()

    async def models(self, project: str) -> ModelsAnswer:
        self.asked.append(f"models {project}")
        if self.forecasts:
            raise self.forecasts
        return ModelsAnswer()

    async def outlook(self, project: str, thing: str, name: str) -> Outlook | None:
        self.asked.append(f"outlook {project}/{thing}/{name}")
        if self.forecasts:
            raise self.forecasts
        return Outlook(unit="kW.h")

    async def hours(self, series: Series, hours: int, tz: str) -> tuple[Window, ...]:
        self.asked.append(f"hours {series.project}/{series.thing}/{series.property}")
        end = self.now // (3_600 * NS_PER_S) * 3_600 * NS_PER_S
        return (Window(end - 3_600 * NS_PER_S, end, 1.0, 1.0),)


def make() -> tuple[Poller, FakeSource, SimClock, list[Snapshot]]:
    source, clock, told = FakeSource(), SimClock(), list[Snapshot]()
    return Poller(source, clock, told.append), source, clock, told


def tick(poller: Poller, times: int = 1) -> None:
    async def run() -> None:
        for _ in range(times):
            await poller.tick()

    asyncio.run(run())


def test_a_tick_reads_everything_once_and_tells_it() -> None:
    poller, source, _, told = make()
    poller.watch()
    tick(poller)
    assert sorted(source.asked) == sorted(
        [
            "status",
            "things district",
            "values district",
            "things house-01",
            "values house-01",
            "hours house-01/meter/energy",
            "hours district/grid/carbon_intensity",
        ]
    )
    assert told[-1].link is Link.CONNECTED
    assert told[-1].page is not None
    assert told[-1].hours is not None
    assert [hour.energy_kwh for hour in told[-1].hours] == [1.0]


def test_the_history_is_read_less_often_than_the_values() -> None:
    poller, source, clock, _ = make()
    poller.watch()
    for _ in range(61):
        tick(poller)
        clock.advance(1)
    asked = source.asked.count("hours house-01/meter/energy")
    assert source.asked.count("status") == 61
    assert asked == 2  # the site's clock stood still: again after a minute
    source.now += 3_600 * NS_PER_S
    clock.advance(5)
    tick(poller)
    assert source.asked.count("hours house-01/meter/energy") == asked + 1


def test_it_backs_off_from_a_node_that_is_away_and_keeps_what_was_known() -> None:
    poller, source, clock, told = make()
    poller.watch()
    tick(poller)
    source.error = NodeAway("gone")
    source.asked.clear()
    waits = []
    for _ in range(60):
        clock.advance(1)
        tick(poller)
        waits.append(told[-1].retry_s)
    assert 6 <= source.asked.count("status") <= 10
    assert max(waits) == BACKOFF_S_MAX
    assert (told[-1].link, told[-1].away_s) == (Link.AWAY, 60.0)
    assert told[-1].page is not None
    source.error = None
    clock.advance(BACKOFF_S_MAX)
    tick(poller)
    assert (told[-1].link, told[-1].away_s) == (Link.CONNECTED, 0.0)


def test_a_refused_token_is_said() -> None:
    poller, source, _, told = make()
    source.error = TokenRefused("no")
    poller.watch()
    tick(poller)
    assert (told[-1].link, told[-1].page) == (Link.REFUSED, None)


def test_a_first_watcher_does_not_see_what_was_known_long_ago() -> None:
    poller, _, _, _ = make()
    leave = poller.watch()
    tick(poller)
    leave()
    poller.watch()
    assert poller.snapshot == Snapshot()


def test_nobody_watching_leaves_the_node_alone() -> None:
    poller, source, _, _ = make()

    async def run() -> None:
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert source.asked == []


def test_a_further_page_of_things_is_read_while_it_is_watched() -> None:
    poller, source, _, told = make()
    source.more = True
    leave = poller.watch(Want(("house-01", "m")))
    poller.watch(Want(("nobody", "x")))
    tick(poller)
    assert ("house-01", "m") in told[-1].views
    assert "values house-01 meter" in source.asked  # only what is on the page is asked for
    leave()
    tick(poller)
    assert ("house-01", "m") not in told[-1].views


def test_pages_are_bounded() -> None:
    """§6."""
    poller, _, _, told = make()
    for number in range(PAGES_MAX + 10):
        poller.watch(Want(("house-01", f"after-{number}")))
    tick(poller)
    assert len(told[-1].views) == PAGES_MAX + 2


def test_the_controllers_of_the_houses_are_asked_for_every_few_seconds() -> None:
    poller, source, clock, told = make()
    poller.watch()
    tick(poller, 3)
    assert source.planned == [("house-01",)]
    assert told[-1].plans == PlansAnswer((Plan("house-01", "battery"),))
    clock.advance(3.5)
    tick(poller)
    assert len(source.planned) == 2


def test_the_ledger_is_asked_only_while_its_page_is_open() -> None:
    poller, source, clock, told = make()
    poller.watch()
    tick(poller)
    assert not [one for one in told if one.carbon is not None]
    leave = poller.watch(Want(carbon=True))
    for _ in range(31):
        tick(poller)
        clock.advance(1)
    assert source.asked.count("carbon district,house-01 30") == 3
    assert any(one.carbon is not None for one in told)
    leave()
    clock.advance(60)
    tick(poller)
    assert source.asked.count("carbon district,house-01 30") == 3


LOAD, STRANGER = ("house-01", "meter", "load"), ("nobody", "meter", "load")


def test_outlooks_are_asked_for_while_they_are_shown_and_only_of_projects_that_are_there() -> None:
    poller, source, clock, told = make()
    leave = poller.watch(Want(models=True, outlooks=(LOAD, STRANGER)))
    poller.watch()
    tick(poller, 3)
    assert source.asked.count("outlook house-01/meter/load") == 1
    assert source.asked.count("models house-01") == 1
    assert told[-1].outlooks == {LOAD: Outlook(unit="kW.h")}
    assert told[-1].models == {"district": ModelsAnswer(), "house-01": ModelsAnswer()}
    leave()
    clock.advance(60)
    tick(poller)
    assert source.asked.count("outlook house-01/meter/load") == 1
    assert not [one for one in source.asked if "nobody" in one]


def test_outlooks_are_bounded() -> None:
    """§6."""
    poller, source, _, _ = make()
    for number in range(100):
        poller.watch(Want(outlooks=(("house-01", "meter", f"load-{number}"),)))
    tick(poller)
    assert 0 < len([one for one in source.asked if one.startswith("outlook")]) < 20


def test_forecasts_that_do_not_answer_leave_the_rest_of_the_page_as_it_is() -> None:
    poller, source, clock, told = make()
    poller.watch(Want(models=True, outlooks=(LOAD,)))
    tick(poller)
    source.forecasts = NodeAway("busy")
    clock.advance(60)
    tick(poller)
    assert (told[-1].link, told[-1].outlooks) == (Link.CONNECTED, {LOAD: Outlook(unit="kW.h")})
    assert told[-1].models == {"district": ModelsAnswer(), "house-01": ModelsAnswer()}


def test_a_plan_is_read_whole_while_its_page_is_open_the_first_where_none_is_named() -> None:
    poller, source, clock, told = make()
    leave = poller.watch(Want(plans=True))
    tick(poller)
    assert source.planned == [("district", "house-01")]  # also of what is no house
    assert told[-1].plan == {"house-01": PlansAnswer((Plan("house-01", "battery"),))}
    poller.watch(Want(plans=True, plan="nobody"))
    leave()
    clock.advance(60)
    source.asked.clear()
    tick(poller)
    assert [one for one in source.asked if one.startswith("plan")] == []


def test_a_part_that_takes_long_is_waited_for_and_holds_up_nothing_else() -> None:
    poller, source, clock, told = make()
    source.slow_s = 0.6
    poller.watch(Want(carbon=True))

    async def run() -> None:
        await poller.tick()
        assert poller.snapshot.plans is not None and poller.snapshot.carbon is None
        clock.advance(20)
        await poller.tick()
        assert source.asked.count("status") == 2

    asyncio.run(run())
    assert [one for one in source.asked if one.startswith("carbon")] == ["carbon district,house-01 30"]
    assert told[-1].carbon == CarbonAnswer()
