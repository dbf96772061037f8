"""From payloads to batches: the fast way equals the slow one, and what is wrong is refused by its rule (§1 §2 §3)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.support import NOW_NS, PROJECT, Bench, Cell, Things, cells, claim_of, properties_of, property_of

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.ids import check_name
from taihu.kernel.limits import Limits
from taihu.kernel.retention import Retention
from taihu.runtime.ingest import intake, shape
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT
from taihu.things.property import DataType, Kind, OnBad, Property
from taihu.things.validate import pack_column

MS = NOW_NS // 1_000_000

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", "on", "off", 10**400, 2**63, -(2**63), 2**64, 0, 1, -1, 1e308, {"x": 1}, [1, 2], {}, []]),
)
TIMES = st.one_of(
    st.none(),
    st.integers(MS - 100_000, MS),
    st.integers(NOW_NS - 10**12, NOW_NS),
    st.sampled_from([0, -1, 1.5, "2023-11-14T22:13:20Z", "noon", True, MS + 10**9, 1_700_000_000.125, 2**63, {}, []]),
)
PAYLOADS = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "on", "text"]), VALUES, max_size=4),
    st.builds(
        lambda ts, values: {"ts": ts, **values},
        TIMES,
        st.dictionaries(st.sampled_from(["a", "b", "on", "text"]), VALUES, max_size=4),
    ),
    st.builds(
        lambda ts, values: {**values, "ts": ts},
        TIMES,
        st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=1, max_size=2),
    ),
)


def declared() -> Things:
    return Things(
        pump=properties_of(
            property_of("a", minimum=-1000.0, maximum=1000.0),
            property_of("on", data_type=DataType.BOOLEAN, kind=Kind.STATE),
            property_of("text", data_type=DataType.STRING, kind=Kind.STATE, enum=("on", "off"), on_bad=OnBad.FLAG),
        )
    )


def outcome(found: list[Cell]) -> list[tuple[Any, ...]]:
    """Stamped readings are told by their order, not by the nanosecond that keeps them apart."""
    return sorted(
        (cell.thing, cell.name, cell.flags, -1 if cell.flags & FLAG_STAMPED else cell.observed_at, repr(cell.value))
        for cell in found
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(PAYLOADS, min_size=1, max_size=12))
def test_the_fast_way_equals_the_slow(documents: list[dict[str, Any]]) -> None:
    """A claim that remembers its plans gives what a claim that never saw a payload gives, message by message."""
    fast, slow = Bench(declared()), Bench(declared())
    claim = claim_of()
    for document in documents:
        payload = msgspec.json.encode(document)
        assert outcome(fast.cells((claim, payload))) == outcome(slow.cells((claim_of(), payload))), document
        assert fast.things.things == slow.things.things


@settings(max_examples=100, deadline=None)
@given(st.lists(PAYLOADS, min_size=1, max_size=6))
def test_a_request_equals_the_first_of_its_kind(documents: list[dict[str, Any]]) -> None:
    """What requests before it made known changes nothing but the time that it takes; its counts are its own."""
    fast, slow = Bench(declared()), Bench(declared())
    first = claim_of()
    for document in documents:
        payload = msgspec.json.encode(document)
        again, fresh = first.again(), claim_of()
        assert outcome(fast.cells((again, payload))) == outcome(slow.cells((fresh, payload))), document
        counts = [(claim.accepted, claim.refusals, claim.refused) for claim in (again, fresh)]
        assert counts[0] == counts[1], document


def test_requests_of_ever_other_things_learn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """§6: what is known of forms is bounded, and each request has room to add to it."""
    monkeypatch.setattr(intake, "_FORMS_PER_CLAIM_MAX", 4)
    bench, first = Bench(Things()), claim_of(None, "v1/gateway/telemetry", may_create=True)
    for number in range(9):
        claim = first.again()
        assert len(claim.forms) <= 2
        assert len(bench.cells((claim, b'{"thing-%d": [{"a": 1}]}' % number))) == claim.accepted == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PAYLOADS.map(msgspec.json.encode), st.binary(max_size=40)), max_size=12))
def test_a_group_equals_its_messages_one_by_one(payloads: list[bytes]) -> None:
    """Whatever shares a group with a message does not change what becomes of it; any bytes are taken (§13)."""
    together, apart = Bench(declared()), Bench(declared())
    claim, other = claim_of(), claim_of()
    found = together.cells(*((claim, payload) for payload in payloads))
    singly = [cell for payload in payloads for cell in apart.cells((other, payload))]
    assert outcome(found) == outcome(singly)
    assert sorted(each.reason for each in together.refused) == sorted(each.reason for each in apart.refused)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_stamped_times_never_collide(groups: list[int]) -> None:
    """§1: without a device time it is the receiver's, flagged, and each reading has its own nanosecond."""
    bench = Bench(declared())
    claim = claim_of()
    found = [cell for size in groups for cell in bench.cells(*[(claim, b'{"a": 1}')] * size)]
    assert len({cell.observed_at for cell in found}) == sum(groups)
    assert all(cell.flags & FLAG_STAMPED and cell.observed_at >= NOW_NS for cell in found)


@pytest.mark.parametrize("jump_s", [-86_400, -3_600, -2, -0.5, 0.5, 3_600])
def test_a_clock_that_jumps_costs_no_reading(jump_s: float) -> None:
    """§1: stamped times follow the clock, still each its own nanosecond; a short step back does not turn them round."""
    bench = Bench(declared())
    first = bench.cells(*[(claim_of(), b'{"a": 1}')] * 3)
    bench.clock.jump(jump_s)
    second = bench.cells(*[(claim_of(), b'{"a": 1}')] * 3)
    assert len({cell.observed_at for cell in first + second}) == 6
    assert not bench.refused
    assert all(0 <= cell.observed_at - bench.clock.now_ns() <= NS_PER_S for cell in second)


def test_a_bad_cell_leaves_its_row() -> None:
    """The other values of the message are stored; the bad one is in the quarantine with its reason."""
    bench = Bench(declared())
    found = bench.cells((claim_of(), b'{"ts": %d, "a": 5000, "on": true}' % MS))
    assert found == [Cell("pump", "on", NOW_NS, True, 0)]
    assert [(each.thing, each.property) for each in bench.refused] == [("pump", "a")]
    assert "1000" in bench.refused[0].reason


def test_a_suspect_cell_is_stored_and_flagged() -> None:
    bench = Bench(declared())
    found = bench.cells((claim_of(), b'{"ts": %d, "a": 5, "text": "half"}' % MS))
    assert sorted(found) == [Cell("pump", "a", NOW_NS, 5.0, 0), Cell("pump", "text", NOW_NS, "half", FLAG_SUSPECT)]
    assert not bench.refused


def test_what_its_sender_doubts_is_suspect_and_marks_nothing_else() -> None:
    """With a time and without one, and whatever was remembered of the form before."""
    bench, claim = Bench(declared()), claim_of(topic=f"taihu/{PROJECT}/pump/a")
    payloads = [
        b'{"value": 1, "ts": %d}' % (MS - 3),
        b'{"value": 2, "ts": %d, "quality": "suspect"}' % (MS - 2),
        b'{"value": 3, "ts": %d, "quality": "good"}' % (MS - 1),
        b'{"value": 4, "quality": "suspect"}',
    ]
    found = bench.cells(*((claim, payload) for payload in payloads))
    assert [(cell.value, cell.flags) for cell in sorted(found, key=lambda cell: cell.value)] == [
        (1.0, 0), (2.0, FLAG_SUSPECT), (3.0, 0), (4.0, FLAG_SUSPECT | FLAG_STAMPED),
    ]  # fmt: skip


def test_a_bad_cell_does_not_touch_other_rows_of_its_group() -> None:
    bench = Bench(declared())
    claim = claim_of()
    payloads = [b'{"ts": %d, "a": %d}' % (MS - number, 5000 if number == 3 else number) for number in range(6)]
    found = bench.cells(*((claim, payload) for payload in payloads))
    assert sorted(cell.value for cell in found) == [0, 1, 2, 4, 5]
    assert len(bench.refused) == 1


@pytest.mark.parametrize("moment", [MS + 10**9, "noon", -5, 3, {}])
def test_a_time_that_cannot_be_is_refused(moment: Any) -> None:
    bench = Bench(declared())
    claim = claim_of()
    bench.cells((claim, b'{"ts": %d, "a": 1}' % MS))
    assert bench.cells((claim, msgspec.json.encode({"ts": moment, "a": 1}))) == []
    assert len(bench.refused) == 1


def test_a_time_before_the_device_existed_is_refused() -> None:
    bench = Bench(declared())
    bench.things.commissioned["pump"] = NOW_NS - 10 * NS_PER_S
    claim = claim_of()
    assert bench.cells((claim, b'{"ts": %d, "a": 1}' % (MS - 9_000)))
    assert not bench.cells((claim, b'{"ts": %d, "a": 1}' % (MS - 11_000)))
    assert "existed" in bench.refused[0].reason


def test_what_is_older_than_it_would_be_kept_is_refused() -> None:
    """§5: value by value, in one form of payload and in the other; nothing that has expired comes back."""
    short = property_of("short", retention=Retention(raw="1h"))
    bench = Bench(Things(pump=properties_of(short, property_of("long", retention=Retention(raw="2d")))))
    claim = claim_of()
    for hours in (0, 2, 0, 2, 50):
        ms = (NOW_NS - hours * 3_600 * NS_PER_S) // 10**6
        payload = msgspec.json.encode({"ts": ms, "values": {"short": 1.5, "long": 2.5}})
        found = {cell.name for cell in bench.cells((claim, payload))}
        assert found == {0: {"short", "long"}, 2: {"long"}, 50: set()}[hours]
    told = [(one.property, one.reason) for one in bench.refused]
    assert [name for name, _ in told] == ["short", "short", "short", "long"]
    assert told[0][1] == "observed before what is kept: readings of 1h"
    assert claim.accepted == 4


def test_a_full_project_takes_no_readings() -> None:
    """§6: whatever door they came by; they are refused with the reason, and taken again when there is room."""
    bench = Bench(Things(pump=properties_of(property_of("level"))))
    claim = claim_of()
    assert bench.cells((claim, b'{"level": 1.5}'))
    bench.things.full = frozenset({PROJECT})
    assert not bench.cells((claim, b'{"level": 2.5}'))
    assert [one.reason for one in bench.refused] == [f"{PROJECT} is full"] and claim.refusals == 1
    bench.things.full = frozenset({"another"})
    assert [cell.value for cell in bench.cells((claim, b'{"level": 3.5}'))] == [3.5]


def test_null_is_missing_and_not_a_value() -> None:
    """§3"""
    bench = Bench(declared())
    claim = claim_of()
    for _ in range(2):
        found = bench.cells((claim, b'{"ts": %d, "a": null, "on": true}' % MS))
        assert [cell.name for cell in found] == ["on"]
    bench.cells((claim, b'{"ts": %d, "a": 1, "on": true}' % MS))
    assert [cell.name for cell in bench.cells((claim, b'{"ts": %d, "a": null, "on": true}' % MS))] == ["on"]
    assert not bench.refused


def test_what_was_a_number_stays_one() -> None:
    """§2: the first value decides; another type is refused, never widened."""
    bench = Bench(Things(pump={}))
    claim = claim_of()
    assert bench.cells((claim, b'{"power": 20}'))[0].value == 20.0
    assert bench.cells((claim, b'{"power": "high"}')) == []
    assert bench.things.things["pump"]["power"].data_type is DataType.NUMBER
    assert bench.things.things["pump"]["power"].unit is None
    assert bench.refused[0].property == "power"


def test_a_declared_unit_is_converted_once_at_the_edge() -> None:
    """§2"""
    bench = Bench(Things(pump=properties_of(property_of("power", unit="kW"))))
    claim = claim_of(topic="taihu/plant/pump/power")
    for _ in range(2):
        assert bench.cells((claim, b'{"value": 1500, "unit": "W"}'))[0].value == 1.5
    assert bench.cells((claim, b'{"value": 2, "unit": "kW"}'))[0].value == 2.0
    assert bench.cells((claim, b"3"))[0].value == 3.0


def test_a_wrong_unit_is_refused() -> None:
    """§2"""
    bench = Bench(Things(pump=properties_of(property_of("power", unit="kW"))))
    assert bench.cells((claim_of(topic="taihu/plant/pump/power"), b'{"value": 1500, "unit": "Cel"}')) == []
    assert bench.refused[0].property == "power"


def test_a_thing_speaks_only_for_itself() -> None:
    """§11 inside a project: a payload that names another thing is refused unless its sender may speak for others."""
    pack = b'[{"bn": "fan", "n": "speed", "v": 3}]'
    bench = Bench(Things(pump={}, fan={}))
    assert bench.cells((claim_of("pump", "senml/plant"), pack)) == []
    assert "fan" in bench.refused[0].reason
    assert bench.cells((claim_of(None, "senml/plant", may_create=True), pack))[0].thing == "fan"


def test_a_gateway_may_bring_new_things_and_a_stranger_may_not() -> None:
    payload = b'{"fan": [{"ts": %d, "values": {"speed": 3}}]}' % MS
    bench = Bench(Things(pump={}))
    assert bench.cells((claim_of(None, "v1/gateway/telemetry"), payload)) == []
    assert "fan" in bench.refused[0].reason
    assert bench.cells((claim_of(None, "v1/gateway/telemetry", may_create=True), payload))[0].thing == "fan"


def test_properties_of_a_thing_are_bounded() -> None:
    """§6"""
    bench = Bench(Things(pump={}), Limits(properties_per_thing_max=5))
    claim = claim_of()
    for number in range(9):
        bench.cells((claim, b'{"p%d": 1}' % number))
    assert len(bench.things.things["pump"]) == 5
    assert len(bench.refused) == 4


def test_new_definitions_take_the_place_of_remembered_ones() -> None:
    bench = Bench(declared())
    claim = claim_of()
    assert bench.cells((claim, b'{"a": 900}'))
    bench.things.things["pump"]["a"] = property_of("a", maximum=100.0)
    bench.intake.forget_plans()
    claim = claim_of()  # as the broker does once it is told
    assert bench.cells((claim, b'{"a": 900}')) == []
    assert len(bench.refused) == 1


def test_rows_of_many_things_share_one_batch() -> None:
    bench = Bench(Things(pump=declared().things["pump"], fan=declared().things["pump"]))
    readings = [
        (claim_of(name), b'{"ts": %d, "a": 1}' % (MS - place)) for place, name in enumerate(["pump", "fan"] * 3)
    ]
    batches = bench.take(*readings)
    assert len(batches) == 1
    assert sorted(cell.thing for cell in cells(batches)) == ["fan"] * 3 + ["pump"] * 3


def test_a_defect_takes_its_own_rows_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """§13: a shape that cannot be packed is refused whole, with the reason; the rest of the group is kept."""
    bench = Bench(Things(pump=properties_of(property_of("good"), property_of("bad"))))

    def pack(definition: Property, values: list[Any]) -> Any:
        if definition.name == "bad":
            raise ZeroDivisionError
        return pack_column(definition, values)

    monkeypatch.setattr(shape, "pack_column", pack)
    claim = claim_of()
    found = bench.cells((claim, b'{"bad": 1}'), (claim, b'{"good": 2}'))
    assert [(cell.name, cell.value) for cell in found] == [("good", 2)]
    assert [refused.reason for refused in bench.refused] == [shape.DEFECT]
    assert claim.accepted == 1


def test_a_name_of_any_length_is_told_in_short() -> None:
    """§6"""

    class Strict(Things):
        def create(self, project: str, thing: str) -> None:
            super().create(project, check_name(thing))

    bench = Bench(Strict(pump={}))
    claim = claim_of(None, "v1/gateway/telemetry", may_create=True)
    bench.take((claim, b'{"%s": {"a": 1}, "pump": {"%s": 1}}' % (b"x" * 1_000_000, b"y" * 1_000_000)))
    assert len(bench.refused) == 2
    assert all(len(refused.thing + refused.property) < 300 for refused in bench.refused)
    assert all(len(line) < 1_000 for line in claim.refused)


def test_many_cells_become_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal record has a largest size: what a few bytes of payload unfold to is parted before it."""
    monkeypatch.setattr("taihu.runtime.ingest.shape._CELLS_MAX", 10)
    bench = Bench(Things(pump={}))
    claim = claim_of()
    payloads = [b'{"ts": %d, "v": [1, 2, 3]}' % (MS - number) for number in range(8)]
    batches = bench.take(*((claim, payload) for payload in payloads))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert len(set(cells(batches))) == 24
