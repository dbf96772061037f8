"""Commands that the centre gives to things of this node: taken over, given again here, and answered as they go on.

At the centre the node speaks for its things, in a session that the centre keeps while the link is cut. Each command is
given to the node's own desk, with the centre's number as its key: rules, limits and interlocks of here hold, and one
that comes twice is one. The centre hears that it is taken when it is durable here. What becomes of it is told as it
goes on, and again after a restart: the centre takes each step once.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec

from taihu.control.command import ENDED, Affordance, Command, State
from taihu.control.wire import ANSWER, COMMAND, decode_command, encode_answer
from taihu.identity.directory import Directory
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import RefusedError, TaihuError, TransientError
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.packets import Publish
from taihu.runtime.ask import Ask
from taihu.runtime.field.uplink import Uplink

log = logging.getLogger("taihu.edge")

THINGS_MAX = 200  # of a line: as many subscriptions as a centre takes unless told otherwise
_KEY = "centre/"
_TAKEN_MAX = 100  # commands that come in and are not durable here yet
_OPEN_MAX = 10_000
_LOOK_S = 0.2
_RETRY_S = 0.5
_SESSION_S = 7 * 86_400
_PAGE = 1_000
_TOLD = {
    State.ACKNOWLEDGED: "acknowledged",
    State.UNCONFIRMED: "unconfirmed",
    State.DONE: "done",
    State.FAILED: "failed",
    State.REFUSED: "failed",
    State.EXPIRED: "expired",
}
_AS_DETAIL = {State.REFUSED: "refused at the edge node: ", State.EXPIRED: "at the edge node: "}


class Centre(msgspec.Struct, frozen=True, kw_only=True):
    """Where a project's line goes: the centre, and the token for it; `node` tells edge nodes of one project apart."""

    host: str
    port: int
    token: str
    node: str
    tls: Any = None

    def __repr__(self) -> str:
        return f"Centre({self.host!r})"


class _Given(msgspec.Struct):
    """A command of the centre that the node has: its number here, and how many of its steps are told."""

    thing: str
    here: str
    deadline: int
    told: int = 0


class Orders:
    """The commands for at most THINGS_MAX things of one project, until `run` is cancelled.

    `ask` is the node's own API, as somebody who may command the project.
    """

    def __init__(self, project: str, number: int, centre: Centre, clock: Clock, random: Random) -> None:
        self.things: dict[str, None] = {}
        self.ask: Ask | None = None
        self._project = project
        self._path = f"/api/v1/projects/{quote(project)}/commands"
        self._clock = clock
        self._open: dict[str, _Given] = {}  # by the centre's number
        self._taking: dict[str, asyncio.Task[None]] = {}
        client = Client(
            f"edge-{centre.node}-{project}-{number}", version=5, username=centre.token, clean_start=False,
            properties={"session_expiry_interval": _SESSION_S, "receive_maximum": _TAKEN_MAX}, acknowledges=False,
        )  # fmt: skip
        tls: ssl.SSLContext | None = centre.tls
        self._uplink = Uplink(centre.host, centre.port, client, clock, self._heard, random, tls)

    def speak_for(self, things: Iterable[str]) -> None:
        """Hear of the commands for more things."""
        for thing in things:
            self.things[thing] = None
            self._uplink.listen(f"taihu/{self._project}/{thing}/{COMMAND}")

    async def run(self) -> None:
        """Serve until cancelled."""
        line = asyncio.create_task(self._uplink.run())
        try:
            await self._resume()
            while True:
                await self._follow()
                await asyncio.sleep(_LOOK_S)
        finally:
            tasks = [line, *self._taking.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _heard(self, packet: Publish) -> None:
        """A command of the centre; one that is being taken over is not taken twice."""
        thing = packet.topic.split("/")[2]
        try:
            command, _ = decode_command(self._project, thing, packet.payload)
        except TaihuError as error:
            log.error("the centre's command for %s cannot be read: %s", thing, error)
            self._uplink.acknowledge(packet.packet_id)
            return
        if command.id not in self._taking:
            self._taking[command.id] = asyncio.get_running_loop().create_task(self._take(command, packet.packet_id))

    async def _take(self, command: Command, packet_id: int) -> None:
        """Give it to the node's own desk, as long as it may still be done; acknowledge what is durable."""
        try:
            while True:
                left_s = (command.deadline - self._clock.now_ns()) / NS_PER_S
                if left_s <= 0:
                    await self._tell(command.thing, command.id, "expired", "it came to the edge node too late")
                    break
                try:
                    given = await self._give(command, left_s)
                except RefusedError as error:
                    await self._tell(command.thing, command.id, "failed", f"refused at the edge node: {error.message}")
                    break
                except TransientError:
                    await asyncio.sleep(_RETRY_S)
                    continue
                self._open.setdefault(command.id, _Given(command.thing, given["id"], command.deadline))
                await self._tell(command.thing, command.id, "taken")
                break
            self._uplink.acknowledge(packet_id)
        finally:
            self._taking.pop(command.id, None)

    async def _give(self, command: Command, left_s: float) -> Any:
        if self.ask is None or len(self._open) >= _OPEN_MAX:
            raise TransientError("The node cannot take it now.")
        what = "property" if command.affordance is Affordance.PROPERTY else "action"
        body = {
            "thing": command.thing, what: command.name, "input": command.input, "deadline_s": left_s,
            "key": f"{_KEY}{command.id}", "why": f"the centre's command {command.id}",
        }  # fmt: skip
        return await self.ask.post(self._path, body)

    async def _resume(self) -> None:
        """Take up what was taken over before this process began: it is told again from its first step."""
        while True:
            found = await self.ask.get(f"{self._path}?limit={_PAGE}") if self.ask is not None else None
            if found is not None:
                break
            await asyncio.sleep(_RETRY_S)
        now = self._clock.now_ns()
        for one in found["commands"]:
            if one.get("key", "").startswith(_KEY) and one["thing"] in self.things and one["deadline"] > now:
                number = one["key"].removeprefix(_KEY)
                self._open.setdefault(number, _Given(one["thing"], one["id"], one["deadline"]))

    async def _follow(self) -> None:
        """Tell the centre of each step that was taken here."""
        for number, given in list(self._open.items()):
            found = await self.ask.get(f"{self._path}/{given.here}") if self.ask is not None else None
            if found is None:
                if self._clock.now_ns() > given.deadline:  # it ended here too, and is forgotten
                    del self._open[number]
                continue
            for step in found["steps"][given.told :]:
                await self._tell_step(given.thing, number, State(step["state"]), step)
            given.told = len(found["steps"])
            if State(found["state"]) in ENDED:
                del self._open[number]

    async def _tell_step(self, thing: str, number: str, state: State, step: dict[str, Any]) -> None:
        if state in _TOLD:
            detail = _AS_DETAIL.get(state, "") + step.get("detail", "")
            await self._tell(thing, number, _TOLD[state], detail, step.get("result"))

    async def _tell(self, thing: str, number: str, state: str, detail: str = "", result: Any = None) -> None:
        await self._uplink.publish(
            f"taihu/{self._project}/{thing}/{ANSWER}", encode_answer(number, state, detail, result)
        )


def commandable(directory: Directory, project: str) -> list[str]:
    """The things of a project that can be commanded: all but those that are known to have nothing to write or do."""
    acting = {model.name for model in directory.models(project) if b'"actions"' in model.document}
    return [
        thing.name
        for thing in directory.things(project, "", directory.thing_count(project))
        if thing.actions
        or thing.model in acting
        or any(one.writable or one.inferred for one in (directory.definitions(project, thing.name) or {}).values())
        or not (directory.definitions(project, thing.name) or thing.model)
    ]
