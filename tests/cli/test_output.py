"""Answers as text: aligned in a pipe, a table on a terminal, and nothing a device sent steers the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.cli import output

COLUMNS = ("thing", "value")
ROWS = (("meter", "3.2"), ("inverter-2", "-"))


def test_a_pipe_gets_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(COLUMNS, ROWS, ("value",))
    assert capsys.readouterr().out == "thing       value\nmeter         3.2\ninverter-2      -\n"


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    output.show(COLUMNS, ROWS, ("value",))
    shown = capsys.readouterr().out
    assert "inverter-2" in shown and "─" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (3.25, "3.25"),
        (1 / 3, "0.3333333333"),
        (True, "true"),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_missing_is_never_zero(value: object, text: str) -> None:
    """§3."""
    assert output.number_text(value) == text


def test_times_are_shown_in_utc_or_a_zone() -> None:
    moment = 1_700_000_000_500_000_000
    assert output.time_text(moment) == "2023-11-14T22:13:20.500Z"
    assert output.time_text(moment, "Asia/Shanghai") == "2023-11-15T06:13:20.500+08:00"
    assert output.time_text(None) == output.time_text(0) == "-"


@given(st.text())
def test_control_characters_are_not_printed(text: str) -> None:
    assert output.printable(text).isprintable()


def test_a_narrow_terminal_keeps_what_people_copy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    output.show(("id", "created", "label"), [("539885f85c6e619a", "2026-11-23T03:20:42Z", "the display on the wall")])
    assert "539885f85c6e619a" in capsys.readouterr().out


@pytest.mark.parametrize(("share", "text"), [(None, "-"), (0.0, "0%"), (1e-6, "<1%"), (0.5, "50%"), (0.9999, ">99%")])
def test_known_in_part_is_not_shown_as_none_or_all(share: float | None, text: str) -> None:
    """§3."""
    assert output.share_text(share) == text
