"""The forms an answer comes in, written by DuckDB itself straight into a pipe."""

from collections.abc import Sequence
from typing import Literal

from taihu.history.sql.text import quote_name

Format = Literal["json", "csv", "parquet"]

_FLOATS = ("FLOAT", "DOUBLE")
_CSV = "FORMAT csv, HEADER true"
_LINES = "FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE ''"  # a column of JSON holds none of these
_PARQUET = "FORMAT parquet, COMPRESSION zstd"


def answer_statement(sql: str, columns: Sequence[tuple[str, str]], form: Format, target: str, rows_max: int) -> str:
    """The COPY that writes an answer; it says how many rows there were, one more than `rows_max` at most.

    As JSON each row is a line with an array, and what JSON has no number for (NaN, infinity) is null.

    Args:
        sql: one SELECT that was checked.
        columns: the names and types of its columns.
        form: the format.
        target: the path to write to.
        rows_max: the limit.
    """
    numbered = ", ".join(f"c{index}" for index in range(len(columns)))
    rows = f"SELECT * FROM ({sql}) AS answer({numbered}) LIMIT {rows_max + 1}"  # noqa: S608 (checked by its tree)
    match form:
        case "json":
            cells = ", ".join(_json(f"c{index}", kind) for index, (_, kind) in enumerate(columns))
            return f"COPY (SELECT json_array({cells}) FROM ({rows})) TO '{target}' ({_LINES})"  # noqa: S608
        case "csv":
            names = unique_names([name for name, _ in columns])
            cells = ", ".join(
                f"{_text(f'c{i}', kind)} AS {quote_name(names[i])}" for i, (_, kind) in enumerate(columns)
            )
            return f"COPY (SELECT {cells} FROM ({rows})) TO '{target}' ({_CSV})"  # noqa: S608
        case "parquet":
            names = unique_names([name for name, _ in columns])
            cells = ", ".join(f"c{index} AS {quote_name(name)}" for index, name in enumerate(names))
            return f"COPY (SELECT {cells} FROM ({rows})) TO '{target}' ({_PARQUET})"  # noqa: S608


def _json(cell: str, kind: str) -> str:
    if kind in _FLOATS:
        return f"CASE WHEN isfinite({cell}) THEN {cell} END"
    if any(name in kind for name in _FLOATS):
        return f"CAST({cell} AS VARCHAR)"  # NaN may be anywhere in a list or struct of floats
    return _text(cell, kind)


def _text(cell: str, kind: str) -> str:
    """A time as ISO 8601; all else as it is."""
    return f"replace(CAST({cell} AS VARCHAR), ' ', 'T')" if kind.startswith("TIMESTAMP") and "[" not in kind else cell


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number where one is there already: a file has no two columns of one name."""
    found: list[str] = []
    taken: set[str] = set()
    for place, name in enumerate(names):
        unique, number = name or f"c{place}", 1
        while unique.lower() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique.lower())
        found.append(unique)
    return found
