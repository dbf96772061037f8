"""docs/getting-started.md is followed to the letter but for its ports; docs/metrics.md lists all there is."""

import re
from urllib.request import urlopen

from tests.docs.support import DOCS, PUBLISHER, Reader
from tests.waiting import WAIT_S


def test_the_page_can_be_followed(first_steps: str) -> None:
    if PUBLISHER:
        assert re.search(r"^meter/power_kw +3.2 +- +\d", first_steps, re.MULTILINE)
        assert re.search(r"^\S+Z +3.2 +stamped$", first_steps, re.MULTILINE)
    assert '{"accepted":1,"refused":[]}' in first_steps
    assert "home/meter/power_kw is declared: unit = kW" in first_steps
    assert re.search(r"^meter/power_kw +3.4 +kW +\d", first_steps, re.MULTILINE)
    assert re.search(r"^start +count +min .* coverage$", first_steps, re.MULTILINE)
    assert re.search(r"^[\w-]{43}$", first_steps, re.MULTILINE)


def test_every_metric_is_listed(reader: Reader) -> None:
    with urlopen(f"http://127.0.0.1:{reader.ports['8080']}/metrics", timeout=WAIT_S) as answer:
        served = re.findall(r"^(taihu_\w+) ", answer.read().decode(), re.MULTILINE)
    listed = re.findall(r"^\| `(taihu_\w+)` \|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE)
    assert listed == served
