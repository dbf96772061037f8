"""An inventory as a page, a PDF, or a table of its lines."""

import csv
import io
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from taihu.carbon.inventory import Figures, Inventory, Line
from taihu.kernel.clock import to_datetime
from taihu.kernel.errors import RefusedError

_COLUMNS = ("import_kwh", "export_kwh", "generation_kwh", "location_kg", "market_kg", "fuel_kwh", "scope1_kg")


class NoPdf(RefusedError):
    """What draws PDF is not installed."""

    code = "no-pdf"


def to_csv(report: Inventory) -> str:
    """One line for each meter and part; times in UTC, a missing figure is empty."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = (*_COLUMNS, "upstream_kg", "measured", "estimated", "missing", "restated")
    table.writerow(("project", "meter", "start", "end", *names))
    for line in report.parts:
        figures = ("" if (value := getattr(line.figures, name)) is None else value for name in names)
        table.writerow((report.project, line.meter, _iso(line.start), _iso(line.end), *figures))
    return out.getvalue()


def to_html(report: Inventory, rows_address: Callable[[Line], str]) -> str:
    """A page on its own; `rows_address` says where the rows of a line are."""
    from markupsafe import Markup, escape

    def rows_of(line: Line) -> Markup:
        return Markup('<a href="{}">{}</a>').format(rows_address(line), line.meter)

    def cells(figures: Figures) -> Markup:
        shown = [_number(getattr(figures, name), 2) for name in _COLUMNS] + [_number(100 * figures.coverage, 1) + " %"]
        return Markup("").join(Markup("<td>{}</td>").format(escape(text)) for text in shown)

    return str(_template().render(one=report, rows_of=rows_of, cells=cells))


def to_pdf(report: Inventory) -> bytes:
    """The same as a PDF; NoPdf without the extra `pdf`."""
    try:
        from reportlab.lib.pagesizes import A4, landscape
        from reportlab.lib.styles import getSampleStyleSheet
        from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table
    except ImportError:
        raise NoPdf("PDF needs a library that is not installed.", "Run: pip install 'taihu[pdf]'") from None
    from markupsafe import escape

    styles = getSampleStyleSheet()
    whole = report.total
    heads = (
        "Meter",
        "from",
        "Drawn kWh",
        "Given kWh",
        "Location-based kg",
        "Market-based kg",
        "Fuel kWh",
        "Scope 1 kg",
        "Known %",
    )
    lines = [(line.meter, _iso(line.start)[:10], line.figures) for line in report.parts]
    lines.append((report.project, "total", whole))
    rows = [heads, *((name, start, *_texts(figures)) for name, start, figures in lines)]
    used = [("Factor", "Value", "Source")]
    for one in report.factors:
        value = "by interval" if one.value is None else f"{one.value} {one.unit}"
        used.append((one.id, value, Paragraph(str(escape(f"{one.source} {one.published}")), styles["BodyText"])))
    iso = [("ISO 14064-1 category", "kg"), *((name, _number(value, 2)) for name, value in report.iso_14064.items())]
    title = f"Greenhouse gas inventory: {report.title}"
    period = f"{_iso(report.start)} to {_iso(report.end)} ({report.timezone}), made {_iso(report.made_at)}"
    known = f"{whole.measured} intervals measured, {whole.estimated} estimated, {whole.missing} missing"
    out = io.BytesIO()
    document = SimpleDocTemplate(out, pagesize=landscape(A4), title=title, author="Taihu", invariant=True)
    document.build(
        [
            Paragraph(str(escape(title)), styles["Title"]),
            Paragraph(str(escape(f"{period}; {known}.")), styles["BodyText"]),
            Spacer(1, 12),
            Table(rows, repeatRows=1, style=_RULED),
            Spacer(1, 12),
            Table(iso, style=_RULED),
            Spacer(1, 12),
            Table(used, colWidths=(150, 110, 450), style=_RULED),
        ]
    )
    return out.getvalue()


_RULED = [
    ("FONTSIZE", (0, 0), (-1, -1), 9),
    ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
    ("LINEBELOW", (0, 0), (-1, 0), 1, "black"),
    ("LINEBELOW", (0, 1), (-1, -1), 0.25, "grey"),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]


def _texts(figures: Figures) -> list[str]:
    return [_number(getattr(figures, name), 2) for name in _COLUMNS] + [_number(100 * figures.coverage, 1)]


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"number": _number, "day": lambda at: _iso(at)[:10], "moment": _iso}
    return environment.from_string(files("taihu.carbon").joinpath("data/report.html.j2").read_text("utf-8"))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _iso(at: int) -> str:
    return to_datetime(at).strftime("%Y-%m-%d %H:%M UTC")
