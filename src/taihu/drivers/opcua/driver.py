"""The OPC UA driver: subscribes to a server's variables and events, writes variables, calls methods.

`opc.tcp://HOST:PORT/PATH`. The server's own status is what is said of a write or a call. A server that is lost is taken
up again where it was left: the same session and subscriptions if it still has them, and what it then no longer has is
counted as `gaps`, or as `resubscribed` when everything had to be made again.
"""

import asyncio
import math
from typing import Any, ClassVar, Self, get_args

from asyncua import ua

from taihu.drivers.address import endpoint_of
from taihu.drivers.opcua.discovery import discover
from taihu.drivers.opcua.feed import Feed, Settings
from taihu.drivers.opcua.rows import items_of
from taihu.drivers.opcua.security import POLICIES, Mode
from taihu.drivers.opcua.session import Session, Target, check_done, status_name
from taihu.drivers.opcua.values import Method, address_of, plain, read_where, resolve, variant
from taihu.drivers.port import (
    Act,
    ActionPlan,
    Connection,
    DeviceLost,
    DeviceRefused,
    Found,
    Out,
    Plan,
    Point,
    Result,
)
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

_PORT = 4840
_EXAMPLE = "opc.tcp://host:4840/path"
_STATE = ua.NodeId(2259)  # Server_ServerStatus_State
_RUNNING = 0
_STATES = ("running", "failed", "not configured", "suspended", "shutting down", "in test", "without its devices")


class OpcuaDriver:
    """One connection, to one server."""

    schemes: ClassVar[tuple[str, ...]] = ("opc.tcp",)

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._name = connection.name
        self._clock = clock
        self._limits = limits
        self._root = connection.option("root", "")
        target = _target(connection)
        self._timeout_s = target.timeout_s
        self._settings = _settings(connection)
        self._session = Session(target, clock)
        self._feed: Feed | None = None
        self._plan: Plan | None = None

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """Everything below the Objects folder; the server's fingerprint becomes an option of the connection."""
        await self._session.open()
        plan = await discover(self._session, self._name, self._root, self._limits.properties_per_thing_max)
        shown = self._session.fingerprint
        if not shown:
            note = "The connection has no security: what goes over it can be read and changed on the way."
            return Plan(things=plan.things, notes=(note, *plan.notes))
        note = f"The server's certificate is trusted from now on; its SHA-256 fingerprint is {shown}."
        return Plan(things=plan.things, notes=(note, *plan.notes), options={"trusted": shown})

    async def scan(self) -> list[Found]:
        """The servers that a discovery server knows; a server knows itself."""
        found = {}
        for one in await self._session.servers():
            for url in one.DiscoveryUrls or () if one.ApplicationType != ua.ApplicationType.Client else ():
                if isinstance(url, str) and url.startswith("opc.tcp://"):
                    found[url[:500]] = str(plain(one.ApplicationName) or one.ApplicationUri or "")[:200]
        return [Found(url, title) for url, title in sorted(found.items())]

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        taken_up = await self._session.open()
        feed = self._feed if self._plan == plan else None
        if feed is None:
            feed = Feed(self._session, items_of(plan, self._session.namespaces), self._settings, self._clock)
            await feed.subscribe(out)
        elif not (await feed.take_up(out) if taken_up else await feed.transfer(out)):
            out.count("resubscribed")
            await feed.subscribe(out)
        self._feed, self._plan = feed, plan
        feed.heard = self._clock.monotonic()
        for thing in plan.things:
            out.online(thing.name)
        work = (feed.pump(out), feed.refresh(out), self._watch(feed), self._session.renew())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._session.drop()

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: the server's status says whether it was done."""
        address = address_of(point)
        name = point.definition.name
        if address.events:
            raise DeviceRefused(f"{name} is what the server tells of.", "It cannot be written.")
        content = variant(name, address.type, address.array, value, address.symbols)
        request = ua.WriteRequest()
        node = resolve(address.node, self._session.namespaces)
        held = ua.DataValue(Value=content, SourceTimestamp=None, ServerTimestamp=None)
        request.Parameters.NodesToWrite = [ua.WriteValue(NodeId=node, AttributeId=ua.AttributeIds.Value, Value=held)]
        results = (await self._session.request(request, ua.WriteResponse)).Results
        if len(results) != 1:
            raise DeviceLost(f"{self._session.target.host} does not say what became of the write.")
        code = int(results[0].value)
        check_done(code, self._session.target.host, f"to write {name}")
        return Act(_result(code))

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """See `Driver.invoke`: calls the method; its outputs are the value."""
        method = read_where(action.where, Method, action.name)
        given = {} if value is None else value
        wanted = [one.name for one in method.inputs]
        if not isinstance(given, dict) or sorted(given) != sorted(wanted):
            raise DeviceRefused(
                f"{action.name} takes {', '.join(wanted) or 'nothing'}.", "Write an object with these members."
            )
        namespaces = self._session.namespaces
        call = ua.CallMethodRequest(
            ObjectId=resolve(method.object, namespaces), MethodId=resolve(method.method, namespaces)
        )
        call.InputArguments = [variant(one.name, one.type, one.array, given[one.name]) for one in method.inputs]
        request = ua.CallRequest()
        request.Parameters.MethodsToCall = [call]
        results = (await self._session.request(request, ua.CallResponse)).Results
        if len(results) != 1:
            raise DeviceLost(f"{self._session.target.host} does not say what became of the call.")
        code = int(results[0].StatusCode.value)
        bad = [f"{one.name}: {status_name(int(status.value))}"
               for one, status in zip(method.inputs, results[0].InputArgumentResults or (), strict=False)
               if not status.is_good()]  # fmt: skip
        if code >> 30 and bad:
            raise DeviceRefused(f"{action.name} refuses {', '.join(bad)}.", "See the device's manual.")
        check_done(code, self._session.target.host, action.name)
        values = [plain(one) for one in results[0].OutputArguments or ()]
        if len(method.outputs) > 1:
            return Act(_result(code), dict(zip((one.name for one in method.outputs), values, strict=False)))
        return Act(_result(code), values[0] if values else None)

    async def close(self) -> None:
        """See `Driver.close`."""
        self._feed = self._plan = None
        await self._session.close()

    async def _watch(self, feed: Feed) -> None:
        """Ask a server that is silent whether it still runs, for ever; DeviceLost when it does not."""
        every = self._settings.keepalive_s
        while True:
            await asyncio.sleep(every / 2)
            if self._clock.monotonic() - feed.heard < every:
                continue
            asked = self._clock.monotonic()
            try:
                (state,) = await self._session.read([_STATE])
            except DeviceLost:
                if feed.heard > asked:
                    continue  # it is slow with this answer, and not silent
                raise
            feed.heard = self._clock.monotonic()
            number = state.Value.Value if state.Value is not None else None
            if isinstance(number, int) and number != _RUNNING:
                shown = _STATES[number] if number < len(_STATES) else "in a state that nobody knows"
                raise DeviceLost(f"{self._session.target.host} is {shown}.")


def _target(connection: Connection) -> Target:
    endpoint, parts = endpoint_of(connection, _PORT, _EXAMPLE), connection.parts
    if parts.username:
        raise DeviceRefused("The address names a user.", "Leave it out, and give it by --option user=NAME.")
    policy, mode = connection.option("security", "auto"), connection.option("mode", "")
    if policy not in POLICIES or mode not in ("", *get_args(Mode)):
        raise DeviceRefused(
            f"There is no security {policy} {mode}.", f"There are {', '.join(POLICIES)}; {', '.join(get_args(Mode))}."
        )
    timeout_s = float(connection.option("timeout_s", 4.0))
    if not timeout_s > 0:
        raise DeviceRefused("The option timeout_s is not above 0.", "Write seconds, such as 4.0.")
    return Target(
        url=f"opc.tcp://{endpoint.bracketed}:{endpoint.port}{parts.path}",
        host=endpoint.host,
        timeout_s=timeout_s,
        policy=policy,
        mode=mode,
        trusted=connection.option("trusted", ""),
        user=connection.option("user", ""),
        password=connection.secrets.get("password", ""),
        plain_password=connection.option("plain_password", False),
        folder=connection.folder,
    )


def _settings(connection: Connection) -> Settings:
    period_s = connection.period_s
    sampling_s = float(connection.option("sampling_s", period_s))
    queue = connection.option("queue", math.ceil(period_s / sampling_s) + 1 if sampling_s > 0 else 10)
    timestamps = connection.option("timestamps", "source")
    if queue < 1 or timestamps not in ("source", "server"):
        raise DeviceRefused("The option queue or timestamps cannot be.", "See docs/opcua.md.")
    return Settings(
        period_s=period_s,
        sampling_s=sampling_s,
        queue=queue,
        keepalive_s=max(0.1, float(connection.option("keepalive_s", 5.0))),
        refresh_s=max(1.0, float(connection.option("refresh_s", 300.0))),
        prefer_source=timestamps == "source",
    )


def _result(code: int) -> Result:
    """GoodCompletesAsynchronously says that it was taken over; any other good status that it was done."""
    later = code & 0xFFFF0000 == ua.StatusCodes.GoodCompletesAsynchronously
    return Result.ACKNOWLEDGED if later else Result.DONE
