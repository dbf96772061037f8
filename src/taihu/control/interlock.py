"""Interlocks: conditions over the twin that must hold at the moment a command is sent.

A condition is `property op literal`, where a property of another thing of the project is written `thing/property`, and
op is one of `>= <= > < == !=`. A value that is missing or stale holds no condition (§3).
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec

from taihu.kernel.errors import RefusedError

_CONDITION = re.compile(r"\s*([^<>=!]+?)\s*(>=|<=|==|!=|>|<)\s*(.+?)\s*", re.DOTALL)
_TEXT_MAX = 300
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

Look = Callable[[str, str], Any]
"""The value of a property that holds now, by thing and name; None when it is missing or stale."""


class ConditionRefused(RefusedError):
    """A text is no condition; the message shows how to write one."""

    code = "condition"


class Condition(msgspec.Struct, frozen=True):
    """One condition. An empty `thing` is the thing that the command is for."""

    thing: str
    name: str
    op: str
    value: float | bool | str

    def fault(self, thing: str, look: Look) -> str:
        """Why it does not hold for a command to `thing`; empty when it does."""
        where = self.thing or thing
        found = look(where, self.name)
        wanted = f"{where}/{self.name} {self.op} {msgspec.json.encode(self.value).decode()}"
        if found is None:
            return f"{wanted} is not known: {where}/{self.name} is missing or stale"
        if isinstance(found, str) != isinstance(self.value, str):
            return f"{wanted} cannot be: it is {found!r}"
        return "" if _OPERATORS[self.op](found, self.value) else f"{wanted} does not hold: it is {found}"


def parse_condition(text: str) -> Condition:
    """A condition from its text; raises ConditionRefused.

    >>> parse_condition("pump/flow >= 0.5")
    Condition(thing='pump', name='flow', op='>=', value=0.5)
    """
    found = _CONDITION.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if found is None:
        raise ConditionRefused(f"{text[:80]!r} is no condition.", 'Write one such as "flow >= 0.5".')
    path, op, literal = found.groups()
    thing, _, name = path.rpartition("/")
    try:
        value = msgspec.json.decode(literal, type=float | bool | str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise ConditionRefused(
            f"{literal[:40]!r} is no value.", "Write a number, true, false, or a string in quotes."
        ) from None
    if isinstance(value, str | bool) and op not in ("==", "!="):
        raise ConditionRefused(f"{op} compares numbers.", f'Write "{path} == {literal}".')
    return Condition(thing, name, op, value)
