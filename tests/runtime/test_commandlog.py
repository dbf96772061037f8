"""The log of all commands: what the journal says is in it once, page by page, until it is too old or too much."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from taihu.control.command import Affordance, Command, State, Step
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.limits import Limits
from taihu.runtime.worker.commandlog import CommandLog
from taihu.things.deletion import Deletion

BEGIN = 1_790_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


def records(number: int, *, project: str = "plant", thing: str = "heater", at: int = BEGIN) -> list[bytes]:
    """What control puts into the journal of a command that is refused."""
    command = Command(
        id=f"c{number:03d}", project=project, thing=thing, affordance=Affordance.PROPERTY, name="power", input=number,
        at=at, deadline=at + NS_PER_S, steps=(Step(State.QUEUED, at),),
    )  # fmt: skip
    step = ("step", command.id, 1, Step(State.REFUSED, at + 1, "no"))
    return [msgspec.msgpack.encode(one) for one in (("command", command), step)]


def ask(log: CommandLog, project: str = "plant", **wanted: Any) -> list[dict[str, Any]]:
    body = {"project": project, "since": 0, "before": (1 << 62, ""), "thing": "", "state": "", "limit": 100} | wanted
    return list(asyncio.run(log.answer(body)))


def test_what_is_replayed_changes_nothing_and_pages_follow_each_other(tmp_path: Path) -> None:
    clock = SimClock(BEGIN + DAY_NS)
    log = CommandLog(tmp_path / "commands.sqlite", Limits(), clock)
    for number in range(10):
        for record in records(number, thing=f"thing-{number % 2}", at=BEGIN + number // 3):
            log.take(record)
    log.commit()
    log.close()
    log = CommandLog(tmp_path / "commands.sqlite", Limits(), clock)
    for number in range(10):
        for record in records(number, thing=f"thing-{number % 2}", at=BEGIN + number // 3):
            log.take(record)
    log.commit()
    found: list[dict[str, Any]] = []
    before: tuple[int, str] = (1 << 62, "")
    while page := ask(log, before=before, limit=3):
        found += page
        before = page[-1]["at"], page[-1]["id"]
    assert [one["id"] for one in found] == [f"c{number:03d}" for number in reversed(range(10))]
    assert all([step[0] for step in one["steps"]] == ["queued", "refused"] for one in found)
    assert len(ask(log, thing="thing-1")) == 5
    assert ask(log, state="done") == ask(log, since=BEGIN + 4) == ask(log, project="other") == []
    assert [one["input"] for one in ask(log, id="c004")] == [4]
    assert ask(log, project="other", id="c004") == []  # §11
    log.close()


def test_what_is_old_or_too_much_or_removed_goes(tmp_path: Path) -> None:
    """§6: by age and by number; a thing or project that is removed takes its commands along."""
    clock = SimClock(BEGIN + 10 * DAY_NS)
    limits = Limits(command_log_days_max=5.0, command_log_per_project_max=4)
    log = CommandLog(tmp_path / "commands.sqlite", limits, clock)
    for number in range(10):
        for record in records(number, at=BEGIN + number * DAY_NS):
            log.take(record)
    for record in (*records(20, project="old"), *records(21, project="other", at=BEGIN + 9 * DAY_NS)):
        log.take(record)
    log.expire()
    assert [one["id"] for one in ask(log)] == ["c009", "c008", "c007", "c006"]
    assert ask(log, "old") == []
    for record in records(30, thing="pump", at=BEGIN + 9 * DAY_NS):
        log.take(record)
    log.commit()
    log.deleted(Deletion(id="1", project="plant", thing="heater"))
    assert len(ask(log)) == 5  # only readings went
    log.deleted(Deletion(id="2", project="plant", thing="heater", removes=True))
    assert [one["thing"] for one in ask(log)] == ["pump"]
    log.deleted(Deletion(id="3", project="plant", removes=True))
    assert ask(log) == []
    assert len(ask(log, "other")) == 1
    log.close()
