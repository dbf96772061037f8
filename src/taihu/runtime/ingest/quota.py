"""The limit of what a project may store: told of at four fifths, and at the limit its readings are refused (§6).

Others go on; and it does by itself, when retention or a deletion has made room. The worker tells what is stored.
"""

import logging
from collections.abc import Callable, Mapping

from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.reasons import Reason
from taihu.runtime.ingest.access import Access, Identity

log = logging.getLogger("taihu.storage")

WARN_SHARE = 0.8
REMEDY = "Shorten its retention or delete readings, or raise [[project]] storage_bytes_max."


class StorageFull(LimitError):
    """The project stores as much as it may: its readings are refused until there is room."""

    code = "storage-full"


class Quota:
    """What each project stores and may store. Used on the event loop."""

    def __init__(self, site: Site, limits: Limits, changed: Callable[[str], None]) -> None:
        """`changed` is called with a project that becomes full, or is full no more."""
        self.bytes: dict[str, int] = {}
        self.full: frozenset[str] = frozenset()
        self._changed = changed
        self._limits = limits
        self.nearly_full: frozenset[str] = frozenset()
        self._own = _own(site)

    def use(self, site: Site) -> None:
        """Go by changed settings."""
        self._own = _own(site)
        self.take(self.bytes)

    def bytes_max(self, project: str) -> int:
        """What a project may store in files."""
        return self._own.get(project, self._limits.storage_bytes_per_project_max)

    def take(self, found: Mapping[str, int]) -> None:
        """The bytes that each project has in files now."""
        self.bytes = dict(found)
        shares = {name: size / max(self.bytes_max(name), 1) for name, size in self.bytes.items()}
        full = frozenset(name for name, share in shares.items() if share >= 1)
        warned = frozenset(name for name, share in shares.items() if share >= WARN_SHARE)
        for name in sorted(warned - self.nearly_full - full):
            said = "%s stores %d bytes and may store %d: at the limit its readings are refused. %s"
            log.warning(said, name, self.bytes[name], self.bytes_max(name), REMEDY)
        before, self.full, self.nearly_full = self.full, full, warned
        for name in sorted(full - before):
            said = "%s stores all that it may (%d bytes); its readings are refused. %s"
            log.error(said, name, self.bytes[name], REMEDY)
        for name in sorted(before - full):
            log.warning("%s has room again; its readings are taken", name)
        for name in full ^ before:
            self._changed(name)

    def reason(self, project: str) -> str:
        """Why readings of a project are refused; empty when they are taken."""
        return f"the project stores all that it may ({self.bytes_max(project)} bytes)" if project in self.full else ""

    def attach(self, access: Access) -> None:
        """Have readings that come by MQTT refused with their reason."""

        def refusal(identity: Identity, topic: str) -> int:
            why = self.reason(identity.space)
            if not why or access.claim(identity, topic) is None:
                return Reason.SUCCESS
            access.on_refused(identity.space, identity.thing, why)
            return Reason.QUOTA_EXCEEDED

        access.full = refusal

    def check(self, project: str) -> None:
        """Raise StorageFull when the project is full."""
        if project in self.full:
            raise StorageFull(f"{project} stores all that it may ({self.bytes_max(project)} bytes).", REMEDY)


def _own(site: Site) -> dict[str, int]:
    return {one.name: one.storage_bytes_max for one in site.projects if one.storage_bytes_max is not None}
