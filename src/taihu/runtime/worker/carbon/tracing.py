"""The answers that lead from a figure to what it is made of: rows of the ledger, and factors."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.carbon.accountant import Accountant
from taihu.carbon.cells import Addresses
from taihu.carbon.document import to_html
from taihu.carbon.factors import Factor, Factors, load_factors
from taihu.carbon.ledger import NOW
from taihu.carbon.lives import lives, section
from taihu.carbon.rows_document import PAGE_ROWS, Place, factors_document, rows_csv, rows_document
from taihu.carbon.selection import Figure, Selection, read_selection
from taihu.carbon.tracing import Traced, trace
from taihu.carbon.words import said_in
from taihu.kernel.clock import HOUR_NS
from taihu.kernel.errors import RefusedError
from taihu.runtime.worker.carbon.forms import Answer, Body, formed, json_answer, language_of


def rows_answer(accountant: Accountant, body: Body, title: str, zone: ZoneInfo, limit: int) -> Answer:
    """The rows of a selection, as JSON, as CSV or as a page."""
    project, form = body["project"], body["format"]
    states = accountant.states(project)
    if body["versions"]:
        return json_answer({"rows": _versions(accountant, body, limit), "accounts": states})
    wanted = _checked(read_selection(body["selection"]), limit)
    page, size = (body["page"], PAGE_ROWS) if form == "html" else (1, limit)
    found = trace(accountant.ledger, project, wanted, zone, (page - 1) * size, size)
    certified = found.rows if wanted.figure is Figure.CERTIFIED else ()
    certificates = lives(accountant.ledger, project, certified, wanted.as_of or NOW)
    if form == "html":
        place = Place(
            project=project, title=title, zone=zone, selection=wanted, addresses=addresses_of(body), page=page
        )
        more = [section(certificates, zone.key)] if certificates else []
        return formed(form, to_html(said_in(language_of(body), rows_document(found, place, more))).encode())
    if len(found.rows) > limit or found.count > limit:
        raise RefusedError(f"These are more than {limit} rows.", "Ask for one meter, or a shorter time.")
    if form == "csv":
        return formed(form, rows_csv(found).encode())
    told = _told(found, wanted) | ({"certificates": certificates} if certified else {})
    return json_answer(told | {"accounts": states})


def factors_answer(factors: Factors, accountant: Accountant | None, body: Body) -> Answer:
    """All factors or some, as they are or as they were known at a moment, as JSON or as a page."""
    then = body["as_of"] and accountant is not None
    there: list[Factor] = accountant.ledger.factors(body["as_of"]) if then and accountant else list(factors)
    found = [one for one in there if body["id"] in ("", one.id) and body["region"] in ("", one.region)]
    shipped = {one.id: one for one in load_factors(None, factors.gwp)}
    whose = [(one, shipped.get(one.id) != one) for one in found]
    if body["format"] == "html":
        return formed("html", to_html(said_in(language_of(body), factors_document(whose))).encode())
    return json_answer({"factors": [msgspec.to_builtins(one) | {"own": own} for one, own in whose]})


def addresses_of(body: Mapping[str, Any]) -> Addresses:
    """Where the pages of an answer lead."""
    return Addresses(body["rows"], body["factors"], body["language"])


def _told(found: Traced, wanted: Selection) -> dict[str, Any]:
    """The rows, and of a figure what each of them is of it."""
    told: dict[str, Any] = {"rows": found.rows, "count": found.count}
    if wanted.figure is None:
        return told
    if wanted.reason is not None:
        told["before"] = found.before
    if found.hours:
        return told | {"figure": found.value, "hours": found.hours}
    return told | {"figure": found.value, "values": found.values}


def _versions(accountant: Accountant, body: Body, limit: int) -> list[Any]:
    wanted = read_selection(body["selection"])
    meter = wanted.meter[0] if wanted.meter else ""
    rows = accountant.ledger.rows(
        body["project"], wanted.start, wanted.end, meter, versions=True, as_of=wanted.as_of or NOW
    )
    found = [row for row, _ in zip(rows, range(limit + 1), strict=False)]
    if len(found) > limit:
        raise RefusedError(f"These are more than {limit} rows.", "Ask for one meter, or a shorter time.")
    return found


def _checked(wanted: Selection, limit: int) -> Selection:
    """A selection whose hours are not too many, and within the period that they are of."""
    since, until = wanted.since or wanted.start, wanted.until or wanted.end
    if not since <= wanted.start < wanted.end <= until:
        raise RefusedError("The period lies outside of that of its report.", "Follow the address as the report has it.")
    if (wanted.balance or wanted.figure) and (until - since) // HOUR_NS > limit:
        raise RefusedError(f"These are {(until - since) // HOUR_NS} hours.", "Ask for a shorter time.")
    return wanted
