"""Takes over a changed `site.toml` while the node runs: what can change is changed, what cannot is named."""

from typing import Any

import msgspec

from taihu.kernel.limits import AT_START, Limits
from taihu.kernel.sections import Site, SiteFile
from taihu.runtime.retention import settings_of

_LIVE = {
    "site.name",
    "site.title",
    "site.timezone",
    "mqtt.certificate",
    "mqtt.key",
    "mqtt.anonymous",
    "http.certificate",
    "http.cors_origins",
    "http.key",
    "mqtt.client_certificates",
    "http.client_certificates",
    "ca.trusted",
    "ca.revoked",
    "ca.passphrase_file",
    "ca.days",
    "log.level",
    "retention.raw",
    "retention.1m",
    "retention.1h",
    "retention.1d",
    "project",
    "grant",
}


class Report(msgspec.Struct, frozen=True):
    """The settings that changed: those that count from now on, and those that do after a restart."""

    applied: list[str] = []
    restart: list[str] = []

    def text(self) -> str:
        """In words."""
        applied = f"changed: {', '.join(self.applied)}" if self.applied else "no setting changed"
        return applied + (f"; after a restart only: {', '.join(self.restart)}" if self.restart else "")


def merge(old: Site, new: Site) -> tuple[Site, Report]:
    """The site as it is from now on, while the node runs: `old` with what may change taken from `new`."""
    report = Report()
    tables: dict[str, Any] = {}
    for section in msgspec.structs.fields(SiteFile):
        before, after = getattr(old, section.name), getattr(new, section.name)
        if isinstance(before, msgspec.Struct):
            tables[section.name] = _merge_table(section.encode_name, before, after, report)
        elif before != after and _note(section.encode_name, report):
            tables[section.name] = after
    return msgspec.structs.replace(old, **tables), report


def settings_of_worker(site: Site, limits: Limits) -> dict[str, Any]:
    """What the worker takes over of a changed site."""
    forecasts = {project.name: project.forecasts for project in site.projects}
    accounts = {project.name: project.accounts for project in site.projects}
    plans = [(project.name, project.controllers, project.schedulers) for project in site.projects]
    changing = {"forecasts": forecasts, "accounts": accounts, "plans": plans, "retention": settings_of(site)}
    return {"limits": limits, "log": site.log} | changing


def _merge_table(section: str, before: msgspec.Struct, after: msgspec.Struct, report: Report) -> msgspec.Struct:
    changed = {}
    for setting in msgspec.structs.fields(before):
        value = getattr(after, setting.name)
        if getattr(before, setting.name) != value and _note(f"{section}.{setting.encode_name}", report):
            changed[setting.name] = value
    return msgspec.structs.replace(before, **changed)


def _note(name: str, report: Report) -> bool:
    """Put a changed setting into the report; returns whether it counts at once."""
    section, _, setting = name.partition(".")
    live = name in _LIVE or (section == "limits" and setting not in AT_START)
    (report.applied if live else report.restart).append(name)
    return live
