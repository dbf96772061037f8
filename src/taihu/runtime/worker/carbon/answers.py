"""The answers about the carbon ledger: rows, reports, matching, balances, certificates, factors."""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from taihu.carbon.accountant import Accountant
from taihu.carbon.avoided import consequences
from taihu.carbon.document import Document, to_html, to_pdf
from taihu.carbon.factors import Factors
from taihu.carbon.figures import hours, merge, sums
from taihu.carbon.hourly import by_hour, hourly_report
from taihu.carbon.hourly_document import hourly_csv, hourly_document
from taihu.carbon.inventory import Lacking, inventory, main_balances, since_there
from taihu.carbon.linked import linked, linked_hours
from taihu.carbon.matching import Match, match
from taihu.carbon.report import inventory_csv, inventory_document
from taihu.carbon.rows import PARTS
from taihu.carbon.site import SiteHours, score, site_hours
from taihu.carbon.words import said_in
from taihu.history.calendar import edges, parse_step, parse_zone
from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.kernel.clock import HOUR_NS, Clock
from taihu.kernel.errors import RefusedError
from taihu.kernel.sections import Site
from taihu.runtime.worker.carbon.forms import FORMS, Answer, Body, formed, json_answer, language_of
from taihu.runtime.worker.carbon.tracing import addresses_of, factors_answer, rows_answer


class CarbonAnswers:
    """Answers from one thread. `factors` are those there are now, whether or not a meter has an account."""

    factors: Factors

    def __init__(self, site: Site, history: History, directory: Directory, clock: Clock) -> None:
        self._site = site
        self._history = history
        self._directory = directory
        self._clock = clock
        self._questions: dict[str, Callable[[Accountant, Body], Answer]] = {
            "rows": self._rows,
            "report": self._report,
            "hourly": self._hourly,
            "matching": self._matching,
            "summary": self._summary,
            "certificates": self._certificates,
            "certify": lambda accountant, body: json_answer(
                {"done": accountant.certify(body["project"], body["event"])}
            ),
        }

    def answer(self, body: Body, accountant: Accountant | None) -> Answer:
        """Answer the question `body["ask"]`."""
        question = self._questions.get(body["ask"])
        if body["ask"] == "factors":
            return factors_answer(self.factors, accountant, body)
        if question is None:
            raise RefusedError(f"There is no question {body['ask']!r} about carbon.", "See docs/http.md.")
        if accountant is None and body["ask"] == "summary":  # a page for whoever has none
            return json_answer({"start": body["start"], "end": body["end"], "by_hour": [], "projects": {}})
        if accountant is None:
            raise RefusedError(
                "No meter of this site has an account.",
                "Write [[project.account]] in site.toml (docs/carbon.md), then: taihu reload.",
            )
        with self._history.within(self._site.limits.query_timeout_s):
            return question(accountant, body)

    def _rows(self, accountant: Accountant, body: Body) -> Answer:
        title, timezone = self._named(body["project"])
        return rows_answer(accountant, body, title, parse_zone(timezone), self._site.limits.query_rows_max)

    def _report(self, accountant: Accountant, body: Body) -> Answer:
        kind, project = _kind(body), body["project"]
        self._hours(accountant, body, project)
        title, timezone = self._named(project)
        parts = edges(body["start"], body["end"], parse_step(body["by"]), parse_zone(timezone))
        parts = np.unique(np.clip(parts, body["start"], body["end"]))
        report = inventory(
            accountant.ledger,
            project,
            parts.tolist(),
            title=title,
            timezone=timezone,
            made_at=self._clock.now_ns(),
            as_of=body["as_of"],
        )
        states = accountant.states(project)
        lacking = tuple(Lacking(one["meter"], one["accounted_to"], one["broken"]) for one in states if one["broken"])
        report = msgspec.structs.replace(report, lacking=lacking)
        if kind == "csv":
            return formed(kind, inventory_csv(report, addresses_of(body)).encode())
        if kind == "json":
            return json_answer(linked(report, addresses_of(body)))
        return _document(inventory_document(report, addresses_of(body)), body, kind)

    def _hourly(self, accountant: Accountant, body: Body) -> Answer:
        kind, project = _kind(body), body["project"]
        first, count = self._hours(accountant, body, project)
        title, timezone = self._named(project)
        zone = parse_zone(timezone)
        parts = edges(first, first + count * HOUR_NS, parse_step(body["by"]), zone) // HOUR_NS * HOUR_NS
        parts = np.unique(np.clip(parts, first, first + count * HOUR_NS))
        report, found = hourly_report(
            accountant.ledger,
            project,
            parts.tolist(),
            title=title,
            zone=zone,
            made_at=self._clock.now_ns(),
            as_of=body["as_of"],
        )
        if kind == "csv":
            return formed(kind, hourly_csv(report, found, addresses_of(body)).encode())
        if kind == "json":
            return json_answer(linked_hours(report, addresses_of(body)))
        return _document(hourly_document(report, addresses_of(body)), body, kind)

    def _matching(self, accountant: Accountant, body: Body) -> Answer:
        """Load and carbon-free generation hour by hour: of each project, and shared between them."""
        first, count = self._hours(accountant, body, *body["projects"])
        table = {name: site_hours(hours(accountant.ledger, name, first, count), count) for name in body["projects"]}
        alone = {name: match(found.load, found.made) for name, found in table.items()}
        scores = {name: score(found) for name, found in table.items()}
        period = {"start": first, "end": first + count * HOUR_NS}
        return json_answer(period | {"shared": _shared(table), "projects": alone, "scores": scores})

    def _summary(self, accountant: Accountant, body: Body) -> Answer:
        """Of each project: totals, matching, balances, certificates, how far it is accounted; and all together."""
        first, count = self._hours(accountant, body, *body["projects"])
        table: dict[str, SiteHours] = {}
        projects = {}
        for name in body["projects"]:
            meters = hours(accountant.ledger, name, first, count)
            table[name] = found = site_hours(meters, count)
            lines = sums(accountant.ledger, name, (body["start"], body["end"]))
            registry = accountant.registry(name)
            projects[name] = {
                "figures": merge([line.figures for line in lines if line.role not in PARTS]),
                "score": score(found),
                "balances": main_balances(meters, first, count),
                "avoided": consequences(accountant.ledger, name, (body["start"], body["end"])),
                "certificates": {"issued_wh": registry.issued_wh, "cancelled_wh": registry.cancelled_wh},
                "accounts": accountant.states(name),
            }
        day = by_hour(list(table.values()), first, parse_zone(self._named(body["projects"][0])[1]))
        period = {"start": body["start"], "end": body["end"]}
        return json_answer(period | {"shared": _shared(table), "by_hour": day, "projects": projects})

    def _certificates(self, accountant: Accountant, body: Body) -> Answer:
        """Those of intervals that begin in the period, and who holds them."""
        registry, limit = accountant.registry(body["project"]), self._site.limits.query_rows_max
        found = [bundle for bundle in registry.bundles.values() if body["start"] <= bundle.start < body["end"]]
        if len(found) > limit:
            raise RefusedError(f"These are more than {limit} certificates.", "Ask for a shorter time.")
        names = {bundle.name for bundle in found}
        return json_answer({"bundles": found, "held": registry.holdings(names), "storages": registry.storages})

    def _hours(self, accountant: Accountant, body: Body, *projects: str) -> tuple[int, int]:
        """The hours of a period in which any of the projects is accounted, if they are not too many."""
        there = [name for name in projects if accountant.ledger.meters(name)] or projects
        found = [since_there(accountant.ledger, name, body["start"], body["end"]) for name in there]
        first = min(start for start, _ in found)
        count = max(start // HOUR_NS + hours for start, hours in found) - first // HOUR_NS
        if count > self._site.limits.query_rows_max:
            raise RefusedError(f"These are {count} hours.", "Ask for a shorter time.")
        return first, count

    def _named(self, project: str) -> tuple[str, str]:
        found = self._directory.project(project)
        return (found.title or project, found.timezone) if found else (project, "UTC")


def _shared(table: Mapping[str, SiteHours]) -> Match:
    """The matching of all projects together; one without a main meter is no part of it."""
    there = [found for found in table.values() if not np.isnan(found.drawn).all()]
    return match([found.load for found in there], [found.made for found in there])


def _kind(body: Body) -> str:
    kind = str(body["format"])
    if kind not in FORMS:
        raise RefusedError(f"There is no report as {kind[:20]!r}.", f"Ask for {', '.join(FORMS)}.")
    return kind


def _document(document: Document, body: Body, kind: str) -> Answer:
    said = said_in(language_of(body), document)
    return formed(kind, to_pdf(said) if kind == "pdf" else to_html(said).encode())
