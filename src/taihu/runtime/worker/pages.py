"""Pages of the history as JSON, CSV or Arrow: what the worker answers to a long question, part by part."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any

import msgspec

from taihu.history.history import History, Series
from taihu.history.paging import Piece, Place, Wanted, page
from taihu.runtime.questions import Body, mark_gone, window_rows
from taihu.runtime.sheets import READINGS, WINDOWS, Label, Sheet, Span, Type, qualities, readings_sheet, windows_sheet

Deleted = Callable[[Label], Sequence[Span]]
"""The stretches of time of which readings of a series were deleted."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Ask(msgspec.Struct, frozen=True):
    """A question for one page.

    `labels` are the series of `wanted` in their order; the page begins at `place` among them, and `before` others were
    answered earlier. `alone` says that the whole answer is of one series, whose JSON then names its project. `notes`
    are what the JSON says beside the labels.
    """

    wanted: Wanted
    labels: list[Label]
    place: Place
    form: str
    before: int = 0
    alone: bool = False
    notes: list[dict[str, Any]] = []

    @property
    def begins(self) -> bool:
        """Whether this is the first page of all."""
        return not self.before and self.place == Place()


def answer(history: History, body: Body) -> dict[str, Any]:
    """One page: its bytes in the form asked for, where the next begins, None after the last, and, where a limit ended a
    lone series, the time of its last reading.
    """
    ask = msgspec.convert(body["ask"], Ask)
    pieces, place = page(history, ask.wanted, ask.place)
    rows, limit = pieces[-1].rows, ask.wanted.limit
    limited = place is None and ask.alone and limit is not None and pieces[-1].given >= limit
    last = int(rows.observed[-1]) if limited and isinstance(rows, Series) else None

    def deleted(label: Label) -> Sequence[Span]:
        return history.lost(ask.wanted.project, label.thing, label.property) if ask.wanted.every else ()

    data = _json(ask, pieces, deleted) if ask.form == "json" else _TABLES[ask.form](ask, pieces, deleted)
    return {"data": msgspec.Raw(data), "next": place, "last": last}


def _json(ask: Ask, pieces: Iterable[Piece], deleted: Deleted) -> bytes:
    """Objects of series, parted by commas; one that goes on on the next page is left open."""
    parts: list[bytes] = []
    for piece in pieces:
        rows = _records(piece.rows)
        if ask.wanted.every:
            mark_gone(rows, deleted(ask.labels[piece.series]))
        if piece.begins:
            head = {"project": ask.wanted.project} if ask.alone else {}
            note = ask.notes[piece.series] if ask.notes else {}
            text = _encode(head | ask.labels[piece.series]._asdict() | note)
            comma = b"," if ask.before + piece.series else b""
            parts.append(b'%b%b,"%b":[' % (comma, text[:-1], b"windows" if ask.wanted.every else b"readings"))
        elif rows:
            parts.append(b",")
        parts.append(_encode(rows)[1:-1])
        if piece.ends:
            parts.append(b"]}")
    return b"".join(parts)


class _Reading(msgspec.Struct, gc=False):
    """One reading as JSON shows it."""

    observed_at: int
    received_at: int
    value: Any
    quality: str
    seq: int


def _records(rows: Any) -> list[Any]:
    if not isinstance(rows, Series):
        return window_rows(rows)
    columns = (rows.observed.tolist(), rows.received.tolist(), _values(rows), qualities(rows.flags), rows.seq.tolist())
    return [_Reading(*row) for row in zip(*columns, strict=True)]


def _csv(ask: Ask, pieces: Iterable[Piece], deleted: Deleted) -> bytes:
    """Lines as RFC 4180 has them, times in ISO 8601; the first page begins with the names of the columns."""
    columns = WINDOWS if ask.wanted.every else {name: kind for name, kind in READINGS.items() if name != "text"}
    parts = [",".join(columns) + "\r\n"] if ask.begins else []
    for piece in pieces:
        sheet = _sheet(ask, piece, deleted)
        cells = [_CELLS[kind](sheet[name]) for name, kind in columns.items()]
        if isinstance(piece.rows, Series):
            cells[list(columns).index("value")] = [_value_cell(value) for value in _values(piece.rows)]
        parts += [",".join(row) + "\r\n" for row in zip(*cells, strict=True)]
    return "".join(parts).encode("utf-8", "replace")


def _arrow(ask: Ask, pieces: Iterable[Piece], deleted: Deleted) -> bytes:
    from taihu.runtime.worker.arrow import arrow_messages  # only a worker that is asked for Arrow holds its library

    sheets = [_sheet(ask, piece, deleted) for piece in pieces]
    return arrow_messages(WINDOWS if ask.wanted.every else READINGS, sheets, ask.begins)


_TABLES: dict[str, Callable[[Ask, Sequence[Piece], Deleted], bytes]] = {"csv": _csv, "arrow": _arrow}


def _sheet(ask: Ask, piece: Piece, deleted: Deleted) -> Sheet:
    label = ask.labels[piece.series]
    if isinstance(piece.rows, Series):
        return readings_sheet(label, piece.rows)
    return windows_sheet(label, piece.rows, deleted(label))


def _values(rows: Series) -> list[Any]:
    return rows.values if isinstance(rows.values, list) else rows.values.tolist()


def _value_cell(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else _quoted(_encode(value).decode())


def _quoted(text: str | None) -> str:
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


_CELLS: dict[Type, Callable[[Any], list[str]]] = {
    Type.TEXT: lambda column: [_quoted(text) for text in column],
    Type.TIME: lambda column: [f"{text}Z" for text in column.astype("datetime64[ns]").astype(str)],
    Type.NUMBER: lambda column: ["" if isnan(number) else repr(number) for number in column.tolist()],
    Type.COUNT: lambda column: ["" if number < 0 else str(number) for number in column.tolist()],
    Type.FLAG: lambda column: ["true" if flag else "false" for flag in column.tolist()],
}
