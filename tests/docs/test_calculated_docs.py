"""docs/calculated.md: its example runs, its formulas mean something, and it names all there is."""

import re

import pytest
from tests.docs.support import DOCS, Reader, examples

from taihu.things.formula import AGGREGATES, CRITERIA, FORMULA_LENGTH_MAX, FUNCTIONS, RELATIVES, parse_formula

PAGE = (DOCS / "calculated.md").read_text("utf-8")


def test_the_example_runs(reader: Reader, first_steps: str) -> None:
    assert first_steps
    ((script, _),) = examples("calculated.md")
    shown = reader.shell(script)
    assert "home/meter/standby_kw is worked out of:\n  home/meter/power_kw" in shown
    assert "min(power_kw, 0.2 [kW]) = 0.2 kW" in shown


def test_all_words_are_named() -> None:
    for word in (*AGGREGATES, *CRITERIA, *RELATIVES):
        assert f"`{word}`" in PAGE, word
    for word in FUNCTIONS:
        assert f"`{word}(x)`" in PAGE, word
    assert f"{FORMULA_LENGTH_MAX:,} characters" in PAGE


@pytest.mark.parametrize(
    "text", re.findall(r'formula": "(.*)"|^    ((?:sum|mean).*)$|calculate \S+ "(.*?)"', PAGE, re.M)
)
def test_its_formulas_are_read(text: tuple[str, ...]) -> None:
    parse_formula("".join(text))
