"""How long the site keeps what, as its settings say; the definitions of properties come before them."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taihu.kernel.clock import Clock
from taihu.kernel.retention import FOREVER, Retention, ages_of
from taihu.kernel.sections import Site
from taihu.things.property import Property

_KNOWN_MAX = 10_000


class SiteRules:
    """The rules of a site and its projects; implements `history.floors.Rules`.

    Args:
        site: whose settings.
        known: another number after each change of definitions.
    """

    def __init__(self, site: Site, known: Callable[[], int] = lambda: 0) -> None:
        self._known = known
        self._changes = 1
        self.use(settings_of(site))

    @property
    def version(self) -> int:
        """Another number after each change of rules or definitions."""
        return self._changes + self._known()

    def use(self, settings: Any) -> None:
        """Go by other settings from now on, as `settings_of` gives them."""
        self._site = msgspec.convert(settings["site"], Retention)
        self._projects = {name: msgspec.convert(rule, Retention) for name, rule in settings["projects"].items()}
        self._changes += 1

    def defaults(self, project: str) -> tuple[Retention, ...]:
        """The rules of a project and of the site, in the order they count."""
        own = self._projects.get(project)
        return (self._site,) if own is None else (own, self._site)

    def raw_age(self, project: str, definition: Property) -> int:
        """How old readings of a property may get (ns), or FOREVER."""
        return ages_of(definition.retention, *self.defaults(project))[0]


class Newest:
    """Says of the newest values of things which have expired."""

    def __init__(
        self, rules: SiteRules, definitions: Callable[[str, str], Mapping[str, Property] | None], clock: Clock
    ) -> None:
        self._rules = rules
        self._definitions = definitions
        self._clock = clock
        self._known: dict[tuple[str, int], tuple[Any, dict[str, int]]] = {}
        self._version = 0

    def __call__(self, project: str, thing: str) -> Callable[[str, int], bool] | None:
        """Whether a property's reading of a time has expired; None where none ever does."""
        definitions = self._definitions(project, thing) or {}
        if self._version != self._rules.version or len(self._known) > _KNOWN_MAX:
            self._known, self._version = {}, self._rules.version
        known = self._known.get((project, id(definitions)))
        if known is None or known[0] is not definitions:
            ages = {name: self._rules.raw_age(project, one) for name, one in definitions.items()}
            mortal = {name: age for name, age in ages.items() if age < FOREVER}
            known = self._known[project, id(definitions)] = (definitions, mortal)
        ages = known[1]
        if not ages:
            return None
        now_ns = self._clock.now_ns()
        return lambda name, observed_at: observed_at < now_ns - ages.get(name, FOREVER)


def settings_of(site: Site) -> dict[str, Any]:
    """The rules in a site's settings, as `SiteRules.use` takes them and the link carries them."""
    projects = {project.name: project.retention for project in site.projects if project.retention != Retention()}
    return msgspec.to_builtins({"site": site.retention, "projects": projects})  # type: ignore[no-any-return]
