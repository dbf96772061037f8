"""One client's session: it sees what its visitor may see, and what it writes or calls becomes a command.

asyncua keeps one address space for all sessions and has no rights of its own beyond roles; so every service that a
session offers is answered here first, and what is not for this visitor does not exist for it (§11).
"""

import secrets
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession

from taihu.doors.opcua.ports import Ending, Node, Visitor
from taihu.doors.opcua.space import Leaf, Space
from taihu.doors.opcua.values import status_of, value_of, variant_of
from taihu.kernel.errors import RefusedError, TaihuError, TransientError

_CODES = ua.StatusCodes
_UNKNOWN = ua.StatusCode(_CODES.BadNodeIdUnknown)
_DENIED = ua.StatusCode(_CODES.BadUserAccessDenied)
_READ, _WRITE = 1, 2


class DoorSession(InternalSession):  # type: ignore[misc]
    """See the module. `visitor` is None until somebody was let in, and when they may no longer be."""

    def __init__(self, *arguments: Any, node: Node, space: Space, items_max: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.visitor: Visitor | None = None
        self._node = node
        self._space = space
        self._items_max = items_max
        self._items = 0
        self.iserver.unregister_external_session(self)
        self.auth_token = ua.NodeId(secrets.token_bytes(32), ua.Int16(0))  # asyncua counts, and others could guess
        self.iserver.register_external_session(self)

    async def read(self, params: Any) -> list[ua.DataValue]:
        """Values and attributes; nodes that are not for the visitor are unknown."""
        results = await super().read(params)
        for place, wanted in enumerate(params.NodesToRead):
            if not self._sees(wanted.NodeId):
                results[place] = ua.DataValue(StatusCode=_UNKNOWN)
            elif wanted.AttributeId in (ua.AttributeIds.UserAccessLevel, ua.AttributeIds.UserExecutable):
                leaf = self._space.leaves.get(wanted.NodeId)
                if leaf is not None:
                    results[place] = ua.DataValue(self._right(leaf, wanted.AttributeId))
        return list(results)

    async def write(self, params: Any) -> list[ua.StatusCode]:
        """Each value is a command; the status is what became of it."""
        return [await self._write(one) for one in params.NodesToWrite]

    async def call(self, params: list[Any]) -> list[ua.CallMethodResult]:
        """Each call of an action is a command; those of the server itself are its own."""
        return [await self._call(one) for one in params]

    async def browse(self, params: Any) -> list[ua.BrowseResult]:
        """References to what the visitor may see."""
        results = await super().browse(params)
        for wanted, result in zip(params.NodesToBrowse, results, strict=True):
            if not self._sees(wanted.NodeId):
                result.StatusCode, result.References = _UNKNOWN, []
            else:
                result.References = [one for one in result.References if self._sees(one.NodeId)]
        return list(results)

    async def browse_next(self, parameters: Any) -> list[ua.BrowseResult]:
        """There is never more: every answer is whole."""
        invalid = ua.StatusCode(_CODES.BadContinuationPointInvalid)
        return [ua.BrowseResult(StatusCode=invalid) for _ in parameters.ContinuationPoints]

    async def translate_browsepaths_to_nodeids(self, params: list[Any]) -> list[ua.BrowsePathResult]:
        """Paths to what the visitor may see."""
        results = await super().translate_browsepaths_to_nodeids(params)
        for result in results:
            result.Targets = [one for one in result.Targets if self._sees(one.TargetId)]
            if not result.Targets and result.StatusCode.is_good():
                result.StatusCode = ua.StatusCode(_CODES.BadNoMatch)
        return list(results)

    async def create_monitored_items(self, params: Any) -> list[ua.MonitoredItemCreateResult]:
        """Follow what the visitor may see."""
        self._own(params.SubscriptionId)
        if self._items + len(params.ItemsToCreate) > self._items_max:
            raise ServiceError(_CODES.BadTooManyMonitoredItems)
        seen = [self._sees(one.ItemToMonitor.NodeId) for one in params.ItemsToCreate]
        params.ItemsToCreate = [one for one, mine in zip(params.ItemsToCreate, seen, strict=True) if mine]
        made = iter(await super().create_monitored_items(params))
        self._items += len(params.ItemsToCreate)
        return [next(made) if mine else ua.MonitoredItemCreateResult(StatusCode=_UNKNOWN) for mine in seen]

    async def modify_monitored_items(self, params: Any) -> Any:
        """Change what is followed in one's own subscription."""
        self._own(params.SubscriptionId)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> Any:
        """Follow less."""
        self._own(params.SubscriptionId)
        results = await super().delete_monitored_items(params)
        self._items -= sum(one.is_good() for one in results)
        return results

    async def set_monitoring_mode(self, params: Any) -> Any:
        """In one's own subscription."""
        self._own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: Any) -> Any:
        """Of one's own subscriptions."""
        self._own(*params.SubscriptionIds)
        return await super().set_publishing_mode(params)

    def modify_subscription(self, params: Any) -> Any:
        """One's own."""
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)

    async def delete_subscriptions(self, ids: Any) -> Any:
        """One's own."""
        self._own(*ids)
        return await super().delete_subscriptions(ids)

    def republish(self, params: Any) -> Any:
        """Of one's own subscription."""
        self._own(params.SubscriptionId)
        found = super().republish(params)
        if not found.NotificationData:
            raise ServiceError(_CODES.BadMessageNotAvailable)
        return found

    def publish(self, acks: Any = None) -> Any:
        """Acknowledge and ask on."""
        self._let_in()
        mine = self._mine()
        return super().publish([one for one in acks or () if int(one.SubscriptionId) in mine])

    async def transfer_subscriptions(self, params: Any, callback: Any) -> Any:
        """A subscription stays with its session: it was made with its visitor's rights."""
        raise ServiceError(_CODES.BadServiceUnsupported)

    async def add_nodes(self, params: Any) -> Any:
        """The address space is the things'."""
        raise ServiceError(_CODES.BadServiceUnsupported)

    delete_nodes = add_references = delete_references = history_read = history_update = add_nodes

    async def close_session(self, delete_subs: bool = True) -> None:
        """The client leaves, or is let go; from here on every service refuses."""
        visitor, self.visitor = self.visitor, None
        if delete_subs:
            await self.subscription_service.delete_subscriptions(list(self._mine()))
        await super().close_session(False)
        if visitor is not None:
            await self._node.sign_out(visitor)

    async def _write(self, wanted: Any) -> ua.StatusCode:
        visitor = self._let_in()
        leaf = self._space.leaves.get(wanted.NodeId)
        if wanted.NodeId not in self.aspace or not self._sees(wanted.NodeId):
            return _UNKNOWN
        if leaf is None:
            return _DENIED
        if wanted.AttributeId != ua.AttributeIds.Value or leaf.schema.get("readOnly", True):
            return ua.StatusCode(_CODES.BadNotWritable)
        content = wanted.Value.Value.Value if wanted.Value is not None and wanted.Value.Value is not None else None
        try:
            value = value_of(leaf.schema, content)
        except RefusedError:
            return ua.StatusCode(_CODES.BadTypeMismatch)
        return status_of(await self._ended(self._node.write(visitor, *leaf.owner, value)))

    async def _call(self, wanted: Any) -> ua.CallMethodResult:
        visitor = self._let_in()
        leaf = self._space.leaves.get(wanted.MethodId)
        of_thing = leaf is not None and self._space.owners.get(wanted.ObjectId) == leaf.owner._replace(name="")
        if leaf is None or not of_thing or not self._sees(wanted.MethodId):
            return ua.CallMethodResult(StatusCode=ua.StatusCode(_CODES.BadMethodInvalid))
        arguments = [one.Value for one in wanted.InputArguments or ()]
        if len(arguments) != len(leaf.inputs):
            code = _CODES.BadArgumentsMissing if len(arguments) < len(leaf.inputs) else _CODES.BadTooManyArguments
            return ua.CallMethodResult(StatusCode=ua.StatusCode(code))
        try:
            value = _input(leaf, arguments)
        except RefusedError:
            return ua.CallMethodResult(StatusCode=ua.StatusCode(_CODES.BadInvalidArgument))
        ending = await self._ended(self._node.invoke(visitor, *leaf.owner, value))
        result = ua.CallMethodResult(StatusCode=status_of(ending))
        if (output := leaf.schema.get("output")) and ending.state == "done":
            result.OutputArguments = [variant_of(output, ending.value)]
        result.InputArgumentResults = [ua.StatusCode() for _ in arguments]
        return result

    async def _ended(self, command: Any) -> Ending:
        try:
            ending: Ending = await command
        except TransientError as error:
            return Ending("expired", detail=str(error))
        except TaihuError as error:
            return Ending("refused", detail=str(error))
        return ending

    def _right(self, leaf: Leaf, attribute: int) -> ua.Variant:
        visitor = self._let_in()
        may = leaf.writable and visitor.commands
        if attribute == ua.AttributeIds.UserExecutable:
            return ua.Variant(may, ua.VariantType.Boolean)
        return ua.Variant(_READ | (_WRITE if may else 0), ua.VariantType.Byte)

    def _sees(self, place: ua.NodeId) -> bool:
        visitor = self._let_in()
        owner = self._space.owners.get(place)
        return owner is None or visitor.may_see(*owner)

    def _let_in(self) -> Visitor:
        if self.visitor is None:
            raise ServiceError(_CODES.BadUserAccessDenied)
        return self.visitor

    def _own(self, *subscriptions: Any) -> None:
        """Raise unless the subscriptions are this session's."""
        self._let_in()
        if not self._mine().issuperset(map(int, subscriptions)):
            raise ServiceError(_CODES.BadSubscriptionIdInvalid)

    def _mine(self) -> set[int]:
        held = self.subscription_service.subscriptions.items()
        return {number for number, one in held if one.session_id == self.session_id}


def _input(leaf: Leaf, arguments: list[Any]) -> Any:
    """What an action is given: an object of its members, or a single value; None for nothing."""
    given = leaf.schema.get("input", {})
    if given.get("type") == "object":
        schemas = given["properties"]
        return {name: value_of(schemas[name], one) for name, one in zip(leaf.inputs, arguments, strict=True)}
    return value_of(given, arguments[0]) if arguments else None
