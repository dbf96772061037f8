"""How the things of a project belong together: sites, buildings, meters and submeters, assets, tags and groups."""

from collections.abc import Iterable

from taihu.kernel.errors import RefusedError
from taihu.things.property import Thing

ROLE_MAIN_METER = "main_meter"
ROLE_SUBMETER = "submeter"
_METERS = (ROLE_MAIN_METER, ROLE_SUBMETER)
_SHOWN_MAX = 8


class TopologyError(RefusedError):
    """Things cannot belong together as declared; the message names them."""

    code = "topology"


class Topology:
    """An index over the things of one project.

    A thing's `parent` is the thing it is part of or, for a submeter, the meter it is behind. Parents may be declared
    before they exist. Raises TopologyError when parents form a circle or a site would have two main meters.
    """

    def __init__(self, things: Iterable[Thing] = ()) -> None:
        self._things: dict[str, Thing] = {}
        self._children: dict[str, set[str]] = {}
        self._sites: dict[str, set[str]] = {}
        self._groups: dict[str, set[str]] = {}
        self._tags: dict[str, set[str]] = {}
        self._main_meters: dict[str, str] = {}
        for thing in things:
            self.put(thing)

    def put(self, thing: Thing) -> None:
        """Add a thing or replace the one of its name; on error nothing is changed."""
        self._check_circle(thing)
        other = self._main_meters.get(thing.site)
        if _is_main_meter(thing) and other not in (None, thing.name):
            raise TopologyError(
                f"The site {thing.site!r} already has the main meter {other!r}.",
                f"Give {thing.name!r} the role {ROLE_SUBMETER}, or another site.",
            )
        self.remove(thing.name)
        self._things[thing.name] = thing
        for index, key in self._entries(thing):
            index.setdefault(key, set()).add(thing.name)
        if _is_main_meter(thing):
            self._main_meters[thing.site] = thing.name

    def remove(self, name: str) -> None:
        """Take a thing out; its children keep its name as their parent. Nothing happens when it is absent."""
        thing = self._things.pop(name, None)
        if thing is None:
            return
        for index, key in self._entries(thing):
            index[key].discard(name)
            if not index[key]:
                del index[key]
        if _is_main_meter(thing):
            del self._main_meters[thing.site]

    def children(self, name: str) -> list[str]:
        """The things directly under `name`, sorted."""
        return sorted(self._children.get(name, ()))

    def descendants(self, name: str) -> list[str]:
        """All things under `name`, at any depth, sorted."""
        found: list[str] = []
        front = [name]
        while front:
            below = [child for parent in front for child in self._children.get(parent, ())]
            found += below
            front = below
        return sorted(found)

    def ancestors(self, name: str) -> list[str]:
        """What `name` is part of, nearest first; the last may be a parent that does not exist yet."""
        found: list[str] = []
        thing = self._things.get(name)
        while thing is not None and thing.parent:
            found.append(thing.parent)
            thing = self._things.get(thing.parent)
        return found

    def main_meter(self, site: str) -> str | None:
        """The main meter of a site."""
        return self._main_meters.get(site)

    def submeters(self, meter: str) -> list[str]:
        """The meters directly behind `meter`, sorted.

        For a site's main meter, submeters of that site without a declared parent are behind it too.
        """
        found = {name for name in self._children.get(meter, ()) if self._things[name].role in _METERS}
        thing = self._things.get(meter)
        if thing is not None and _is_main_meter(thing):
            for name in self._sites.get(thing.site, ()):
                other = self._things[name]
                if other.role == ROLE_SUBMETER and not other.parent:
                    found.add(name)
        return sorted(found)

    def sites(self) -> list[str]:
        """All sites that things declare, sorted."""
        return sorted(self._sites)

    def select(self, site: str = "", building: str = "", group: str = "", tag: str = "", role: str = "") -> list[str]:
        """The things that meet every criterion given, sorted."""
        found: set[str] | None = None
        for index, key in ((self._sites, site), (self._groups, group), (self._tags, tag)):
            if key:
                names = index.get(key, set())
                found = set(names) if found is None else found & names
        return sorted(
            name
            for name in (self._things if found is None else found)
            if building in ("", self._things[name].building) and role in ("", self._things[name].role)
        )

    def _entries(self, thing: Thing) -> list[tuple[dict[str, set[str]], str]]:
        """Every index and key a thing is filed under."""
        single = [(self._children, thing.parent), (self._sites, thing.site)]
        many = [(self._groups, group) for group in set(thing.groups)] + [(self._tags, tag) for tag in set(thing.tags)]
        return [(index, key) for index, key in single + many if key]

    def _check_circle(self, thing: Thing) -> None:
        path, name = [thing.name], thing.parent
        while name:
            path.append(name)
            if name == thing.name:
                shown = " in ".join(path if len(path) <= _SHOWN_MAX else [*path[: _SHOWN_MAX - 1], "...", thing.name])
                raise TopologyError(f"Things cannot contain each other: {shown}.", "Change one of their parents.")
            parent = self._things.get(name)
            name = parent.parent if parent is not None else ""


def _is_main_meter(thing: Thing) -> bool:
    return thing.role == ROLE_MAIN_METER and bool(thing.site)
