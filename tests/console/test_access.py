"""The pages for everybody: WCAG 2.2 AA by axe-core in light and dark, wide and narrow; all of it by the keyboard."""

from pathlib import Path

import pytest
from playwright.sync_api import Page
from tests.console.axe import audited, needs_axe, told, violations
from tests.console.support import VALUES, FakeNode, serving
from tests.console.test_page import CHROMIUM, browser, console, opened

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nobody looks at the pages"),
    needs_axe,
]
PAGES = {
    "": ".chart-canvas svg",
    "/things": "table",
    "/carbon": ".carbon-table tbody tr",
    "/forecasts?series=house-01/meter/load": ".chart-canvas svg",
    "/plans?project=house-01": ".plan-chart svg",
}


def looked_at(page: Page, address: str, ready: str) -> list[str]:
    """What is wrong with a page, once it shows what it is for."""
    page.goto(address)
    page.locator(ready).first.wait_for()
    return [f"{address}: {one}" for one in audited(page)]


def test_every_page_keeps_wcag_and_is_reached_by_the_keyboard(tmp_path: Path) -> None:
    """Also that of a site without a district, and while the node is away."""
    node = FakeNode()
    with serving(node) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/zh", [])
        page.emulate_media(reduced_motion="reduce")
        found = [one for path, ready in PAGES.items() for one in looked_at(page, f"{address}/en{path}", ready)]
        node.values = {"house-01": VALUES["house-01"]}
        found += looked_at(page, f"{address}/zh", ".tile-link")
        node.status = 503
        page.locator(".link-away").wait_for()
        told(found + violations(page, "color-contrast"))
