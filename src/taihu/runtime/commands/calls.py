"""Commands as calls of ThingsBoard's device API: to a device itself, or through the gateway that speaks for it.

An action is the device's method; writing a property is the method `setValue`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from taihu.control.command import Affordance, Command
from taihu.protocols.mqtt.broker import Broker
from taihu.things.mapping import thingsboard as tb

_CALLS_MAX = 100_000
_BEHIND_MAX = 100_000


class Answered(NamedTuple):
    """Which command of which thing a device answered, and with what."""

    number: str
    thing: str
    result: Any


class Calls:
    """The calls of one node that wait for their answer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[int, str] = {}  # commands by the number of their call
        self._last = 0
        self._gateways: dict[tuple[str, str], str] = {}  # the gateway that speaks for a thing

    def speaks(self, project: str, gateway: str, thing: str, up: bool) -> None:
        """A gateway says that it speaks for a thing from now on, or no more."""
        key = (project, thing)
        if up:
            self._gateways.pop(key, None)
            while len(self._gateways) >= _BEHIND_MAX:
                del self._gateways[next(iter(self._gateways))]
            self._gateways[key] = gateway
        elif self._gateways.get(key) == gateway:
            del self._gateways[key]

    def behind(self, project: str, gateway: str) -> list[str]:
        """The things that a gateway speaks for."""
        return [thing for (of, thing), by in self._gateways.items() if (of, by) == (project, gateway)]

    def reachable(self, project: str, thing: str) -> bool:
        """Whether the device, or its gateway, listens for calls now."""
        return self._listens(project, thing) or self._gateway_listens(project, thing)

    def send(self, command: Command, received: Callable[[], None]) -> bool:
        """Call the device; False when neither it nor its gateway listens.

        `received` says that it has the call, `answered` what becomes of it. What a gateway acknowledges says nothing of
        the device behind it.
        """
        project, thing = command.project, command.thing
        listens = self._listens(project, thing)
        if not listens and not self._gateway_listens(project, thing):
            return False
        while len(self._waiting) >= _CALLS_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._last += 1
        self._waiting[self._last] = command.id
        method, params = command.name, command.input
        if command.affordance is Affordance.PROPERTY:
            method, params = "setValue", {command.name: command.input}
        if listens:
            topic, payload = f"{tb.RPC_REQUEST}{self._last}", tb.format_rpc_request(method, params)
            self._broker.tell(project, thing, topic, payload, received=received)
        else:
            payload = tb.format_gateway_rpc_request(thing, self._last, method, params)
            self._broker.tell(project, self._gateways[project, thing], tb.GATEWAY_RPC, payload)
        return True

    def answered(self, project: str, thing: str, topic: str, payload: bytes) -> Answered | None:
        """What a message of a device, or of its gateway, answers; None for a call that nobody waits for.

        Raises:
            PayloadError: it is no answer.
        """
        if topic != tb.GATEWAY_RPC:
            number = self._waiting.pop(tb.parse_request_id(topic, tb.RPC_RESPONSE), "")
            return Answered(number, thing, tb.parse_rpc_response(payload)) if number else None
        response = tb.parse_gateway_rpc_response(payload)
        if self._gateways.get((project, response.device)) != thing:
            return None
        number = self._waiting.pop(response.id, "")
        return Answered(number, response.device, response.data) if number else None

    def _listens(self, project: str, thing: str) -> bool:
        return self._subscribed(project, f"{tb.RPC_REQUEST}0", thing, tb.RPC_REQUEST)

    def _gateway_listens(self, project: str, thing: str) -> bool:
        gateway = self._gateways.get((project, thing))
        return gateway is not None and self._subscribed(project, tb.GATEWAY_RPC, gateway, "v1/gateway/")

    def _subscribed(self, project: str, topic: str, thing: str, root: str) -> bool:
        return self._broker.subscribed(project, topic, lambda one: one.startswith(root), thing)
