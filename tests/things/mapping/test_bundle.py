"""Bundles: what is packed is what is read; any bytes give rows or the one error (§13); sizes are bounded."""

import zlib
from array import array
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.things.batch import FLAG_SUSPECT, Batch, Column, encode_batch
from taihu.things.mapping.bundle import bundle, pack, parts
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import builtin_mappings
from taihu.things.ports import Refusal, Row
from taihu.things.property import Kind, Property

MAPPING = next(mapping for mapping in builtin_mappings() if mapping.name == "edge")
SOURCE = Source(MAPPING)
DEFINITIONS = {"a": (Property(name="energy", kind=Kind.COUNTER, unit="kW.h"), Property(name="mode", kind=Kind.STATE))}
JSON = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)
ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2**60), st.floats(-1e9, 1e9), JSON), min_size=1)


def batch_of(rows: list[tuple[str, int, float, object]]) -> Batch:
    return Batch(
        "plant", "", ("energy", "mode"), ("a", "b"), array("i", ["ab".index(row[0]) for row in rows]).tobytes(), 7,
        array("q", [row[1] for row in rows]).tobytes(), b"",
        (
            Column("d", array("d", [row[2] for row in rows]).tobytes()),
            Column("o", msgspec.msgpack.encode([row[3] for row in rows])),
        ),
    )  # fmt: skip


@given(ROWS, st.integers(1, 9))
def test_round_trip(rows: list[tuple[str, int, float, object]], most: int) -> None:
    """Rows, times and definitions, in one batch or many."""
    batches = [encode_batch(part) for part in parts(batch_of(rows), most)]
    assert len(batches) == -(-len(rows) // most)
    found = bundle(SOURCE, pack(DEFINITIONS, batches), 0)
    expected = [
        (thing, at, {"energy": energy} | ({} if mode is None else {"mode": mode})) for thing, at, energy, mode in rows
    ]
    assert [(row.thing, row.observed_at, row.values) for row in found if isinstance(row, Row)] == expected
    for row in found:
        assert isinstance(row, Row)
        known = {one.name: one for one in DEFINITIONS["a"]} if row.thing == "a" else {}
        assert (row.definitions, row.units) == (known, {"energy": "kW.h"} if known else {})


def test_what_is_suspect_stays_suspect() -> None:
    batch = msgspec.structs.replace(
        batch_of([("a", 1, 0.5, None), ("a", 2, 1.5, None)]), flags=bytes([0, FLAG_SUSPECT])
    )
    found = bundle(SOURCE, pack({}, [encode_batch(batch)]), 0)
    assert [row.suspect for row in found if isinstance(row, Row)] == [False, True]


@given(st.binary(max_size=100) | st.binary(max_size=60).map(zlib.compress))
def test_any_bytes_are_rows_or_the_one_error(data: bytes) -> None:
    with suppress(PayloadError):
        bundle(SOURCE, data, 0)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    source = Source(MAPPING, limits=Limits(bundle_bytes_max=10_000))
    with pytest.raises(PayloadError, match="too-many"):
        bundle(source, zlib.compress(bytes(50_000_000)), 0)


def test_too_many_rows_are_refused() -> None:
    source = Source(MAPPING, limits=Limits(payload_rows_max=2))
    with pytest.raises(PayloadError, match="too-many"):
        bundle(source, pack({}, [encode_batch(batch_of([("a", 1, 1.0, None)] * 3))]), 0)


def test_what_a_batch_may_not_hold_is_refused_and_the_rest_counts() -> None:
    found = bundle(
        SOURCE, pack({}, [encode_batch(batch_of([("a", 1, float("inf"), 1), ("a", 2, float("nan"), 2)]))]), 0
    )
    assert isinstance(found[0], Refusal)
    assert found[1] == Row({"mode": 2}, 2, "a")


def test_a_definition_that_is_none_is_refused() -> None:
    bad = {"a": (Property(name="energy", unit="furlong/fortnight-"),)}
    with pytest.raises(PayloadError, match="bad-bundle"):
        bundle(SOURCE, pack(bad, []), 0)
