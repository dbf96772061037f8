"""Where a view's rows come from: files and head of a table side by side, with the times that need a closer look."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from taihu.history.aggregate import merge_spans
from taihu.history.frame import Frame, concat
from taihu.history.gone import Gone, of_property, still_there, visible_rows
from taihu.history.layout import any_number_expression, check_column, form_base, is_float, present_expression
from taihu.history.resolve import same_key, time_order
from taihu.history.sql.text import quote
from taihu.history.store import Part, Store
from taihu.things.deletion import TIME_MAX, TIME_MIN

Span = tuple[int, int]  # first and last observed_at


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which readings the views hold: `start` <= observed_at < `end`, of the things named; None says all."""

    start: int = TIME_MIN
    end: int = TIME_MAX
    things: frozenset[str] | None = None

    def condition(self) -> str:
        """The times as SQL."""
        terms = []
        if self.start > TIME_MIN:
            terms.append(f"observed_at >= {self.start}")
        if self.end < TIME_MAX:
            terms.append(f"observed_at < {self.end}")
        return " AND ".join(terms) or "true"


@dataclass(frozen=True, slots=True)
class Group:
    """Files that hold the same columns, so that one scan reads them; of their rows some may be gone."""

    paths: tuple[str, ...]
    forms: tuple[str, ...]
    gone: tuple[Gone, ...] = ()

    def forms_of(self, column: str) -> tuple[str, ...]:
        """The columns that hold a property's values."""
        return tuple(form for form in self.forms if form_base(form) == column)

    def rows(self, columns: Mapping[str, str]) -> str:
        """The rows, as SQL after FROM that may go on with AND; `columns` is the column of each property."""
        whole = tuple(one for one in self.gone if not one.property)
        if whole == self.gone:
            return f"{self._files()} WHERE true{still_there(whole)}"
        forms = {name: own for name, column in columns.items() if (own := self.forms_of(column))}
        return f"{visible_rows(self.gone, forms, self._files())} WHERE true"

    def values(self, name: str, column: str) -> str:
        """The rows that have a value of one property, likewise."""
        present, hidden = present_expression(self.forms_of(column)), still_there(of_property(self.gone, name))
        return f"{self._files()} WHERE {present}{hidden}"

    def _files(self) -> str:
        return f"read_parquet([{', '.join(map(quote, self.paths))}])"


@dataclass(frozen=True, slots=True)
class Source:
    """One table: its groups, and the spans of time in which its rows may meet others of the same thing and time."""

    part: Part
    groups: tuple[Group, ...]
    spans: tuple[Span, ...]

    def forms(self, column: str) -> set[str]:
        """All columns that hold a property's values, in whatever file."""
        found = {form for file in self.part.files for form in file.forms} | {
            form for group in self.groups for form in group.forms
        }
        return {form for form in found if form_base(form) == column}


def sources(store: Store, project: str, parts: Sequence[Part], heads: dict[int, Group], bounds: Bounds) -> list[Source]:
    """The tables of a project within bounds, each with its head as one more file.

    Args:
        store: where they are.
        project: whose.
        parts: a snapshot of all tables of its readings.
        heads: by table, where the rows of its head can be read.
        bounds: what is asked for.
    """
    late = _late_in_heads(store, project, parts)
    found = []
    for part in parts:
        source = source_of(store, part, bounds)
        spans = [(f.late_min, f.late_max) for f in part.files if f.late_min is not None and f.late_max is not None]
        groups = (*source.groups, heads[part.table.id]) if part.table.id in heads else source.groups
        found.append(Source(part, groups, tuple(merge_spans([*spans, *late.get(part.table.id, ())]))))
    return found


def source_of(store: Store, part: Part, bounds: Bounds) -> Source:
    """The files of a table within bounds."""
    files = [file for file in part.files if file.observed_max >= bounds.start and file.observed_min < bounds.end]
    files.sort(key=lambda file: file.forms)
    groups = [
        Group(tuple(str(store.folder / file.path) for file in same), forms, part.gone)
        for forms, same in groupby(files, key=lambda file: file.forms)
    ]
    return Source(part, tuple(groups), ())


def joint_spans(of: Iterable[Source]) -> list[Span]:
    """The spans of several tables that may hold readings of one thing."""
    return merge_spans([span for source in of for span in source.spans])


def outside(spans: Sequence[Span]) -> str:
    """SQL that holds where no reading meets another."""
    return " AND ".join(f"observed_at NOT BETWEEN {low} AND {high}" for low, high in spans) or "true"


def within(spans: Sequence[Span]) -> str:
    """SQL that holds elsewhere."""
    return "(" + (" OR ".join(f"observed_at BETWEEN {low} AND {high}" for low, high in spans) or "false") + ")"


def value_type(forms: Iterable[str]) -> str:
    """The SQL type of a property whose values lie in these columns: numbers before text, floats before integers."""
    kinds = set(forms)
    if any(is_float(form) for form in kinds):
        return "DOUBLE"
    for ending, kind in (("__int", "BIGINT"), ("__bool", "BOOLEAN"), ("__text", "VARCHAR")):
        if any(form.endswith(ending) for form in kinds):
            return kind
    return "DOUBLE"


def value_expression(forms: Sequence[str], kind: str) -> str:
    """SQL for a cell as a value of `value_type`; NULL where it holds another."""
    if kind == "VARCHAR":
        return text_expression(forms)
    if kind == "DOUBLE":
        return any_number_expression(forms)
    terms = [f'CAST("{check_column(form)}" AS {kind})' for form in forms if form.endswith(("__int", "__bool"))]
    return f"coalesce({', '.join(terms)})" if terms else f"CAST(NULL AS {kind})"


def text_expression(forms: Sequence[str]) -> str:
    """SQL for a cell that is no number: a string as it is, anything else as JSON."""
    for form in forms:
        if form.endswith("__text"):
            return f"json_extract_string(\"{check_column(form)}\", '$')"
    return "CAST(NULL AS VARCHAR)"


def _late_in_heads(store: Store, project: str, parts: Sequence[Part]) -> dict[int, list[Span]]:
    """By table, the span of the head's rows that may meet another: in a file, or in the head of any table."""
    bare = [
        (part.table.id, Frame(frame.thing, frame.observed, frame.received, frame.seq, frame.flags, {}))
        for part in parts
        for frame in part.frames
    ]
    if not bare:
        return {}
    frame = concat([frame for _, frame in bare])
    order = time_order(frame)
    same = same_key(frame.take(order))
    late = store.late(project, frame)
    late[order[same]] = True
    late[order[np.append(same[1:], False)]] = True
    tables = np.repeat([table_id for table_id, _ in bare], [len(frame) for _, frame in bare])
    found: dict[int, list[Span]] = {}
    for table_id in np.unique(tables[late]).tolist():
        times = frame.observed[late & (tables == table_id)]
        found[table_id] = [(int(times.min()), int(times.max()))]
    return found
