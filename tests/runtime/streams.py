"""A client of server-sent events that others could have written: lines of a raw answer, by the HTML standard."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from tests.waiting import WAIT_S


class Event(NamedTuple):
    """One event: its name (`message` when it has none), its data as JSON, its id."""

    name: str
    data: Any
    id: str


class Stream:
    """One open stream."""

    def __init__(self, port: int, path: str, token: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Accept": "text/event-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.connection.request("GET", path, headers=given)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.comments = 0

    def next(self) -> Event:
        """The next event; EOFError when the stream has ended."""
        name, data, number = "message", "", ""
        while True:
            line = self.answer.readline()
            if not line:
                raise EOFError
            text = line.decode().rstrip("\n")
            if not text:
                if data:
                    return Event(name, msgspec.json.decode(data), number)
                continue
            if text.startswith(":"):
                self.comments += 1
            key, _, value = text.partition(": ")
            name, data, number = (
                value if key == "event" else name,
                data + value if key == "data" else data,
                value if key == "id" else number,
            )

    def take(self, count: int) -> list[Event]:
        """The next `count` events."""
        return [self.next() for _ in range(count)]

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@contextmanager
def stream(port: int, path: str, token: str = "", **headers: str) -> Iterator[Stream]:
    """A stream that is closed in the end, and must have been opened."""
    one = Stream(port, path, token, **headers)
    try:
        assert one.status == 200, (one.status, one.answer.read())
        yield one
    finally:
        one.close()
