"""A report as a page and as a PDF: a title, and sections of tables, bars and notes."""

import io
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from taihu.kernel.errors import RefusedError

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

_LATIN = 0xFF
_BARS_HIGH = 110
_BAR_WIDE = 30
_MANY_COLUMNS = 10
_HAN = "STSong-Light"
_TOGETHER = 12  # rows of a table that stay on one page with its heading


class NoPdf(RefusedError):
    """What draws PDF is not installed."""

    code = "no-pdf"


class Link(msgspec.Struct, frozen=True):
    """A text that leads somewhere."""

    text: str
    address: str

    def __str__(self) -> str:
        return self.text


Cell = str | Link


class Phrase(str):
    """A text that is made of a template and what stands in it, which may lead somewhere or be such a text itself.

    So it can be said in another language.
    """

    __slots__ = ("template", "values")
    template: str
    values: tuple[object, ...]

    def __new__(cls, template: str, *values: object) -> "Phrase":
        made = super().__new__(cls, template.format(*values))
        made.template, made.values = template, values
        return made


def pieces(text: Cell) -> list[Cell]:
    """A text cut at what leads somewhere.

    >>> pieces(Phrase("{} of {}.", Link("2", "rows"), 3))
    [Link(text='2', address='rows'), ' of 3.']
    """
    if not isinstance(text, Phrase) or not any(isinstance(one, Link | Phrase) for one in text.values):
        return [text] if isinstance(text, Link) else [str(text)] if text else []
    found: list[Cell] = []
    words = text.template.split("{}")
    for place, word in enumerate(words):
        more: list[Cell] = [word] if word else []
        if place < len(text.values):
            value = text.values[place]
            more += pieces(value if isinstance(value, Link | str) else str(value))
        for one in more:
            if found and isinstance(one, str) and isinstance(found[-1], str):
                found[-1] += one
            else:
                found.append(one)
    return found


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under their heads. The columns in `texts` are words, the others numbers; `total` sets the last row apart."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    texts: tuple[int, ...] = (0,)
    total: bool = False


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """For each label a whole and the part of it that is filled, in one unit, and where both lead."""

    labels: tuple[str, ...]
    whole: tuple[Link, ...]
    part: tuple[Link, ...]
    words: str

    @property
    def high(self) -> list[tuple[float, float]]:
        """How high each whole and its part are, of 1."""
        sizes = [(_size(whole), _size(part)) for whole, part in zip(self.whole, self.part, strict=True)]
        top = max((whole for whole, _ in sizes), default=0.0) or 1.0
        return [(whole / top, part / top) for whole, part in sizes]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One heading and what is under it."""

    heading: str
    note: str = ""
    bars: Bars | None = None
    table: Table | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report. `figures` are the few that a reader looks for first: what, and how much; `links` lead on."""

    title: str
    lead: str
    figures: tuple[tuple[str, Cell], ...]
    sections: tuple[Section, ...]
    links: tuple[Link, ...] = ()
    language: str = "en"

    @property
    def wide(self) -> bool:
        """Whether it has a table of very many columns."""
        return any(one.table and len(one.table.heads) > _MANY_COLUMNS for one in self.sections)


def to_html(one: Document) -> str:
    """A page on its own: nothing is loaded, nothing runs."""
    return str(_template().render(one=one, high=_BARS_HIGH, wide=_BAR_WIDE))


def to_pdf(one: Document) -> bytes:
    """The same as a PDF, the same bytes each time; NoPdf without the extra `pdf`."""
    try:
        from reportlab.lib.pagesizes import A4, landscape
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.pdfbase.cidfonts import UnicodeCIDFont
        from reportlab.pdfbase.pdfmetrics import registerFont
        from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer
    except ImportError:
        raise NoPdf("PDF needs a library that is not installed.", "Run: pip install 'taihu[pdf]'") from None
    registerFont(UnicodeCIDFont(_HAN))
    base = ParagraphStyle("base", fontName="Helvetica", fontSize=9, leading=12)
    note = ParagraphStyle("note", base, textColor="#4a5c66")
    out = io.BytesIO()
    page = landscape(A4)
    paper = SimpleDocTemplate(
        out, pagesize=page, leftMargin=42, rightMargin=42, topMargin=40, bottomMargin=40,
        title=one.title, author="Taihu", invariant=True,
    )  # fmt: skip
    title = ParagraphStyle("title", base, fontName="Helvetica-Bold", fontSize=17, leading=22, spaceAfter=3)
    heading = ParagraphStyle(
        "heading", base, fontName="Helvetica-Bold", fontSize=11.5, leading=15, spaceBefore=14, spaceAfter=4
    )
    flow: list[Flowable] = [Paragraph(_marked(one.title), title), Paragraph(_marked(one.lead), note), Spacer(1, 8)]
    flow.append(_figures(one.figures, paper.width, base))
    for section in one.sections:
        parts: list[Flowable] = [Paragraph(_marked(section.heading), heading)]
        if section.bars:
            parts.append(_drawing(section.bars, paper.width))
        if section.table:
            parts.append(_table(section.table, paper.width, base))
        if section.note:
            parts += [Spacer(1, 4), Paragraph(_marked(section.note), note)]
        short = section.table is None or len(section.table.rows) <= _TOGETHER
        flow += [KeepTogether(parts)] if short else parts
    paper.build(flow, onFirstPage=_numbered, onLaterPages=_numbered)
    return out.getvalue()


def _marked(text: Cell, colour: str = "#0b6b57") -> str:
    """Text for a paragraph, with what leads somewhere in a colour."""
    from markupsafe import escape

    return "".join(
        f'<a href="{escape(one.address)}" color="{colour}">{_signs(one.text)}</a>'
        if isinstance(one, Link)
        else _signs(one)
        for one in pieces(text)
    )


def _signs(text: str) -> str:
    """Text for a paragraph; what the usual font has no signs for is in another, and an indent is of hard spaces."""
    from markupsafe import escape

    text = text.replace("\u2003", 4 * "\u00a0")
    runs, start = [], 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (ord(text[place]) > _LATIN) != (ord(text[start]) > _LATIN):
            piece = str(escape(text[start:place]))
            runs.append(f'<font name="{_HAN}">{piece}</font>' if ord(text[start]) > _LATIN else piece)
            start = place
    return "".join(runs)


def _numbered(canvas: Any, paper: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor("#4a5c66")
    canvas.drawRightString(paper.pagesize[0] - 42, 24, str(canvas.getPageNumber()))


def _figures(figures: Sequence[tuple[str, Cell]], width: float, base: Any) -> "Flowable":
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph
    from reportlab.platypus import Table as Grid

    small, large = ParagraphStyle("s", base, textColor="#4a5c66"), ParagraphStyle("l", base, fontSize=14, leading=18)
    cells = [[Paragraph(_marked(what), small), Paragraph(_marked(much), large)] for what, much in figures]
    style = [
        ("BOX", (0, 0), (-1, -1), 0.5, "#c9d3d8"),
        ("INNERGRID", (0, 0), (-1, -1), 0.5, "#c9d3d8"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    return Grid([cells], colWidths=[width / max(1, len(cells))] * len(cells), hAlign="LEFT", style=style)


def _table(table: Table, width: float, base: Any) -> "Flowable":
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph
    from reportlab.platypus import Table as Grid

    left, right = (
        ParagraphStyle("t", base, fontSize=8.5, leading=11),
        ParagraphStyle("n", base, fontSize=8.5, leading=11, alignment=2),
    )

    def drawn(cell: Cell, column: int, bold: bool) -> "Flowable":
        mark = _marked(cell, "#0b6b57" if column in table.texts else "#16232b")
        return Paragraph(f"<b>{mark}</b>" if bold else mark, left if column in table.texts else right)

    last = len(table.rows) - 1
    rows = [[drawn(head, column, True) for column, head in enumerate(table.heads)]]
    rows += [
        [drawn(cell, column, table.total and place == last) for column, cell in enumerate(row)]
        for place, row in enumerate(table.rows)
    ]
    texts = [[str(cell) for cell in row] for row in (table.heads, *table.rows)]
    wanted = [max(min(_wide(row[column], 8.5), 300) for row in texts) + 14 for column in range(len(table.heads))]
    scale = width / sum(wanted)
    style = [
        ("LINEBELOW", (0, 0), (-1, 0), 1, "#16232b"),
        ("LINEBELOW", (0, 1), (-1, -1), 0.25, "#c9d3d8"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    if table.total:
        style.append(("LINEABOVE", (0, -1), (-1, -1), 1, "#16232b"))
    return Grid(rows, repeatRows=1, colWidths=[one * min(scale, 1.6) for one in wanted], hAlign="LEFT", style=style)


def _wide(text: str, size: float) -> float:
    """How wide a text is, each piece in its font."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    latin = "".join(letter for letter in text if ord(letter) <= _LATIN)
    return float(stringWidth(latin, "Helvetica-Bold", size)) + size * (len(text) - len(latin))


def _drawing(bars: Bars, width: float) -> "Flowable":
    from reportlab.graphics.shapes import Drawing, Rect, String

    class Leading(Drawing):  # type: ignore[misc]
        """Bars of which each part leads to its rows."""

        def draw(self) -> None:
            super().draw()
            for (left, low, right, high), link in areas:
                self.canv.linkURL(link.address, (left, low, right, high), relative=1)

    each = width / max(1, len(bars.labels))
    drawing = Leading(width, _BARS_HIGH + 26)
    areas: list[tuple[tuple[float, float, float, float], Link]] = []
    for place, (label, (whole, part)) in enumerate(zip(bars.labels, bars.high, strict=True)):
        left = place * each
        for value, colour in ((whole, "#c9d3d8"), (part, "#0b6b57")):
            drawing.add(Rect(left + 2, 14, each - 4, _BARS_HIGH * value, fillColor=_colour(colour), strokeColor=None))
        top, middle = 14 + _BARS_HIGH * max(whole, 0.02), 14 + _BARS_HIGH * part
        areas += [
            ((left + 2, 14, left + each - 2, middle), bars.part[place]),
            ((left + 2, middle, left + each - 2, top), bars.whole[place]),
        ]
        drawing.add(String(left + each / 2, 3, label, fontSize=7, textAnchor="middle", fillColor=_colour("#4a5c66")))
    return drawing


def _colour(name: str) -> Any:
    from reportlab.lib.colors import HexColor

    return HexColor(name)


def _size(link: Link) -> float:
    return float(link.text.replace(",", ""))


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"pieces": pieces, "is_link": lambda cell: isinstance(cell, Link)}
    return environment.from_string(files("taihu.carbon").joinpath("data/report.html.j2").read_text("utf-8"))
