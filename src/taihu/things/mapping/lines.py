"""Line protocol to rows: which thing and property each value of a point is of, by the mapping's rule (§11)."""

import re
from collections.abc import Iterable, Mapping

from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.lineprotocol import BadLine, Point, Series, parse_columns, parse_lines
from taihu.things.mapping.lots import Lot
from taihu.things.mapping.reading import Source, leaf, too_many
from taihu.things.ports import Refusal, Row

THING_TAGS = ("thing", "host", "device")
_PROPERTY, _SERIES, _PROPERTY_OF_SERIES = "{measurement}.{tags}.{field}", "{measurement}.{tags}", "{field}"
_TAG = re.compile(r"\{([^{}]+)\}")
_UNFIT = re.compile(r"[/+#\x00-\x1f\x7f-\x9f]")
_DOTS = re.compile(r"\.{2,}")


def line_protocol(source: Source, payload: bytes, received_at: int) -> list[Row | Refusal]:
    """The rows of a payload in InfluxDB line protocol, one for each line, and the lines that are none."""
    return rows_of(parse_lines(payload, source.unit_ns), source)


def line_lots(source: Source, payload: bytes) -> list[Lot]:
    """The same, all at once; none when a line is not plain or names no thing."""
    if source.mapping.units:
        return []
    known: dict[Series, _Naming] = {}
    lots = []
    try:
        for points in parse_columns(payload, source.unit_ns):
            naming = known.get(points.series) or known.setdefault(points.series, _Naming(points.series, source))
            names = tuple(map(naming.name, points.fields))
            if len(set(names)) < len(names):
                return []
            lots.append(Lot(naming.thing, names, points.columns, points.times))
    except PayloadError:
        return []
    return lots if sum(map(len, lots)) <= source.limits.payload_rows_max else []


def rows_of(points: Iterable[Point | BadLine], source: Source) -> list[Row | Refusal]:
    """The rows of points, in their order; a bad line, or a point that names no thing, is a Refusal.

    Raises PayloadError when there are more than `payload_rows_max`.
    """
    known: dict[Series, _Naming] = {}
    rows: list[Row | Refusal] = []
    for point in points:
        if len(rows) >= source.limits.payload_rows_max:
            raise too_many("lines", source.limits.payload_rows_max)
        if isinstance(point, BadLine):
            rows.append(Refusal(str(_bad(f"Line {point.number}: {point}.")), point.text.encode()))
            continue
        try:
            naming = known.get(point.series)
            if naming is None:
                naming = known[point.series] = _Naming(point.series, source)
            values = {naming.name(field): leaf(value) for field, value in point.fields.items()}
        except PayloadError as error:
            rows.append(Refusal(str(error), str(point.series).encode("utf-8", "replace")))
            continue
        rows.append(Row(values, point.time, naming.thing, source.mapping.units))
    return rows


class _Naming:
    """The thing of a series, and the property of each of its fields."""

    def __init__(self, series: Series, source: Source) -> None:
        mapping = source.mapping
        ignored = set(mapping.ignore_tags)
        tags = {key: value for key, value in series.tags if key not in ignored}
        self._captures = {**tags, "measurement": series.measurement}
        self._rename = mapping.rename
        self._names: dict[str, str] = {}
        thing, used = source.thing, set()
        if thing is None and mapping.thing:
            used = set(_TAG.findall(mapping.thing))
            for tag in used - self._captures.keys():
                raise _bad(f"A line of {series.measurement[:40]!r} has no tag {tag!r}, which names the thing.")
            thing = _fill(mapping.thing, self._captures)
        elif thing is None:
            tag = next((tag for tag in mapping.thing_tags or THING_TAGS if tag in tags), None)
            if tag is not None:
                used, thing = {tag}, _clean(tags[tag])
        by_series = thing is None and source.own is None
        self._template = mapping.property or (_PROPERTY_OF_SERIES if by_series else _PROPERTY)
        used.update(_TAG.findall(self._template))
        self._captures["tags"] = ".".join(tags[key] for key in sorted(tags.keys() - used))
        self.thing = _fill(_SERIES, self._captures) if by_series else thing

    def name(self, field: str) -> str:
        found = self._names.get(field)
        if found is None:
            name = _fill(self._template, self._captures | {"field": field})
            found = self._names[field] = self._rename.get(name, name)
        return found


def _fill(template: str, captures: Mapping[str, str]) -> str:
    return _clean(_TAG.sub(lambda found: captures.get(found[1], ""), template))


def _clean(name: str) -> str:
    """A name without the characters that no name may have."""
    name = _DOTS.sub(".", _UNFIT.sub("_", name)).strip(". ")
    if not name:
        raise _bad("A line's tags and fields give an empty name.")
    return name


def _bad(message: str) -> PayloadError:
    return PayloadError("bad-line", message, "Send InfluxDB line protocol that the mapping's rule can name.")
