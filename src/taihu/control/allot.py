"""Several loads below one limit: who gives way, and how far."""

from collections.abc import Sequence

import msgspec

_NOTHING_KW = 1e-9


class Ask(msgspec.Struct, frozen=True):
    """What a load wants, how far it may go down, and the least at which it runs at all (kW)."""

    name: str
    wanted_kw: float
    low_kw: float = 0.0
    minimum_kw: float = 0.0


def allot(over_kw: float, asks: Sequence[Ask]) -> dict[str, float]:
    """What each may take so that all together are less by `over_kw`, or as near to that as can be; the last first.

    >>> allot(2.0, [Ask("heat", 3.0), Ask("car", 5.0, 0.0, 1.4)])
    {'heat': 3.0, 'car': 3.0}
    >>> allot(2.0, [Ask("heat", 3.0), Ask("car", 3.0, 0.0, 1.4), Ask("battery", 0.5, -0.5)])
    {'heat': 3.0, 'car': 2.0, 'battery': -0.5}
    """
    given = {ask.name: ask.wanted_kw for ask in asks}
    for ask in reversed(asks):
        if over_kw <= _NOTHING_KW:
            break
        kept = max(ask.low_kw, ask.wanted_kw - over_kw)
        if 0 < kept < ask.minimum_kw:
            kept = max(ask.low_kw, 0.0)
        if kept < ask.wanted_kw:
            over_kw -= ask.wanted_kw - kept
            given[ask.name] = round(kept, 9)
    return given
