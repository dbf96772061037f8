"""The Web of Things over MQTT: what a thing does for whoever may ask it, as topics below the thing's own.

    taihu/PROJECT/THING/$set/PROPERTY    a value: a command to write the property
    taihu/PROJECT/THING/$do/ACTION       an input, or nothing: a command to invoke the action
    taihu/PROJECT/THING/$steps           every step of every command to the thing, to whoever may read it
    taihu/PROJECT/THING/$event/EVENT     each occurrence of an event

The first two are for operators; nobody but the node publishes on the others.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taihu.control.command import Command
from taihu.control.request import Wanted, Who
from taihu.control.rule import Role
from taihu.control.wire import EVENT, STEPS, Operation
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.commands.service import Commands
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.things.batch import Batch
from taihu.things.property import Kind, Property

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Operations:
    """Takes operations over as commands, and tells of steps and events. `settle` makes the broker's output go out."""

    def __init__(
        self,
        broker: Broker,
        give: Callable[[Wanted, Who], Command],
        definitions: Callable[[str, str], Mapping[str, Property] | None],
        settle: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._give = give
        self._definitions = definitions
        self._settle = settle
        self._listened: set[str] = set()  # projects in which somebody has asked for events

    def attach(self, access: Access, commands: Commands, pipeline: Pipeline) -> None:
        """Hear of operations, steps and readings."""
        access.on_operation = self.take
        access.on_filter = self.listens
        commands.stepped = self.stepped
        pipeline.add_listener(self.durable)

    def listens(self, project: str, topic_filter: str) -> None:
        """Somebody subscribes: from now on the project's events are told if the filter can be of one."""
        if EVENT in topic_filter or "#" in topic_filter or "+" in topic_filter:
            self._listened.add(project)

    def take(self, operation: Operation, who: str, payload: bytes) -> str:
        """Make it a command; returns why it cannot be one, empty when it is."""
        try:
            value = msgspec.json.decode(payload) if payload else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._refused(operation, "the payload is not JSON")
        wanted = Wanted(thing=operation.thing, affordance=operation.affordance, name=operation.name, input=value)
        try:
            self._give(wanted, Who(operation.project, who, Role.OPERATOR))
        except TaihuError as error:
            return self._refused(operation, error.message)
        return ""

    def stepped(self, command: Command, steps: int) -> None:
        """Tell of the last steps of a command, if somebody listens."""
        topic = f"taihu/{command.project}/{command.thing}/{STEPS}"
        if not self._broker.routes(command.project, topic):
            return
        for step in command.steps[-steps:]:
            body = {
                "id": command.id, "affordance": command.affordance, "name": command.name, "state": step.state,
                "at": step.at, "detail": step.detail, "result": step.result,
            }  # fmt: skip
            self._broker.publish(command.project, topic, _encode(body))

    def durable(self, durable: int, batches: list[tuple[int, Batch]]) -> None:
        """Tell of the events among what has become durable."""
        told = False
        for _, batch in batches if self._listened else ():
            if batch.project in self._listened:
                told |= self._tell_events(batch)
        if told:
            self._settle()

    def _tell_events(self, batch: Batch) -> bool:
        indices = memoryview(batch.thing_of).cast("i") if batch.thing_of else ()
        told = False
        for place, name in enumerate(batch.properties):
            values: Any = None
            for row in range(len(batch)):
                thing = batch.things[indices[row] if indices else 0]
                definition = (self._definitions(batch.project, thing) or {}).get(name)
                if definition is None or definition.kind is not Kind.EVENT:
                    continue
                values = batch.columns[place].values() if values is None else values
                if values[row] is not None:
                    topic = f"taihu/{batch.project}/{thing}/{EVENT}/{name}"
                    self._broker.publish(batch.project, topic, _encode(values[row]))
                    told = True
        return told

    def _refused(self, operation: Operation, why: str) -> str:
        body = {"id": "", "affordance": operation.affordance, "name": operation.name, "state": "refused", "detail": why}
        topic = f"taihu/{operation.project}/{operation.thing}/{STEPS}"
        self._broker.publish(operation.project, topic, _encode(body))
        return why
