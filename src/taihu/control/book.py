"""The book of commands: those that are open, and the last that ended, by project and thing."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from taihu.control.command import Command, State, Step
from taihu.control.driven import Driven
from taihu.control.permit import Standing
from taihu.kernel.limits import Limits

_UNANSWERED = (State.UNCONFIRMED, State.SENT)


class Book:
    """Commands by id. Of those that ended a project keeps the last `commands_kept_per_project_max`."""

    def __init__(self, limits: Limits) -> None:
        self.standings: dict[str, Standing] = {}
        self.driven = Driven()
        self._standing_counts: Counter[str] = Counter()  # by project
        self._limits = limits
        self._commands: dict[str, Command] = {}
        self._open: dict[str, dict[str, dict[str, None]]] = {}  # project, thing, ids
        self._counts: dict[str, int] = {}
        self._ended: dict[str, OrderedDict[str, None]] = {}  # whose first is found at once however many have gone
        self._keys: dict[tuple[str, str], str] = {}
        self._unanswered = 0
        self.open_total = 0
        """How many commands are open."""

    def put(self, command: Command) -> None:
        """Add a command, or take one step over."""
        known = self._commands.get(command.id)
        self._commands[command.id] = command
        self._unanswered += (command.state in _UNANSWERED) - (known is not None and known.state in _UNANSWERED)
        if command.key:
            self._keys[command.project, command.key] = command.id
        if command.when(State.PERMITTED) is not None and (known is None or known.state is State.QUEUED):
            self.driven.see(command, self.standings.get(command.standing))
        was_open = known is not None and not known.ended
        if not command.ended and not was_open:
            self._open.setdefault(command.project, {}).setdefault(command.thing, {})[command.id] = None
            self._counts[command.project] = self._counts.get(command.project, 0) + 1
            self.open_total += 1
        elif command.ended and (was_open or known is None):
            self._end(command, was_open=was_open)

    def get(self, number: str) -> Command | None:
        """A command that is known, or None."""
        return self._commands.get(number)

    def find(self, project: str, number: str) -> Command | None:
        """A command of a project; another project's is not found (§11)."""
        command = self._commands.get(number)
        return command if command is not None and command.project == project else None

    def by_key(self, project: str, key: str) -> Command | None:
        """The command of an idempotency key."""
        return self._commands.get(self._keys.get((project, key), ""))

    def open_of(self, project: str, thing: str) -> list[Command]:
        """What is open of a thing, oldest first."""
        return [self._commands[number] for number in self._open.get(project, {}).get(thing, ())]

    def open_count(self, project: str) -> int:
        """How many commands of a project are open."""
        return self._counts.get(project, 0)

    def open(self) -> Iterator[Command]:
        """Everything that is open."""
        for things in self._open.values():
            for numbers in things.values():
                for number in numbers:
                    yield self._commands[number]

    def unconfirmed(self, project: str, thing: str) -> Iterator[Command]:
        """What was sent to a thing and not answered."""
        for number in self._open.get(project, {}).get(thing, ()):
            if self._commands[number].state in _UNANSWERED:
                yield self._commands[number]

    @property
    def unconfirmed_count(self) -> int:
        """How many commands were sent and not answered."""
        return self._unanswered

    def of_project(self, project: str, thing: str = "") -> list[Command]:
        """A project's commands, of one thing or all, newest first."""
        numbers = list(self._ended.get(project, ()))
        numbers += [number for open_numbers in self._open.get(project, {}).values() for number in open_numbers]
        found = [self._commands[number] for number in numbers]
        return sorted((each for each in found if thing in ("", each.thing)), key=lambda each: (-each.at, each.id))

    def standing_of(self, project: str) -> Sequence[Standing]:
        """A project's standing permits."""
        return [standing for standing in self.standings.values() if standing.project == project]

    def standing_count(self, project: str) -> int:
        """How many standing permits a project has."""
        return self._standing_counts[project]

    def hold(self, standing: Standing) -> None:
        """A standing permit is issued."""
        self._standing_counts[standing.project] += standing.id not in self.standings
        self.standings[standing.id] = standing

    def end(self, number: str) -> None:
        """A standing permit, if there is one, ends."""
        standing = self.standings.pop(number, None)
        if standing is not None:
            self._standing_counts[standing.project] -= 1

    def everything(self) -> Iterator[Command]:
        """Every command, those that ended first in the order of their end."""
        for numbers in self._ended.values():
            for number in numbers:
                yield self._commands[number]
        yield from self.open()

    def forget(self, project: str, thing: str = "") -> None:
        """Drop what is known of a thing, or of a whole project, that was deleted."""
        for command in self.of_project(project, thing):
            self._drop(command)
        self.driven.forget(project, thing)
        for standing in self.standing_of(project):
            if not thing:
                self.end(standing.id)

    def apply(self, record: Any) -> None:
        """Take over a decoded record; one that is known already changes nothing."""
        match record:
            case ("command", fields):
                command = msgspec.convert(fields, Command)
                known = self._commands.get(command.id)
                if known is None or len(known.steps) < len(command.steps):
                    self.put(command)
            case ("step", number, place, fields):
                known = self._commands.get(number)
                if known is not None and len(known.steps) == place:
                    self.put(msgspec.structs.replace(known, steps=(*known.steps, msgspec.convert(fields, Step))))
            case ("approved", number, who):
                known = self._commands.get(number)
                if known is not None and who not in known.approved_by:
                    self.put(msgspec.structs.replace(known, approved_by=(*known.approved_by, who)))
            case ("standing", fields):
                self.hold(msgspec.convert(fields, Standing))
            case ("withdrawn", number):
                self.end(number)
            case ("driven", state):
                self.driven.restore(state)

    def _end(self, command: Command, *, was_open: bool) -> None:
        if was_open:
            self._close(command)
        ended = self._ended.setdefault(command.project, OrderedDict())
        ended[command.id] = None
        while len(ended) > self._limits.commands_kept_per_project_max:
            self._drop(self._commands[next(iter(ended))])

    def _close(self, command: Command) -> None:
        things = self._open[command.project]
        del things[command.thing][command.id]
        if not things[command.thing]:
            del things[command.thing]
        self._counts[command.project] -= 1
        self.open_total -= 1

    def _drop(self, command: Command) -> None:
        if self._commands.pop(command.id, None) is not None:
            self._unanswered -= command.state in _UNANSWERED
        self._keys.pop((command.project, command.key), None)
        if (ended := self._ended.get(command.project)) is not None:
            ended.pop(command.id, None)
        if command.id in self._open.get(command.project, {}).get(command.thing, {}):
            self._close(command)
