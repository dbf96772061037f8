"""Server-sent events: bytes in, events out (WHATWG HTML, 9.2.6). Bounded: an event beyond the limit is an error."""

from typing import NamedTuple

from taihu.drivers.port import DeviceLost

EVENT_BYTES_MAX = 1_048_576


class Event(NamedTuple):
    """One event; `id` is the last that was told, with which a stream is resumed."""

    name: str
    data: str
    id: str


class EventParser:
    """A stream's parser. `retry_s` is what the server asks for, None until it does."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        self._rest = b""
        self._after_return = False
        self._first = True
        self._id = last_id
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that are now complete; DeviceLost when one is too large."""
        if not data:
            return []
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        lines = (self._rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        found = []
        for line in lines:
            self._size += len(line)
            if not line:
                found += self._dispatch()
            else:
                self._field((line.removeprefix(b"\xef\xbb\xbf") if self._first else line).decode("utf-8", "replace"))
            self._first = False
        if self._size + len(self._rest) > EVENT_BYTES_MAX:
            raise DeviceLost(f"An event is larger than {EVENT_BYTES_MAX} bytes.")
        return found

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = min(float(value[:9]) / 1000, 60.0)

    def _dispatch(self) -> list[Event]:
        self.last_id = self._id
        name, data, self._name, self._data, self._size = self._name, self._data, "", [], 0
        return [Event(name or "message", "\n".join(data), self.last_id)] if data else []
