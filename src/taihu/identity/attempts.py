"""How often somebody failed to sign in: each further try waits longer, for the account and for the address alike."""

import ipaddress
from collections import OrderedDict

from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

_FREE = 5  # failures that cost nothing: fingers slip
_FORGOTTEN_FACTOR = 4.0  # a count is forgotten after so many of the longest delays


class Attempts:
    """Counts of failures by key; bounded: the one that was least used gives way (§6).

    A try counts as failed from its beginning until it has succeeded, so that many at once are no way round.
    """

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """How long the next try with this key has to wait; 0 for not at all."""
        failures, last = self._counts.get(key, (0, 0.0))
        over = failures - _FREE
        if over < 0:
            return 0.0
        delay = min(self._limits.sign_in_delay_max_s, 2.0 ** min(over, 30))
        return max(0.0, last + delay - self._clock.monotonic())

    def begin(self, key: str) -> None:
        """A try begins."""
        now = self._clock.monotonic()
        failures, last = self._counts.pop(key, (0, now))
        if now - last > _FORGOTTEN_FACTOR * self._limits.sign_in_delay_max_s:
            failures = 0
        self._counts[key] = (failures + 1, now)
        while len(self._counts) > max(1, self._limits.sign_in_tracked_max):
            self._counts.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """The try was right: begin anew."""
        self._counts.pop(key, None)

    def forgive(self, key: str) -> None:
        """The try was right, and says nothing of those before it: it alone does not count."""
        failures, last = self._counts.pop(key, (1, 0.0))
        if failures > 1:
            self._counts[key] = (failures - 1, last)

    def __len__(self) -> int:
        return len(self._counts)


def address_key(address: str) -> str:
    """What counts as one address: of IPv6 the network of one line.

    >>> address_key("2001:db8::1") == address_key("2001:db8::ffff"), address_key("192.0.2.7")
    (True, '192.0.2.7')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
