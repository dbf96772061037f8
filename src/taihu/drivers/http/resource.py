"""One resource that is polled: when it is due, what it was, and what its answers mean.

A resource is asked with the tag of what it last said (RFC 9110, 13.1); an answer that nothing has changed is a reading
of the same values now. One that keeps being unchanged may be asked ever more rarely; one that is in trouble is asked
after a pause that doubles, and not before it says (Retry-After).
"""

from email.utils import parsedate_to_datetime
from typing import Any

from taihu.drivers.http.line import Response
from taihu.drivers.port import DeviceRefused
from taihu.drivers.resources import Place, pick
from taihu.kernel.clock import NS_PER_S, from_datetime

_PAUSE_S_MAX = 3_600.0
_TROUBLE_S_MAX = 60.0
_TAGS = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
_DENIED = (401, 403, 407)

Values = dict[str, dict[str, Any]]
"""Values by thing and property."""


class Resource:
    """What is known of one resource of a device."""

    def __init__(self, href: str, places: list[Place], period_s: float, slow_s: float, once: bool) -> None:
        self.href = href
        self.things = {place.thing for place in places}
        self.due = 0.0
        self.trouble = ""
        self._places = places
        self._once = once
        self._period_s = period_s
        self._slow_s = max(slow_s, period_s)
        self._pause_s = period_s
        self._until = 0.0
        self._tags: dict[str, str] = {}
        self._values: Values = {}

    @property
    def done(self) -> bool:
        """Whether it need not be read again: a stream tells what changes."""
        return self._once and bool(self._values)

    @property
    def headers(self) -> dict[str, str]:
        """What to ask with."""
        return {"Accept": "application/json, */*;q=0.5", **self._tags}

    def schedule(self, now: float) -> int:
        """Set when it is due next; how many times were passed over (§6)."""
        self.due = max(self.due + self._pause_s, self._until)
        if self.due > now:
            return 0
        missed = int((now - self.due) / self._pause_s) + 1
        self.due += missed * self._pause_s
        return missed

    def take(self, answer: Response, now: float, now_ns: int) -> Values:
        """The values of an answer; none while there is trouble.

        Raises:
            DeviceLost: it makes no sense. DeviceRefused: the credentials are not taken.
        """
        self.trouble = ""
        if answer.status == 304 and self._values:
            self._pause_s = min(self._pause_s * 2, self._slow_s)
            return self._values
        if answer.status == 200:
            self._pause_s = self._period_s
            self._values = pick(self._places, answer.document)
            self._tags = {name: tag for name, given in _TAGS.items() if (tag := answer.headers.get(given))}
            return self._values
        self._tags = {}
        if answer.status in _DENIED:
            raise DeviceRefused(f"It answers {answer.status} to {self.href}.", "Give the secret that it asks for.")
        self.trouble = f"it answers {answer.status} to {self.href}"
        self._pause_s = min(self._pause_s * 2, max(self._period_s, _TROUBLE_S_MAX))
        self._until = now + retry_after_s(answer.headers.get("retry-after", ""), now_ns)
        return {}


def retry_after_s(text: str, now_ns: int) -> float:
    """How long a device asks to be left alone: seconds or a date (RFC 9110, 10.2.3), at most an hour; 0 for neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _PAUSE_S_MAX)
    try:
        moment = from_datetime(parsedate_to_datetime(text))
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, (moment - now_ns) / NS_PER_S), _PAUSE_S_MAX)
