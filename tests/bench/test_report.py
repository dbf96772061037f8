"""Reports: the median of runs in turn, tables, and sections of RESULTS.md that replace each other."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bench.all import write
from bench.harness import Report, Row, markdown, show, shown, side_by_side
from bench.peers import Absent, find


def test_contenders_run_in_turn_and_give_their_median() -> None:
    order: list[str] = []
    rates = {"one": iter([3.0, 1.0, 2.0]), "two": iter([30.0, 10.0, 20.0])}

    def contender(name: str) -> Callable[[], Row]:
        def run() -> Row:
            order.append(name)
            return {"server": name, "rate": next(rates[name])}

        return run

    report = Report("x", "X")
    side_by_side(report, {name: contender(name) for name in rates}, 3, "rate")
    assert order == ["one", "two"] * 3
    assert report.rows == [{"server": "one", "rate": 2.0}, {"server": "two", "rate": 20.0}]


def test_a_peer_that_is_not_installed_is_told_once_and_left_out() -> None:
    def absent() -> Row:
        find("no-such-program")
        raise AssertionError

    report = Report("x", "X")
    side_by_side(report, {"none": absent, "here": lambda: {"rate": 1.0}}, 3, "rate")
    assert report.rows == [{"rate": 1.0}]
    assert report.notes == ["none is left out: no-such-program is not installed."]
    with pytest.raises(Absent):
        find("no-such-program")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ("a", "a"), (1234567.8, "1,234,568"), (12, "12"), (0.1234, "0.123"), (123.4, "123"), (99.94, "99.9")],
)
def test_a_cell_has_three_digits(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    show(Report("x", "Title", [{"server": "a", "rate": 1.5}, {"server": "bb", "more": 2.0}], ["so"]))
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "server  rate  more",
        "a        1.5     -",
        "bb         -     2",
        "- so",
    ]


def test_a_section_of_the_results_is_replaced_in_place(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    first, second = Report("a", "First", [{"rate": 1.0}]), Report("b", "Second", [{"rate": 2.0}])
    for report in (first, second, Report("a", "First", [{"rate": 3.0}])):
        write(report, "machine", "command", path)
    text = path.read_text()
    assert text.index("## First") < text.index("## Second")
    assert text.count("## First") == 1
    assert "| 3 |" in text and "| 1 |" not in text
    assert markdown(second, "conditions").splitlines()[:3] == ["## Second", "", "conditions"]
