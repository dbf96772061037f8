"""What was last driven under which standing permit: what is let go when that permit is withdrawn, or expires."""

from collections.abc import Container
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from taihu.control.command import Affordance, Command
from taihu.control.permit import Standing

_Key = tuple[str, str]  # thing and property
_PATTERN = frozenset("*?[")


class _Driver(msgspec.Struct, frozen=True, array_like=True):
    """The permit of the newest write, its holder, and when it was; no permit where another authority wrote since."""

    standing: str
    holder: str
    at: int


class Driven:
    """Properties by the permit that they were last written under, of permits that say what comes after them."""

    def __init__(self) -> None:
        self._projects: dict[str, dict[_Key, _Driver]] = {}

    def see(self, command: Command, standing: Standing | None) -> None:
        """A command was permitted, under a permit or not."""
        if command.affordance is not Affordance.PROPERTY:
            return
        key, by = (command.thing, command.name), standing is not None and standing.rest is not None and not command.last
        known = self._projects.get(command.project, {}).get(key)
        if (known is not None or by) and (known is None or known.at <= command.at):
            driver = _Driver(command.standing, command.who, command.at) if by else _Driver("", "", command.at)
            self._projects.setdefault(command.project, {})[key] = driver

    def things(self, standing: Standing, held: Container[str]) -> list[str]:
        """What a permit drives: what was last written under it, or by its holder under one that is not `held` any more.

        Nothing where the permit does not say what comes after it.
        """
        if standing.rest is None:
            return []
        known, name = self._projects.get(standing.project, {}), standing.name
        if not _PATTERN & set(standing.things):
            named = [(standing.things, name)] if (standing.things, name) in known else []
        else:
            named = [key for key in known if key[1] == name and fnmatchcase(key[0], standing.things)]
        return [
            key[0]
            for key in named
            if known[key].standing == standing.id
            or (known[key].standing not in held and known[key].holder == standing.holder)
        ]

    def forget(self, project: str, thing: str) -> None:
        """Drop what is known of a thing, or of a whole project."""
        left = {key: one for key, one in self._projects.pop(project, {}).items() if thing and key[0] != thing}
        if left:
            self._projects[project] = left

    def state(self) -> list[Any]:
        """All of it, as `restore` takes it."""
        return [(project, *key, one) for project, known in self._projects.items() for key, one in known.items()]

    def restore(self, state: list[Any]) -> None:
        """Take over what was known."""
        self._projects = {}
        for project, thing, name, driver in state:
            self._projects.setdefault(project, {})[thing, name] = msgspec.convert(driver, _Driver)
