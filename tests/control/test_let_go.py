"""The end of a standing permit lets go of what was driven under it (§7)."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.control.test_desk import ANN, BO, NOON, WRITE, World

from taihu.control.command import Affordance, Command, State
from taihu.control.desk import records_of
from taihu.control.permit import Standing
from taihu.control.request import Answer, Wanted, Who
from taihu.control.rule import Role
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.sections import CommandRuleConfig

LOOP = Who("plant", "loop", Role.OPERATOR)
HOUR_NS = 3_600 * NS_PER_S
STANDING = Standing(
    id="s", project="plant", things="*", name="power", low=0, high=6, per_minute=1, expires_at=NOON + HOUR_NS,
    holder="loop", issued_by="bo", rest=1.0,
)  # fmt: skip
DRIVE = msgspec.structs.replace(WRITE, standing="s")


def driven(*rules: CommandRuleConfig, standing: Standing = STANDING) -> World:
    """A heater that was told 5 kW under a permit, and answered."""
    world = World(*rules)
    world.desk.grant(standing, world.now)
    command = world.desk.submit(DRIVE, LOOP, world.now)
    world.carry()
    world.desk.told(command.id, Answer.DONE, world.now)
    return world


def last(world: World) -> Command | None:
    """The last word of a permit, if there was one."""
    return next((one for one in world.desk.book.of_project("plant") if one.last), None)


def test_who_withdraws_a_permit_gives_the_last_command_under_it() -> None:
    """Neither its rate, nor roles, nor second persons hold it up; what waited under the permit is not told any more."""
    world = driven(CommandRuleConfig(role="owner", two_person=True, per_minute=1))
    world.online.clear()
    waits = world.desk.submit(DRIVE, LOOP, world.now + 61 * NS_PER_S)
    assert world.state(waits) is State.PERMITTED
    assert world.desk.withdraw("plant", "s", "ann", world.now)
    said = last(world)
    assert said is not None
    assert (said.thing, said.input, said.who, said.standing, said.priority) == ("heater", 1.0, "ann", "s", 9)
    assert said.why == "the standing permit s was withdrawn"
    assert (world.state(waits), world.state(said)) == (State.EXPIRED, State.PERMITTED)
    world.commit()
    world.crash()
    world.online = {"heater"}
    world.desk.contact("plant", "heater", world.now)
    assert [one.id for one in world.carry()] == [said.id]
    assert not world.desk.withdraw("plant", "s", "ann", world.now)


def test_what_is_on_its_way_goes_first() -> None:
    world = World()
    world.desk.grant(STANDING, world.now)
    command = world.desk.submit(DRIVE, LOOP, world.now)
    world.carry()
    world.desk.withdraw("plant", "s", "ann", world.now)
    assert world.carry() == []
    world.desk.told(command.id, Answer.DONE, world.now)
    assert [one.input for one in world.carry()] == [1.0]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (CommandRuleConfig(minimum=2), "1 is below 2"),
        (CommandRuleConfig(only_while=("pump/flow >= 0.5",)), "pump/flow"),
        (CommandRuleConfig(quiet=("12:00-13:00",)), "is quiet"),
    ],
)
def test_limits_interlocks_and_quiet_hours_hold_for_it(rule: CommandRuleConfig, says: str) -> None:
    """It stands refused in the log, and the thing stays as it is."""
    world = driven()
    world.configs = World(rule).configs
    world.desk.withdraw("plant", "s", "ann", world.now)
    said = last(world)
    assert said is not None and world.state(said) is State.REFUSED and says in world.why(said)
    assert world.carry() == []


def test_a_permit_that_expires_lets_go_once_in_the_name_of_who_issued_it() -> None:
    world = driven()
    world.commit()
    world.crash()
    assert world.desk.next_timer() is not None
    for _ in range(2):
        world.desk.tick(NOON + HOUR_NS)
    (said,) = [one for one in world.desk.book.of_project("plant") if one.last]
    assert (said.input, said.who, said.why) == (1.0, "bo", "the standing permit s has expired")
    world.commit()
    world.now = NOON + HOUR_NS
    world.crash()
    assert len([one for one in world.desk.book.of_project("plant") if one.last]) == 1


def test_nothing_is_told_that_another_authority_has_written_since() -> None:
    for wrote in (WRITE, msgspec.structs.replace(WRITE, standing="t")):
        world = driven()
        world.desk.grant(msgspec.structs.replace(STANDING, id="t", holder="bo", rest=None), world.now)
        world.desk.submit(wrote, BO, world.now + 1)
        world.desk.withdraw("plant", "s", "ann", world.now)
        assert last(world) is None


@pytest.mark.parametrize("by", ["ann", "loop"])
def test_a_holder_gives_back_and_who_has_nothing_to_say_says_nothing(by: str) -> None:
    rest = None if by == "ann" else 1.0
    world = driven(standing=msgspec.structs.replace(STANDING, rest=rest))
    assert world.desk.withdraw("plant", "s", by, world.now)
    assert last(world) is None


def test_a_renewed_permit_lets_go_of_what_the_one_before_drove() -> None:
    world = driven()
    world.desk.grant(msgspec.structs.replace(STANDING, id="t", expires_at=NOON + 2 * HOUR_NS), world.now)
    world.desk.withdraw("plant", "s", "loop", world.now)
    world.desk.tick(NOON + HOUR_NS)
    assert last(world) is None
    world.desk.withdraw("plant", "t", "ann", world.now)
    assert last(world) is not None


def test_a_thing_that_is_gone_or_takes_no_such_value_is_refused_in_the_log() -> None:
    world = driven()
    world.desk.book.forget("plant", "heater")
    world.desk.withdraw("plant", "s", "ann", world.now)
    assert last(world) is None
    world = driven()
    world.fault = lambda project, wanted: "It is no more."  # type: ignore[method-assign]
    world.desk.withdraw("plant", "s", "ann", world.now)
    said = last(world)
    assert said is not None and world.why(said) == "It is no more."


_WHO = {"s": LOOP, "t": LOOP, "": ANN}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["heater", "pump"]), st.sampled_from(["s", "t", ""])), max_size=8),
    st.sampled_from(["none", "journal", "snapshot"]),
)
def test_what_is_let_go_is_what_was_last_written_under_it_through_crashes(
    writes: list[tuple[str, str]], how: str
) -> None:
    world = World()
    for number in "st":
        world.desk.grant(msgspec.structs.replace(STANDING, id=number, per_minute=99), world.now)
    newest = {}
    for place, (thing, number) in enumerate(writes):
        wanted = Wanted(thing=thing, affordance=Affordance.PROPERTY, name="power", input=2.0, standing=number)
        world.desk.submit(wanted, _WHO[number], world.now + place)
        newest[thing] = number
    world.commit()
    if how == "snapshot":
        world.durable = list(records_of(world.desk))
    if how != "none":
        world.crash()
    world.desk.withdraw("plant", "s", "ann", world.now)
    let_go = {one.thing for one in world.desk.book.of_project("plant") if one.last}
    assert let_go == {thing for thing, number in newest.items() if number == "s"}
