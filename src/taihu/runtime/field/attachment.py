"""One device connection at work: its driver, its line to the node, and the commands that pass between them.

The driver runs until the device is lost, and again after a pause that grows, with jitter. One line in the log says that
a device was lost and one that it is back; meanwhile its values age and none is made up (§3). A command is passed to the
driver only with a genuine permit (§7), and what the driver says of it goes back as it is.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import msgspec

from taihu.control.command import Affordance, Command
from taihu.control.permit import Authority, Permit
from taihu.control.wire import ANSWER, COMMAND, decode_command, encode_answer
from taihu.drivers.files import ConnectionFile
from taihu.drivers.port import Act, DeviceRefused, Driver, Reading, ThingPlan
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError, TaihuError, TransientError
from taihu.protocols.mqtt.packets import Publish
from taihu.runtime.field.uplink import Uplink

log = logging.getLogger("taihu.field")

_RETRY_S_MIN, _RETRY_S_MAX = 0.5, 60.0
_ACT_S = 30.0
_ACTS_MAX = 100
_WHOLE = frozenset((dict, list))  # in an object of values they would be taken apart
_encode = msgspec.json.Encoder().encode


class Attachment:
    """One connection, from start to stop."""

    def __init__(
        self, file: ConnectionFile, driver: Driver, authority: Callable[[], Authority], clock: Clock, random: Random
    ) -> None:
        self.file = file
        self.counts: Counter[str] = Counter()
        self.lost = ""
        self._driver = driver
        self._authority = authority
        self._clock = clock
        self._random = random
        self._uplink: Uplink | None = None
        self._topics = {thing.name: f"taihu/{file.project}/{thing.name}" for thing in file.plan.things}
        self._online: set[str] = set()
        self._acts: set[asyncio.Task[None]] = set()

    async def run(self, uplink: Uplink) -> None:
        """Serve until cancelled."""
        self._uplink = uplink
        line = asyncio.create_task(uplink.run())
        try:
            await self._drive()
        finally:
            for task in (*self._acts, line):
                task.cancel()
            await asyncio.gather(*self._acts, line, return_exceptions=True)
            with suppress(TaihuError, OSError):
                await self._driver.close()

    async def _drive(self) -> None:
        pause = _RETRY_S_MIN
        name = self.file.connection.name
        while True:
            began = self._clock.monotonic()
            try:
                await self._driver.run(self.file.plan, self)
                why = "the device ended the connection"
            except TransientError as error:
                why = str(error)
            except (RefusedError, TaihuError) as error:
                why = f"{error} It is tried again in {_RETRY_S_MAX:g} s."
                pause = _RETRY_S_MAX
            if not self.lost:
                log.warning("the device of %s is lost: %s", name, why, extra={"connection": name})
            self.lost = why
            for thing in list(self._online):
                self._hush(thing)
            self.count("losses")
            if self._clock.monotonic() - began > _RETRY_S_MAX:
                pause = _RETRY_S_MIN
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            pause = min(2 * pause, _RETRY_S_MAX)

    # What the driver tells (drivers.port.Out)

    async def readings(self, rows: Sequence[Reading]) -> None:
        """Publish readings; waits while the node is slow."""
        assert self._uplink is not None
        for thing, values, observed_at, suspect in rows:
            time = {} if observed_at is None else {"ts": observed_at}
            if suspect or not _WHOLE.isdisjoint(map(type, values.values())):
                alone = {name: value for name, value in values.items() if suspect or type(value) in _WHOLE}
                values = {name: value for name, value in values.items() if name not in alone}
                said = {**time, "quality": "suspect"} if suspect else time
                for name, value in alone.items():
                    await self._uplink.publish(f"{self._topics[thing]}/{name}", _encode({"value": value, **said}))
            if values:
                await self._uplink.publish(self._topics[thing], _encode({**time, **values}))
        self.counts["readings"] += len(rows)

    async def durable(self) -> None:
        """Wait until the node has acknowledged what was passed on."""
        assert self._uplink is not None
        await self._uplink.drain()

    def online(self, thing: str) -> None:
        """Commands can reach the thing."""
        if self.lost:
            log.info("the device of %s is back", self.file.connection.name)
            self.lost = ""
        if thing not in self._online and self._uplink is not None:
            self._online.add(thing)
            self._uplink.listen(f"{self._topics[thing]}/{COMMAND}")

    def offline(self, thing: str, why: str) -> None:
        """The thing does not answer; one line says so."""
        if thing in self._online:
            log.warning("%s does not answer: %s", thing, why, extra={"thing": thing})
            self._hush(thing)

    def count(self, what: str, number: int = 1) -> None:
        """Count what was left out."""
        self.counts[what] += number

    # What the node tells

    def message(self, packet: Publish) -> None:
        """A command for one of the things."""
        name = packet.topic.split("/")[2]
        if len(self._acts) >= _ACTS_MAX:
            return  # it stays `sent`, and expires: nobody is told that it was done
        task = asyncio.get_running_loop().create_task(self._serve(name, packet.payload))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    async def _serve(self, thing: str, payload: bytes) -> None:
        assert self._uplink is not None
        number = ""
        try:
            command, permit = decode_command(self.file.project, thing, payload)
            number = command.id
            answer = await self._act(command, permit)
        except (TransientError, TimeoutError) as error:
            answer = encode_answer(number, "lost", str(error) or f"no answer within {_ACT_S:g} s")
        except TaihuError as error:
            answer = encode_answer(number, "failed", str(error))
        await self._uplink.publish(f"{self._topics[thing]}/{ANSWER}", answer)

    async def _act(self, command: Command, permit: Permit) -> bytes:
        now = self._clock.now_ns()
        self._authority().check(command, permit, now)
        plan = self.file.plan.thing(command.thing)
        assert plan is not None
        async with asyncio.timeout(_ACT_S):
            act = await self._do(plan, command)
        return encode_answer(command.id, act.result.value, "", act.value)

    async def _do(self, plan: ThingPlan, command: Command) -> Act:
        if command.affordance is Affordance.PROPERTY:
            point = plan.point(command.name)
            if point is None or not point.definition.writable:
                raise DeviceRefused(f"{plan.name}/{command.name} cannot be written.", "See the connection's plan.")
            return await self._driver.write(plan.name, point, command.input)
        action = next((one for one in plan.actions if one.name == command.name), None)
        if action is None:
            raise DeviceRefused(f"{plan.name} has no action {command.name}.", "See the connection's plan.")
        return await self._driver.invoke(plan.name, action, command.input)

    def _hush(self, thing: str) -> None:
        self._online.discard(thing)
        if self._uplink is not None:
            self._uplink.unlisten(f"{self._topics[thing]}/{COMMAND}")


class Work(Protocol):
    """A connection at work, of either direction."""

    file: ConnectionFile
    counts: Counter[str]
    lost: str


def state_of(attachment: Work) -> dict[str, Any]:
    """What a person wants to know of a connection; no secrets."""
    file = attachment.file
    return {
        "name": file.connection.name,
        "project": file.project,
        "driver": file.driver,
        "things": [thing.name for thing in file.plan.things],
        "lost": attachment.lost,
        "counts": dict(attachment.counts),
    }
