"""Messages that are taken back: retained, queued, or sent and not yet acknowledged."""

from collections.abc import Callable, Iterator
from itertools import takewhile

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.message import Message
from taihu.protocols.mqtt.broker.queue import Chunk, decode_chunk
from taihu.protocols.mqtt.broker.session import Session

Gone = Callable[[Message], bool]

_AT_ONCE = 200


def withdraw(core: Core, space: str, gone: Gone) -> Iterator[None]:
    """Forget the messages of a space that `gone` picks, a bounded part at each step.

    What a client has not acknowledged is not sent again; of an exchange at QoS 2 only the release remains.
    """
    home = core.store.spaces.get(space)
    if home is None:
        return
    for count, message in enumerate(list(home.retained)):
        if home.retained.get(message.topic) is message and gone(message):
            core.store.unretain(space, message.topic)
        if not count % _AT_ONCE:
            yield
    for session in list(home.sessions.values()):
        if core.store.sessions.get(session.number) is session:
            _in_memory(core, session, gone)
            for chunk in list(session.queue.chunks) if session.queue else ():
                yield from _in_chunk(core, session, chunk, gone)
        yield


def _in_memory(core: Core, session: Session, gone: Gone) -> None:
    queue = session.queue
    queued: list[int] = []
    if queue is not None:
        at = queue.count - len(queue.back)
        queued = [place for place, delivery in enumerate(queue.front) if gone(delivery.message)]
        queued += [place for place, delivery in enumerate(queue.back, at) if gone(delivery.message)]
    in_flight = [
        packet_id for packet_id, delivery in session.inflight.items() if delivery is not None and gone(delivery.message)
    ]
    if queued or in_flight:
        core.store.withdraw(session, queued, in_flight)


def _in_chunk(core: Core, session: Session, chunk: Chunk, gone: Gone) -> Iterator[None]:
    """The same for a chunk of the queue; while it is read the client may take messages, and go."""
    spool, read = core.store.spool, list[bytes]()
    assert spool is not None
    data = spool.get(chunk.number, read.append)
    while data is None and not read:
        yield
    deliveries = decode_chunk((session.space, session.number), chunk, read[0] if data is None else data)
    found = [place for place, delivery in enumerate(deliveries) if gone(delivery.message)]
    queue = session.queue
    if not found:
        return
    if queue is None or chunk not in queue.chunks:
        _in_memory(core, session, gone)  # it was taken into memory meanwhile
        return
    at = len(queue.front) + sum(one.length for one in takewhile(lambda one: one != chunk, queue.chunks))
    core.store.withdraw(session, [at + place for place in found], (), {chunk.number: deliveries})
