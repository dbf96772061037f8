"""Changes as readings: whose they are, when they were observed, and which are none (§3)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncua import ua

from taihu.drivers.opcua.values import Address, address_of, resolve, usable
from taihu.drivers.port import Plan, Reading
from taihu.protocols.opcua.publish import Change

_TICKS_1970 = 116_444_736_000_000_000
_GOOD, _UNCERTAIN = 0, 1
_OVERFLOW = 0x480  # information bits of a data value, and among them: its queue ran over


class Item(NamedTuple):
    """One point that is subscribed; its place in the list is its handle."""

    thing: str
    name: str
    address: Address
    node: ua.NodeId


def items_of(plan: Plan, namespaces: Sequence[str]) -> list[Item]:
    """Every point of a plan; DeviceRefused when an address cannot be."""
    found = []
    for thing in plan.things:
        for point in thing.points:
            address = address_of(point)
            found.append(Item(thing.name, point.definition.name, address, resolve(address.node, namespaces)))
    return found


class Rows:
    """Makes rows of changes, and remembers when each point was last heard of (monotonic seconds)."""

    def __init__(self, items: Sequence[Item], prefer_source: bool) -> None:
        self.heard = [0.0] * len(items)
        self._owners = [(item.thing, item.name, item.address.symbols) for item in items]
        self._prefer_source = prefer_source

    def take(self, changes: Sequence[Change], now: float) -> tuple[list[Reading], Counter[str]]:
        """Readings, those of one thing and time together; and what was left out or is notable, counted."""
        rows: list[Reading] = []
        open_rows: dict[tuple[str, int, bool], dict[str, Any]] = {}
        counts: Counter[str] = Counter()
        owners, heard, prefer_source = self._owners, self.heard, self._prefer_source
        for handle, value, status, source, server in changes:
            if handle >= len(owners):
                counts["unknown"] += 1
                continue
            heard[handle] = now
            suspect = False
            if status:
                if status >> 30 > _UNCERTAIN:
                    counts["bad"] += 1
                    continue
                suspect = status >> 30 == _UNCERTAIN
                counts["uncertain"] += suspect
                counts["overflow"] += status & _OVERFLOW == _OVERFLOW
            if value - value != 0.0 if type(value) is float else not usable(value):  # neither infinite nor NaN
                counts["bad"] += 1
                continue
            thing, name, symbols = owners[handle]
            if symbols:
                value = symbols.get(str(value), str(value))
            ticks = (source or server) if prefer_source else (server or source)
            values = open_rows.get((thing, ticks, suspect))
            if values is None or name in values:
                values = open_rows[thing, ticks, suspect] = {}
                observed_at = (ticks - _TICKS_1970) * 100 if ticks > _TICKS_1970 else None
                rows.append(Reading(thing, values, observed_at, suspect))
            values[name] = value
        return rows, +counts
