"""Follows every figure of a report to its rows, and adds them up by other words than the ledger's."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = dict[str, Any]
HOUR = 3_600_000_000_000
FULL = 0.999_999
_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+(?:e-?\d+)?")
_PLAIN = re.compile(r"\d")


class Page(HTMLParser):
    """The links of a page, and figures of it that lead nowhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.loose: list[str] = []
        self._inside: list[str] = []
        self._address = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "a":
            self._address = known["href"] or ""
        elif tag == "dd" or (tag == "td" and known.get("class") != "text") or known.get("class") in ("lead", "note"):
            self._inside.append(f"{tag}.{known.get('class')}")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._address = ""
        elif self._inside and self._inside[-1].startswith(f"{tag}."):
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._address:
            self.links.append((data, self._address))
        elif self._inside and self._inside[-1][:2] in ("dd", "td") and _PLAIN.search(data):
            self.loose.append(data)


def check_figures(page: str, fetch: Callable[[str], Answer]) -> int:
    """Each figure is the sum of its rows to the digits that it is printed with; how many were looked at."""
    found = Page(page)
    assert found.loose == []
    checked = 0
    for text, address in found.links:
        printed = re.sub(r"^\d\d: ", "", text)  # a bar names its hour
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}
        if "id" in query:
            (factor,) = fetch(address)["factors"]
            assert f"{factor['value']:.10g}" == printed.split(" ")[0] and factor["source"]
        elif re.fullmatch(r"[+-]?[\d,.]+(e-\d+)?( kg| %)?", printed):
            answer = fetch(address)
            same(printed, added_up(query, answer), answer, (text, query))
            checked += 1
        else:
            assert fetch(address)["rows"], (text, query)  # a name or a moment leads to rows, too
    return checked


def check_answer(report: Answer, fetch: Callable[[str], Answer]) -> int:
    """Each figure of a report as JSON that has an address is the sum of its rows; how many were looked at."""
    checked = 0
    for place, figures, addresses in _linked(report, ""):
        for name, address in addresses.items():
            query = {key: one[0] for key, one in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}
            answer = fetch(address)
            if "id" in query:
                assert answer["factors"][0]["value"] == figures[name], (place, name)
                continue
            if isinstance(figures[name], str):
                assert answer["rows"], (place, name)  # a factor's own rows
                continue
            for value in (added_up(query, answer), answer["figure"]):
                assert math.isclose(value, figures[name], rel_tol=1e-9, abs_tol=1e-9), (place, name, value)
            checked += 1
    return checked


def _linked(at: Any, place: str) -> Iterator[tuple[str, Answer, dict[str, str]]]:
    """Objects of an answer that have figures, and the addresses of these."""
    if isinstance(at, list):
        for number, one in enumerate(at):
            yield from _linked(one, f"{place}[{number}]")
    elif isinstance(at, dict):
        rows = at.get("rows", {})
        figures = at.get("figures", at)
        plain = {name: one for name, one in rows.items() if isinstance(one, str)}
        yield place, figures, plain
        for name, one in rows.items():
            if isinstance(one, dict):
                yield f"{place}.{name}", at[name], one
        known = [name for name, value in figures.items() if isinstance(value, float) and name not in rows]
        assert not known or "rows" not in at, (place, known)
        for name, one in at.items():
            if name not in ("rows", "figures"):
                yield from _linked(one, f"{place}.{name}")


def same(printed: str, summed: float, answer: Answer, where: object) -> None:
    """Both are the same figure, to the printed digits."""
    (text,) = _NUMBER.findall(printed)
    digits = -int(Decimal(text.replace(",", "")).as_tuple().exponent)
    for value in (summed, answer["figure"]):
        shown = value * (100 if printed.endswith("%") else 1)
        assert abs(float(text.replace(",", "")) - shown) <= 0.5 * 10**-digits + 1e-9 * abs(shown), (where, shown)


def added_up(query: dict[str, str], answer: Answer) -> float:
    """A figure from its rows alone."""
    rows, figure = answer["rows"], query["figure"]
    if "reason" in query and figure != "rows":
        before = {(row["meter"], row["start"], row["version"]): row for row in answer["before"]}
        changed = [row for row in rows if row["role"] not in ("submeter", "storage")]
        old = [before[row["meter"], row["start"], row["version"] - 1] for row in changed]
        return total(row[figure] for row in changed) - total(row[figure] for row in old)
    if figure == "rows":
        return float(len(rows))
    if figure == "known":
        return float(sum(row["quality"] != "missing" for row in rows) / len(rows))
    if figure == "estimated_kwh":
        return total((counted(row) + (row["export_kwh"] or 0.0)) for row in rows if row["coverage"] < FULL)
    if figure in ("net_kwh", "parts_kwh"):
        return total(net(row) for row in rows)
    if figure == "residual_kwh":
        return total(net(row) * (1 if row["meter"] == query["balance"] else -1) for row in rows)
    if not rows or figure in rows[0]:
        return total(row[figure] for row in rows)
    return by_the_hour(figure, query, list(hours(rows)))


def by_the_hour(figure: str, query: dict[str, str], found: list[tuple[int, list[Answer]]]) -> float:
    """A figure that is made of hours."""
    if figure == "apart":
        return apart(query["balance"], found)
    if figure in ("hours", "hours_balanced"):
        return len(found) / ((int(query["end"]) - int(query["start"])) // HOUR)
    if figure.startswith("hours_"):
        return float(len(found))
    load, made, own, grid = [], [], [], []
    for _, rows in found:
        mains = [row for row in rows if row["role"] == "grid"]
        inside = total(row["generation_kwh"] for row in rows if row["behind"] != "-")
        drawn, given = total(row["import_kwh"] for row in mains), total(row["export_kwh"] for row in mains)
        load.append(max(0.0, drawn + inside - given))
        made.append(total(row["generation_kwh"] for row in rows))
        own.append(max(0.0, inside - given) + total(row["certified_kwh"] for row in mains))
        shares = [row["carbon_free"] for row in mains if row["carbon_free"] is not None]
        grid.append(sum(shares) / len(shares) if shares else math.nan)
    matched = total(map(min, load, own))
    rest = total(min(one, two) + (one - min(one, two)) * share for one, two, share in zip(load, own, grid, strict=True))
    whole = total(load)
    figures: dict[str, Callable[[], float]] = {
        "load_kwh": lambda: whole,
        "made_kwh": lambda: total(made),
        "matched_kwh": lambda: matched,
        "unmatched_kwh": lambda: whole - matched,
        "unmatched_in_sum_kwh": lambda: max(0.0, whole - total(made)),
        "annual": lambda: total(made) / whole,
        "hourly": lambda: total(map(min, load, made)) / whole,
        "contracted": lambda: matched / whole,
        "cfe": lambda: rest / whole,
    }
    return figures[figure]()


def apart(main: str, found: list[tuple[int, list[Answer]]]) -> float:
    """How far hours are apart, those of a gap together."""
    gaps: list[float] = []
    through, before = 0.0, -1
    for at, rows in found:
        residual = total(net(row) * (1 if row["meter"] == main else -1) for row in rows)
        through += abs(total(net(row) for row in rows if row["meter"] == main))
        unsure = any(row["coverage"] < FULL for row in rows)
        if unsure and before == at - 1:
            gaps[-1] += residual
        else:
            gaps.append(residual)
        before = at if unsure else -1
    return total(map(abs, gaps)) / through


def hours(rows: Iterable[Answer]) -> Iterator[tuple[int, list[Answer]]]:
    """Rows by the hour."""
    found: dict[int, list[Answer]] = {}
    for row in rows:
        found.setdefault(row["start"] // HOUR, []).append(row)
    return iter(sorted(found.items()))


def net(row: Answer) -> float:
    """What a meter drew less what it gave."""
    return float(-row["generation_kwh"] if row["role"] == "generation" else row["import_kwh"] - row["export_kwh"])


def counted(row: Answer) -> float:
    """The energy of a row."""
    name = {"generation": "generation_kwh", "fuel": "fuel_kwh"}.get(row["role"], "import_kwh")
    return float(row[name] or 0.0)


def total(values: Iterable[float | None]) -> float:
    """What is known of them."""
    return math.fsum(value for value in values if value is not None)
