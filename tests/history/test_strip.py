"""A batch without what was deleted of it says the same as before on all the rest, by the same numbers."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.history.test_delete import deletions
from tests.history.test_store_model import batches

from taihu.history.frame import frame_of
from taihu.history.strip import strip
from taihu.things.batch import Batch, decode_batch, encode_batch
from taihu.things.deletion import Deletion

THING_IDS = {"a": 0, "b": 1, "c": 2}
Cell = tuple[str, str, int, int, int, Any]


def cells(batch: Batch | None) -> list[Cell]:
    """(thing, property, observed, seq, flags, value) of every value."""
    if batch is None:
        return []
    frame = frame_of([(7, batch)], THING_IDS)
    names = list(THING_IDS)
    found = []
    for name, part in frame.cells.items():
        for row, value in enumerate(part.objects(len(frame))):
            if value is not None:
                where = (names[frame.thing[row]], name, int(frame.observed[row]), int(frame.seq[row]))
                found.append((*where, int(frame.flags[row]), value))
    return sorted(found, key=repr)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=batches(), asked=st.lists(deletions(), min_size=1, max_size=3))
def test_the_rest_is_what_it_was(make_batch: Any, spec: dict[str, Any], asked: list[Deletion]) -> None:
    batch: Batch = make_batch(**spec)
    expected = cells(batch)
    for deletion in asked:
        expected = [each for each in expected if not deletion.covers(*each[:3])]
        left = strip(batch, deletion)
        assert cells(left) == expected
        if left is None:
            break
        assert len(left.numbers()) == len(left) > 0
        batch = decode_batch(encode_batch(left))


def test_another_projects_batch_is_left_alone(make_batch: Any) -> None:
    """§11."""
    batch: Batch = make_batch([("a", 5, [1.0])], project="p")
    assert strip(batch, Deletion(id="d", project="q")) is batch
    assert strip(batch, Deletion(id="d", project="p", thing="b")) is batch
    assert strip(batch, Deletion(id="d", project="p", property="other")) is batch
    assert strip(batch, Deletion(id="d", project="p")) is None
