"""The example of docs/thing-models.md is a Thing Model, and its table has every term that a property may say."""

import inspect
import re
from pathlib import Path

from taihu.things import affordance
from taihu.things.model import parse_model
from taihu.things.property import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "thing-models.md").read_text("utf-8")


def test_the_example_is_a_thing_model() -> None:
    block = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    model = parse_model(block[1])
    assert {one.kind for one in model.properties.values()} == set(Kind) - {Kind.EVENT}
    assert model.properties["setpoint"].writable and not model.properties["power"].writable


def test_every_term_is_in_the_table() -> None:
    read = inspect.getsource(affordance.read_property) + inspect.getsource(affordance._kind)
    terms = set(re.findall(r'"(taihu:\w+)"', read)) - {"taihu:inferred"}
    assert terms == set(re.findall(r"^\| `(taihu:\w+)`", PAGE, re.MULTILINE))
