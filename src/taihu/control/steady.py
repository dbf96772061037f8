"""Of many that share a power few are moved: those that the sum needs, and those too far from their part.

A load that changes by a kilowatt moves the part of each of a thousand batteries by a watt. Were each told so, there
would be a thousand commands a second for what two can do. So who lies within a band around its part stays as it is, and
of these as many move, inside their bands, as bring all together to the same sum.
"""

from collections.abc import Sequence

import msgspec

SAME_KW = 0.02
"""By so much all together may be off before one of them is moved for it."""
_DIGITS, _ROUNDED_KW = 9, 1e-9  # of what is told: by so much it may be beyond its band, and stays
_SHARE = 0.5  # of its band, into which one is moved: it is not at its edge as soon as its part changes


class Place(msgspec.Struct, frozen=True, gc=False):
    """What one was told last (kW), None where that is not known; its part, its corridor, and its band around the part.

    The part lies in the corridor.
    """

    told_kw: float | None
    part_kw: float
    low_kw: float
    high_kw: float
    band_kw: float


def steady(places: Sequence[Place]) -> list[float]:
    """What each is told now (kW): in its corridor and band, never in the other direction than its part.

    >>> steady([Place(2.0, 2.01, 0.0, 5.0, 0.1), Place(2.0, 2.01, 0.0, 5.0, 0.1), Place(2.0, 2.01, 0.0, 5.0, 0.1)])
    [2.03, 2.0, 2.0]
    >>> steady([Place(2.0, 3.0, 0.0, 5.0, 0.1), Place(None, 3.0, 0.0, 5.0, 0.1)])
    [3.0, 3.0]
    """
    kept, moves = [], []
    for place in places:
        (low, high), told = _around(place, place.band_kw), place.told_kw
        moves.append(told is None or not low - _ROUNDED_KW <= told <= high + _ROUNDED_KW)
        kept.append(place.part_kw if told is None or moves[-1] else min(max(told, low), high))
    gap = sum(place.part_kw for place in places) - sum(kept)
    if abs(gap) <= SAME_KW:
        return kept
    bounds = [_around(place, _SHARE * place.band_kw) for place in places]
    if gap > 0:
        reach = [max(0.0, high - kw) for kw, (_, high) in zip(kept, bounds, strict=True)]
    else:
        reach = [min(0.0, low - kw) for kw, (low, _) in zip(kept, bounds, strict=True)]
    for one in sorted(range(len(kept)), key=lambda one: (not moves[one], -abs(reach[one]))):  # who moves anyway first
        moved = min(gap, reach[one]) if gap > 0 else max(gap, reach[one])
        kept[one] = round(kept[one] + moved, _DIGITS)
        gap -= moved
        if not gap:
            break
    return kept


def _around(place: Place, band_kw: float) -> tuple[float, float]:
    """The least and the most that one may be told within a band."""
    part = place.part_kw
    low, high = max(place.low_kw, part - band_kw), min(place.high_kw, part + band_kw)
    return (max(low, 0.0) if part >= 0 else low), (min(high, 0.0) if part <= 0 else high)
