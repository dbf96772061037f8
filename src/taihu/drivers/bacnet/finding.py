"""What a BACnet device has: its instance, its list of objects, and what each says of itself."""

import asyncio
from typing import Any

from bacpypes3.basetypes import ErrorType, PropertyIdentifier
from bacpypes3.primitivedata import ObjectIdentifier

from taihu.drivers.bacnet.objects import PRIORITY, TYPES, point_of
from taihu.drivers.bacnet.stack import Station
from taihu.drivers.port import ActionPlan, DeviceLost, DeviceRefused, Plan, ThingPlan
from taihu.kernel.limits import Limits
from taihu.things.property import DataType

_ANY_DEVICE = 4_194_303
_AT_ONCE = 8
_WHO_IS_S = 3
_OF_DEVICE = ("object-name", "description", "vendor-name", "model-name")
_OF_ALL = ("object-name", "description", "priority-array")


async def find(station: Station, place: Any, instance: int | None, name: str, limits: Limits) -> Plan:
    """The thing that a device is."""
    finding = _Finding(station, place)
    device = f"device,{await finding.instance() if instance is None else instance}"
    told = await finding.told(device, _OF_DEVICE)
    found = [one for one in await finding.objects(device) if one.partition(",")[0] in TYPES]
    kept = found[: limits.properties_per_thing_max]
    points, taken = [], set[str]()
    for at in range(0, len(kept), _AT_ONCE):
        some = kept[at : at + _AT_ONCE]
        for identifier, said in zip(some, await asyncio.gather(*map(finding.about, some)), strict=True):
            points.append(point_of(identifier, said, taken))
    commanded = {one.definition.name: one.where["object"] for one in points if one.definition.writable}
    actions: tuple[ActionPlan, ...] = ()
    if commanded:
        schema = {"type": "string", "enum": list(commanded)}
        where = {"objects": commanded, "priority": PRIORITY}
        actions = (ActionPlan(name="relinquish", title="Give a command up", input=schema, where=where),)
    model = " ".join(str(told[one]) for one in ("vendor-name", "model-name") if told.get(one))
    thing = ThingPlan(
        name=name, title=str(told.get("object-name", ""))[:128],
        description=(f"{model}. " if model else "") + str(told.get("description", ""))[:500],
        points=tuple(points), actions=actions,
    )  # fmt: skip
    notes = (f"{len(found) - len(kept)} objects are left out.",) if len(kept) < len(found) else ()
    return Plan(things=(thing,), notes=notes)


class _Finding:
    """Questions to one device."""

    def __init__(self, station: Station, place: Any) -> None:
        self._station = station
        self._place = place
        self._at_once = True

    async def instance(self) -> int:
        """The device's instance: as it answers to any (135-2016, 15.5.2), else as it answers who-is."""
        try:
            said = await self._read(f"device,{_ANY_DEVICE}", "object-identifier")
            return int(said[1])
        except DeviceRefused:
            answers = await self._station.ask(self._station.who_is(address=self._place, timeout=_WHO_IS_S))
            if not answers:
                raise DeviceLost("It does not say which device it is.", "Give its instance in the URL.") from None
            return int(answers[0].iAmDeviceIdentifier[1])

    async def objects(self, device: str) -> list[str]:
        """The identifiers of its objects; one by one where the list is too long for it to send."""
        try:
            return [str(one) for one in await self._read(device, "object-list")]
        except DeviceRefused:
            count = int(await self._read(device, "object-list", 0))
            return [str(await self._read(device, "object-list", at)) for at in range(1, min(count, 10_000) + 1)]

    async def about(self, identifier: str) -> dict[str, Any]:
        """What an object says of itself."""
        kind = TYPES[identifier.partition(",")[0]]
        more = ("state-text",) if identifier.startswith("multi-state") else ()
        return await self.told(identifier, _OF_ALL + more + (("units",) if kind.data_type is DataType.NUMBER else ()))

    async def told(self, identifier: str, names: tuple[str, ...]) -> dict[str, Any]:
        """Those of some properties that an object has; asked one by one where the device takes no more at once."""
        if self._at_once:
            try:
                return await self._read_several(identifier, names)
            except DeviceRefused:
                self._at_once = False
        found = {}
        for name in names:
            try:
                found[name] = await self._read(identifier, name)
            except DeviceRefused:
                continue
        return found

    async def _read(self, identifier: str, name: str, index: int | None = None) -> Any:
        asked = self._station.read_property(self._place, ObjectIdentifier(identifier), PropertyIdentifier(name), index)
        return await self._station.ask(asked)

    async def _read_several(self, identifier: str, names: tuple[str, ...]) -> dict[str, Any]:
        wanted = [ObjectIdentifier(identifier), [PropertyIdentifier(name) for name in names]]
        rows = await self._station.ask(self._station.read_property_multiple(self._place, wanted))
        if not isinstance(rows, list):
            raise DeviceRefused("It reads no several properties.", "")
        return {str(name): value for _, name, _, value in rows if not isinstance(value, ErrorType | None)}
