"""The life of commands: what is said of one is true, through crashes too (§7)."""

from collections.abc import Sequence
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.control.command import NEXT, Affordance, Command, State
from taihu.control.desk import Desk, records_of
from taihu.control.permit import Authority, NoPermit, Permit, Standing
from taihu.control.recent import Recent
from taihu.control.request import Answer, CommandRefused, Wanted, Who
from taihu.control.rule import Role, Rule, read_rule
from taihu.kernel.clock import MINUTE_NS, NS_PER_S, parse_iso
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.kernel.sections import CommandRuleConfig

NOON = parse_iso("2026-05-01T12:00:00Z")
ANN = Who("plant", "ann", Role.OPERATOR)
BO = Who("plant", "bo", Role.OPERATOR)
WRITE = Wanted(thing="heater", affordance=Affordance.PROPERTY, name="power", input=5.0)
BLINK = Wanted(thing="heater", affordance=Affordance.ACTION, name="blink")


class World:
    """The facts, the journal and the carriers around a desk; `crash` keeps only what was committed."""

    def __init__(self, *rules: CommandRuleConfig, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.configs = [read_rule(rule) for rule in rules]
        self.values: dict[tuple[str, str], Any] = {}
        self.online = {"heater", "pump"}
        self.durable: list[bytes] = []
        self.sent: list[Command] = []
        self.authority = Authority(b"secret")
        self.ids = count(1)
        self.now = NOON
        self.desk = self.fresh()

    def fresh(self) -> Desk:
        return Desk(self.limits, self, self.authority, lambda: f"c{next(self.ids)}")

    def fault(self, project: str, wanted: Wanted) -> str:
        return "" if wanted.thing in ("heater", "pump") else f"There is no thing {wanted.thing}."

    def rules(self, project: str) -> Sequence[Rule]:
        return self.configs

    def zone(self, project: str) -> ZoneInfo:
        return ZoneInfo("UTC")

    def holds(self, project: str, thing: str, name: str) -> Any:
        return self.values.get((thing, name))

    def reachable(self, project: str, thing: str) -> bool:
        return thing in self.online

    def commit(self) -> None:
        self.durable += self.desk.take_records()
        self.desk.committed()

    def carry(self) -> list[Command]:
        """Commit, and take what leaves; every command comes with a permit for itself."""
        self.commit()
        out = []
        for command, permit in self.desk.take_sends(self.now):
            self.authority.check(command, permit, self.now)
            out.append(command)
        self.sent += out
        return out

    def crash(self) -> None:
        self.desk = self.fresh()
        for record in self.durable:
            self.desk.apply(record)
        self.desk.resume(self.now)

    def state(self, command: Command) -> State:
        found = self.desk.book.get(command.id)
        assert found is not None
        return found.state

    def why(self, command: Command) -> str:
        found = self.desk.book.get(command.id)
        assert found is not None
        return found.steps[-1].detail


def test_the_way_of_a_command() -> None:
    world = World()
    command = world.desk.submit(WRITE, ANN, world.now)
    assert world.state(command) is State.SENT
    assert world.desk.take_sends(NOON) == []  # not before the record is durable
    assert [one.id for one in world.carry()] == [command.id]
    world.desk.told(command.id, Answer.ACKNOWLEDGED, world.now)
    world.desk.told(command.id, Answer.DONE, world.now, result={"power": 5.0})
    found = world.desk.book.get(command.id)
    assert found is not None
    assert [step.state.value for step in found.steps] == ["queued", "permitted", "sent", "acknowledged", "done"]
    assert found.steps[-1].result == {"power": 5.0}
    world.desk.told(command.id, Answer.FAILED, world.now)  # too late: what ended stays as it is
    assert world.state(command) is State.DONE


def test_what_a_device_has_received_keeps_the_next_waiting_until_it_answers() -> None:
    world = World()
    first, second = (world.desk.submit(BLINK, ANN, world.now) for _ in range(2))
    world.carry()
    world.desk.told(first.id, Answer.RECEIVED, world.now)
    assert (world.state(first), world.state(second), world.carry()) == (State.ACKNOWLEDGED, State.PERMITTED, [])
    world.desk.told(first.id, Answer.RECEIVED, world.now)
    world.desk.told(first.id, Answer.DONE, world.now)
    assert [one.id for one in world.carry()] == [second.id]


def test_an_offline_device_is_never_delivered_to_and_the_command_expires() -> None:
    world = World()
    world.online.clear()
    command = world.desk.submit(WRITE, ANN, world.now)
    assert (world.state(command), world.carry()) == (State.PERMITTED, [])
    world.desk.tick(command.deadline)
    assert (world.state(command), world.why(command)) == (State.EXPIRED, "the device made no contact")


def test_a_sleepy_device_is_not_flooded_when_it_wakes() -> None:
    world = World()
    world.online.clear()
    writes = [world.desk.submit(msgspec.structs.replace(WRITE, input=float(n)), ANN, world.now + n) for n in range(5)]
    blink = world.desk.submit(msgspec.structs.replace(BLINK, priority=9), ANN, world.now)
    assert [world.state(one) for one in writes[:-1]] == [State.EXPIRED] * 4
    assert world.why(writes[0]) == f"superseded by {writes[1].id}"
    world.online.add("heater")
    world.desk.contact("plant", "heater", world.now)
    world.desk.contact("plant", "heater", world.now)
    assert [one.id for one in world.carry()] == [blink.id]  # one at a time, the highest priority first
    world.desk.told(blink.id, Answer.DONE, world.now)
    assert [one.id for one in world.carry()] == [writes[-1].id]


def test_a_device_that_gives_no_answer_is_never_called_acknowledged() -> None:
    world = World(CommandRuleConfig(thing="heater", name="power", confirm="power", tolerance=0.1))
    command = world.desk.submit(WRITE, ANN, world.now)
    world.carry()
    world.desk.told(command.id, Answer.UNCONFIRMED, world.now)
    world.desk.observed("plant", "heater", "power", 5.0, world.now - 1, world.now)  # read before it was sent
    world.desk.observed("plant", "heater", "power", 4.8, world.now, world.now)
    assert world.state(command) is State.UNCONFIRMED
    world.desk.observed("plant", "heater", "power", 5.05, world.now, world.now)
    assert (world.state(command), world.why(command)) == (State.DONE, "power reads back as 5.05")
    other = world.desk.submit(msgspec.structs.replace(WRITE, name="mode", input="eco"), ANN, world.now)
    world.carry()
    world.desk.told(other.id, Answer.UNCONFIRMED, world.now)
    world.desk.tick(other.deadline)
    assert (world.state(other), world.why(other)) == (State.EXPIRED, "sent, and never confirmed")


def test_a_restart_repeats_only_what_may_be_repeated() -> None:
    world = World(CommandRuleConfig(name="reset", idempotent=True, retries=2))
    write, blink = world.desk.submit(WRITE, ANN, world.now), world.desk.submit(BLINK, ANN, world.now)
    world.carry()
    world.desk.told(write.id, Answer.ACKNOWLEDGED, world.now)
    assert [one.id for one in world.carry()] == [blink.id]
    world.commit()
    world.crash()
    assert (world.state(blink), world.carry()) == (State.UNCONFIRMED, [])
    assert world.state(write) is State.ACKNOWLEDGED
    again = world.desk.submit(msgspec.structs.replace(WRITE, thing="pump"), ANN, world.now)
    world.carry()
    world.crash()
    assert [one.id for one in world.carry()] == [again.id]
    world.crash()
    assert (world.state(again), world.carry()) == (State.UNCONFIRMED, [])  # one repetition, not for ever
    reset = world.desk.submit(msgspec.structs.replace(BLINK, thing="pump", name="reset"), ANN, world.now)
    sends = len(world.carry())
    for _ in range(4):
        world.crash()
        sends += len(world.carry())
    assert (sends, world.state(reset)) == (3, State.UNCONFIRMED)


def test_what_was_not_durable_never_was() -> None:
    world = World()
    command = world.desk.submit(BLINK, ANN, world.now)
    world.crash()
    assert world.desk.book.get(command.id) is None
    assert world.carry() == []


def test_the_same_key_is_the_same_command() -> None:
    world = World()
    once = world.desk.submit(msgspec.structs.replace(BLINK, key="k"), ANN, world.now)
    world.commit()
    assert world.desk.submit(msgspec.structs.replace(BLINK, key="k"), ANN, world.now + 1).id == once.id
    world.crash()
    assert world.desk.submit(msgspec.structs.replace(BLINK, key="k"), ANN, world.now + 2).id == once.id
    with pytest.raises(CommandRefused, match="another command"):
        world.desk.submit(msgspec.structs.replace(WRITE, key="k"), ANN, world.now)


@pytest.mark.parametrize(
    ("rule", "wanted", "said"),
    [
        (CommandRuleConfig(minimum=0, maximum=4), WRITE, "5 is above 4"),
        (CommandRuleConfig(minimum=6), WRITE, "5 is below 6"),
        (CommandRuleConfig(minimum=6), msgspec.structs.replace(WRITE, input="much"), "takes a number"),
        (CommandRuleConfig(role="owner"), WRITE, "takes the role owner"),
        (CommandRuleConfig(quiet=("11:00-13:00",)), WRITE, "is quiet"),
        (CommandRuleConfig(quiet=("23:00-12:30",)), WRITE, "is quiet"),
        (CommandRuleConfig(only_while=("flow >= 0.5",)), WRITE, "flow is missing or stale"),
        (CommandRuleConfig(only_while=("pump/flow >= 0.5",)), WRITE, "does not hold: it is 0.2"),
        (CommandRuleConfig(only_while=("pump/mode == 1",)), WRITE, "cannot be"),
    ],
)
def test_rules_refuse_with_their_reason(rule: CommandRuleConfig, wanted: Wanted, said: str) -> None:
    world = World(rule)
    world.values = {("pump", "flow"): 0.2, ("pump", "mode"): "auto"}
    command = world.desk.submit(wanted, ANN, world.now)
    assert world.state(command) is State.REFUSED
    assert said in world.why(command)
    assert world.carry() == []


def test_an_interlock_counts_when_the_command_is_sent() -> None:
    world = World(CommandRuleConfig(only_while=("flow >= 0.5", 'mode == "auto"')))
    world.values = {("heater", "flow"): 1.0, ("heater", "mode"): "auto"}
    world.online.clear()
    command = world.desk.submit(WRITE, ANN, world.now)
    assert world.state(command) is State.PERMITTED
    world.values["heater", "flow"] = None  # it went stale while the heater slept
    world.online.add("heater")
    world.desk.contact("plant", "heater", world.now)
    assert world.state(command) is State.REFUSED


def test_two_people_where_declared() -> None:
    world = World(CommandRuleConfig(two_person=True))
    command = world.desk.submit(WRITE, ANN, world.now)
    assert (world.state(command), world.carry()) == (State.QUEUED, [])
    with pytest.raises(CommandRefused, match="second person"):
        world.desk.approve(command.id, ANN, world.now)
    with pytest.raises(CommandRefused, match="waits for approval"):
        world.desk.approve(command.id, Who("other", "eve", Role.OWNER), world.now)  # §11
    with pytest.raises(CommandRefused, match="role"):
        world.desk.approve(command.id, Who("plant", "eve", Role.VIEWER), world.now)
    world.desk.approve(command.id, BO, world.now)
    assert world.state(command) is State.SENT
    unapproved = world.desk.submit(WRITE, ANN, world.now)
    world.desk.tick(unapproved.deadline)
    assert world.why(unapproved) == "nobody approved it"


def test_a_rate_is_kept_and_forgotten_after_a_minute() -> None:
    world = World(CommandRuleConfig(per_minute=2))
    states = [world.state(world.desk.submit(BLINK, ANN, world.now + n)) for n in range(3)]
    assert states == [State.SENT, State.PERMITTED, State.REFUSED]
    later = world.desk.submit(BLINK, ANN, world.now + 61 * NS_PER_S)
    assert world.state(later) is State.PERMITTED


def test_a_loop_acts_inside_its_corridor_until_it_is_ended() -> None:
    world = World(CommandRuleConfig(role="owner", two_person=True))
    loop = Who("plant", "loop", Role.OPERATOR)
    standing = Standing(
        id="s", project="plant", things="heat*", name="power", low=0, high=6, per_minute=3,
        expires_at=NOON + 3_600 * NS_PER_S, holder="loop",
    )  # fmt: skip
    world.desk.grant(standing, world.now)
    acting = msgspec.structs.replace(WRITE, standing="s")
    assert world.state(world.desk.submit(acting, loop, world.now)) is State.SENT
    for wanted, who, said in (
        (msgspec.structs.replace(acting, input=7.0), loop, "outside the corridor"),
        (msgspec.structs.replace(acting, input="x"), loop, "outside the corridor"),
        (msgspec.structs.replace(acting, thing="pump"), loop, "is for heat*/power"),
        (msgspec.structs.replace(acting, standing="t"), loop, "no standing permit"),
        (acting, ANN, "another's"),
    ):
        assert said in world.why(world.desk.submit(wanted, who, world.now))
    world.desk.submit(acting, loop, world.now)
    world.desk.submit(acting, loop, world.now)
    assert "as many as may be" in world.why(world.desk.submit(acting, loop, world.now))
    assert "expired" in world.why(world.desk.submit(acting, loop, NOON + 3_600 * NS_PER_S))
    bare = msgspec.structs.replace(standing, id="b", name="blink")
    world.desk.grant(bare, world.now)  # of an action without input there is nothing to bound
    blink = Wanted(thing="heater", affordance=Affordance.ACTION, name="blink", standing="b")
    assert world.state(world.desk.submit(blink, loop, world.now)) is not State.REFUSED
    nothing = msgspec.structs.replace(acting, input=None)
    assert "outside the corridor" in world.why(world.desk.submit(nothing, loop, world.now))
    assert not world.desk.withdraw("other", "s", "ann", world.now)
    world.commit()
    world.crash()
    assert world.desk.withdraw("plant", "s", "ann", world.now)
    world.commit()
    world.crash()
    assert "no standing permit" in world.why(world.desk.submit(acting, loop, world.now + 120 * NS_PER_S))


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), max_size=60))
def test_what_was_permitted_in_the_last_minute_is_counted_and_the_rest_forgotten(given: list[tuple[int, str]]) -> None:
    """§6: no more is held than a minute's commands."""
    recent, now, before = Recent(), NOON, list[tuple[int, str]]()
    for seconds, name in given:
        now += seconds * NS_PER_S
        recent.add(("plant", "heater", name), now)
        before.append((now, name))
        for one in "ab":
            expected = sum(at > now - MINUTE_NS for at, other in before if other == one)
            assert recent.count(("plant", "heater", one), now) == expected
    assert sum(len(times) for times in recent._times.values()) <= sum(at > now - MINUTE_NS for at, _ in before)


def test_a_new_command_is_one_record_with_all_that_comes_at_once() -> None:
    """What a crash leaves of it is as if each step had a record of its own (§7)."""
    world = World()
    told: list[tuple[str, int]] = []
    world.desk.changed = lambda command, steps: told.append((command.state.value, steps))
    sent, waits = (world.desk.submit(WRITE, ANN, world.now) for _ in range(2))
    refused = world.desk.submit(msgspec.structs.replace(WRITE, thing="pump"), Who("plant", "x", Role.VIEWER), NOON)
    assert told == [("sent", 3), ("permitted", 2), ("refused", 2)]
    world.commit()
    assert len(world.durable) == 3
    world.crash()
    assert [world.state(one) for one in (waits, refused)] == [State.PERMITTED, State.REFUSED]
    assert [one.id for one in world.carry()] == [sent.id]  # writing a property again does no harm


def test_who_acts_each_second_leaves_nothing_behind() -> None:
    """§6: deadlines of commands that ended, and permits whose time is over, are forgotten."""
    world = World(limits=Limits(standing_permits_per_project_max=2))
    for second in range(4_000):
        now = world.now + second * NS_PER_S
        world.desk.submit(msgspec.structs.replace(WRITE, deadline_s=100_000.0), ANN, now)
        (command,) = world.carry()
        world.desk.told(command.id, Answer.DONE, now)
    assert len(world.desk._deadlines) <= 1_000
    for day in range(5):
        permit = Standing(
            id=f"s{day}", project="plant", things="*", name="*", low=0, high=1, per_minute=1, holder="x",
            expires_at=NOON + (day + 1) * NS_PER_S,
        )  # fmt: skip
        world.desk.grant(permit, NOON + day * NS_PER_S)
    assert [one.id for one in world.desk.book.standing_of("plant")] == ["s4"]
    assert world.desk.book.standing_count("plant") == 1


def test_permits_are_for_one_command_and_cannot_be_made_up() -> None:
    world = World()
    command = world.desk.submit(WRITE, ANN, world.now)
    permit = world.authority.permit(command)
    world.authority.check(command, permit, world.now)
    changed = msgspec.structs.replace(command, input=50.0)
    forged = Permit(command.id, command.deadline, b"\0" * 32)
    other = Authority(b"another run").permit(command)
    longer = msgspec.structs.replace(permit, until=permit.until + 1)
    for what, with_permit in (
        (command, None),
        (changed, permit),
        (command, forged),
        (command, other),
        (command, longer),
    ):
        with pytest.raises(NoPermit):
            world.authority.check(what, with_permit, world.now)
    with pytest.raises(NoPermit, match="ended"):
        world.authority.check(command, permit, command.deadline)


def test_everything_is_bounded_6() -> None:
    limits = Limits(
        commands_open_per_thing_max=3, commands_open_per_project_max=4, commands_kept_per_project_max=5,
        command_input_bytes_max=100, standing_permits_per_project_max=0,
    )  # fmt: skip
    world = World(limits=limits)
    world.online.clear()
    for _ in range(3):
        world.desk.submit(BLINK, ANN, world.now)
    with pytest.raises(LimitError, match="wait for heater"):
        world.desk.submit(BLINK, ANN, world.now)
    world.desk.submit(msgspec.structs.replace(BLINK, thing="pump"), ANN, world.now)
    with pytest.raises(LimitError, match="of the project"):
        world.desk.submit(msgspec.structs.replace(BLINK, thing="pump"), ANN, world.now)
    with pytest.raises(LimitError, match="bytes"):
        world.desk.submit(msgspec.structs.replace(BLINK, input="x" * 200), ANN, world.now)
    for wrong in ({"deadline_s": 0.0}, {"priority": 10}, {"key": "k" * 300}, {"thing": "nothing"}):
        with pytest.raises(CommandRefused):
            world.desk.submit(msgspec.structs.replace(BLINK, **wrong), ANN, world.now)
    with pytest.raises(LimitError, match="standing"):
        world.desk.grant(
            Standing(
                id="s", project="plant", things="*", name="*", low=0, high=1, per_minute=1, expires_at=0, holder="x"
            ),
            world.now,
        )
    for n in range(20):
        world.desk.tick(world.now + 3_600 * NS_PER_S)
        world.desk.submit(BLINK, ANN, world.now + n)
    assert len(world.desk.book.of_project("plant")) <= 5 + 4


def test_taking_back_what_has_not_been_sent() -> None:
    world = World()
    world.online.clear()
    command = world.desk.submit(WRITE, ANN, world.now)
    with pytest.raises(CommandRefused):
        world.desk.cancel(command.id, Who("other", "eve", Role.OWNER), world.now)
    assert world.desk.cancel(command.id, BO, world.now).state is State.REFUSED
    world.online.add("heater")
    sent = world.desk.submit(WRITE, ANN, world.now)
    with pytest.raises(CommandRefused, match="sent already"):
        world.desk.cancel(sent.id, ANN, world.now)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "act", "commit", "carry", "crash", "wake", "sleep", "ack", "done", "lost", "tick"]),
        st.sampled_from(["heater", "pump"]),
        st.integers(0, 20),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_whatever_happens_commands_tell_the_truth(operations: list[tuple[str, str, int]]) -> None:
    world = World()
    answered: set[str] = set()
    for what, thing, number in operations:
        world.now += number * NS_PER_S
        try:
            if what == "write":
                world.desk.submit(msgspec.structs.replace(WRITE, thing=thing, input=float(number)), ANN, world.now)
            elif what == "act":
                world.desk.submit(msgspec.structs.replace(BLINK, thing=thing), ANN, world.now)
        except LimitError:
            pass
        if what in ("commit", "carry", "crash"):
            getattr(world, what)()
        elif what == "wake":
            world.online.add(thing)
            world.desk.contact("plant", thing, world.now)
        elif what == "sleep":
            world.online.discard(thing)
        elif what == "tick":
            world.desk.tick(world.now)
        elif what in ("ack", "done", "lost") and world.sent:
            command = world.sent[number % len(world.sent)]
            if what != "lost":
                answered.add(command.id)
            answer = {"ack": Answer.ACKNOWLEDGED, "done": Answer.DONE, "lost": Answer.LOST}[what]
            world.desk.told(command.id, answer, world.now)
    world.crash()
    for command in world.desk.book.everything():
        for before, after in zip(command.steps, command.steps[1:], strict=False):
            assert after.state in NEXT[before.state]
        if {step.state for step in command.steps} & {State.ACKNOWLEDGED, State.DONE}:
            assert command.id in answered  # never without the device's own answer
    handed = [command.id for command in world.sent]
    for command in world.sent:
        times = handed.count(command.id)
        assert times <= (2 if command.affordance is Affordance.PROPERTY else 1)
    again = world.fresh()
    for record in records_of(world.desk):
        again.apply(record)
    assert list(again.book.everything()) == list(world.desk.book.everything())
    for record in world.durable:  # a journal that begins before the snapshot changes nothing
        again.apply(record)
    assert list(again.book.everything()) == list(world.desk.book.everything())
