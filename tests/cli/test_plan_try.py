"""`taihu plan try` of a file that is none: one line with the file, the line, and what to write; no node is asked."""

from pathlib import Path

import pytest

from taihu.cli.main import EXIT_REFUSED, run

GOOD = """[[project]]
name = "home"
[[project.scheduler]]
name = "flexible"
net = "meter/power"
base = "meter/base"
[project.scheduler.buys]
price = 0.3
[[project.scheduler.battery]]
name = "battery"
thing = "battery"
capacity_kwh = 10
power_kw = 5
"""
GROUP = '[[project.scheduler.group]]\nname = "{}"\nmembers = ["{}"]\nimport_max_kw = 5\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xff\xfe\x00", "try.toml: Cannot be read"),
        (GOOD + "[[", "try.toml:14: Not TOML"),
        ("", "has no scheduler of home"),
        (GOOD.replace("0.3", "nan"), "try.toml:8: price is nan, which is no size. Write a finite number."),
        (GOOD.replace("= 10", "= 1e12"), "try.toml:12: capacity_kwh is 1e+12. Give kW"),
        (GOOD.replace("= 10", "= -1"), "try.toml:12: capacity_kwh does not fit. Write a value > 0.0."),
        (GOOD + GROUP.format("a", "b") + GROUP.format("b", "a"), "try.toml:16: There is no asset 'b'."),
        (GOOD + GROUP.format("battery", "battery"), "try.toml:15: There are two of 'battery'."),
    ],
)
def test_a_file_that_is_none_is_told_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, says: str
) -> None:
    file = tmp_path / "try.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    nobody = ("--url", "http://127.0.0.1:9", "--token", "none")
    assert run(["plan", "try", "home", str(file), *nobody]) == EXIT_REFUSED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert shown.err.count("\n") == 1
