"""What is tried a second time, and what never is."""

import pytest
from tests import twice

MANY = {f"a.py::test[{number}]" for number in range(twice.AGAIN_MAX + 1)}


@pytest.mark.parametrize(
    ("codes", "failed", "code", "passed"),
    [
        ([0], [], 0, []),
        ([1, 0], [{"a.py::x", "a.py::y"}, set()], 0, ["a.py::x", "a.py::y"]),
        ([1, 1], [{"a.py::x", "a.py::y"}, {"a.py::y"}], 1, ["a.py::x"]),
        ([1, 5], [{"a.py::x"}], 5, []),  # it was not found again
        ([1, 2], [{"a.py::x"}], 2, []),
        ([1], [MANY], 1, []),
        ([1], [{"a.py", "b.py::x"}], 1, []),  # a file that cannot be collected
        ([1], [set()], 1, []),
        *(([code], [{"a.py::x"}], code, []) for code in (2, 3, 4, 5, -9)),
    ],
)
def test_only_a_few_failed_tests_are_tried_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: list[int],
    failed: list[set[str]],
    code: int,
    passed: list[str],
) -> None:
    left, given = list(codes), iter(failed)
    monkeypatch.setattr(twice, "run", lambda *options: left.pop(0))
    monkeypatch.setattr(twice, "failed", lambda: next(given))
    assert twice.main([]) == code
    assert left == []
    told = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("passed only the second time: ") for line in told if "only the second" in line] == passed
