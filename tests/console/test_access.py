"""The pages for everybody: WCAG 2.2 AA by axe-core in light and dark, wide and narrow; all of it by the keyboard."""

from pathlib import Path

import pytest
from playwright.sync_api import Page
from tests.console.axe import needs_axe, told, unreached, violations
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
    """What is wrong with a page: wide and light, then dark, then narrow."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(address)
    page.locator(ready).first.wait_for()
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    found += violations(page, "color-contrast")
    page.set_viewport_size({"width": 390, "height": 844})
    return [f"{address}: {one}" for one in found + violations(page)]


def test_every_page_keeps_wcag_and_is_reached_by_the_keyboard(tmp_path: Path) -> None:
    with serving(FakeNode()) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/zh", [])
        found = [one for path, ready in PAGES.items() for one in looked_at(page, f"{address}/en{path}", ready)]
        told(found)
        page.set_viewport_size({"width": 1440, "height": 900})
        for path, ready in PAGES.items():
            page.goto(f"{address}/en{path}")
            page.locator(ready).first.wait_for()
            assert unreached(page) == [], path


def test_a_site_without_a_district_and_a_node_that_is_away(tmp_path: Path) -> None:
    node = FakeNode()
    node.values = {"house-01": VALUES["house-01"]}
    with serving(node) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/zh", [])
        told(looked_at(page, f"{address}/zh", ".tile-link"))
        node.status = 503
        page.locator(".link-away").wait_for()
        told(violations(page))
