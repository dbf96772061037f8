"""The plain pages (signing in, one's account, people) for everybody: WCAG 2.2 AA by axe-core; all by the keyboard."""

import pytest
from playwright.sync_api import Page
from tests.console.axe import needs_axe, told, unreached, violations
from tests.console.test_page import CHROMIUM, browser
from tests.console.test_people_page import do, live, signed_in
from tests.faults.support import LiveNode

__all__ = ["live"]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nobody looks at the pages"),
    needs_axe,
]
PAGES = ("account", "people?project=", "people?project=plant", "welcome", "sign-in")


def looked_at(page: Page) -> list[str]:
    """What is wrong with a page: wide and light, then dark, then narrow; what is folded is unfolded."""
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    found = violations(page) + unreached(page)
    page.emulate_media(color_scheme="dark")
    found += violations(page, "color-contrast")
    page.set_viewport_size({"width": 390, "height": 844})
    return found + violations(page)


def test_every_plain_page_keeps_wcag_and_is_reached_by_the_keyboard(live: tuple[LiveNode, int]) -> None:
    ada = signed_in(live, "ada")
    do(ada, "plant", "token", kind="viewer", label="wall display", days="30")
    do(ada, "plant", "grant-add", other="lab", right=["read"], things="*", properties="*", days="")
    with browser() as chromium:
        context = chromium.new_context()
        address = f"http://127.0.0.1:{live[1]}"
        context.add_cookies([{"name": name, "value": value, "url": address} for name, value in ada.cookies.items()])
        page = context.new_page()
        found = []
        for path in PAGES:
            page.goto(f"{address}/en/{path}")
            found += [f"{path}: {one}" for one in looked_at(page)]
        page.fill("input[name=name]", "vera")
        page.fill("input[name=password]", "not her password")
        page.keyboard.press("Enter")
        page.locator(".told-bad").wait_for()
        found += [f"sign-in, refused: {one}" for one in looked_at(page)]
        told(found)
