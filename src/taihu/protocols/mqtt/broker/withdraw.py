"""Messages that are taken back: retained, queued, or sent and not yet acknowledged."""

from collections.abc import Callable, Iterator

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.message import Message
from taihu.protocols.mqtt.broker.session import Session

_AT_ONCE = 200


def withdraw(core: Core, space: str, gone: Callable[[Message], bool]) -> Iterator[None]:
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
            _of_session(core, session, gone)
        yield


def _of_session(core: Core, session: Session, gone: Callable[[Message], bool]) -> None:
    queued = [place for place, delivery in enumerate(session.queue or ()) if gone(delivery.message)]
    in_flight = [
        packet_id for packet_id, delivery in session.inflight.items() if delivery is not None and gone(delivery.message)
    ]
    if queued or in_flight:
        core.store.withdraw(session, queued, in_flight)
