"""Whether a command may be: by its standing permit, the project's rules, who gives it, how often, and the plant now."""

from collections.abc import Sequence
from typing import Any

from taihu.control.book import Book
from taihu.control.command import Command
from taihu.control.recent import Recent
from taihu.control.request import Facts
from taihu.control.rule import Role, Rule, for_command


class Judge:
    """Judges the commands of a node; remembers those of the last minute that were admitted."""

    def __init__(self, facts: Facts, book: Book) -> None:
        self._facts = facts
        self._book = book
        self._recent = Recent()

    def rules(self, command: Command) -> list[Rule]:
        """The rules that a command has to keep."""
        return for_command(self._facts.rules(command.project), command)

    def fault(self, command: Command, role: Role, now: int) -> str:
        """Why it may not be; empty when it may."""
        if fault := self._standing_fault(command, now):
            return fault
        rules = self.rules(command)
        if rules:
            zone = self._facts.zone(command.project)
            if fault := next((why for rule in rules if (why := rule.fault(command, role, zone, now))), ""):
                return fault
        if role < Role.OPERATOR:
            return "this token may not give commands"
        rate_fault = "" if command.last else self._rate_fault(command, command.name, _rates(rules), now)
        return rate_fault or self._interlock_fault(command, rules)

    def waits(self, command: Command) -> bool:
        """Whether it waits for a second person."""
        return (
            not (command.standing or command.approved_by)
            and any(rule.two_person for rule in self.rules(command))
        )  # fmt: skip

    def admit(self, command: Command, now: int) -> None:
        """It is permitted, and counts for what limits how often such commands may be."""
        for name in (command.standing, command.name if _rates(self.rules(command)) else ""):
            if name:
                self._recent.add((command.project, command.thing, name), now)

    def leaving_fault(self, command: Command) -> str:
        """Why what was permitted may not leave now; empty when it may."""
        if command.standing and not command.last and command.standing not in self._book.standings:
            return "its standing permit was withdrawn"
        return self._interlock_fault(command, self.rules(command))

    def _standing_fault(self, command: Command, now: int) -> str:
        if not command.standing or command.last:  # the end of a permit is an authority of its own, whatever its rate
            return ""
        standing = self._book.standings.get(command.standing)
        if standing is None:
            return f"there is no standing permit {command.standing[:40]!r}"
        return standing.fault(command, now) or self._rate_fault(command, standing.id, [standing.per_minute], now)

    def _rate_fault(self, command: Command, name: str, limits: Sequence[int], now: int) -> str:
        if not limits:
            return ""
        count = self._recent.count((command.project, command.thing, name), now)
        return f"{count} in the last minute are as many as may be" if count >= min(limits) else ""

    def _interlock_fault(self, command: Command, rules: Sequence[Rule]) -> str:
        def look(thing: str, name: str) -> Any:
            return self._facts.holds(command.project, thing, name)

        return next((why for rule in rules if (why := rule.interlock(command, look))), "")


def _rates(rules: Sequence[Rule]) -> list[int]:
    return [rule.per_minute for rule in rules if rule.per_minute is not None]
