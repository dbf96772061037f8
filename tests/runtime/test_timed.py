"""Batches in the timed form: all at once says what row by row says."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.support import NOW_NS, Bench, Cell, Things, cells, claim_of, properties_of, property_of

from taihu.kernel.limits import Limits
from taihu.runtime.ingest.intake import Intake
from taihu.things.mapping import timed
from taihu.things.mapping.reading import Source
from taihu.things.mapping.timed import timed_lots
from taihu.things.property import DataType

GATEWAY = "v1/gateway/telemetry"
MS = NOW_NS // 1_000_000
TIME = st.integers(MS - 5, MS) | st.sampled_from([MS // 1_000, MS * 1_000, 7, -1, None, 1.5, "x", 2**63, str(MS)])
VALUE = (
    st.integers(-(2**70), 2**70) | st.floats(-1e6, 1e6) | st.booleans() | st.sampled_from(["on", None, [1], 10**400])
)
VALUES = st.dictionaries(st.sampled_from(["power", "count", "mode", "new", "a/b"]), VALUE, max_size=4)
PLAIN = st.fixed_dictionaries({"ts": st.integers(MS - 5, MS), "values": st.just({"power": 1.5, "count": 2})})
ROW = PLAIN | st.fixed_dictionaries({"ts": TIME, "values": VALUES}, optional={"metadata": st.just({}), "x": st.just(1)})
ROWS = st.lists(PLAIN, max_size=6) | st.lists(ROW, max_size=4)


def bench() -> Bench:
    known = properties_of(property_of("power", maximum=100.0), property_of("count", data_type=DataType.INTEGER))
    return Bench(Things(pump=known, fan=known))


def outcome(body: bytes, topic: str, thing: str | None, may_create: bool) -> tuple[list[Cell], int, list[str], int]:
    stand, claim = bench(), claim_of(thing, topic, may_create)
    found = cells(stand.take((claim, body)))
    return sorted(found, key=repr), claim.accepted, sorted(claim.refused), len(stand.refused)


@given(st.dictionaries(st.sampled_from(["pump", "fan", "new", ""]), ROWS, max_size=3) | ROWS, st.booleans())
def test_all_at_once_equals_row_by_row(document: Any, may_create: bool) -> None:
    body, many = msgspec.json.encode(document), isinstance(document, dict)
    where = (GATEWAY, None, may_create) if many else ("v1/devices/me/telemetry", "pump", may_create)
    fast = outcome(body, *where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timed, "_LARGE", 0)  # as if it were worth a type of its own
        assert outcome(body, *where) == fast
    add_lots = Intake._add_lots
    Intake._add_lots = lambda self, claim, payload: False  # type: ignore[method-assign]
    try:
        assert outcome(body, *where) == fast
    finally:
        Intake._add_lots = add_lots  # type: ignore[method-assign]


def test_a_plain_batch_goes_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row by itself, to know the form; the rest together."""
    alone: list[Any] = []
    add_row = Intake._add_row

    def counted(*given: Any) -> None:
        alone.append(given)
        add_row(*given)

    monkeypatch.setattr(Intake, "_add_row", counted)
    rows = [{"ts": MS - 50 + place, "values": {"power": place, "count": 1}} for place in range(50)]
    found, accepted, refused, _ = outcome(msgspec.json.encode({"pump": rows, "new": rows[:10]}), GATEWAY, None, True)
    assert (len(found), accepted, refused, len(alone)) == (120, 60, [], 2)


def test_more_rows_than_may_come_are_left_to_the_decoder_which_refuses_them() -> None:
    """§6"""
    rows = [{"ts": MS, "values": {"power": 1}}] * 2
    body, mapping = msgspec.json.encode({"pump": rows, "fan": rows}), claim_of(None, GATEWAY, True).mapping
    assert [len(lot) for lot in timed_lots(Source(mapping, limits=Limits(payload_rows_max=4)), body)] == [2, 2]
    assert timed_lots(Source(mapping, limits=Limits(payload_rows_max=3)), body) == []


def test_rows_alike_are_read_by_a_type_of_their_own() -> None:
    """In any order of their names, as one lot; one row that is not alike leaves all to the other way."""
    rows: list[dict[str, Any]] = [
        {"ts": MS - at, "values": {"power": at, "on": True, "count": "x"}} for at in range(200)
    ]
    rows[7]["values"] = dict(reversed(rows[7]["values"].items()))
    mapping = claim_of(None, GATEWAY, True).mapping
    one, other = timed._alike(msgspec.json.encode({"pump": rows, "fan": rows[:1]}), gateway=True)
    assert one.names == ("power", "on", "count") and (len(one), len(other)) == (200, 1)
    assert one.row(7) == {"power": 7, "on": True, "count": "x"}
    rows[9]["values"] = {"power": 1}
    mixed = msgspec.json.encode({"pump": rows})
    assert timed._alike(mixed, gateway=True) == []
    assert [len(lot) for lot in timed_lots(Source(mapping), mixed)] == [198, 1, 1]
