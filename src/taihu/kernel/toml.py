"""TOML text into structs, with every fault told by file and line and with what to write instead."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple, TypeVar, get_args

import msgspec

from taihu.kernel.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


class Fault(NamedTuple):
    """What is wrong at a path such as `$.project[1].name`, and what to write instead."""

    path: str
    message: str
    remedy: str


def read_toml(text: str, kind: type[T], name: str) -> T:
    """Convert the text of the file `name` to the struct `kind`.

    Raises:
        ConfigError: with the line as `where`, and in `remedy` what to write instead.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, name) from None
    for path, number in numbers("$", tables):
        if not isfinite(number):
            fault = Fault(path, f"{path.rpartition('.')[2]} is {number}, which is no size.", "Write a finite number.")
            raise located(fault, text, name)
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as error:
        raise located(_shape_fault(str(error), kind), text, name) from None


def numbers(path: str, value: object) -> Iterator[tuple[str, float]]:
    """Every number in tables, by path."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from numbers(f"{path}.{key}", one)
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from numbers(f"{path}[{index}]", one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


def located(fault: Fault, text: str, name: str) -> ConfigError:
    """The error of a fault in the text of the file `name`."""
    lines = _lines(text)
    path = fault.path
    while path not in lines and path != "$":
        path = path[: max(path.rfind("."), path.rfind("["))]
    return ConfigError(fault.message, fault.remedy, f"{name}:{lines.get(path, 1)}")


def nearest(name: str, known: list[str]) -> str:
    """A question with the nearest known name; empty when none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]}?" if near else ""


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table",
    "datetime": "a time with an offset",
    "null": "nothing",
}
_TABLE_PATH = re.compile(r"^\$\.|\[\d+\]")


def _shape_fault(problem: str, kind: type[msgspec.Struct]) -> Fault:
    """Turn msgspec's words into the reader's."""
    message, _, tail = problem.partition(" - at `")
    path = tail.rstrip("`") or "$"
    key = path.rpartition(".")[2]
    if match := re.search(r"unknown field `(.+)`", message):
        known = _keys_at(path, kind)
        table = "the file" if path == "$" else f"[{_TABLE_PATH.sub('', path)}]"
        remedy = nearest(match[1], known) or f"Known here: {', '.join(known)}."
        return Fault(f"{path}.{match[1]}", f"{match[1]!r} is not a setting of {table}.", remedy)
    if match := re.search(r"missing required field `(.+)`", message):
        return Fault(path, f"{match[1]} is missing.", f"Add: {match[1]} = ...")
    if match := re.fullmatch(r"Expected `(.+)`, got `(\w+)`", message):
        if match[1] == "array" and match[2] == "object":
            return Fault(path, f"{key} is a list of tables.", f"Write [[{key}]] with two brackets.")
        wanted = " or ".join(_TYPES.get(name, name) for name in match[1].split(" | ") if name != "null")
        return Fault(path, f"{key} is {_TYPES.get(match[2], match[2])}.", f"Write {wanted}.")
    if match := re.fullmatch(r"Expected `\w+` (.+)", message):
        return Fault(path, f"{key} does not fit.", f"Write a value {match[1]}.")
    return Fault(path, f"{key}: {message.replace('`', '')}.", "See the manual.")


def _keys_at(path: str, table: type[msgspec.Struct]) -> list[str]:
    """The known keys of the table at `path`."""
    for key in re.findall(r"\.([^.\[]+)", path):
        kind = next(field.type for field in msgspec.structs.fields(table) if field.encode_name == key)
        table = get_args(kind)[0] if get_args(kind) else kind
    return [field.encode_name for field in msgspec.structs.fields(table)]


def _syntax_error(problem: str, text: str, name: str) -> ConfigError:
    match = re.search(r" \(at line (\d+), column \d+\)$", problem)
    line = int(match[1]) if match else max(1, len(text.splitlines()))
    message = re.sub(r" \(at .*\)$", "", problem)
    return ConfigError(f"Not TOML: {message}.", 'Quote text, as in name = "house".', f"{name}:{line}")


def _lines(text: str) -> dict[str, int]:
    """The line of every table and key, by path: a scan that only has to be right for what is written plainly."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = "$"
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]", line):
            keys = [key.strip(" \"'") for key in match[2].split(".")]
            table = "$"
            for index, key in enumerate(keys):
                table += f".{key}"
                if match[1] == "[[" and index == len(keys) - 1:
                    counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                if table in counts:
                    table += f"[{counts[table]}]"
            lines.setdefault(table, number)
        elif match := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            lines.setdefault(f"{table}.{match[1].strip(chr(34) + chr(39))}", number)
    return lines
