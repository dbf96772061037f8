"""SenML packs, JSON and CBOR, to rows (RFC 8428, units of RFC 8428 and RFC 8798).

Handled: base fields, number, string, boolean and data values, sums, relative times, versions up to 10, fields that must
be understood. Not handled: XML and EXI; update time (`ut`), which promises the next message, is ignored.
"""

from base64 import urlsafe_b64encode
from decimal import Decimal
from typing import Any, NoReturn

import cbor2

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.reading import InexactTime, Source, leaf, load_json, no_values, too_many
from taihu.things.mapping.rules import BaseName
from taihu.things.mapping.senml_units import UNITS
from taihu.things.mapping.times import NS_END
from taihu.things.ports import Row

VERSION = 10
RELATIVE_END_S = 1 << 28  # smaller times are relative to the moment of receipt (4.5.3)
NAMELESS = "value"  # the property of a record that has a base name and no name

_SECONDS_END = NS_END // NS_PER_S
_VALUES = ("v", "vs", "vb", "vd")
_FIELDS = frozenset(("n", "u", "t", "s", *_VALUES))
_BASES = frozenset(("bn", "bt", "bu", "bv", "bs", "bver"))
_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip


def senml(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """A pack in either form: a JSON text begins with an ASCII character, a CBOR array or tag with none."""
    if payload[:1] < b"\x80":
        return senml_json(source, payload, received_at)
    return senml_cbor(source, payload, received_at)


def senml_json(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """A SenML pack in JSON; the rows are its records, gathered by thing and time."""
    try:
        return _Pack(source, received_at).resolve(load_json(payload))
    except InexactTime:
        return _Pack(source, received_at).resolve(load_json(payload, exact=True))


def senml_cbor(source: Source, payload: bytes, received_at: int) -> list[Row]:
    """A SenML pack in CBOR; the labels of its records are the integers of RFC 8428, table 4, or their names."""
    try:
        document = cbor2.loads(payload, max_depth=source.limits.payload_depth_max, semantic_decoders=_TAGS)
    except cbor2.CBORDecodeError as error:
        raise PayloadError("not-cbor", f"This is not CBOR: {str(error)[:120]}.", "Send one SenML pack.") from None
    if type(document) is not list:
        raise _bad("the pack is no array")
    return _Pack(source, received_at).resolve([_named(record) for record in document])


class _Pack:
    """Resolves records in their order: a base field holds from its record on."""

    def __init__(self, source: Source, received_at: int) -> None:
        self._source = source
        self._received_at = received_at
        self._base: dict[str, Any] = {}
        self._rows: dict[tuple[str | None, int | None], Row] = {}

    def resolve(self, records: Any) -> list[Row]:
        if type(records) is not list:
            raise _bad("the pack is no array")
        if len(records) > self._source.limits.payload_rows_max:
            raise too_many("records", self._source.limits.payload_rows_max)
        for record in records:
            self._take(record)
        if not self._rows:
            raise no_values()
        return list(self._rows.values())

    def _take(self, record: Any) -> None:
        if type(record) is not dict:
            raise _bad("a record is no object")
        for key, value in record.items():
            if key[:1] == "b" and key in _BASES:
                self._base[key] = value
            elif key[-1:] == "_":
                raise _bad(f"field {key[:40]!r} must be understood and is not")
        version = self._base.get("bver", VERSION)
        if type(version) is not int or version > VERSION:
            raise _bad(f"version {str(version)[:40]} is not known")
        if _FIELDS.isdisjoint(record) and "bv" not in record and "bs" not in record:
            return
        self._resolve(record)

    def _resolve(self, record: dict[str, Any]) -> None:
        thing, name = self._name(record)
        unit = _text(record.get("u", self._base.get("bu", "")), "unit")
        given = [key for key in _VALUES if key in record]
        total = "s" in record or "bs" in self._base
        if len(given) > 1 or not (given or total or "bv" in self._base):
            raise _bad(f"record {name[:40]!r} has {len(given)} values")
        row = self._row(thing, self._time(record))
        code = UNITS.get(unit, unit)
        if given or "bv" in self._base:
            row.values[name] = self._value(record, given[0] if given else "v")
            if code:
                row.units[name] = code
        if total:
            row.values[f"{name}.sum"] = _add(self._base.get("bs"), record.get("s"))
            if code:
                row.units[f"{name}.sum"] = f"({code}).s" if "/" in code else f"{code}.s"

    def _name(self, record: dict[str, Any]) -> tuple[str | None, str]:
        """The thing and property of a record; `/`, which no property may have, becomes a dot."""
        base, name = _text(self._base.get("bn", ""), "base name"), _text(record.get("n", ""), "name")
        if not base + name:
            raise _bad("a record has neither a name nor a base name")
        thing = self._source.thing
        if self._source.mapping.base_name is BaseName.THING and base:
            thing = base.rstrip("/:._-") or base
        elif self._source.mapping.base_name is BaseName.PROPERTY:
            name = base + name
        name = (name or NAMELESS).strip("/").replace("/", ".")
        return thing, self._source.mapping.rename.get(name, name)

    def _time(self, record: dict[str, Any]) -> int | None:
        """`bt + t`; None for the moment of receipt."""
        seconds = _seconds(self._base.get("bt")) + _seconds(record.get("t"))
        if not seconds:
            return None
        moment = round(seconds * NS_PER_S) + (self._received_at if seconds < RELATIVE_END_S else 0)
        if 0 <= moment < NS_END:
            return moment
        raise _bad_time()

    def _value(self, record: dict[str, Any], key: str) -> Any:
        value = record.get(key)
        if key == "v":
            return _add(self._base.get("bv"), value)
        if key == "vd" and type(value) is bytes:
            return urlsafe_b64encode(value).rstrip(b"=").decode()
        if type(value) is not (bool if key == "vb" else str):
            raise _bad(f"{key} is no {'boolean' if key == 'vb' else 'text'}")
        return value

    def _row(self, thing: str | None, moment: int | None) -> Row:
        row = self._rows.get((thing, moment))
        if row is None:
            row = self._rows[thing, moment] = Row({}, moment, thing, dict(self._source.mapping.units))
        return row


def _named(record: Any) -> dict[str, Any]:
    """A CBOR record as its JSON form: labels as names, times as the shortest decimals of their floats."""
    if not isinstance(record, dict):
        raise _bad("a record is no map")
    named = {_LABELS.get(key, "?") if type(key) is int else str(key): value for key, value in record.items()}
    for key in ("bt", "t"):
        if type(named.get(key)) is float:
            named[key] = Decimal(repr(leaf(named[key])))
    return named


def _seconds(value: Any) -> Decimal:
    if value is None:
        return Decimal(0)
    if type(value) is float:
        raise InexactTime
    if -_SECONDS_END < _number(value) < _SECONDS_END:
        return Decimal(value)
    raise _bad_time()


def _add(base: Any, value: Any) -> Any:
    """`base + value` as it is stored, where a missing one is zero."""
    if base is None or value is None:
        return leaf(_number(value if base is None else base))
    return leaf(leaf(_number(base)) + leaf(_number(value)))


def _number(value: Any) -> Any:
    if type(value) is int or type(value) is float or type(value) is Decimal:
        return value
    raise _bad(f"{str(value)[:40]!r} is no number")


def _text(value: Any, what: str) -> str:
    """A name or unit; bounded, since a base field may be repeated in each of its records."""
    if type(value) is not str:
        raise _bad(f"the {what} is no text")
    if len(value) > NAME_LENGTH_MAX:
        raise _bad(f"the {what} has more than {NAME_LENGTH_MAX} characters")
    return value


def _bad(what: str) -> PayloadError:
    return PayloadError("bad-senml", f"This is not SenML: {what}.", "Send a pack as RFC 8428 defines it.")


def _bad_time() -> PayloadError:
    return PayloadError("bad-time", "A time is too far from now.", "Send seconds since 1970, or since now.")


def _refuse(decoder: object, *_: object) -> NoReturn:
    raise cbor2.CBORDecodeError("a tag that SenML does not use")


# Every tag that the decoder would act on by itself, but for decimal fractions (4), which RFC 8428 clause 6 allows.
_TAGS: Any = dict.fromkeys(
    (0, 1, 2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse
)
