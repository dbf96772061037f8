"""What all requests of one door share."""

from starlette.requests import HTTPConnection

from taihu.doors.http.ports import Node
from taihu.doors.http.tickets import Tickets


class Shared:
    """The node behind the door, and what is counted over all requests that are under way (§6)."""

    __slots__ = ("answer_bytes", "body_bytes", "node", "openapi", "tickets")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.tickets = Tickets(node.clock, node.limits)
        self.body_bytes = 0
        self.answer_bytes = 0
        self.openapi = b""  # the description of the API, once somebody has asked for it


def shared_by(request: HTTPConnection) -> Shared:
    """What a request shares with all others."""
    shared: Shared = request.scope["app"].shared
    return shared
