"""A BACnet/IP station of our own, as far as a client needs one: it asks, and passes notifications on."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from bacpypes3.apdu import AbortPDU, AbortReason, ErrorRejectAbortNack, ReadPropertyMultipleRequest, SimpleAckPDU
from bacpypes3.basetypes import PropertyReference, ReadAccessSpecification
from bacpypes3.errors import RejectException
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address

from taihu.drivers.port import DeviceLost, DeviceRefused

logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)  # what it tells, this driver raises

Notified = Callable[[Any], Awaitable[None]]
_INSTANCE = 4_194_302
_VENDOR = 999  # of those who have none
_SLACK_S = 1.0
_VALUE_AND_FLAGS = ("present-value", "status-flags")
_SILENCE = (int(AbortReason.serverTimeout), int(AbortReason.noResponse))


class Station(NormalApplication):  # type: ignore[misc]
    """Our end. `notified` is called with each notification of a change; an acknowledgement follows it."""

    def __init__(self, bind: str, timeout_s: float, retries: int, notified: Notified) -> None:
        device = DeviceObject(
            objectIdentifier=("device", _INSTANCE), objectName="taihu", vendorIdentifier=_VENDOR,
            maxApduLengthAccepted=1476, segmentationSupported="segmented-both", maxSegmentsAccepted=64,
            apduTimeout=int(timeout_s * 1000), apduSegmentTimeout=int(timeout_s * 1000), numberOfApduRetries=retries,
        )  # fmt: skip
        super().__init__(device, IPv4Address(bind))
        self._notified = notified
        self._patience_s = timeout_s * (retries + 1) + _SLACK_S

    def close(self) -> None:
        """Let go of the socket, and of questions that are still waited for."""
        for waiting in (*self.asap.clientTransactions, *self.asap.serverTransactions):
            waiting.stop_timer()
            if waiting._timer_expired_request is not None:
                waiting._timer_expired_request.cancel()
        for task in self.normal.server._transport_tasks:
            task.cancel()
        super().close()

    async def ask(self, answer: Awaitable[Any]) -> Any:
        """The answer to a request.

        Raises:
            DeviceLost: none came. DeviceRefused: the device says no, and why.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                return await answer
        except TimeoutError:
            raise DeviceLost("It does not answer.") from None
        except ErrorRejectAbortNack as error:
            if isinstance(error, AbortPDU) and int(error.apduAbortRejectReason) in _SILENCE:
                raise DeviceLost(f"It does not answer: {error}.") from None
            raise DeviceRefused(f"It says no: {error}.", "See the device's manual.") from None
        except (RejectException, OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise DeviceLost(f"It answers what is no BACnet: {type(error).__name__} {error}.") from None

    async def do_UnconfirmedCOVNotificationRequest(self, apdu: Any) -> None:
        """A change, of which nobody asks whether it came."""
        await self._notified(apdu)

    async def do_ConfirmedCOVNotificationRequest(self, apdu: Any) -> None:
        """A change that is to be acknowledged."""
        await self._notified(apdu)
        await self.response(SimpleAckPDU(context=apdu))

    # Nobody needs to find a client, and nobody may change it.
    do_WhoIsRequest = do_WritePropertyRequest = do_WritePropertyMultipleRequest = None
    do_DeviceCommunicationControlRequest = None


async def local_address(host: str, port: int) -> tuple[str, str]:
    """The device's IPv4 address, and ours on the way to it; DeviceLost when there is no way."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(found[0][4])
            return str(found[0][4][0]), str(one.getsockname()[0])
    except OSError as error:
        raise DeviceLost(f"{host} cannot be reached: {error}.") from None


def read_several(place: Any, keys: list[Any]) -> ReadPropertyMultipleRequest:
    """A question for the present values and status flags of objects."""
    wanted = [
        ReadAccessSpecification(
            objectIdentifier=key,
            listOfPropertyReferences=[PropertyReference(propertyIdentifier=name) for name in _VALUE_AND_FLAGS],
        )
        for key in keys
    ]
    return ReadPropertyMultipleRequest(listOfReadAccessSpecs=wanted, destination=place)


def told_of(answer: Any) -> list[tuple[Any, dict[int, Any]]]:
    """What the answer says of each object: values by the number of their property, those that there are."""
    return [
        (
            result.objectIdentifier,
            {
                int(one.propertyIdentifier): one.readResult.propertyValue
                for one in result.listOfResults
                if one.readResult.propertyValue is not None
            },
        )
        for result in answer.listOfReadAccessResults
    ]
