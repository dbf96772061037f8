"""docs/grafana.md says what of PromQL is answered, and its example runs."""

import msgspec
from tests.docs.support import DOCS, Reader, examples

from taihu.protocols.promql import AGGREGATES, FUNCTIONS


def test_every_function_is_listed() -> None:
    page = (DOCS / "grafana.md").read_text("utf-8")
    for name in (*FUNCTIONS, *AGGREGATES):
        assert f"`{name}`" in page


def test_the_example_asks(reader: Reader, first_steps: str) -> None:
    assert first_steps
    ((script, _),) = examples("grafana.md")
    answer = msgspec.json.decode(reader.shell(script))
    assert answer["status"] == "success"
    assert answer["data"]["result"][0]["metric"]["thing"] == "meter"
