"""What waits for one session, in order: the first in memory, then chunks in the spool, then the last in memory."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from taihu.protocols.mqtt.broker.message import Delivery, Message

LOST = Delivery(Message("", b"", expires_ns=1), 1)  # in the place of each message of a chunk that is gone


class Spool(Protocol):
    """Where chunks of queues lie. A number is never used twice but for what a crash has undone."""

    @property
    def pending(self) -> bool:
        """Whether chunks wait for the next group commit, which writes them."""
        ...

    def put(self, number: int, data: bytes) -> None:
        """Keep a chunk."""
        ...

    def get(self, number: int, then: Callable[[bytes], None]) -> bytes | None:
        """A chunk that is at hand; for any other None, and `then` is called with it later; empty when it is gone."""
        ...

    def drop(self, number: int) -> None:
        """Forget a chunk, on disk not before there is a snapshot without it."""
        ...


class Chunk(NamedTuple):
    """So many messages under a number of the spool; `size` is theirs in memory."""

    number: int
    length: int
    size: int


class Usage:
    """What the sessions of one space hold together: messages that wait, their bytes, and the bytes in memory.

    Those in memory are the queued ones that are not in the spool, and all that is not acknowledged yet.
    """

    __slots__ = ("held_bytes", "queued", "queued_bytes")

    def __init__(self) -> None:
        self.held_bytes = 0
        self.queued = 0
        self.queued_bytes = 0


class Queue:
    """One session's queue, never empty between two calls of the store; `count` and `size` are of all of it.

    While there are `chunks`, what comes goes into `back`. `asked` says that the first chunk is being read.
    """

    __slots__ = ("_back_size", "_usage", "asked", "back", "chunks", "count", "front", "size")

    def __init__(self, usage: Usage) -> None:
        self.front: deque[Delivery] = deque()
        self.chunks: deque[Chunk] = deque()
        self.back: list[Delivery] = []
        self.count = 0
        self.size = 0
        self.asked = False
        self._back_size = 0
        self._usage = usage

    def push(self, delivery: Delivery) -> None:
        """Add a message."""
        size = delivery.message.size
        if self.chunks:
            self.back.append(delivery)
            self._back_size += size
        else:
            self.front.append(delivery)
        self._account(1, size)

    def pop(self) -> Delivery:
        """Take the first; it must be in memory."""
        delivery = self.front.popleft()
        self._account(-1, -delivery.message.size)
        return delivery

    def excess(self, part: int) -> Iterator[list[Delivery]]:
        """Take out what is behind the first `part` bytes, for the next chunk; a queue from elsewhere makes several."""
        if self.chunks:
            if self._back_size >= part:
                found, self.back, self._back_size = self.back, [], 0
                yield from _pieces(found, 2 * part)
        elif self.size >= 2 * part:
            found, kept = [], self.size
            while kept > part and len(self.front) > 1:
                found.append(self.front.pop())
                kept -= found[-1].message.size
            yield from _pieces(reversed(found), 2 * part)

    def spilled(self, chunk: Chunk) -> None:
        """What was taken out is in the spool."""
        self.chunks.append(chunk)
        self._usage.held_bytes -= chunk.size

    def adopt(self, chunk: Chunk) -> None:
        """A chunk comes next that is in the spool already."""
        self._account(chunk.length, chunk.size)
        self.spilled(chunk)

    def load(self, deliveries: Sequence[Delivery]) -> None:
        """The first chunk is in memory again."""
        chunk = self.chunks.popleft()
        self.front.extend(deliveries)
        self._usage.held_bytes += chunk.size
        self._account(0, sum(delivery.message.size for delivery in deliveries) - chunk.size)
        self._join()

    def drop(self, places: Sequence[int], changed: Callable[[Chunk, Sequence[int]], Chunk]) -> None:
        """Forget the messages at these places, which rise; `changed` makes of a chunk one without these of its own."""
        at = len(self.front)
        self.front = deque(self._without(self.front, 0, places))
        chunks, self.chunks = self.chunks, deque()
        for chunk in chunks:
            inside = places[bisect_left(places, at) : bisect_left(places, at + chunk.length)]
            rest = changed(chunk, [place - at for place in inside]) if inside else chunk
            at += chunk.length
            self._account(rest.length - chunk.length, rest.size - chunk.size)
            self._usage.held_bytes += chunk.size - rest.size
            if rest.length:
                self.chunks.append(rest)
        self.back = list(self._without(self.back, at, places))
        self._back_size = sum(delivery.message.size for delivery in self.back)
        self._join()

    def clear(self) -> None:
        """Forget all of it."""
        self._usage.held_bytes += sum(chunk.size for chunk in self.chunks)
        self._account(-self.count, -self.size)

    def _join(self) -> None:
        """With nothing in between, the last is behind the first."""
        self.asked = False
        if not self.chunks:
            self.front.extend(self.back)
            self.back, self._back_size = [], 0

    def _without(self, deliveries: Iterable[Delivery], start: int, places: Sequence[int]) -> Iterator[Delivery]:
        gone = frozenset(places)
        for place, delivery in enumerate(deliveries, start):
            if place in gone:
                self._account(-1, -delivery.message.size)
            else:
                yield delivery

    def _account(self, count: int, size: int) -> None:
        self.count += count
        self.size += size
        self._usage.queued += count
        self._usage.queued_bytes += size
        self._usage.held_bytes += size


def encode_chunk(owner: tuple[str, int], deliveries: Sequence[Delivery]) -> bytes:
    """The bytes of a chunk of the queue of `owner`, a space and the number of a session in it."""
    return msgspec.msgpack.encode((owner, deliveries))


def decode_chunk(owner: tuple[str, int], chunk: Chunk, data: bytes) -> list[Delivery]:
    """Inverse of `encode_chunk`; of a chunk that is gone, or another session's, as many times LOST."""
    try:
        found, deliveries = _decoder.decode(data)
    except msgspec.DecodeError:
        found, deliveries = owner, []
    return deliveries if found == owner and len(deliveries) == chunk.length else [LOST] * chunk.length


def _pieces(deliveries: Iterable[Delivery], size_max: int) -> Iterator[list[Delivery]]:
    piece: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        piece.append(delivery)
        size += delivery.message.size
        if size >= size_max:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, int], list[Delivery]])
