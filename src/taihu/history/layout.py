"""How rows lie in a Parquet file, as docs/adr/0002-history.md measured it; any engine reads it without us.

System columns: `thing` (id), `observed_at` and `received_at` (int64 UTC nanoseconds, the latter whole milliseconds),
`record` and `row` (where the journal held the row: seq = record << ROW_BITS | row) and `flags`. A property has one
column per form its values take, and a column's name says the form, so that a name has one type in every file:

    power        DOUBLE           power__d2    DECIMAL(18, 2), floats that are exactly so many decimals
    power__int   BIGINT           power__bool  BOOLEAN              power__text  VARCHAR, JSON of anything else

A cell has a value in one of them, or in none where the row says nothing on the property. A flush is written by DuckDB;
`parquet` packs the same columns tighter when files are merged.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taihu.history.frame import Cells, Frame, known_text
from taihu.kernel.errors import LocalError
from taihu.things.batch import ROW_BITS, ROWS_MAX

SYSTEM_COLUMNS = ("thing", "observed_at", "received_at", "record", "row", "flags")
DECIMALS_MAX = 9
REST_SHARE = 16
_SAMPLE = 512
_EXACT_MAX = float(1 << 53)
_FORMS = re.compile(r"__(?:d\d|int|bool|text)\Z")
_COLUMN = re.compile(r"[^\W\d]\w{0,149}")
COPY_OPTIONS = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 1, ROW_GROUP_SIZE 122880"


def column_name(property_name: str, taken: Iterable[str]) -> str:
    """A column for a property: its name in lower case with `_` for what is no letter or digit, made unique.

    >>> column_name("Power (kW)", ["power_kw"])
    'power_kw_2'
    """
    base = re.sub(r"_+", "_", re.sub(r"\W", "_", property_name.lower())).strip("_")[:100] or "value"
    if base[0].isdigit():
        base = "p_" + base
    used = {*SYSTEM_COLUMNS, *taken}
    name, number = base, 1
    while name in used:
        number += 1
        name = f"{base}_{number}"
    return check_column(name)


def check_column(name: str) -> str:
    """Return `name` if it may stand, quoted, in a statement; anything else never came from `column_name`."""
    if not _COLUMN.fullmatch(name):
        raise LocalError(f"{name!r} is not a column of the history.")
    return name


def form_base(column: str) -> str:
    """The property's column that a form belongs to.

    >>> form_base("power__d2"), form_base("power")
    ('power', 'power')
    """
    return _FORMS.sub("", column)


def places_of(form: str) -> int:
    """The decimals of a DECIMAL column.

    >>> places_of("power__d2")
    2
    """
    return int(form[-1])


def encode(frame: Frame, columns: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays for DuckDB to scan, and the expression that makes each file column of them.

    Args:
        frame: the rows, in the order they are to have.
        columns: the column of each property.
    """
    arrays: dict[str, Any] = {
        "thing": frame.thing,
        "observed_at": frame.observed,
        "received_at": frame.received,
        "record": frame.seq >> ROW_BITS,
        "row": (frame.seq & (ROWS_MAX - 1)).astype(np.int32),
        "flags": frame.flags,
    }
    select = {name: name for name in SYSTEM_COLUMNS}
    for name, cells in frame.cells.items():
        column = check_column(columns[name])
        if cells.number is not None:
            fitting, rest, places = split_decimals(cells.number)
            if fitting is not None:
                arrays[f"{column}__d{places}"] = fitting
                select[f"{column}__d{places}"] = f'CAST("{column}__d{places}" AS DECIMAL(18, {places}))'
            if rest is not None:
                arrays[column] = rest
                select[column] = f'"{column}"'
        for form, values in (("int", cells.integer), ("bool", cells.boolean), ("text", cells.text)):
            if values is not None and cells_used(form, values):
                arrays[f"{column}__{form}"] = values
                select[f"{column}__{form}"] = f'"{column}__{form}"'
    return arrays, select


def cells_used(form: str, values: Any) -> bool:
    """Whether any row has a value in this form."""
    if form == "text":
        return bool(known_text(values).any())
    return not np.ma.getmaskarray(values).all()


def split_decimals(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, int]:
    """Split floats into those that are exactly `i / 10**places` and the rest; NaN where a value is in the other.

    Takes the fewest places that leave at most one value in REST_SHARE over; all are rest when none do.
    """
    known = values[~np.isnan(values)]
    total = len(known)
    sample = known[:: max(1, total // _SAMPLE)]
    for places in range(DECIMALS_MAX + 1):
        if np.count_nonzero(_fits(sample, places)) * REST_SHARE < len(sample) * (REST_SHARE - 2):
            continue
        fits = _fits(values, places)
        rest = total - int(np.count_nonzero(fits))
        if rest * REST_SHARE <= total:
            return (
                (values, None, places)
                if not rest
                else (np.where(fits, values, np.nan), np.where(fits, np.nan, values), places)
            )
    return None, (values if total else None), 0


def _fits(values: NDArray[np.float64], places: int) -> NDArray[np.bool_]:
    power = 10.0**places
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(values * power)
        return np.asarray((np.abs(scaled) < _EXACT_MAX) & (scaled / power == values))


def number_expression(forms: Sequence[str]) -> str:
    """SQL for a cell's float among a property's forms; NULL when it is none.

    Casting a DECIMAL to DOUBLE divides by the same power of ten that `split_decimals` checked, so it is exact.
    """
    floats = [f'CAST("{check_column(form)}" AS DOUBLE)' for form in forms if is_float(form)]
    if not floats:
        return "CAST(NULL AS DOUBLE)"
    return floats[0] if len(floats) == 1 else f"coalesce({', '.join(floats)})"


def any_number_expression(forms: Sequence[str]) -> str:
    """SQL for a cell as a float, booleans as 0 and 1; NULL when it is no number."""
    terms = [number_expression(forms)]
    for form in forms:
        if form.endswith(("__int", "__bool")):
            terms.append(f'CAST("{check_column(form)}" AS DOUBLE)')
    return terms[0] if len(terms) == 1 else f"coalesce({', '.join(terms)})"


def present_expression(forms: Sequence[str]) -> str:
    """SQL that says whether a row has a value of the property."""
    return "(" + " OR ".join(f'"{check_column(form)}" IS NOT NULL' for form in forms) + ")"


def decode_cells(fetched: Mapping[str, Any]) -> Cells:
    """Cells from the columns `number`, `int`, `bool` and `text` of a fetched result, as far as they are there."""
    number = fetched.get("number")
    text = fetched.get("text")
    return Cells(
        None if number is None else np.ma.filled(number, np.nan),
        _masked(fetched.get("int")),
        _masked(fetched.get("bool")),
        None if text is None else _objects(text),
    )


def _masked(values: Any) -> Any:
    return None if values is None else np.ma.array(values)


def _objects(values: Any) -> NDArray[np.object_]:
    plain = np.array(np.ma.getdata(values), np.object_)
    plain[np.ma.getmaskarray(values)] = None
    return plain


def is_float(form: str) -> bool:
    """Whether a column holds floats: DOUBLE or DECIMAL."""
    found = _FORMS.search(form)
    return found is None or found.group().startswith("__d")
