"""Which decoder reads an HTTP body: by its content type, and by whether the caller or the body names the thing."""

from taihu.doors.http.ports import LINES, Caller
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import check_name
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.intake import Claim, Intake

_TOPICS = {
    ("application/json", True): "taihu/{project}/{thing}",
    ("application/json", False): "v1/gateway/telemetry",
    ("application/senml+json", True): "senml/{project}/{thing}",
    ("application/senml+json", False): "senml/{project}",
    ("application/senml+cbor", True): "senml/{project}/{thing}",
    ("application/senml+cbor", False): "senml/{project}",
    (LINES, True): "influx/{project}",
    (LINES, False): "influx/{project}",
}


class Unreadable(RefusedError):
    """Nothing here reads a body of this content type: the message names those that are read."""

    code = "content-type"


_TELEMETRY = "v1/devices/me/telemetry"
_ALIKE_MAX = 10_000


class Bodies:
    """Makes the claims of bodies. What the first of its kind took to find out is known of all that follow."""

    def __init__(self, access: Access, intake: Intake) -> None:
        self._access = access
        self._intake = intake
        self._generation = 0
        self._alike: dict[tuple[str, str, str, str, int], Claim] = {}

    def claim(self, caller: Caller, thing: str, content_type: str, unit_ns: int) -> Claim:
        """The claim of a body of readings; a thing may only speak for itself. Times of line protocol count `unit_ns`.

        Raises:
            RefusedError: another thing's name, or a content type nobody reads here.
        """
        if self._generation != self._intake.generation or len(self._alike) >= _ALIKE_MAX:
            self._generation, self._alike = self._intake.generation, {}
        key = caller.project, caller.thing, thing, content_type, unit_ns
        known = self._alike.get(key)
        if known is None:
            known = self._alike[key] = self._first(caller, thing, content_type, unit_ns)
        return known.again()

    def _first(self, caller: Caller, thing: str, content_type: str, unit_ns: int) -> Claim:
        if caller.thing and thing != caller.thing:
            raise RefusedError(f"This token may only send readings of {caller.thing!r}.", "Leave ?thing= out.")
        if thing:
            check_name(thing)
        pattern = _TOPICS.get((content_type or "application/json", bool(thing)))
        if pattern is None:
            raise Unreadable(
                f"Readings of type {content_type[:80]!r} are not read here.",
                f"Send application/json, application/senml+json, application/senml+cbor or {LINES}.",
            )
        if content_type == "application/json" and thing:
            pattern = _TELEMETRY  # {k: v}, {"ts", "values"}, or a list of these
        topic = pattern.format(project=caller.project, thing=thing)
        match = self._access.matcher(caller.project).match(topic)
        if match is None:
            raise RefusedError("The project's mappings claim no such body.", "See docs/mappings.md.")
        own, may_create = match.thing or thing or None, not caller.thing
        return self._access.claim_of(caller.project, match, own, may_create, unit_ns)
