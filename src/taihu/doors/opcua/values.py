"""Values, types and states of things, as OPC UA has them."""

from typing import Any

import msgspec
from asyncua import ua

from taihu.doors.opcua.ports import Ending
from taihu.kernel.clock import to_datetime
from taihu.kernel.errors import RefusedError

_TYPES = {"number": ua.VariantType.Double, "integer": ua.VariantType.Int64, "boolean": ua.VariantType.Boolean}
_CODES = ua.StatusCodes
_ENDINGS = {
    "done": _CODES.Good,
    "acknowledged": _CODES.GoodCompletesAsynchronously,
    "queued": _CODES.GoodCompletesAsynchronously,
    "permitted": _CODES.GoodCompletesAsynchronously,
    "sent": _CODES.GoodCompletesAsynchronously,
    "unconfirmed": _CODES.Uncertain,
    "failed": _CODES.BadDeviceFailure,
    "expired": _CODES.BadTimeout,
    "refused": _CODES.BadUserAccessDenied,
}


def type_of(schema: dict[str, Any]) -> ua.VariantType:
    """The type of a W3C data schema's values; text, objects and arrays are strings, the latter two as JSON."""
    return _TYPES.get(schema.get("type", ""), ua.VariantType.String)


def is_json(schema: dict[str, Any]) -> bool:
    """Whether values come as JSON in a string."""
    return schema.get("type") in ("object", "array")


def variant_of(schema: dict[str, Any], value: Any) -> ua.Variant:
    """A value as its schema's type has it; of another type it is none."""
    kind = type_of(schema)
    if is_json(schema):
        return ua.Variant(msgspec.json.encode(value).decode(), kind)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is ua.VariantType.Double and number:
        return ua.Variant(float(value), kind)
    if kind is ua.VariantType.Int64 and number and value == int(value) and -(1 << 63) <= value < 1 << 63:
        return ua.Variant(int(value), kind)
    fits = isinstance(value, bool) if kind is ua.VariantType.Boolean else isinstance(value, str)
    return ua.Variant(value, kind) if fits else ua.Variant(None, ua.VariantType.Null)


def value_of(schema: dict[str, Any], content: Any) -> Any:
    """What a client sent, as JSON; RefusedError when it does not fit."""
    wanted = schema.get("type", "string")
    if is_json(schema) and isinstance(content, str):
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise RefusedError(f"It is no JSON: {error}.", "Write JSON as text.") from None
    number = isinstance(content, int | float) and not isinstance(content, bool)
    fits = {"number": number, "integer": number and content == int(content), "boolean": isinstance(content, bool)}
    if not fits.get(wanted, isinstance(content, str)):
        raise RefusedError(f"It is no {wanted}.", "Write a value of the variable's type.")
    return int(content) if wanted == "integer" else content


def data_value(schema: dict[str, Any], newest: dict[str, Any]) -> ua.DataValue:
    """A newest value as the API has it: with its device's time, and as uncertain when it is stale or suspect (§3)."""
    code = _CODES.Good
    if newest.get("stale"):
        code = _CODES.UncertainLastUsableValue
    elif newest.get("quality") == "suspect":
        code = _CODES.UncertainEngineeringUnitsExceeded
    return ua.DataValue(
        Value=variant_of(schema, newest["value"]),
        StatusCode=ua.StatusCode(code),
        SourceTimestamp=to_datetime(newest["observed_at"]),
        ServerTimestamp=to_datetime(newest["received_at"]),
    )


def no_value() -> ua.DataValue:
    """Where nothing was heard yet."""
    return ua.DataValue(
        Value=ua.Variant(None, ua.VariantType.Null), StatusCode=ua.StatusCode(_CODES.BadWaitingForInitialData)
    )


def status_of(ending: Ending) -> ua.StatusCode:
    """What a command's state says: good when it was done, and no more than is known.

    >>> status_of(Ending("unconfirmed")).name, status_of(Ending("done")).name
    ('Uncertain', 'Good')
    """
    return ua.StatusCode(_ENDINGS.get(ending.state, _CODES.BadUnexpectedError))
