"""Notes on plans: what happened to many assets alike is said once."""

from collections.abc import Iterable

_ALIKE = 4  # so many are one note
_NAMED = 3  # of the others


def likewise(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes that begin with a name, those that say the same of many names as one.

    >>> likewise(f"b{number} begins half full" for number in range(20))
    ('b0 begins half full; likewise b1, b2, b3 and 16 more',)
    >>> likewise(["car is late", "tank is late"])
    ('car is late', 'tank is late')
    """
    alike: dict[str, list[str]] = {}
    for note in dict.fromkeys(notes):
        name, _, rest = note.partition(" ")
        alike.setdefault(rest, []).append(name)
    found: list[str] = []
    for rest, (first, *others) in alike.items():
        if len(others) + 1 < _ALIKE:
            found += [f"{name} {rest}".rstrip() for name in (first, *others)]
            continue
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        found.append(f"{first} {rest}; likewise {', '.join(others[:_NAMED])}{more}")
    return tuple(found)
