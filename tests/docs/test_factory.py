"""docs/factory.md: its settings are a site, whose meters and loads are those that its commands make."""

import re
import textwrap
from pathlib import Path

from tests.docs.support import DOCS

from taihu.kernel.config import parse_site

TEXT = (DOCS / "factory.md").read_text("utf-8")


def test_the_settings_of_the_page_are_a_site(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").touch()
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", TEXT, re.MULTILINE)
    settings = "".join(textwrap.dedent(one) for one in blocks if "[[project." in one)
    site = parse_site('[[project]]\nname = "home"\n' + settings, tmp_path)
    (project,) = site.projects
    assert f"--tz {project.timezone} " in TEXT
    accounts = {one.key: one for one in project.accounts}
    assert {name: accounts[name].energy for name in accounts} == {
        "main": "import",
        "line-1": "energy",
        "roof": "energy",
    }
    imported = set(re.findall(r"=([\w-]+)/([\w-]+):kWh:interval", TEXT))
    assert {(name, accounts[name].energy) for name in accounts} <= imported and ("main", "export") in imported
    (scheduler,) = project.schedulers
    assert {one.thing for one in scheduler.vehicles} <= set(re.findall(r"token issue --site works home ([\w-]+)", TEXT))
    assert f"taihu declare --site works home/{scheduler.net} kW" in TEXT
    assert f"taihu calculate --site works home/{scheduler.base} " in TEXT
