"""What a register rose is what its rows add up to, whatever gaps it has, whenever its readings come (§3, §5, §9)."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.carbon.plant import HOUR, START, Plant, account

from taihu.carbon.account import SPREAD
from taihu.carbon.accountant import GAP, LATE
from taihu.carbon.ledger import Cause, Mark
from taihu.carbon.rows import Row, RowQuality
from taihu.kernel.clock import NS_PER_S

MINUTE = 60 * NS_PER_S


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path, [account("meter", imported="import_register", region="CN")])
    yield made
    made.close()


def say(plant: Plant, minute: int, value: float) -> None:
    plant.say("meter", "import_register", START + minute * MINUTE, value)


def by_hour(rows: list[Row]) -> list[float | None]:
    return [row.import_kwh for row in rows]


def test_a_gap_is_missing_until_it_ends_and_then_shared_out_evenly(plant: Plant) -> None:
    for minute in range(0, 121, 10):
        say(plant, minute, minute / 10)
    rows = plant.account(START + 5 * HOUR + 600 * NS_PER_S)
    assert by_hour(rows) == [6.0, 6.0, None, None, None]
    say(plant, 330, 12.0 + 42.0)  # 42 kWh in three and a half hours, and then ten minutes of two
    say(plant, 340, 56.0)
    say(plant, 350, 58.0)
    say(plant, 360, 60.0)
    rows = plant.account(START + 6 * HOUR + 600 * NS_PER_S)
    assert by_hour(rows) == pytest.approx([6.0, 6.0, 12.0, 12.0, 12.0, 12.0])
    assert [row.quality for row in rows] == [RowQuality.MEASURED] * 2 + [RowQuality.ESTIMATED] * 4
    assert [SPREAD in row.inputs for row in rows] == [False] * 2 + [True] * 4
    assert [row.reason for row in rows] == ["", "", GAP, GAP, GAP, ""]
    assert [row.version for row in rows] == [1, 1, 2, 2, 2, 1]


def test_a_late_reading_within_a_gap_tells_its_two_sides_apart(plant: Plant) -> None:
    for minute in (0, 10, 20, 30, 40, 50, 60, 360, 370):
        say(plant, minute, minute / 10)
    before = plant.account(START + 6 * HOUR + 600 * NS_PER_S)
    say(plant, 180, 8.0)
    rows = plant.account(START + 6 * HOUR + 700 * NS_PER_S)
    assert by_hour(before) == pytest.approx([6.0] * 6)
    assert by_hour(rows) == pytest.approx([6.0, 1.0, 1.0, 28 / 3, 28 / 3, 28 / 3])
    assert {row.reason for row in rows[1:]} == {LATE}


def test_a_register_read_at_the_edge_and_late_counts_what_was_before_it(plant: Plant) -> None:
    say(plant, 0, 100.0)
    assert by_hour(plant.account(START + 3 * HOUR)) == [None, None]
    say(plant, 120, 107.0)
    assert by_hour(plant.account(START + 3 * HOUR)) == pytest.approx([3.5, 3.5])


def test_what_is_late_is_accounted_when_the_history_has_it(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is seen before the history takes it: a step in between neither reads without it nor forgets it."""
    say(plant, 0, 100.0)
    plant.account(START + 3 * HOUR)
    with monkeypatch.context() as held:
        held.setattr(plant.history, "apply", lambda position, batch: held.setattr(plant, "batch", batch, raising=False))
        say(plant, 120, 107.0)
        assert by_hour(plant.account(START + 3 * HOUR)) == [None, None]
        batch = plant.batch  # type: ignore[attr-defined]
    plant.history.apply(plant.position, batch)
    assert by_hour(plant.account(START + 3 * HOUR)) == pytest.approx([3.5, 3.5])


readings = st.lists(
    st.tuples(st.integers(1, 200), st.integers(1, 50), st.booleans(), st.integers(0, 4)), min_size=2, max_size=15
)


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(readings)
def test_rows_add_up_to_what_the_register_rose(steps: list[tuple[int, int, bool, int]]) -> None:
    """Readings minutes apart, some after a reset, each told a few turns late; between the turns all is accounted."""
    minute, register, counted = 0, 500.0, 0.0
    told = [(0, 0, register)]
    for later, rise, reset, turns in steps:
        minute, counted = minute + later, counted + rise
        register = rise if reset and rise < register else register + rise
        told.append((minute // 300 + turns, minute, register))
    with TemporaryDirectory() as folder:
        plant = Plant(Path(folder), [account("meter", imported="import_register", region="CN")])
        _told(plant, told, counted)
        plant.close()


def _told(plant: Plant, told: list[tuple[int, int, float]], counted: float) -> None:
    now = START
    for turn in range(15):
        for when, minute, value in told:
            if when == turn:
                say(plant, minute, value)
        now = START + (turn + 1) * 5 * HOUR
        plant.account(now)
    rows = plant.account(now)
    assert sum(row.import_kwh or 0.0 for row in rows) == pytest.approx(counted, abs=1e-9)
    assert all(row.quality is not RowQuality.MEASURED for row in rows if row.coverage < 1.0)
    plant.ledger.mark("plant", "meter", Mark(Cause.READINGS, START, "once more"))
    assert plant.account(now) == rows  # to account it again changes nothing
