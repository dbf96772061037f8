"""Topic patterns: MQTT levels, some of them captured by name."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from taihu.kernel.limits import DEFAULT

CAPTURE = re.compile(r"\{([a-z_]+)\}")
_TOPIC_BYTES_MAX = 65_535


class Pattern(NamedTuple):
    """A parsed pattern.

    `regex` matches a whole topic and names its captures; `literal` says that there is nothing to match but text.
    `rank` sorts the pattern that says more before the one that says less, level by level.
    """

    regex: re.Pattern[str]
    captures: Mapping[str, str]
    literal: bool
    rank: tuple[int, ...]


def parse_pattern(text: str, given: Mapping[str, str] | None = None) -> Pattern:
    """Parse `plant/{thing}/+/{property}`: `{name}` captures a level, `+` skips one, a last `#` skips the rest.

    A capture in `given` matches only the text given for it. `captures` maps each capture to an example of it.
    Raises ValueError, saying what is wrong.

    >>> parse_pattern("plant/{thing}/+").regex.fullmatch("plant/press/x").groupdict()
    {'thing': 'press'}
    """
    levels = text.split("/")
    if not text or len(text.encode("utf-8", "replace")) > _TOPIC_BYTES_MAX or "\0" in text:
        raise ValueError("a topic has 1 to 65,535 bytes and no NUL")
    if len(levels) > DEFAULT.mqtt_topic_levels_max:
        raise ValueError(f"{text[:80]!r} has more than {DEFAULT.mqtt_topic_levels_max} levels")
    captures: dict[str, str] = {}
    parts: list[str] = []
    rank: list[int] = []
    for index, level in enumerate(levels):
        capture = CAPTURE.fullmatch(level)
        if capture:
            name = capture[1]
            if name in captures:
                raise ValueError(f"{{{name}}} stands twice in {text[:80]!r}")
            captures[name] = name
            fixed = (given or {}).get(name)
            parts.append(f"(?P<{name}>{'[^/]+' if fixed is None else re.escape(fixed)})")
            rank.append(1)
        elif level == "+":
            parts.append("[^/]*")
            rank.append(2)
        elif level == "#" and index == len(levels) - 1:
            rank.append(3)
        elif set("+#{}") & set(level):
            raise ValueError(f"{level[:80]!r} is no level: {{name}}, + and a last # each fill a whole one")
        else:
            parts.append(re.escape(level))
            rank.append(0)
    body = "/".join(parts)
    if levels[-1] == "#":
        body = f"{body}(?:/.*)?" if parts else ".*"
    return Pattern(re.compile(body, re.DOTALL), captures, not any(rank), tuple(rank))


def fill(template: str, captures: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced by its capture.

    >>> fill("{building}-{device}", {"building": "a", "device": "7"})
    'a-7'
    """
    return CAPTURE.sub(lambda match: captures.get(match[1], ""), template)
