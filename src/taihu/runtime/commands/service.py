"""The node's commands: the desk among the node's own facts, journal and clock, and the carriers that send them.

Two carriers: a thing, or what speaks for it, that listens on its own `$command` topic (`control.wire`); and a
ThingsBoard device, or its gateway, that listens for calls (`calls`).
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.control.book import Book
from taihu.control.command import ENDED, Affordance, Command, State
from taihu.control.desk import Desk, records_of
from taihu.control.permit import Authority, NoPermit, Permit, Standing
from taihu.control.request import DEADLINE_S, Answer, Wanted, Who
from taihu.control.rule import Rule, read_rule
from taihu.control.wire import ANSWER, COMMAND, decode_answer, encode_command
from taihu.identity.directory import Directory
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.files import Files, write_atomic
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.commands.calls import Calls
from taihu.runtime.commands.followers import Followers
from taihu.runtime.commands.stirring import Stirring
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.runtime.ingest.request import Request
from taihu.runtime.paths import Paths
from taihu.things.batch import KIND_CONTROL, Batch
from taihu.things.description import actions_of
from taihu.things.mapping import thingsboard as tb
from taihu.things.property import is_stale
from taihu.things.schema import schema_fault
from taihu.things.validate import check_wish
from taihu.twin.twin import Twin

_AT_ONCE = 50  # of many commands so many are taken over before devices are served again
_decode_snapshot = msgspec.msgpack.Decoder(tuple[int, list[bytes]]).decode


class Commands:
    """All commands of the node. `settle` makes the broker's output go out."""

    def __init__(
        self,
        site: Site,
        directory: Directory,
        twin: Twin,
        broker: Broker,
        pipeline: Pipeline,
        clock: Clock,
        files: Files,
        settle: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._twin = twin
        self._broker = broker
        self._pipeline = pipeline
        self._clock = clock
        self._settle = settle
        self._rules: dict[str, list[Rule]] = {}
        self.use(site)
        secret = secrets.token_bytes(32)
        write_atomic(files, Paths(site.data).control_key, secret)
        self._authority = Authority(secret)
        patience_s = DEADLINE_S * clock.speed  # who gives a command waits in his own time
        self.desk = Desk(site.limits, self, self._authority, lambda: secrets.token_hex(8), patience_s)
        self.desk.changed = self._changed
        self.stepped: Callable[[Command, int], None] = lambda command, steps: None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._stirring = Stirring(taken=True)
        self._calls = Calls(broker)
        self._waiting: dict[str, list[asyncio.Future[Command]]] = {}
        self._followers = Followers()
        pipeline.add_extra(self._take)
        pipeline.add_listener(self._durable)

    def use(self, site: Site) -> None:
        """Go by the rules of `site` from now on."""
        self._rules = {project.name: [read_rule(rule) for rule in project.commands] for project in site.projects}

    def attach(self, access: Access) -> None:
        """Hear from the broker's policy."""
        access.on_answer = self.heard
        access.on_listening = self.listens
        access.on_speaking = self.speaks

    # What doors ask

    @property
    def book(self) -> Book:
        """What is known of commands."""
        return self.desk.book

    async def submit(self, wanted: Wanted, who: Who, wait_s: float = 0.0) -> Command:
        """Take a command over; returns when it is durable, and within `wait_s` when it has ended.

        Raises:
            CommandRefused: it cannot be taken; LimitError: too many wait.
        """
        command = self.desk.submit(wanted, who, self._clock.now_ns())
        await self._commit()
        if wait_s > 0:
            command = await self._ended(command.id, wait_s)
        return self.desk.book.get(command.id) or command

    async def submit_all(
        self, all_wanted: Sequence[Wanted], who: Who, wait_s: float = 0.0
    ) -> list[Command | TaihuError]:
        """Take many commands over in one commit: each as by `submit`, in their order, or why it cannot be taken.

        Returns when all are durable, and within `wait_s` when all have ended.
        """
        taken: list[Command | TaihuError] = []
        for place, wanted in enumerate(all_wanted):
            if place and place % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                taken.append(self.desk.submit(wanted, who, self._clock.now_ns()))
            except TaihuError as error:
                taken.append(error)
        await self._commit()
        numbers = [one.id for one in taken if isinstance(one, Command)]
        if wait_s > 0:
            await asyncio.gather(*(self._ended(number, wait_s) for number in numbers))
        return [(self.desk.book.get(one.id) or one) if isinstance(one, Command) else one for one in taken]

    def give(self, wanted: Wanted, who: Who) -> Command:
        """Take a command over without waiting until it is durable; raises as `submit`."""
        command = self.desk.submit(wanted, who, self._clock.now_ns())
        self._stir()
        return command

    async def approve(self, number: str, who: Who) -> Command:
        """A second person agrees; raises CommandRefused."""
        command = self.desk.approve(number, who, self._clock.now_ns())
        await self._commit()
        return self.desk.book.get(command.id) or command

    async def cancel(self, number: str, who: Who) -> Command:
        """Take a command back that has not been sent; raises CommandRefused."""
        command = self.desk.cancel(number, who, self._clock.now_ns())
        await self._commit()
        return command

    async def permit(
        self, project: str, issued: Sequence[Standing], ended: Sequence[str], by: str
    ) -> tuple[list[TaihuError | None], int]:
        """Issue and end standing permits in one commit: why not, for each that is not issued; and how many have ended.

        `by` is who ends them. Those are issued first, so that who has another given for one always holds one.
        """
        refused: list[TaihuError | None] = []
        for standing in issued:
            try:
                self.desk.grant(standing, self._clock.now_ns())
                refused.append(None)
            except TaihuError as error:
                refused.append(error)
        count = sum([self.desk.withdraw(project, number, by, self._clock.now_ns()) for number in ended])
        await self._commit()
        return refused, count

    def follow(self, project: str) -> AsyncGenerator[Command]:
        """Each step of a project's commands as it is taken; see `Followers.follow`."""
        return self._followers.follow(project)

    def takes(self, project: str, thing: str) -> bool:
        """Whether a thing is acted on by commands: somebody listens for them on its own topic, or has before."""
        return self._listens(project, thing) or bool(self.desk.book.of_project(project, thing))

    # What the broker's policy tells

    def heard(self, space: str, thing: str, topic: str, payload: bytes) -> bool:
        """A message of a thing, or of what speaks for it: whether it answers a command.

        Raises:
            AnswerUnreadable: it is meant as an answer and is none.
        """
        now = self._clock.now_ns()
        if topic.startswith(tb.RPC_RESPONSE) or topic == tb.GATEWAY_RPC:
            answered = self._calls.answered(space, thing, topic, payload)
            command = self.desk.book.get(answered.number) if answered else None
            if answered and command and (command.project, command.thing) == (space, answered.thing):
                self.desk.told(command.id, Answer.DONE, now, "", answered.result)
        elif topic == f"taihu/{space}/{thing}/{ANSWER}":
            message = decode_answer(payload)
            command = self.desk.book.get(message.id)
            if command is not None and (command.project, command.thing) == (space, thing):
                self.desk.told(message.id, Answer(message.state), now, message.detail, message.result)
        else:
            return False
        self._stir()
        return True

    def listens(self, space: str, topic_filter: str, thing: str) -> None:
        """Somebody is about to listen for commands: what waits goes out when he does."""
        if topic_filter.startswith(f"taihu/{space}/"):
            thing = topic_filter.split("/")[2]
        for one in (thing, *(self._calls.behind(space, thing) if topic_filter.startswith("v1/gateway/") else ())):
            if one:
                self._loop.call_soon(self._contact, space, one)

    def speaks(self, space: str, gateway: str, thing: str, up: bool) -> None:
        """A ThingsBoard gateway says that it speaks for a thing, or no more."""
        self._calls.speaks(space, gateway, thing, up)
        if up:
            self._loop.call_soon(self._contact, space, thing)

    # What the desk asks (control.request.Facts)

    def fault(self, project: str, wanted: Wanted) -> str:
        """What is wrong with a command; empty when nothing is."""
        definitions = self._directory.definitions(project, wanted.thing)
        if definitions is None:
            return f"There is no thing {wanted.thing[:80]!r} in this project."
        if wanted.affordance is Affordance.ACTION:
            return self._action_fault(project, wanted)
        try:
            check_wish(wanted.name, wanted.input, definitions.get(wanted.name))
        except TaihuError as error:
            return error.message
        return "A property is written with a value." if wanted.input is None else ""

    def rules(self, project: str) -> Sequence[Rule]:
        """The project's rules."""
        return self._rules.get(project, ())

    def zone(self, project: str) -> ZoneInfo:
        """The project's time zone."""
        found = self._directory.project(project)
        return ZoneInfo(found.timezone if found else "UTC")

    def holds(self, project: str, thing: str, name: str) -> Any:
        """The value that holds now; None when it is missing or stale (§3)."""
        reading = self._twin.value(project, thing, name)
        definition = (self._directory.definitions(project, thing) or {}).get(name)
        if reading is None or definition is None:
            return None
        age_s = (self._clock.now_ns() - reading.observed_at) / NS_PER_S
        return None if is_stale(definition, age_s) else reading.value

    def reachable(self, project: str, thing: str) -> bool:
        """Whether somebody listens for the thing's commands now."""
        return self._listens(project, thing) or self._calls.reachable(project, thing)

    # Start and stop

    def recover(self, data: bytes | None) -> int:
        """Take over a snapshot; returns the journal position it was made at."""
        if data is None:
            return 0
        position, records = _decode_snapshot(data)
        for record in records:
            self.desk.apply(record)
        return position

    def snapshot(self, position: int) -> bytes:
        """What is known now, as of a journal position."""
        return msgspec.msgpack.encode((position, list(records_of(self.desk))))

    def resume(self) -> None:
        """After replay: what was on its way is sent again only if that does no harm."""
        self.desk.resume(self._clock.now_ns())
        self._stir()

    # What happens inside

    def _action_fault(self, project: str, wanted: Wanted) -> str:
        """By what its model and its driver say of it; where neither does, the device knows what it can do."""
        thing = self._directory.thing(project, wanted.thing)
        model = self._directory.model(project, thing.model) if thing is not None and thing.model else None
        described = msgspec.json.decode(model.document) if model is not None and model.document else None
        if thing is None or (described is None and not thing.actions):
            return ""
        actions = actions_of(thing, described or {})
        if wanted.name not in actions:
            return f"{wanted.thing} has no action {wanted.name[:80]!r}; it has {', '.join(actions) or 'none'}."
        fault = schema_fault(wanted.input, actions[wanted.name].get("input", {}))
        return f"{fault[0].upper()}{fault[1:]}." if fault else ""

    def _listens(self, project: str, thing: str) -> bool:
        """Whether somebody listens on the thing's own topic; who follows everything does not speak for it."""
        topic = f"taihu/{project}/{thing}/{COMMAND}"
        return self._broker.subscribed(project, topic, lambda one: one.endswith(f"/{COMMAND}"))

    def _contact(self, project: str, thing: str) -> None:
        self.desk.contact(project, thing, self._clock.now_ns())
        self._stir()

    async def _commit(self) -> None:
        self._arm()
        request = Request()
        self._pipeline.submit(request)
        await request.done.wait()

    def _stir(self) -> None:
        """Make durable what has happened, and set the timer."""
        if self.desk.pending and self._stirring.taken:
            self._stirring = Stirring()
            self._pipeline.submit(self._stirring)
        self._arm()

    def _arm(self) -> None:
        """Set the timer; one that comes too early only looks."""
        due = self.desk.next_timer()
        if due is None or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        wait_s = max(0.0, (due - self._clock.now_ns()) / NS_PER_S / self._clock.speed)
        self._timer = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.desk.tick(self._clock.now_ns())
        self._stir()

    def _take(self) -> list[tuple[int, bytes]]:
        return [(KIND_CONTROL, record) for record in self.desk.take_records()]

    def _durable(self, durable: int, batches: list[tuple[int, Batch]]) -> None:
        self.desk.committed()
        if self.desk.book.unconfirmed_count:
            self._confirm(batches)
        sends = self.desk.take_sends(self._clock.now_ns())
        for command, permit in sends:
            self._send(command, permit)
        if sends:
            self._settle()
        if self.desk.pending:
            self._loop.call_soon(self._stir)

    def _confirm(self, batches: list[tuple[int, Batch]]) -> None:
        """Readings that came may confirm what was not answered."""
        now = self._clock.now_ns()
        for _, batch in batches:
            for thing in batch.things:
                if any(self.desk.book.unconfirmed(batch.project, thing)):
                    for reading in self._twin.newest(batch.project, thing).values():
                        self.desk.observed(
                            batch.project, thing, reading.property, reading.value, reading.observed_at, now
                        )

    def _send(self, command: Command, permit: Permit) -> None:
        """Hand a command to its carrier; without a genuine permit it goes nowhere (§7)."""
        now = self._clock.now_ns()
        try:
            self._authority.check(command, permit, now)
        except NoPermit as error:
            self.desk.told(command.id, Answer.FAILED, now, str(error))
            return
        if self._listens(command.project, command.thing):
            topic = f"taihu/{command.project}/{command.thing}/{COMMAND}"
            self._broker.publish(command.project, topic, encode_command(command, permit), qos=1)
        elif not self._calls.send(command, lambda: self._received(command.id)):
            self.desk.told(command.id, Answer.LOST, now, "the device left before it was sent")

    def _received(self, number: str) -> None:
        self.desk.told(number, Answer.RECEIVED, self._clock.now_ns())
        self._stir()

    def _changed(self, command: Command, steps: int) -> None:
        self.stepped(command, steps)
        if command.state in ENDED:
            for future in self._waiting.pop(command.id, ()):
                if not future.done():
                    future.set_result(command)
        self._followers.tell(command, steps)

    async def _ended(self, number: str, wait_s: float) -> Command:
        command = self.desk.book.get(number)
        assert command is not None
        if command.ended or command.state is State.QUEUED:
            return command
        future = self._loop.create_future()
        self._waiting.setdefault(number, []).append(future)
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(future)
        except TimeoutError:
            return self.desk.book.get(number) or command
        finally:
            waiting = self._waiting.get(number)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiting[number]
