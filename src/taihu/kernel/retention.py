"""How long readings are kept, and the windows rolled up from them: rules of a property, a project and the site."""

import re
from functools import lru_cache

import msgspec

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError

FOREVER = 1 << 62
STEPS = ("", "1m", "1h", "1d")  # readings, and the rollups by their steps
AGE_MIN_S = 60
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_AGE = re.compile(r"(\d{1,9})([smhdwy])")

Ages = tuple[int, int, int, int]
"""For each of STEPS the age at which it expires (ns), or FOREVER; none is shorter than the one before."""


class RetentionRefused(RefusedError):
    """An age is none: write a number and a unit, such as 90d, or forever."""

    code = "retention"


class Retention(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"minutes": "1m", "hours": "1h", "days": "1d"},
):
    """How old readings (`raw`) and windows of a minute, an hour and a day may get: `90d`, `2y` or `forever`.

    What is empty follows the next rule: the property's, then the project's, then the site's, then forever.
    """

    raw: str = ""
    minutes: str = ""
    hours: str = ""
    days: str = ""

    def parts(self) -> tuple[str, str, str, str]:
        """The ages as written, in the order of STEPS."""
        return (self.raw, self.minutes, self.hours, self.days)


@lru_cache(maxsize=1_024)
def parse_age(text: str) -> int:
    """An age in nanoseconds; raises RetentionRefused.

    >>> parse_age("2d") // 10**9, parse_age("forever") == FOREVER
    (172800, True)
    """
    if text == "forever":
        return FOREVER
    found = _AGE.fullmatch(text)
    if found is None:
        raise RetentionRefused(
            f"{text!r} is no age.", "Write a number and s, m, h, d, w or y, such as 90d; or forever."
        )
    seconds = int(found[1]) * _UNITS_S[found[2]]
    if seconds < AGE_MIN_S:
        raise RetentionRefused(f"{text} is less than a minute.", "Keep readings for at least 1m.")
    return min(seconds * NS_PER_S, FOREVER)


def age_text(age: int) -> str:
    """An age in nanoseconds as people write it.

    >>> age_text(parse_age("48h")), age_text(parse_age("90m"))
    ('2d', '90m')
    """
    if age >= FOREVER:
        return "forever"
    seconds = age // NS_PER_S
    unit = next(unit for unit in ("y", "d", "h", "m", "s") if seconds % _UNITS_S[unit] == 0)
    return f"{seconds // _UNITS_S[unit]}{unit}"


def check_retention(rule: Retention) -> Retention:
    """Return `rule` if each of its ages is one; raises RetentionRefused."""
    for part in rule.parts():
        if part:
            parse_age(part)
    return rule


def ages_of(*rules: Retention | None) -> Ages:
    """What rules come to, the first that says something before the others.

    A rollup is kept at least as long as what it is rolled up from, so that no window is missing before its readings.

    >>> [age // 86_400_000_000_000 for age in ages_of(Retention(raw="30d"), Retention(raw="1y", hours="5y"))[:3]]
    [30, 30, 1825]
    """
    found: list[int] = []
    for place in range(len(STEPS)):
        own = next((part for rule in rules if rule is not None and (part := rule.parts()[place])), "")
        age = parse_age(own) if own else 0 if found else FOREVER
        found.append(max(age, found[-1]) if found else age)
    return (found[0], found[1], found[2], found[3])
