"""Column batches: what the journal gives back is what was put in, or the one error."""

from array import array
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.batch import Batch, Column, decode_batch, encode_batch

ROWS = 3
SOUND = Batch(
    "plant", "pump", ("level", "on"), ("a", "b"), array("i", [0, 1, 0]).tobytes(), 1, array("q", [1, 2, 3]).tobytes(),
    bytes(ROWS), (Column("d", array("d", [1, 2, 3]).tobytes()), Column("o", msgspec.msgpack.encode(["x", None, 2]))),
)  # fmt: skip


def test_round_trip() -> None:
    assert decode_batch(encode_batch(SOUND)) == SOUND


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_the_one_error(data: bytes) -> None:
    with suppress(msgspec.DecodeError):
        assert decode_batch(data) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"observed": bytes(25)},
        {"observed": bytes(16)},
        {"flags": bytes(2)},
        {"gaps": bytes(3)},
        {"properties": ("level",)},
        {"things": ("a",)},
        {"thing_of": b""},
        {"thing_of": array("i", [0, -1, 0]).tobytes()},
        {"thing_of": array("i", [0, 1]).tobytes()},
        {"columns": (SOUND.columns[0], Column("z", bytes(3)))},
        {"columns": (SOUND.columns[0], Column("b", bytes(2)))},
        {"columns": (SOUND.columns[0], Column("q", bytes(23)))},
        {"columns": (SOUND.columns[0], Column("o", b"\x92\x01\x02"))},
        {"columns": (SOUND.columns[0], Column("o", b"\x03"))},
        {"columns": (SOUND.columns[0], Column("o", b"\xc1"))},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together_are_no_batch(change: dict[str, object]) -> None:
    """The history would fail on them much later, and again at each start."""
    with pytest.raises(msgspec.DecodeError):
        decode_batch(encode_batch(msgspec.structs.replace(SOUND, **change)))
