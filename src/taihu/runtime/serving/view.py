"""What a node shows: projects, things, newest values and counters, to each caller what it may read (§11)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taihu import __version__
from taihu.control.request import Who
from taihu.control.rule import Role
from taihu.doors.http.ports import Caller, ThingSummary
from taihu.identity.directory import Directory
from taihu.identity.principal import ALL_SCOPES, CredentialKind, Reach, Scope
from taihu.journal.segments import SegmentJournal
from taihu.kernel.addresses import is_loopback
from taihu.kernel.clock import Clock, Steps
from taihu.kernel.limits import Limits
from taihu.kernel.sections import Site
from taihu.kernel.site_checks import addresses_of
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.batches import Batches
from taihu.runtime.ingest.follower import Follower
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.runtime.ingest.quarantine import Quarantine
from taihu.runtime.ingest.quota import Quota
from taihu.runtime.ingest.tally import Tally
from taihu.runtime.paths import Paths
from taihu.runtime.serving.formulas import explain, inputs_seen
from taihu.runtime.serving.live import Live
from taihu.runtime.serving.observers import Observers
from taihu.things.description import build_description
from taihu.things.ports import Reading
from taihu.things.property import Property
from taihu.things.topology import Topology
from taihu.twin.twin import Cell, Desired, Twin

_GAUGES = {
    "now",
    "clock_speed",
    "clock_stepped_s",
    "projects",
    "things",
    "storage_bytes",
    "storage_full",
    "storage_nearly_full",
    "journal_position",
    "history_position",
    "observers",
    "mqtt_connected",
}


_NOTHING = {"readings_bytes": 0, "rollups_bytes": 0, "journal_bytes": 0, "files": 0, "rows": 0, "growth_bytes": None}


class View:
    """The reading half of a node; `Node` makes the parts."""

    site: Site
    paths: Paths
    clock: Clock
    limits: Limits
    directory: Directory
    journal: SegmentJournal
    pipeline: Pipeline
    twin: Twin
    broker: Broker
    tally: Tally
    worker: Follower
    quota: Quota
    steps: Steps
    live: Live
    batches: Batches
    _quarantine: Quarantine
    _observers: Observers

    def relays(self, token: str) -> bool:
        """Whether a token is the console's, which may say for which address a person signs in."""
        principal = self.directory.principal(token) if token else None
        return principal is not None and principal.kind is CredentialKind.CONSOLE

    def whoami(self, caller: Caller) -> dict[str, Any]:
        """What a caller is, and may do."""
        person = self.directory.person(caller.user)
        reach = caller.reach or Reach()
        scopes = reach.scopes if person else self.directory.scopes_in(caller, caller.project)
        who: dict[str, Any] = {
            "kind": caller.kind,
            "user": caller.user,
            "title": person.title if person else "",
            "project": caller.project,
            "thing": caller.thing,
            "owner": self.directory.may_administer(caller, ""),
            "roles": dict(person.roles) if person else {},
            "scopes": [scope for scope in Scope if scope in scopes],
            "things": list(reach.things),
            "expires_at": caller.expires_at,
        }
        session = self.directory.session(caller.credential_id) if person else None
        return who | ({"session": msgspec.structs.asdict(session)} if session else {})

    def home_of(self, caller: Caller, project: str) -> Caller:
        """A person with a role in the project as one of that project; any other caller as it is."""
        return self.directory.home_of(caller, project)

    def who(self, caller: Caller) -> Who:
        """As whom the caller gives commands in its own project; a viewer or a thing may give none."""
        scopes = ALL_SCOPES if caller.reach is None else caller.reach.scopes
        role = Role.VIEWER
        if caller.kind is CredentialKind.OPERATOR and Scope.COMMAND in scopes:
            role = Role.OWNER if caller.user and Scope.ADMIN in scopes else Role.OPERATOR
        return Who(caller.project, caller.who, role)

    def may_command(self, caller: Caller, project: str, thing: str) -> bool:
        """Whether the caller may give commands to a thing; to another project's, nobody may (§11)."""
        return caller.project == project and self.directory.may_command(caller, project, thing)

    def may_see(self, caller: Caller, project: str, thing: str = "") -> bool:
        """Whether the caller may read anything of the thing, or of the project when none is named (§11)."""
        return self.directory.project(project) is not None and self.directory.may_see(caller, project, thing)

    def may_read(self, caller: Caller, project: str, thing: str = "", name: str = "") -> bool:
        """Whether the caller may read the property, or all of the thing or project when none is named (§11)."""
        return self.directory.project(project) is not None and self.directory.may_read(caller, project, thing, name)

    def may_write(self, caller: Caller, project: str, thing: str) -> bool:
        """Whether the caller may send readings of the thing, or of any thing when none is named (§11)."""
        return self.directory.may_write(caller, project, thing)

    def may_want(self, caller: Caller, project: str, thing: str, name: str = "") -> bool:
        """Whether the caller may say what is wanted of the property, or of all of the thing (§11)."""
        return self.directory.may_want(caller, project, thing, name)

    def may_administer(self, caller: Caller, project: str) -> bool:
        """Whether the caller may register things in the project and take them out (§11)."""
        return self.directory.may_administer(caller, project)

    def projects(self, caller: Caller) -> list[dict[str, Any]]:
        """The projects the caller may read something of, and how many of their things; refusals only of whole ones."""
        found = []
        for project in self.directory.projects():
            name = project.name
            if not self.may_see(caller, name):
                continue
            entry: dict[str, Any] = {"name": name, "title": project.title, "timezone": project.timezone}
            entry["granted"] = not (caller.project == name or self.directory.scopes_in(caller, name))
            if self.may_read(caller, name):
                entry |= {"things": self.directory.thing_count(name), "refused": self._quarantine.total(name)}
            else:
                things = self.directory.things(name, "", self.limits.things_per_project_max)
                entry["things"] = sum(self.may_see(caller, name, thing.name) for thing in things)
            found.append(entry)
        return found

    def things(self, project: str, after: str, limit: int) -> list[ThingSummary]:
        """Things by name, from the first after `after`."""
        now = self.clock.now_ns()
        found = []
        for thing in self.directory.things(project, after, limit):
            presence = self.twin.presence(project, thing.name)
            definitions = self.directory.definitions(project, thing.name) or {}
            periods = [known.period_s for known in definitions.values() if known.period_s and not known.formula]
            found.append(
                ThingSummary(
                    name=thing.name,
                    title=thing.title,
                    model=thing.model,
                    site=thing.site,
                    building=thing.building,
                    parent=thing.parent,
                    role=thing.role,
                    tags=thing.tags,
                    inferred=thing.inferred,
                    state=presence.state(now, min(periods, default=None)) if presence else "never",
                    connected=bool(presence and presence.connections),
                    heard_at=presence.heard_at if presence else 0,
                    refused=self._quarantine.count(project, thing.name),
                )
            )
        return found

    def place_of(self, project: str, thing: str) -> dict[str, str]:
        """Where a thing belongs: site, building, role and model, as far as known."""
        known = self.directory.thing(project, thing)
        names = ("site", "building", "role", "model")
        return {name: value for name in names if known is not None and (value := getattr(known, name))}

    def thing_names(self, project: str, after: str, limit: int) -> list[str]:
        """The names of things by name, from the first after `after`."""
        return [thing.name for thing in self.directory.things(project, after, limit)]

    def topology(self, project: str, criteria: Mapping[str, str], shown: Callable[[str], bool]) -> dict[str, Any]:
        """The things that meet the criteria, and each site's main meter with its submeters, of those shown."""
        count = self.directory.thing_count(project)
        topology = Topology(thing for thing in self.directory.things(project, "", count) if shown(thing.name))
        sites = {}
        for site in topology.sites():
            meter = topology.main_meter(site)
            sites[site] = {"main_meter": meter, "submeters": topology.submeters(meter) if meter else []}
        return {"things": topology.select(**criteria), "sites": sites}

    def description(self, project: str, thing: str, base: str) -> dict[str, Any] | None:
        """The thing's W3C Thing Description."""
        known = self.directory.thing(project, thing)
        if known is None:
            return None
        model = self.directory.model(project, known.model) if known.model else None
        return build_description(project, known, model, base, self.site.mqtt.public)

    def definitions(self, project: str, thing: str) -> Mapping[str, Property] | None:
        """The thing's properties; None when there is no such thing."""
        return self.directory.definitions(project, thing)

    def newest(self, project: str, thing: str) -> dict[str, Reading]:
        """The newest reading of each property of a thing, those that are calculated with them."""
        return self.live.newest(project, thing)

    def cells(self, project: str, thing: str, definitions: Mapping[str, Property]) -> list[Cell]:
        """As `newest`, without an object for each; `definitions` are the thing's own."""
        return self.live.cells(project, thing, definitions)

    def exported(self, caller: Caller, project: str, form: str) -> None:
        """Note for the audit that the caller takes readings away in a file; what it asks often is told together."""
        self.batches.add(caller.who, "exported", f"{project} as {form}", project)

    def explain(self, caller: Caller, project: str, thing: str, name: str) -> dict[str, Any] | None:
        """What a calculated property is worked out of, as far as the caller may read it; None when it is none."""
        return explain(self.live, self.directory, caller, project, thing, name, self.clock.now_ns())

    def inputs_seen(self, caller: Caller, project: str, thing: str, name: str) -> dict[str, Any]:
        """A calculated property's formula and the names of its inputs; nothing for another property."""
        return inputs_seen(self.live, self.directory, caller, project, thing, name)

    def desired(self, project: str, thing: str) -> dict[str, Desired]:
        """What is wanted of a thing."""
        return self.twin.desired(project, thing)

    def quarantine(self, project: str, thing: str | None) -> list[Any]:
        """What was refused, newest first."""
        return self._quarantine.of_project(project, thing)

    def status(self, caller: Caller) -> dict[str, Any]:
        """Counters of the projects the caller may read; those of the node as a whole for who may read all (§11)."""
        projects = [project.name for project in self.directory.projects()]
        readable = [name for name in projects if self.may_read(caller, name)]
        status: dict[str, Any] = {
            "version": __version__,
            "now": self.clock.now_ns(),
            "clock_speed": self.clock.speed,
            "projects": len(readable),
            "things": sum(self.directory.thing_count(name) for name in readable),
            "acked": sum(self.pipeline.acked[name] for name in readable),
            "points": sum(self.tally.points[name] for name in readable),
            "stored": sum(self.tally.stored[name] for name in readable),
            "refused": sum(self._quarantine.total(name) for name in readable),
            "storage_bytes": sum(self.quota.bytes.get(name, 0) for name in readable),
            "storage_nearly_full": len(self.quota.nearly_full.intersection(readable)),
            "storage_full": sum(name in self.quota.full for name in readable),
            "journal_position": self.journal.durable,
            "history_position": self.worker.applied,
            "worker": "running" if self.worker.link is not None else "away",
            "clock_stepped_s": round(self.steps.seconds(), 3),
        }
        if readable == projects:
            observers = {"observers": self._observers.count, "observers_missed": self._observers.missed}
            mqtt = msgspec.to_builtins(self.broker.counters)
            status |= {"groups": self.pipeline.groups, **observers, "mqtt": mqtt}
        return status

    async def ask_carbon(self, question: str, arguments: dict[str, Any]) -> tuple[str, bytes]:
        """Put a question to the worker's carbon ledger; the answer is a media type and a body."""
        found = await self.worker.ask("carbon", {"ask": question} | arguments)
        return found["type"], found["body"]

    async def ask_forecast(self, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question to the worker's forecasts."""
        return await self.worker.ask("forecast", {"ask": question} | arguments)

    async def storage(self, caller: Caller, project: str, things: int) -> dict[str, Any]:
        """What the projects store that the caller may read, or the one named, with its biggest things.

        What is left of the disk is for who may read all.
        """
        known = [each.name for each in self.directory.projects()]
        readable = [name for name in known if self.may_read(caller, name)]
        asked = {"project": project, "things": things}
        raw = await self.worker.ask("storage", asked)
        found = {name: msgspec.json.decode(text) for name, text in raw.items()}
        counts = {name: self.directory.thing_count(name) for name in known}
        metadata = await asyncio.to_thread(self.paths.metadata.stat)
        shown = [
            {
                "project": name,
                **(found["projects"].get(name) or _NOTHING),
                "metadata_bytes": metadata.st_size * counts[name] // max(sum(counts.values()), 1),
                "bytes_max": self.quota.bytes_max(name),
                "full": name in self.quota.full,
            }
            for name in ([project] if project else readable)
        ]
        whole = readable == known
        node = {name: found[name] if whole else None for name in ("disk", "growth_bytes", "full_at")}
        return {"projects": shown, "things": found["things"], **node}

    def metrics(self) -> str:
        """The counters of the node for Prometheus; they name no project."""
        status = self.status(Caller("", CredentialKind.ADMIN))
        numbers = {name: value for name, value in status.items() if isinstance(value, int | float)}
        numbers |= {f"mqtt_{name}": value for name, value in status["mqtt"].items()}
        lines = []
        for name, value in numbers.items():
            kind = "gauge" if name in _GAUGES else "counter"
            lines.append(f"# TYPE taihu_{name} {kind}\ntaihu_{name} {value}")
        return "\n".join(lines) + "\n"

    def may_see_metrics(self, caller: Caller | None) -> bool:
        """Whether the caller may read all projects, or only programs of this machine can ask at all."""
        if all(is_loopback(host) for section, host in addresses_of(self.site) if section == "http"):
            return True
        return caller is not None and all(self.may_read(caller, each.name) for each in self.directory.projects())
