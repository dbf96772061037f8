"""The examples of docs/sql.md answer as they say; its lists are those of the program."""

import re

import msgspec
from tests.docs.support import DOCS, Reader, examples
from tests.docs.test_http_docs import shape

from taihu.history.sql.deleted import deletions_view
from taihu.history.sql.metadata import properties_view, things_view
from taihu.history.sql.rollups import rollups_view
from taihu.history.sql.sources import Bounds
from taihu.history.sql.views import readings

PAGE = (DOCS / "sql.md").read_text("utf-8")
SETUP = """API=http://127.0.0.1:8080/api/v1
OPERATOR=$(taihu token issue --site mysite home)
TS='[{"ts": 1795400000000, "values": {"energy_kwh": 10.5}}, {"ts": 1795400060000, "values": {"energy_kwh": 10.6}}]'
SEND='Content-Type: application/json'
curl -s -H "Authorization: Bearer $OPERATOR" -H "$SEND" "$API/projects/home/readings?thing=meter" -d "$TS"
"""


def test_the_examples_answer_as_they_say(reader: Reader, first_steps: str) -> None:
    assert first_steps
    reader.shell(SETUP)
    reader.shell('until taihu query --site mysite home "SELECT value FROM readings" | grep 10.6; do sleep 0.1; done')
    for script, wanted in examples("sql.md"):
        shown = reader.shell(script)
        assert not wanted or shape(msgspec.json.decode(shown)) == shape(msgspec.json.decode(wanted)), (script, shown)
        assert "meter" in shown


def test_every_column_of_the_fixed_views_is_named() -> None:
    rows = (readings([], Bounds(), {}), rollups_view([], Bounds()))
    for view in (*rows, things_view(""), properties_view("", ""), deletions_view("")):
        section = PAGE.split(f"**`{view.name}`**")[1].split("\n**`")[0].split("\nA few lines")[0]
        words = set(re.findall(r"`(\w+)`", section))
        assert words >= {column.name for column in view.columns}, view.name
