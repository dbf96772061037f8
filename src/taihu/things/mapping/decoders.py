"""Payload decoders: the bytes of one message to rows; pure, and any bytes give rows or PayloadError (§13)."""

from collections.abc import Callable, Iterator
from typing import Any

from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.reading import (
    InexactTime,
    Source,
    load_json,
    no_values,
    properties,
    take_time,
    too_many,
    tree,
    unit_code,
)
from taihu.things.ports import Row
from taihu.things.property import Quality


def scalar(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """One value of the property that the topic names: a bare JSON scalar, or {"value": ..., "ts": ..., "unit": ...}.

    With "quality": "suspect" the sender says that it doubts the value itself.
    """
    return _rows(source, payload, _scalar)


def flat_json(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """One JSON object: its keys are properties, but for the time."""
    return _rows(source, payload, _flat)


def thingsboard(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """ThingsBoard telemetry: {key: value}, {"ts": ..., "values": {...}}, or a list of these."""
    return _rows(source, payload, _thingsboard)


def thingsboard_gateway(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """ThingsBoard telemetry or attributes of several things, by their names."""
    return _rows(source, payload, _gateway)


def _rows(source: Source, payload: bytes, read: Callable[[Source, Any], Iterator[Row]]) -> list[Row]:
    """The rows that hold a value; where a time has decimals the payload is read again, exactly."""
    try:
        found = read(source, load_json(payload))
        rows = [row for row in found if row.values]
    except InexactTime:
        found = read(source, load_json(payload, exact=True))
        rows = [row for row in found if row.values]
    if not rows:
        raise no_values()
    return rows


def _scalar(source: Source, document: Any) -> Iterator[Row]:
    moment, units, suspect = None, source.mapping.units, False
    if type(document) is dict:
        if "value" not in document:
            raise PayloadError("no-values", 'The object has no "value".', 'Send {"value": 20.5, "ts": 1700000000}.')
        moment = take_time(document, source.mapping.time)
        unit = document.get("unit")
        if unit is not None:
            units = {source.property: unit_code(unit)}
        suspect = document.get("quality") == Quality.SUSPECT
        document = document["value"]
    elif type(document) is list:
        raise PayloadError("bad-form", "A bare array is not a value.", 'Send it as {"value": [...]}.')
    if document is not None:
        yield Row({source.property: tree(document, source.limits)}, moment, source.thing, units, suspect=suspect)


def _flat(source: Source, document: Any) -> Iterator[Row]:
    yield _object(source, document, source.thing)


def _thingsboard(source: Source, document: Any) -> Iterator[Row]:
    return _telemetry(source, document, source.thing)


def _gateway(source: Source, document: Any) -> Iterator[Row]:
    if type(document) is not dict:
        raise _bad_form("an object with the names of things as keys")
    count = 0
    for thing, telemetry in document.items():
        for row in _telemetry(source, telemetry, thing):
            count += 1
            if count > source.limits.payload_rows_max:
                raise too_many("rows", source.limits.payload_rows_max)
            yield row


def _telemetry(source: Source, document: Any, thing: str | None) -> Iterator[Row]:
    if type(document) is not list:
        document = [document]
    elif len(document) > source.limits.payload_rows_max:
        raise too_many("rows", source.limits.payload_rows_max)
    for item in document:
        if _is_timed(source, item):
            moment = take_time(item, source.mapping.time)
            yield Row(properties(item["values"], source), moment, thing, source.mapping.units)
        else:
            yield _object(source, item, thing)


def _is_timed(source: Source, item: Any) -> bool:
    """Whether it is {"ts": ..., "values": {...}}; ThingsBoard's clients may add metadata about the sender."""
    if type(item) is not dict or type(item.get("values")) is not dict or not source.mapping.time:
        return False
    return all(key in ("values", "metadata") or key in source.mapping.time for key in item)


def _object(source: Source, document: Any, thing: str | None) -> Row:
    if type(document) is not dict:
        raise _bad_form("a JSON object")
    keys = source.mapping.time
    return Row(properties(document, source, keys), take_time(document, keys), thing, source.mapping.units)


def _bad_form(wanted: str) -> PayloadError:
    return PayloadError("bad-form", "The payload has another form than its mapping says.", f"Send {wanted}.")
