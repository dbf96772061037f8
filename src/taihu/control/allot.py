"""The fast layer of several loads behind one limit: what each may take until the meter is below it again."""

from collections.abc import Sequence

import msgspec


class Ask(msgspec.Struct, frozen=True):
    """What a load shall take, what it takes now, and the least at which it runs at all (kW)."""

    name: str
    wanted_kw: float
    now_kw: float
    minimum_kw: float = 0.0


def allot(net_kw: float, most_kw: float, asks: Sequence[Ask]) -> dict[str, float]:
    """What each may take so that the meter stays below its limit; the last of them give way first.

    Args:
        net_kw: what the meter sees now, all loads with it.
        most_kw: what it may see.
        asks: the loads, those that can wait longest last.

    >>> allot(9.0, 10.0, [Ask("heat", 3.0, 3.0), Ask("car", 11.0, 5.0, 1.4)])
    {'heat': 3.0, 'car': 6.0}
    >>> allot(12.0, 10.0, [Ask("heat", 3.0, 3.0), Ask("car", 3.0, 3.0, 1.4)])
    {'heat': 3.0, 'car': 0.0}
    """
    over = net_kw + sum(ask.wanted_kw - ask.now_kw for ask in asks) - most_kw
    given = {ask.name: ask.wanted_kw for ask in asks}
    for ask in reversed(asks):
        if over <= 1e-9:
            break
        if ask.wanted_kw <= 0:
            continue
        kept = max(0.0, ask.wanted_kw - over)
        if kept < ask.minimum_kw:
            kept = 0.0
        over -= ask.wanted_kw - kept
        given[ask.name] = round(kept, 9)
    return given
