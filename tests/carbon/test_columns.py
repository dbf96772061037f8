"""Hours that are kept are those of the ledger, whatever was added, restated or deleted since they were read (§10)."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.carbon import columns
from taihu.carbon.columns import WEEK_NS, Weeks, columns_of
from taihu.carbon.figures import MeterHours, hours, sums
from taihu.carbon.ledger import Ledger
from taihu.carbon.rows import Role, Row, RowQuality

HOUR = 3_600_000_000_000
START = 2_700 * WEEK_NS - 3 * HOUR  # so that a period lies over the edge of two weeks
COUNT = 6
rows = st.builds(
    lambda meter, hour, half, role, kwh, share: Row(
        project="plant", meter=meter, start=START + hour * HOUR + half * HOUR // 2,
        end=START + hour * HOUR + (half + 1) * HOUR // 2, role=role, coverage=1.0 if kwh is None else share,
        quality=RowQuality.MEASURED, factors=(), inputs=(), behind="main" if role is Role.SUBMETER else "",
        **({"generation_kwh": kwh} if role is Role.GENERATION else {"import_kwh": kwh, "export_kwh": kwh}),
    ),
    st.sampled_from(("main", "line")), st.integers(0, COUNT - 1), st.integers(0, 1), st.sampled_from((*Role,)[:4]),
    st.none() | st.integers(0, 5).map(float), st.sampled_from((0.5, 1.0)),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=5), st.booleans())
def test_what_is_kept_is_what_the_ledger_says(batches: list[list[Row]], forgets: bool) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "carbon.sqlite")
        for number, batch in enumerate(batches):
            ledger.append(list({(row.meter, row.start): row for row in batch}.values()), "again", number + 1)
            alike(hours(ledger, "plant", START, COUNT), read_again(Path(folder), START, COUNT))
            alike(hours(ledger, "plant", START + HOUR, 3), read_again(Path(folder), START + HOUR, 3))
            for line in sums(ledger, "plant", (START, START + 2 * HOUR, START + COUNT * HOUR)):
                mine = [
                    row
                    for row in ledger.rows("plant", line.start, line.end, line.meter)
                    if (row.role, row.behind) == (line.role, line.behind)
                ]
                assert line.figures.import_kwh == total(row.import_kwh for row in mine)
                assert line.figures.measured == len(mine) and line.written_at == max(row.written_at for row in mine)
        if forgets:
            ledger.forget("plant")
            assert hours(ledger, "plant", START, COUNT) == []
        ledger.close()


def read_again(folder: Path, start: int, count: int) -> list[MeterHours]:
    ledger = Ledger(folder / "carbon.sqlite")
    found = hours(ledger, "plant", start, count)
    ledger.close()
    return found


def alike(some: list[MeterHours], others: list[MeterHours]) -> None:
    for one, other in zip(some, others, strict=True):
        for name in MeterHours.__struct_fields__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def total(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def test_no_more_weeks_are_kept_than_a_limit_says_and_none_that_changed_while_it_was_read(monkeypatch: Any) -> None:
    monkeypatch.setattr(columns, "KEPT_MAX", 2)
    weeks, empty = Weeks(), columns_of([])
    for number in range(3):
        weeks.keep(("p", "m", number), empty, weeks.changes)
    assert [weeks.get(("p", "m", number)) is empty for number in range(3)] == [False, True, True]
    before = weeks.changes
    weeks.changed([("p", "m", 1)])
    weeks.keep(("p", "m", 1), empty, before)
    assert weeks.get(("p", "m", 1)) is None
    assert msgspec.structs.asdict(empty)["places"] == []
