"""What the broker asks of its surroundings: who may do what."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from taihu.protocols.mqtt.packets import Connect

Answer = TypeVar("Answer")


class Later(Generic[Answer]):
    """An answer that needs a disk: whoever has it calls `give` once, when the call that returned this is over."""

    __slots__ = ("give",)

    def __init__(self) -> None:
        self.give: Callable[[Answer], None] = lambda answer: None


Answers = Sequence[tuple[str, bytes]]


class Identity(Protocol):
    """Who is connected."""

    @property
    def space(self) -> str:
        """The topic space, one per project: nothing crosses it (§11)."""
        ...

    @property
    def key(self) -> str:
        """Who this is: owns sessions, stands in logs, and is what `Broker.disconnect` selects by."""
        ...

    @property
    def thing(self) -> str:
        """The thing that it is, by which the server finds it without a look at everybody; empty for no thing."""
        ...


class Policy(Protocol):
    """Rights and claims; every answer is a look-up in memory or comes later, none may block.

    `identity` is what `authenticate` gave. A topic that is claimed and answered with nothing, or with None, is asked
    about once: until `Broker.invalidate` its messages are readings and no more.
    """

    def authenticate(
        self, connect: Connect, peer: str, certificate: str | None
    ) -> Identity | int | Later[Identity | int]:
        """The identity that a CONNECT proves, or the MQTT 5.0 reason code to refuse it with."""
        ...

    def connected(self, identity: Any, up: bool) -> None:
        """A client of this identity connected, or its connection ended."""
        ...

    def may_publish(self, identity: Any, topic: str, retain: bool) -> int:
        """`Reason.SUCCESS`, or the reason code of the refusal."""
        ...

    def may_subscribe(self, identity: Any, topic_filter: str) -> int:
        """`Reason.SUCCESS`, or the reason code of the refusal; asked without `$share/{name}/`."""
        ...

    def denied(self, space: str, topic: str) -> bool:
        """Whether messages of a topic go to no subscriber at all, however wide its filter."""
        ...

    def answer(self, identity: Any, topic: str, payload: bytes) -> Answers | Later[Answers] | None:
        """What the server itself answers on a topic that means something else for each client: (topic, payload) pairs.

        Such a message goes to nobody else and is not retained. None for a topic that is routed. Of a will it is asked
        at the CONNECT, with an empty payload.
        """
        ...

    def claim(self, identity: Any, topic: str) -> object | None:
        """What marks a message on `topic` as readings for the journal, opaque to the broker; None for a free topic."""
        ...
