"""One power among several stores: in proportion to what each has room for, as far as each can; all in one direction.

In proportion to room they become full together, in proportion to content empty together, so that their charges come
nearer to each other, and none ever charges from another.
"""

from collections.abc import Sequence

import msgspec


class Part(msgspec.Struct, frozen=True, gc=False):
    """What one can take (kW, at least 0), and its weight."""

    name: str
    most_kw: float
    weight: float


def share(total_kw: float, parts: Sequence[Part]) -> dict[str, float]:
    """What each is to take of a total (kW, at least 0); what nobody can take is left over.

    >>> share(4.5, [Part("a", 5.0, 3.0), Part("b", 5.0, 1.0), Part("c", 0.5, 2.0)])
    {'a': 3.0, 'b': 1.0, 'c': 0.5}
    """
    given = {part.name: 0.0 for part in parts}
    able = sorted((part for part in parts if part.most_kw > 0 and part.weight > 0), key=_level)
    left, weights = max(0.0, total_kw), sum(part.weight for part in able)
    for part in able:  # who is at his limit first, first: what he leaves is for the others
        taken = min(part.most_kw, left * part.weight / weights) if weights > 0 else 0.0
        given[part.name] = taken
        left, weights = left - taken, weights - part.weight
    return given


def _level(part: Part) -> float:
    return part.most_kw / part.weight
