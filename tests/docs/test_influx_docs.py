"""The examples of docs/influx.md write what they say."""

import re
import sys

import msgspec
from tests.docs.support import DOCS, Reader, examples

PAGE = (DOCS / "influx.md").read_text("utf-8")


def test_the_examples_write(reader: Reader, first_steps: str) -> None:
    assert first_steps
    reader.shell("OPERATOR=$(taihu token issue --site mysite home)")
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    (reader.folder / "influx.py").write_text(code[1].replace("8080", str(reader.ports["8080"])), "utf-8")
    reader.shell(f"{sys.executable} influx.py")
    ((script, _),) = examples("influx.md")
    assert reader.shell(script) == ""
    ask = 'curl -s -H "Authorization: Bearer $OPERATOR" "http://127.0.0.1:8080/api/v1/projects/home/values?thing=%s"'
    for thing, name, value in (("weather.roof", "temperature", 21.5), ("meter-7", "power.total", 3.25)):
        (entry,) = msgspec.json.decode(reader.shell(ask % thing))["values"]
        assert (entry["property"], entry["value"]) == (name, value)
