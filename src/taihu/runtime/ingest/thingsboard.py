"""The server's side of ThingsBoard's device API: what is answered to attribute requests, gateways and newcomers.

A device's claiming is `access`'s; a gateway's is heard and acknowledged, and changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.join import Joined
from taihu.kernel.errors import RefusedError, TaihuError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker.ports import Answers, Later
from taihu.things.mapping import thingsboard as api
from taihu.twin.twin import Twin

Join = Callable[[str, str, Callable[[Joined | TaihuError], None]], None]
"""Registers a thing with a join token: (token, name, who is told). Raises LimitError."""

DEVICE, GATEWAYS = "v1/devices/me/", "v1/gateway/"
PRIVATE = (DEVICE, GATEWAYS, "/provision/")
PROVISION_SPACE = "$provision"
CREDENTIALS_REQUEST = "v1/devices/me/credentials/request/"
CREDENTIALS_RESPONSE = "v1/devices/me/credentials/response/"


class ThingsBoardApi:
    """Answers the requests of one node's devices."""

    def __init__(self, join: Join, twin: Twin, directory: Directory, limits: Limits) -> None:
        self._join = join
        self._twin = twin
        self._directory = directory
        self._limits = limits

    def answer(self, space: str, thing: str, gateway: bool, topic: str, payload: bytes) -> Answers | Later[Answers]:
        """The answers to a message on a private topic; none for one that only brings readings.

        Raises:
            TaihuError: it cannot be read or may not be done; the connection lives on.
        """
        if topic.startswith(api.ATTRIBUTES_REQUEST):
            number = api.parse_request_id(topic, api.ATTRIBUTES_REQUEST)
            request = api.parse_attributes_request(payload)
            everything = request.client_keys is None and request.shared_keys is None
            client = self._values(space, thing, None if everything else request.client_keys or ())
            shared = self._wishes(space, thing, None if everything else request.shared_keys or ())
            return [(f"{api.ATTRIBUTES_RESPONSE}{number}", api.format_attributes_response(client, shared))]
        if topic.startswith(api.RPC_REQUEST):
            number = api.parse_request_id(topic, api.RPC_REQUEST)
            return [(f"{api.RPC_RESPONSE}{number}", self._call(payload))]
        if topic == api.PROVISION_REQUEST:
            return self._provision(payload)
        if gateway and topic == api.GATEWAY_CONNECT:
            self._directory.adopt_thing(space, api.parse_gateway_connect(payload).device)
        elif gateway and topic == api.GATEWAY_ATTRIBUTES_REQUEST:
            wanted = api.parse_gateway_attributes_request(payload)
            read = self._values if wanted.client else self._wishes
            values = read(space, wanted.device, wanted.keys)
            return [(api.GATEWAY_ATTRIBUTES_RESPONSE, api.format_gateway_attributes_response(wanted, values))]
        return []

    def _values(self, project: str, thing: str, keys: Sequence[str] | None) -> dict[str, Any]:
        newest = self._twin.newest(project, thing)
        return {name: reading.value for name, reading in newest.items() if keys is None or name in keys}

    def _wishes(self, project: str, thing: str, keys: Sequence[str] | None) -> dict[str, Any]:
        """ThingsBoard's shared attributes: here, the values wanted of the thing."""
        desired = self._twin.desired(project, thing)
        return {name: wish.value for name, wish in desired.items() if keys is None or name in keys}

    def _call(self, payload: bytes) -> bytes:
        """A device's own call: clients ask for their limits by it, and we have nothing else to offer."""
        request = api.parse_rpc_request(payload)
        if request.method == api.SESSION_LIMITS:
            return api.format_session_limits(self._limits.mqtt_packet_bytes_max, self._limits.mqtt_receive_maximum)
        return api.format_rpc_response({"error": f"there is no method {request.method[:80]}"})

    def _provision(self, payload: bytes) -> Answers | Later[Answers]:
        """A newcomer with a join token as its provisioning secret becomes a thing with a token of its own."""
        later = Later[Answers]()
        try:
            request = api.parse_provision_request(payload)
            name = request.device_name or ""
            self._join(request.provision_device_secret, name, lambda answer: later.give(_provisioned(answer)))
        except TaihuError as error:
            return _provisioned(error)
        return later


def _provisioned(answer: Joined | TaihuError) -> Answers:
    if isinstance(answer, TaihuError):
        said = api.format_provision_failure(str(answer))
    else:
        said = api.format_provision_success(answer.token)
    return [(api.PROVISION_RESPONSE, said)]


def own_token(token: str, topic: str) -> tuple[str, bytes]:
    """The token of a thing that connected with a join token, for it alone; empty for any other connection."""
    number = api.parse_request_id(topic, CREDENTIALS_REQUEST)
    if not token:
        raise RefusedError("Only a connection with a join token is told its thing's token.", "Use the token you have.")
    return f"{CREDENTIALS_RESPONSE}{number}", msgspec.json.encode({"token": token})
