"""The worker's carbon: keeps the ledger in step with the history, and answers questions about it."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np

from taihu.carbon.account import Role
from taihu.carbon.accountant import Account, Accountant, Sources
from taihu.carbon.factors import Factors, load_factors
from taihu.carbon.inventory import Inventory, Line, inventory
from taihu.carbon.ledger import Ledger
from taihu.carbon.matching import match
from taihu.carbon.report import to_csv, to_html, to_pdf
from taihu.history.calendar import edges, parse_step, parse_zone
from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError, TaihuError
from taihu.kernel.sections import Site
from taihu.runtime.paths import Paths
from taihu.runtime.questions import Definitions
from taihu.things.batch import Batch
from taihu.things.deletion import Deletion

log = logging.getLogger("taihu.carbon")

_REST_S = 1.0
_HOUR_NS = 3_600_000_000_000
_FORMATS = {"json": "application/json", "csv": "text/csv", "html": "text/html", "pdf": "application/pdf"}
_encode = msgspec.json.Encoder(enc_hook=str).encode

_ENERGIES: dict[Role, tuple[str, ...]] = {
    Role.GRID: ("import_kwh", "export_kwh"),
    Role.GENERATION: ("generation_kwh",),
    Role.FUEL: (),
}

Body = Mapping[str, Any]
Answer = dict[str, Any]  # "type", a media type, and "body", bytes


class CarbonDesk:
    """One site's accounts. Without any there is no ledger, and nothing is done."""

    def __init__(
        self, site: Site, history: History, directory: Directory, definitions: Definitions, clock: Clock
    ) -> None:
        self._site = site
        self._history = history
        self._directory = directory
        self._definitions = definitions
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "carbon")
        self._factors: Factors = load_factors(site.path(site.carbon.factors) if site.carbon.factors else None)
        accounts = [
            Account(project.name, site.timezone_of(project), config)
            for project in site.projects
            for config in project.accounts
        ]
        self._accountant = self._open(accounts) if accounts else None

    def see(self, batch: Batch) -> None:
        """A batch goes to the history: what it changes of intervals accounted already is marked, durably."""
        if self._accountant is not None:
            self._accountant.see(batch)

    def deleted(self, deletion: Deletion) -> None:
        """What a removed project accounted goes with it; other figures stand when their readings are deleted."""
        if self._accountant is not None and deletion.removes and not deletion.thing:
            self._accountant.ledger.forget(deletion.project)

    async def run(self) -> None:
        """Account what is over, until cancelled. What cannot be read or written now is tried again."""
        loop = asyncio.get_running_loop()
        stalled = False
        while True:
            more = False
            if self._accountant is not None:
                try:
                    more = await loop.run_in_executor(self._thread, self._accountant.step)
                    stalled = False
                except (TaihuError, OSError) as error:
                    if not stalled:
                        log.error("the ledger does not go on: %s", error)
                    stalled = True
            await asyncio.sleep(0 if more else _REST_S)

    async def answer(self, body: Body) -> Answer:
        """Answer the question `body["ask"]`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, body)

    async def stop(self) -> None:
        """Finish the step in hand: after it, nothing is asked of the history any more."""
        await asyncio.to_thread(self._thread.shutdown)

    def close(self) -> None:
        """Close the ledger; the history takes no more batches by then."""
        if self._accountant is not None:
            self._accountant.ledger.close()

    def _open(self, accounts: list[Account]) -> Accountant:
        def may_read(reader: str, project: str, thing: str) -> bool:
            return self._directory.may_read(Principal(reader, CredentialKind.VIEWER), project, thing)

        return Accountant(
            accounts,
            Ledger(Paths(self._site.data).carbon),
            self._factors,
            self._history,
            Sources(self._definitions.of, may_read),
            self._clock,
            self._site.carbon.settle_s,
        )

    def _answer(self, body: Body) -> Answer:
        with self._history.within(self._site.limits.query_timeout_s):
            match body["ask"]:
                case "factors":
                    return _json({"factors": list(self._factors)})
                case "rows":
                    return _json(self._rows(body))
                case "report":
                    return self._report(body)
                case "matching":
                    return _json(self._matching(body))
                case "certificates":
                    return _json(self._certificates(body))
                case "certify":
                    return _json({"done": self._ours.certify(body["project"], body["event"])})
        raise RefusedError(f"There is no question {body['ask']!r} about carbon.", "See docs/http.md.")

    @property
    def _ours(self) -> Accountant:
        if self._accountant is None:
            raise RefusedError(
                "No meter of this site has an account.", "Write [[project.account]] in site.toml: docs/carbon.md."
            )
        return self._accountant

    def _rows(self, body: Body) -> Answer:
        limit = self._site.limits.query_rows_max
        rows = self._ours.ledger.rows(
            body["project"], body["start"], body["end"], body["meter"], versions=body["versions"]
        )
        found = [row for row, _ in zip(rows, range(limit + 1), strict=False)]
        if len(found) > limit:
            raise RefusedError(f"These are more than {limit} rows.", "Ask for one meter, or a shorter time.")
        return {"rows": found, "accounts": self._ours.states(body["project"])}

    def _report(self, body: Body) -> Answer:
        kind = body["format"]
        if kind not in _FORMATS:
            raise RefusedError(f"There is no report as {kind[:20]!r}.", f"Ask for {', '.join(_FORMATS)}.")
        project, found = body["project"], self._directory.project(body["project"])
        timezone = found.timezone if found else "UTC"
        parts = edges(body["start"], body["end"], parse_step(body["by"]), parse_zone(timezone))
        parts = np.clip(parts, body["start"], body["end"])
        report = inventory(
            self._ours.ledger.rows(project, body["start"], body["end"]),
            [int(edge) for edge in np.unique(parts)],
            self._factors,
            project=project,
            title=(found.title if found else "") or project,
            timezone=timezone,
            made_at=self._clock.now_ns(),
        )
        return {"type": _FORMATS[kind], "body": _written(report, kind)}

    def _matching(self, body: Body) -> Answer:
        """Load and carbon-free generation hour by hour: of each project, and shared between them."""
        start, end = body["start"] // _HOUR_NS * _HOUR_NS, -(-body["end"] // _HOUR_NS) * _HOUR_NS
        hours = (end - start) // _HOUR_NS
        if hours > self._site.limits.query_rows_max:
            raise RefusedError(f"These are {hours} hours.", "Ask for a shorter time.")
        table = {name: self._hours(name, start, hours) for name in body["projects"]}
        whole = match([load for load, _ in table.values()], [made for _, made in table.values()])
        alone = {name: match(load, made) for name, (load, made) in table.items()}
        return {
            "start": start,
            "end": end,
            "shared": whole,
            "projects": alone,
        }

    def _hours(self, project: str, start: int, hours: int) -> tuple[Any, Any]:
        """A project's load and generation (kWh an hour; NaN where a part is missing). Load = drawn + made - given."""
        sums = {name: np.zeros(hours) for name in ("import_kwh", "export_kwh", "generation_kwh")}
        parts = {name: np.zeros(hours, np.int64) for name in sums}
        expected = {name: np.zeros(hours, np.int64) for name in sums}
        for row in self._ours.ledger.rows(project, start, start + hours * _HOUR_NS):
            place = (row.start - start) // _HOUR_NS
            for name in _ENERGIES[row.role]:
                value = getattr(row, name)
                expected[name][place] += 1
                if value is not None:
                    parts[name][place] += 1
                    sums[name][place] += value
        for name, values in sums.items():
            values[parts[name] < expected[name]] = np.nan
        sums["import_kwh"][expected["import_kwh"] == 0] = np.nan
        return sums["import_kwh"] + sums["generation_kwh"] - sums["export_kwh"], sums["generation_kwh"]

    def _certificates(self, body: Body) -> Answer:
        registry = self._ours.registry(body["project"])
        return {
            "bundles": list(registry.bundles.values()),
            "held": registry.holdings(),
            "storages": registry.storages,
        }


def _json(body: Any) -> Answer:
    return {"type": _FORMATS["json"], "body": _encode(body)}


def _written(report: Inventory, kind: str) -> bytes:
    if kind == "csv":
        return to_csv(report).encode()
    if kind == "pdf":
        return to_pdf(report)
    if kind == "html":
        return to_html(report, _rows_address).encode()
    return _encode(report)


def _rows_address(line: Line) -> str:
    return f"rows?meter={line.meter}&start={line.start}&end={line.end}"
