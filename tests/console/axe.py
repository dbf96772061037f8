"""What axe-core, which others wrote, finds on a page against WCAG 2.2 AA; and what the keyboard reaches of it."""

import os
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

SCRIPT = Path(os.environ.get("TAIHU_AXE", ""), "node_modules", "axe-core", "axe.min.js")
needs_axe = pytest.mark.skipif(
    not SCRIPT.is_file(),
    reason="npm's axe-core is not installed: TAIHU_AXE names no folder with its node_modules",
)
_RUN = """async rules => {
  const wanted = rules.length ? { runOnly: rules } : {};
  const found = await axe.run(document, { ...wanted, resultTypes: ["violations"], preload: false });
  const said = (one, node) => `${one.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`;
  return found.violations.flatMap(one => one.nodes.map(node => said(one, node)));
}"""
_FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), place = one.getBoundingClientRect();
  const seen = place.bottom > 0 && place.top < innerHeight && place.right > 0 && place.left < innerWidth;
  const again = window.tabbed.includes(one);
  window.tabbed.push(one);
  const name = (one.innerText || one.getAttribute("aria-label") || one.name || one.tagName).trim().slice(0, 60);
  return [again, name, one === document.body || (seen && style.outlineStyle !== "none")];
}"""
_MISSED = """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
  .filter(one => one.checkVisibility() && one.type !== "hidden" && !window.tabbed.includes(one))
  .map(one => one.outerHTML.slice(0, 200))"""


def audited(page: Page) -> list[str]:
    """What is wrong with a page: wide and light; in dark its contrast; narrow what depends on the room there is."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    found = violations(page) + unreached(page)
    page.emulate_media(color_scheme="dark")
    found += violations(page, "color-contrast")
    page.set_viewport_size({"width": 390, "height": 844})
    return found + violations(page, "scrollable-region-focusable", "target-size", "heading-order")


def violations(page: Page, *rules: str) -> list[str]:
    """Each element that breaks a rule, with the rule; only the rules named, where some are."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(_script())
    found: list[str] = page.evaluate(_RUN, list(rules))
    return found


def unreached(page: Page) -> list[str]:
    """What the Tab key does not come to, or comes to without that showing."""
    unseen = []
    page.evaluate("() => { window.tabbed = []; document.activeElement.blur() }")
    while True:
        page.keyboard.press("Tab")
        again, name, shows = page.evaluate(_FOCUSED)
        if again:
            break
        if not shows:
            unseen.append(f"{name} does not show that it has the focus")
    return unseen + list(page.evaluate(_MISSED))


def told(found: list[str]) -> None:
    """Fail with all that was found."""
    if found:
        pytest.fail("\n".join(found))


@cache
def _script() -> str:
    return SCRIPT.read_text("utf-8")
