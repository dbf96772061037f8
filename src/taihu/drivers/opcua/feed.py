"""The subscriptions of a session: made, paced, taken up again; what they tell becomes readings.

Points are spread over subscriptions of a bounded size. Notifications are asked for one by one as there is room, so a
slow node slows the server down. Their numbers have no gaps: a missing one is asked for again, and what the server no
longer has is counted as `gaps`.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from asyncua import ua

from taihu.drivers.opcua.events import event_filter, event_of
from taihu.drivers.opcua.pace import Pace
from taihu.drivers.opcua.rows import Item, Rows
from taihu.drivers.opcua.session import ServiceFault, Session, status_name
from taihu.drivers.opcua.values import Address, plain, ticks_of
from taihu.drivers.port import DeviceLost, Out, Reading
from taihu.kernel.clock import Clock
from taihu.protocols.opcua.errors import OpcuaError
from taihu.protocols.opcua.publish import Change, decode_publish

log = logging.getLogger("taihu.field")

_SHARD_ITEMS = 1_000
_BATCH = 500
_NOTIFICATIONS_MAX = 10_000
_LIFETIME_S = 120.0
_REPUBLISH_MAX = 10_000
_QUEUE_MAX = 1_000
_NUMBER_MAX = 0xFFFFFFFF
_FILTERS = frozenset({
    ua.StatusCodes.BadMonitoredItemFilterUnsupported, ua.StatusCodes.BadMonitoredItemFilterInvalid,
    ua.StatusCodes.BadFilterNotAllowed, ua.StatusCodes.BadDeadbandFilterInvalid,
})  # fmt: skip


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is asked to tell: how often it sends, how often it looks, and how much it keeps for us."""

    period_s: float
    sampling_s: float
    queue: int
    keepalive_s: float
    refresh_s: float
    prefer_source: bool


class Shard:
    """One subscription: its number, its next notification's number, and its items by what the server calls them."""

    def __init__(self, handles: Sequence[int], events: bool) -> None:
        self.handles = handles
        self.events = events
        self.id = 0
        self.next = 1
        self.monitored: list[tuple[int, int]] = []  # the server's identifier, and the handle


class Feed:
    """All subscriptions of a plan's points."""

    def __init__(self, session: Session, items: Sequence[Item], settings: Settings, clock: Clock) -> None:
        self.heard = 0.0
        self._session = session
        self._items = items
        self._settings = settings
        self._clock = clock
        self._rows = Rows(items, settings.prefer_source)
        self._pace = Pace(settings.period_s)
        self._shards: dict[int, Shard] = {}
        self._acknowledged: list[tuple[int, int]] = []
        self._depth_max = 8

    async def subscribe(self, out: Out) -> None:
        """Make the subscriptions; what the server does not let be subscribed is counted as `unreadable`."""
        self._shards.clear()
        self._acknowledged.clear()
        handles = [place for place, item in enumerate(self._items) if not item.address.events]
        events = [place for place, item in enumerate(self._items) if item.address.events]
        for group in (handles, events):
            for start in range(0, len(group), _SHARD_ITEMS):
                shard = Shard(group[start : start + _SHARD_ITEMS], group is events)
                shard.id = await self._create(self._pace.interval_s)
                self._shards[shard.id] = shard
                for first in range(0, len(shard.handles), _BATCH):
                    await self._monitor(shard, shard.handles[first : first + _BATCH], out, filtered=True)
        for shard in self._shards.values():
            if shard.events:
                await self._refresh_conditions(shard.id)

    async def take_up(self, out: Out) -> bool:
        """After the session was taken up again: ask for what was missed; False when the subscriptions are gone."""
        self._acknowledged.clear()
        try:
            for shard in self._shards.values():
                await self._republish(shard, _REPUBLISH_MAX, out)
        except ServiceFault:
            return False
        return True

    async def transfer(self, out: Out) -> bool:
        """Have the subscriptions of a lost session in a new one; False when the server does not give them."""
        if not self._shards:
            return False
        request = ua.TransferSubscriptionsRequest()
        request.Parameters.SubscriptionIds = [ua.UInt32(one) for one in self._shards]
        request.Parameters.SendInitialValues = True
        try:
            results = (await self._session.request(request, ua.TransferSubscriptionsResponse)).Parameters.Results
        except ServiceFault:
            return False
        if len(results) != len(self._shards) or not all(one.StatusCode.is_good() for one in results):
            return False
        return await self.take_up(out)

    async def pump(self, out: Out) -> None:
        """Take notifications and pass them on, for ever."""
        waiting: deque[asyncio.Task[bytes | int]] = deque()
        due = 0.0
        try:
            while True:
                began = self._clock.monotonic()
                if self._pace.sampling:
                    await asyncio.sleep(max(0.0, due - began))
                    due = max(due, began) + self._pace.interval_s / max(len(self._shards), 1)
                depth = 1 if self._pace.sampling else min(len(self._shards) + 1, self._depth_max)
                while len(waiting) < depth:
                    acknowledged, self._acknowledged = self._acknowledged, []
                    waiting.append(asyncio.ensure_future(self._session.publish(acknowledged)))
                answer = await waiting.popleft()
                self.heard = taken = self._clock.monotonic()
                if isinstance(answer, int):
                    self._depth_max = max(1, self._depth_max - 1)
                    continue
                await self._take(answer, out)
                if self._pace.spend(self._clock.monotonic() - taken, taken - began):
                    await self._slow(out)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def refresh(self, out: Out) -> None:
        """Read again what was quiet for long, for ever: unchanged is not stale."""
        every = self._settings.refresh_s
        while True:
            await asyncio.sleep(every / 4)
            now = self._clock.monotonic()
            quiet = [place for place, item in enumerate(self._items)
                     if not item.address.events and now - self._rows.heard[place] >= every]  # fmt: skip
            found = await self._session.read([self._items[place].node for place in quiet])
            changes = [_change(place, value, seen=True) for place, value in zip(quiet, found, strict=True)]
            await self._pass_on(changes, out)

    async def _take(self, answer: bytes, out: Out) -> None:
        """One answer to a Publish request."""
        try:
            published = decode_publish(answer)
        except OpcuaError as error:
            raise DeviceLost(f"{self._session.target.host}: {error}") from None
        if published is None:
            await self._take_unusual(answer, out)
            return
        shard = self._shards.get(published.subscription)
        if shard is not None and not published.keep_alive:
            await self._numbered(shard, published.sequence, out)
            await self._pass_on(published.changes, out)

    async def _take_unusual(self, answer: bytes, out: Out) -> None:
        response = self._session.decode(ua.PublishResponse, ua.utils.Buffer(answer))
        shard = self._shards.get(response.Parameters.SubscriptionId)
        message = response.Parameters.NotificationMessage
        if shard is None or not message.NotificationData:
            return
        await self._numbered(shard, int(message.SequenceNumber), out)
        await self._message(message, out)

    async def _message(self, message: ua.NotificationMessage, out: Out) -> None:
        for notification in message.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                changes = [_change(int(one.ClientHandle), one.Value) for one in notification.MonitoredItems or ()]
                await self._pass_on(changes, out)
            elif isinstance(notification, ua.EventNotificationList):
                await self._tell(notification.Events or (), out)
            elif isinstance(notification, ua.StatusChangeNotification):
                code = int(notification.Status.value)
                raise DeviceLost(f"{self._session.target.host} ends the subscription: {status_name(code)}.")

    async def _pass_on(self, changes: Sequence[Change], out: Out) -> None:
        rows, counts = self._rows.take(changes, self._clock.monotonic())
        for what, number in counts.items():
            out.count(what, number)
        if rows:
            if self._pace.sampling:
                out.count("sampled", len(changes))
            await out.readings(rows)

    async def _tell(self, events: Sequence[ua.EventFieldList], out: Out) -> None:
        rows = []
        for one in events:
            if one.ClientHandle < len(self._items):
                item = self._items[one.ClientHandle]
                value, happened = event_of(one.EventFields or (), self._session.namespaces)
                rows.append(Reading(item.thing, {item.name: value}, happened))
        await out.readings(rows)

    async def _numbered(self, shard: Shard, number: int, out: Out) -> None:
        """Acknowledge a notification, and ask for those before it that never came."""
        missing = number - shard.next
        if 0 < missing <= _REPUBLISH_MAX:
            wanted = number
            try:
                missing -= await self._republish(shard, missing, out)
            except ServiceFault as error:
                raise DeviceLost(str(error)) from None
            if missing:
                out.count("gaps", missing)
            number = wanted
        self._acknowledged.append((shard.id, number))
        shard.next = _after(number)

    async def _republish(self, shard: Shard, most: int, out: Out) -> int:
        """Ask for the next notifications again, up to one that is not there; how many came."""
        for came in range(most):
            request = ua.RepublishRequest()
            request.Parameters.SubscriptionId = ua.UInt32(shard.id)
            request.Parameters.RetransmitSequenceNumber = ua.UInt32(shard.next)
            try:
                message = (await self._session.request(request, ua.RepublishResponse)).NotificationMessage
            except ServiceFault as fault:
                if fault.status == ua.StatusCodes.BadMessageNotAvailable:
                    return came
                raise
            if not message.NotificationData or message.SequenceNumber != shard.next:
                return came
            await self._message(message, out)
            self._acknowledged.append((shard.id, shard.next))
            shard.next = _after(shard.next)
        return most

    async def _create(self, interval_s: float) -> int:
        request = ua.CreateSubscriptionRequest()
        wanted = request.Parameters
        wanted.RequestedPublishingInterval = interval_s * 1000
        wanted.RequestedMaxKeepAliveCount = ua.UInt32(max(1, round(self._settings.keepalive_s / interval_s)))
        wanted.RequestedLifetimeCount = ua.UInt32(
            max(3 * wanted.RequestedMaxKeepAliveCount, math.ceil(_LIFETIME_S / interval_s))
        )
        wanted.MaxNotificationsPerPublish = ua.UInt32(_NOTIFICATIONS_MAX)
        wanted.PublishingEnabled = True
        answer = await self._session.request(request, ua.CreateSubscriptionResponse)
        return int(answer.Parameters.SubscriptionId)

    async def _monitor(self, shard: Shard, handles: Sequence[int], out: Out, filtered: bool) -> None:
        request = ua.CreateMonitoredItemsRequest()
        request.Parameters.SubscriptionId = ua.UInt32(shard.id)
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.ItemsToCreate = [self._wanted(place, filtered) for place in handles]
        results = (await self._session.request(request, ua.CreateMonitoredItemsResponse)).Results
        if len(results) != len(handles):
            raise DeviceLost(f"{self._session.target.host} answered {len(results)} of {len(handles)} items.")
        unfiltered = []
        for place, result in zip(handles, results, strict=True):
            if result.StatusCode.is_good():
                shard.monitored.append((int(result.MonitoredItemId), place))
            elif filtered and result.StatusCode.value in _FILTERS and not self._items[place].address.events:
                unfiltered.append(place)
            else:
                out.count("unreadable")
        if unfiltered:
            out.count("unfiltered", len(unfiltered))
            await self._monitor(shard, unfiltered, out, filtered=False)

    def _wanted(self, place: int, filtered: bool) -> ua.MonitoredItemCreateRequest:
        address = self._items[place].address
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor.NodeId = self._items[place].node
        attribute = ua.AttributeIds.EventNotifier if address.events else ua.AttributeIds.Value
        request.ItemToMonitor.AttributeId = attribute
        request.MonitoringMode = ua.MonitoringMode.Reporting
        request.RequestedParameters = self._parameters(place, filtered)
        return request

    def _parameters(self, place: int, filtered: bool) -> ua.MonitoringParameters:
        address = self._items[place].address
        sampling = self._pace.sampling
        wanted = ua.MonitoringParameters()
        wanted.ClientHandle = ua.UInt32(place)
        wanted.SamplingInterval = (self._pace.interval_s if sampling else self._settings.sampling_s) * 1000
        wanted.QueueSize = ua.UInt32(1 if sampling else min(self._settings.queue, _QUEUE_MAX))
        wanted.DiscardOldest = True
        if address.events:
            wanted.SamplingInterval, wanted.QueueSize = 0.0, ua.UInt32(_QUEUE_MAX)
            wanted.Filter = event_filter()
        elif filtered and (address.deadband or address.deadband_percent or address.repeats):
            wanted.Filter = _filter(address)
        return wanted

    async def _slow(self, out: Out) -> None:
        """Have the server look, keep and send by the pace that is kept now."""
        sampling, interval_s = self._pace.sampling, self._pace.interval_s
        out.count("slowed" if sampling else "unslowed")
        log.warning("%s is read every %g s%s", self._session.target.host, interval_s,
                    ", one value a point: it tells more than can be passed on" if sampling else " again")  # fmt: skip
        for shard in self._shards.values():
            request = ua.ModifySubscriptionRequest()
            request.Parameters.SubscriptionId = ua.UInt32(shard.id)
            request.Parameters.RequestedPublishingInterval = interval_s * 1000
            request.Parameters.RequestedMaxKeepAliveCount = ua.UInt32(
                max(1, round(self._settings.keepalive_s / interval_s))
            )
            request.Parameters.RequestedLifetimeCount = ua.UInt32(max(10, math.ceil(_LIFETIME_S / interval_s)))
            request.Parameters.MaxNotificationsPerPublish = ua.UInt32(_NOTIFICATIONS_MAX)
            await self._session.request(request, ua.ModifySubscriptionResponse)
            for start in range(0, len(shard.monitored), _BATCH):
                items = ua.ModifyMonitoredItemsRequest()
                items.Parameters.SubscriptionId = ua.UInt32(shard.id)
                items.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
                items.Parameters.ItemsToModify = [
                    ua.MonitoredItemModifyRequest(
                        MonitoredItemId=ua.UInt32(one), RequestedParameters=self._parameters(place, filtered=True)
                    )
                    for one, place in shard.monitored[start : start + _BATCH]
                ]
                await self._session.request(items, ua.ModifyMonitoredItemsResponse)

    async def _refresh_conditions(self, subscription: int) -> None:
        """Have the alarms told that stand already; a server without conditions says no, which is no fault."""
        call = ua.CallMethodRequest(ObjectId=ua.NodeId(2782), MethodId=ua.NodeId(3875))
        call.InputArguments = [ua.Variant(subscription, ua.VariantType.UInt32)]
        request = ua.CallRequest()
        request.Parameters.MethodsToCall = [call]
        try:
            await self._session.request(request, ua.CallResponse)
        except ServiceFault as fault:
            log.debug("no conditions are refreshed: %s", fault)


def _filter(address: Address) -> ua.DataChangeFilter:
    """Which changes a server tells, where it is not each of the value."""
    size = address.deadband_percent or address.deadband
    kind = ua.DeadbandType.Percent if address.deadband_percent else ua.DeadbandType.Absolute
    trigger = ua.DataChangeTrigger
    return ua.DataChangeFilter(
        Trigger=trigger.StatusValueTimestamp if address.repeats else trigger.StatusValue,
        DeadbandType=ua.UInt32(kind if size else ua.DeadbandType.None_),
        DeadbandValue=size,
    )


def _change(handle: int, value: ua.DataValue | None, seen: bool = False) -> Change:
    """A change as the fast decoder gives it. With `seen` it was read now: the server's time counts."""
    if value is None:
        return handle, None, 0, 0, 0
    status = int(value.StatusCode.value) if value.StatusCode is not None else 0
    held: Any = plain(value.Value) if value.Value is not None else None
    source, server = ticks_of(value.SourceTimestamp), ticks_of(value.ServerTimestamp)
    return handle, held, status, 0 if seen else source, server


def _after(number: int) -> int:
    return 1 if number >= _NUMBER_MAX else number + 1
