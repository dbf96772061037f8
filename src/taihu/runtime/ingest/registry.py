"""The directory as the intake needs it; what traffic teaches is stored with the group that brought it."""

from collections.abc import Mapping

from taihu.identity.directory import Directory
from taihu.kernel.clock import parse_iso
from taihu.kernel.sections import Site
from taihu.runtime.ingest.quota import Quota
from taihu.runtime.retention import SiteRules, settings_of
from taihu.things.property import Property

_EARLIEST_NS = parse_iso("2000-01-02T00:00:00Z")  # a device that lost its clock says 1970 or 2000-01-01


class ThingRegistry:
    """Implements `intake.Registry` over the directory."""

    def __init__(self, directory: Directory, rules: SiteRules, quota: Quota) -> None:
        self._directory = directory
        self._rules = rules
        self._quota = quota

    @property
    def full(self) -> frozenset[str]:
        """The projects that store all that they may."""
        return self._quota.full

    def full_reason(self, project: str) -> str:
        """Why the readings of such a project are refused."""
        return self._quota.reason(project)

    def use(self, site: Site) -> None:
        """Go by changed settings."""
        self._rules.use(settings_of(site))
        self._quota.use(site)

    def raw_age(self, project: str, definition: Property) -> int:
        """How old a reading of the property may be to be taken (ns)."""
        return self._rules.raw_age(project, definition)

    def definitions(self, project: str, thing: str) -> Mapping[str, Property] | None:
        """The thing's properties, or None when there is no such thing."""
        return self._directory.definitions(project, thing)

    def model_of(self, project: str, thing: str) -> str:
        """The name of the thing's model."""
        known = self._directory.thing(project, thing)
        return known.model if known else ""

    def commissioned_at(self, project: str, thing: str) -> int:
        """When the thing came into service, where that is declared; otherwise the year 2000."""
        known = self._directory.thing(project, thing)
        return known.commissioned_at if known and known.commissioned_at else _EARLIEST_NS

    def infer(self, project: str, thing: str, properties: Mapping[str, Property]) -> None:
        """Add inferred properties."""
        self._directory.infer_properties(project, thing, properties.values())

    def create(self, project: str, thing: str) -> None:
        """Register a thing that a gateway or operator speaks for."""
        self._directory.adopt_thing(project, thing)
