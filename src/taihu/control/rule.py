"""Rules a project sets for commands: who, how much, how often, when, and only while which conditions hold."""

from collections.abc import Iterable
from datetime import time
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.control.command import Affordance, Command
from taihu.control.interlock import Condition, ConditionRefused, Look, parse_condition
from taihu.kernel.clock import to_datetime
from taihu.kernel.sections import CommandRuleConfig


class Role(IntEnum):
    """Who gives a command; a higher role may all that a lower one may."""

    VIEWER = 0
    OPERATOR = 1
    OWNER = 2


class Confirm(msgspec.Struct, frozen=True):
    """How an unconfirmed command is confirmed: the property reads back as written, within a tolerance."""

    name: str
    tolerance: float


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, for the things and the affordance that its patterns name."""

    things: str
    name: str
    role: Role
    minimum: float | None
    maximum: float | None
    per_minute: int | None
    quiet: tuple[tuple[time, time], ...]
    interlocks: tuple[Condition, ...]
    two_person: bool
    idempotent: bool
    retries: int
    confirm: Confirm | None

    def covers(self, command: Command) -> bool:
        """Whether it is for a command."""
        return fnmatchcase(command.thing, self.things) and fnmatchcase(command.name, self.name)

    def fault(self, command: Command, role: Role, zone: ZoneInfo, now: int) -> str:
        """Why the command may not be, whatever the state of the plant; empty when it may."""
        if role < self.role and not command.standing:
            return f"it takes the role {self.role.name.lower()}"
        if fault := _range_fault(command.input, self.minimum, self.maximum):
            return fault
        at = to_datetime(now).astimezone(zone).time()
        for start, end in self.quiet:
            if start <= at < end or (end <= start and (at >= start or at < end)):
                return f"between {start:%H:%M} and {end:%H:%M} is quiet"
        return ""

    def interlock(self, command: Command, look: Look) -> str:
        """Why the plant does not allow it now; empty when it does."""
        return next((fault for one in self.interlocks if (fault := one.fault(command.thing, look))), "")


def read_rule(config: CommandRuleConfig) -> Rule:
    """A rule from `site.toml`; raises ConditionRefused."""
    confirm = Confirm(config.confirm, config.tolerance) if config.confirm else None
    return Rule(
        things=config.thing,
        name=config.name,
        role=Role[config.role.upper()],
        minimum=config.minimum,
        maximum=config.maximum,
        per_minute=config.per_minute,
        quiet=tuple(_hours(text) for text in config.quiet),
        interlocks=tuple(parse_condition(text) for text in config.only_while),
        two_person=config.two_person,
        idempotent=config.idempotent,
        retries=config.retries,
        confirm=confirm,
    )


def for_command(rules: Iterable[Rule], command: Command) -> list[Rule]:
    """The rules that a command has to keep."""
    return [rule for rule in rules if rule.covers(command)]


def may_repeat(rules: Iterable[Rule], command: Command) -> bool:
    """Whether sending it twice does what sending it once does: writing a property does, an action only if declared."""
    return command.affordance is Affordance.PROPERTY or any(rule.idempotent for rule in rules)


def _range_fault(value: Any, minimum: float | None, maximum: float | None) -> str:
    if minimum is None and maximum is None:
        return ""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "it takes a number"
    if minimum is not None and value < minimum:
        return f"{value:g} is below {minimum:g}"
    if maximum is not None and value > maximum:
        return f"{value:g} is above {maximum:g}"
    return ""


def _hours(text: str) -> tuple[time, time]:
    start, _, end = text.partition("-")
    try:
        return time.fromisoformat(start.strip()), time.fromisoformat(end.strip())
    except ValueError:
        raise ConditionRefused(f"{text[:40]!r} is no time of day.", 'Write one such as "22:00-06:00".') from None
