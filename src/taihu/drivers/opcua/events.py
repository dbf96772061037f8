"""Events, alarms and conditions (OPC UA Part 5 §6, Part 9): what is asked of them, and how they read."""

from collections.abc import Sequence
from typing import Any

from asyncua import ua

from taihu.drivers.opcua.values import persistent, plain, ticks_of, time_of

_BASE, _CONDITION, _ACKNOWLEDGEABLE, _ALARM = (ua.NodeId(one) for one in (2041, 2782, 2881, 2915))
_ID = "Id"
_FIELDS: tuple[tuple[str, ua.NodeId, tuple[str, ...]], ...] = (
    ("id", _BASE, ("EventId",)),
    ("type", _BASE, ("EventType",)),
    ("source", _BASE, ("SourceName",)),
    ("time", _BASE, ("Time",)),
    ("message", _BASE, ("Message",)),
    ("severity", _BASE, ("Severity",)),
    ("condition", _CONDITION, ("ConditionName",)),
    ("retain", _CONDITION, ("Retain",)),
    ("enabled", _CONDITION, ("EnabledState", _ID)),
    ("acknowledged", _ACKNOWLEDGEABLE, ("AckedState", _ID)),
    ("confirmed", _ACKNOWLEDGEABLE, ("ConfirmedState", _ID)),
    ("active", _ALARM, ("ActiveState", _ID)),
)
_TIME = [name for name, _, _ in _FIELDS].index("time")


def event_filter() -> ua.EventFilter:
    """What is asked of every event, and the identifier of its condition where it has one."""
    clauses = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=kind,
            BrowsePath=[ua.QualifiedName(part, ua.UInt16(0)) for part in path],
            AttributeId=ua.AttributeIds.Value,
        )
        for _, kind, path in _FIELDS
    ]
    condition = ua.SimpleAttributeOperand(TypeDefinitionId=_CONDITION, AttributeId=ua.AttributeIds.NodeId)
    return ua.EventFilter(SelectClauses=[*clauses, condition])


def event_of(fields: Sequence[ua.Variant], namespaces: Sequence[str]) -> tuple[dict[str, Any], int | None]:
    """An event as JSON, without what it does not have, and when it happened (UTC ns)."""
    values = [one.Value if isinstance(one, ua.Variant) else one for one in fields]
    found: dict[str, Any] = {}
    for (name, _, _), value in zip(_FIELDS, values, strict=False):
        if name == "time" or value is None:
            continue
        found[name] = persistent(value, namespaces) if isinstance(value, ua.NodeId) else plain(value)
    if len(values) > len(_FIELDS) and isinstance(values[-1], ua.NodeId) and not values[-1].is_null():
        found["condition_id"] = persistent(values[-1], namespaces)
    happened = values[_TIME] if len(values) > _TIME else None
    ticks = ticks_of(happened) if hasattr(happened, "tzinfo") else 0
    return found, time_of(ticks, 0, prefer_source=True)
