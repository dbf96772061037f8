"""A project's certificates and the ledger together: what was produced and consumed is what the ledger says."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taihu.carbon.certificates import CertificateRefused, Event, Registry
from taihu.carbon.ledger import Cause, Ledger, Mark

CERTIFIED = "certificates"
_WH_PER_KWH = 1_000
_events = msgspec.json.Decoder(Event)


class Certifier:
    """The one who changes certificates. A registry is replayed once, and then follows what is done.

    `region_of` says which grid a consumer's account is on.
    """

    def __init__(self, ledger: Ledger, region_of: Callable[[str, str], str]) -> None:
        self._ledger = ledger
        self._region_of = region_of
        self._registries: dict[str, Registry] = {}

    def registry(self, project: str) -> Registry:
        """The project's certificates as they are now."""
        found = self._registries.get(project)
        if found is None:
            found = self._registries[project] = Registry(map(_events.decode, self._ledger.events(project)))
        return found

    def forget(self, project: str) -> None:
        """The project was deleted."""
        self._registries.pop(project, None)

    def certify(self, project: str, wanted: Mapping[str, Any], now_ns: int) -> Event:
        """Do one operation on the project's certificates; durable at return.

        What a device produced and a consumer consumed is taken from the ledger, whatever `wanted` says.

        Raises:
            CertificateRefused: it would use energy that is not there.
        """
        facts: dict[str, Any] = dict(wanted)
        registry = self.registry(project)
        try:
            start = int(facts.get("start", 0))
            if facts.get("type") == "issue":
                facts["produced_wh"] = self._wh(project, str(facts.get("device")), start, "generation_kwh")
            elif facts.get("type") == "cancel":
                bundle = registry.bundles.get(str(facts.get("bundle")))
                consumer = str(facts.get("consumer"))
                facts["consumed_wh"] = self._wh(project, consumer, bundle.start if bundle else 0, "import_kwh")
                self._check_deliverable(bundle.location if bundle else "", self._region_of(project, consumer))
            event: Event = msgspec.convert(facts, Event)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise CertificateRefused(f"That is no operation on certificates: {error}.", "See docs/carbon.md.") from None
        registry.apply(event)
        try:
            self._ledger.add_events(project, [msgspec.json.encode(event)], now_ns)
        except BaseException:
            self.forget(project)  # what is not kept did not happen
            raise
        if facts["type"] == "cancel":
            at = registry.bundles[facts["bundle"]].start
            self._ledger.mark(project, facts["consumer"], Mark(Cause.CERTIFICATES, at, CERTIFIED))
        return event

    def cancelled_kwh(self, project: str, consumer: str, start: int) -> float:
        """What certificates cover of a consumer's interval."""
        return self.registry(project).cancelled(consumer, start) / _WH_PER_KWH

    def _check_deliverable(self, location: str, region: str) -> None:
        if location and region and location != region:
            raise CertificateRefused(
                f"The certificate is of {location}, the consumer is in {region}.", "Use one of the same grid."
            )

    def _wh(self, project: str, meter: str, start: int, name: str) -> int:
        row = self._ledger.current_row(project, meter, start)
        known = None if row is None else getattr(row, name)
        return 0 if known is None else int(known * _WH_PER_KWH)
