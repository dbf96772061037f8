"""ThingsBoard's device and gateway API beside telemetry: its topics, requests and answers; pure.

Handled: attribute requests of devices and gateways, attribute updates, gateway connect and disconnect, claiming,
provisioning, and remote procedure calls in both directions. Not handled: firmware chunks (`v2/fw`).
The door subscribes nobody and publishes nothing here: it parses what comes in and formats what goes out.
"""

from typing import Any, TypeVar

import msgspec

from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.reading import load_json, too_deep

TELEMETRY = "v1/devices/me/telemetry"
ATTRIBUTES = "v1/devices/me/attributes"
ATTRIBUTES_REQUEST = "v1/devices/me/attributes/request/"
ATTRIBUTES_RESPONSE = "v1/devices/me/attributes/response/"
RPC_REQUEST = "v1/devices/me/rpc/request/"
RPC_RESPONSE = "v1/devices/me/rpc/response/"
CLAIM = "v1/devices/me/claim"
PROVISION_REQUEST = "/provision/request"
PROVISION_RESPONSE = "/provision/response"
PROVISION_USER = "provision"
GATEWAY_TELEMETRY = "v1/gateway/telemetry"
GATEWAY_ATTRIBUTES = "v1/gateway/attributes"
GATEWAY_ATTRIBUTES_REQUEST = "v1/gateway/attributes/request"
GATEWAY_ATTRIBUTES_RESPONSE = "v1/gateway/attributes/response"
GATEWAY_CONNECT = "v1/gateway/connect"
GATEWAY_DISCONNECT = "v1/gateway/disconnect"
GATEWAY_CLAIM = "v1/gateway/claim"
GATEWAY_RPC = "v1/gateway/rpc"
SESSION_LIMITS = "getSessionLimits"  # the call by which clients ask for their rate limits

_REQUEST_ID_DIGITS_MAX = 19


class AttributesRequest(msgspec.Struct, frozen=True):
    """A device asks for attributes; None where it names no keys, both None asks for all."""

    client_keys: tuple[str, ...] | None
    shared_keys: tuple[str, ...] | None


class GatewayConnect(msgspec.Struct, frozen=True):
    """A gateway says that a thing is reachable through it."""

    device: str
    type: str = "default"


class GatewayAttributesRequest(msgspec.Struct, frozen=True):
    """A gateway asks for attributes of a thing: the client's own, or those shared by the server."""

    id: int
    device: str
    client: bool
    keys: tuple[str, ...]


class Claim(msgspec.Struct, frozen=True, rename="camel"):
    """A thing may be claimed with this key for so many milliseconds; None leaves both to the server."""

    secret_key: str = ""
    duration_ms: int | None = None


class ProvisionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A new device asks for credentials, or to be known by those it brings."""

    provision_device_key: str
    provision_device_secret: str
    device_name: str | None = None
    gateway: bool | None = None
    credentials_type: str | None = None
    token: str | None = None
    username: str | None = None
    password: str | None = None
    client_id: str | None = None
    hash: str | None = None


class RpcRequest(msgspec.Struct, frozen=True):
    """A call of a method by the device or of the device."""

    method: str
    params: Any = None


class GatewayRpcResponse(msgspec.Struct, frozen=True):
    """What a thing behind a gateway answered to a call."""

    device: str
    id: int
    data: Any = None


def parse_request_id(topic: str, prefix: str) -> int:
    """The number after `prefix`, as in ATTRIBUTES_REQUEST + "7".

    >>> parse_request_id("v1/devices/me/attributes/request/7", ATTRIBUTES_REQUEST)
    7
    """
    number = topic.removeprefix(prefix)
    if number != topic and len(number) <= _REQUEST_ID_DIGITS_MAX and number.isascii() and number.isdigit():
        return int(number)
    raise PayloadError("bad-request", f"{topic[:80]!r} has no request number.", f"Publish to {prefix}1.")


def parse_attributes_request(payload: bytes) -> AttributesRequest:
    """{"clientKeys": "a,b", "sharedKeys": "c"}, each optional."""
    request = _parse(payload, _AttributesRequest)
    return AttributesRequest(_split(request.client_keys), _split(request.shared_keys))


def parse_gateway_connect(payload: bytes) -> GatewayConnect:
    """{"device": "A", "type": "pump"}; a disconnect has the same form without the type."""
    return _parse(payload, GatewayConnect)


def parse_gateway_attributes_request(payload: bytes) -> GatewayAttributesRequest:
    """{"id": 1, "device": "A", "client": true, "keys": ["a", "b"]}, or "key": "a" for one."""
    request = _parse(payload, _GatewayAttributesRequest)
    keys = request.keys if request.keys is not None else request.key
    if isinstance(keys, str):
        keys = _split(keys)
    return GatewayAttributesRequest(request.id, request.device, request.client, tuple(keys or ()))


def parse_claim(payload: bytes) -> Claim:
    """{"secretKey": "...", "durationMs": 60000}, each optional."""
    return _parse(payload, Claim)


def parse_gateway_claim(payload: bytes) -> dict[str, Claim]:
    """{"A": {"secretKey": "...", "durationMs": 60000}}: claims by thing."""
    return _parse(payload, dict[str, Claim])


def parse_provision_request(payload: bytes) -> ProvisionRequest:
    """{"provisionDeviceKey": "...", "provisionDeviceSecret": "...", "deviceName": "A"} and credentials it brings."""
    return _parse(payload, ProvisionRequest)


def parse_rpc_request(payload: bytes) -> RpcRequest:
    """{"method": "...", "params": ...}."""
    return _parse(payload, RpcRequest)


def parse_rpc_response(payload: bytes) -> Any:
    """What a device answered to a call: any JSON text."""
    return load_json(payload)


def parse_gateway_rpc_response(payload: bytes) -> GatewayRpcResponse:
    """{"device": "A", "id": 1, "data": ...}."""
    return _parse(payload, GatewayRpcResponse)


def format_attributes_response(client: dict[str, Any], shared: dict[str, Any]) -> bytes:
    """The answer to an attributes request; an empty part is left out.

    >>> format_attributes_response({}, {"limit": 5})
    b'{"shared":{"limit":5}}'
    """
    parts = {"client": client, "shared": shared}
    return msgspec.json.encode({name: values for name, values in parts.items() if values})


def format_attributes_update(values: dict[str, Any]) -> bytes:
    """Shared attributes that changed, for ATTRIBUTES."""
    return msgspec.json.encode(values)


def format_gateway_attributes_response(request: GatewayAttributesRequest, values: dict[str, Any]) -> bytes:
    """The answer to a gateway; a single key is answered by its value alone, and left out where there is none."""
    head: dict[str, Any] = {"id": request.id, "device": request.device}
    if len(request.keys) == 1:
        known = request.keys[0] in values
        return msgspec.json.encode(head | ({"value": values[request.keys[0]]} if known else {}))
    return msgspec.json.encode(head | {"values": values})


def format_gateway_attributes_update(device: str, values: dict[str, Any]) -> bytes:
    """Shared attributes of a thing that changed, for GATEWAY_ATTRIBUTES."""
    return msgspec.json.encode({"device": device, "data": values})


def format_provision_success(token: str) -> bytes:
    """The answer with the access token of the new thing."""
    return msgspec.json.encode({"status": "SUCCESS", "credentialsType": "ACCESS_TOKEN", "credentialsValue": token})


def format_provision_failure(message: str) -> bytes:
    """The answer that no thing was made, and why."""
    return msgspec.json.encode({"status": "FAILURE", "errorMsg": message})


def format_rpc_request(method: str, params: Any) -> bytes:
    """A call of a device's method, for RPC_REQUEST and a number."""
    return msgspec.json.encode({"method": method, "params": params})


def format_rpc_response(result: Any) -> bytes:
    """The answer to a device's call, for RPC_RESPONSE and its number."""
    return msgspec.json.encode(result)


def format_gateway_rpc_request(device: str, number: int, method: str, params: Any) -> bytes:
    """A call of a method of a thing behind a gateway, for GATEWAY_RPC."""
    return msgspec.json.encode({"device": device, "data": {"id": number, "method": method, "params": params}})


def format_session_limits(payload_bytes_max: int, inflight_max: int) -> bytes:
    """The answer to SESSION_LIMITS: empty rates, which lift the client's own; senders are slowed instead (§6)."""
    rates = {"messages": "", "telemetryMessages": "", "telemetryDataPoints": ""}
    limits = {"maxPayloadSize": payload_bytes_max, "maxInflightMessages": inflight_max}
    return msgspec.json.encode(limits | {"rateLimits": rates, "gatewayRateLimits": rates})


class _AttributesRequest(msgspec.Struct, rename="camel"):
    client_keys: str | None = None
    shared_keys: str | None = None


class _GatewayAttributesRequest(msgspec.Struct):
    id: int
    device: str
    client: bool = False
    keys: tuple[str, ...] | str | None = None
    key: str | None = None


_T = TypeVar("_T")


def _parse(payload: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PayloadError("bad-request", f"The request cannot be read: {error}.", "See docs/mappings.md.") from None
    except RecursionError:
        raise too_deep() from None


def _split(keys: str | None) -> tuple[str, ...] | None:
    """The names in a comma-separated list; None for None."""
    return None if keys is None else tuple(key for key in keys.split(",") if key)
