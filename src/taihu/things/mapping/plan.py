"""Plans for plain JSON objects: what each place of an object's values is, worked out once per tuple of keys."""

from typing import NamedTuple

from taihu.things.mapping.rules import Format, Mapping


class KeyPlan(NamedTuple):
    """The properties of an object's values in their order, without the time, and the place of the time.

    It holds for objects whose values are numbers, text, booleans or null, and whose time has no decimals (a float may
    have lost some): any other goes to the decoder.
    """

    names: tuple[str, ...]
    time_index: int | None


def plan_for(keys: tuple[str, ...], mapping: Mapping) -> KeyPlan | None:
    """The plan of an object with these keys; None where only the decoder can tell.

    >>> plan_for(("ts", "power"), Mapping(name="m", topic="t", format=Format.FLAT_JSON))
    KeyPlan(names=('power',), time_index=0)
    """
    if mapping.format is Format.THINGSBOARD:
        if "values" in keys:
            return None
    elif mapping.format is not Format.FLAT_JSON:
        return None
    times = [place for place, key in enumerate(keys) if key in mapping.time]
    names = tuple(mapping.rename.get(key, key) for key in keys if key not in mapping.time)
    if len(times) > 1 or len(set(names)) < len(names) or not names:
        return None
    return KeyPlan(names, times[0] if times else None)
