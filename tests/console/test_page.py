"""The pages in a real browser, against a node with recorded answers, in each language."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.console.support import TOKEN, VALUES, FakeNode, serving
from tests.ports import free_port

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nobody looks at the pages")

RUN = """
import sys
from pathlib import Path
from taihu.console.app import Options, main
main(Options(api=sys.argv[1], token=Path(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[3])))
"""

WORDS = {
    "en": (
        "Taihu",
        "12:15",
        "Tue 2 Aug 2016",
        "demo clock, 600×",
        "Connected",
        "drawn from the grid",
        "2 of 4 houses",
        "House 1",
        "↓ import",
        "↑ export",
        "● online",
        "◐ late",
        "○ silent",
        "– never",
        "stale",
        "no value yet",
        "3 batches behind",
        "Carbon, kg per hour",
        "measured",
        "modelled",
        "synthetic",
    ),
    "zh": (
        "太湖",
        "12:15",
        "2016年8月2日 周二",
        "演示时钟，600 倍速",
        "已连接",
        "从电网取电",
        "4 户中已知 2 户",
        "1 号住宅",
        "↓ 取电",
        "↑ 送电",
        "● 在线",
        "◐ 迟到",
        "○ 静默",
        "– 从未",
        "数据过期",
        "尚无数据",
        "落后 3 批",
        "碳排放，kg/小时",
        "实测",
        "模型",
        "合成",
    ),
}
# net 6.75 - 1.25, PV 1.25 + 3.5, mean of 40 % and 80 %, 5.5 kW x 0.25, and the counters
FIGURES = ("+5.5", "4.8", "60", "1.4", "0.250", "12,345", "67,880", "+6.75", "−1.25", "31.5")

CARBON_WORDS = {
    "en": (
        "By the hour, shared",
        "Estimated, kWh",
        "1 of 2",
        "97 % of the hours known",
        "● closes: 0.02 %",
        "○ 14.29 % apart, 3.00 kWh",
        "Avoided, by marginal intensity",
        "4.8 kg 20 h measured, 3 estimated, 1 missing",
    ),
    "zh": (
        "逐小时互济",
        "估算, kWh",
        "1 / 2 项",
        "已知 97% 的小时",
        "● 闭合：0.02%",
        "○ 相差 14.29%，3.00 千瓦时",
        "避免，按边际强度",
        "4.8 kg 实测 20 小时，估算 3 小时，缺失 1 小时",
    ),
}
# in sum, by the hour and shared; a missing market-based figure is no zero (§3); used and issued; why one has no account
CARBON_FIGURES = ("61.0", "33.9", "44.3", "15.0", "12.5 —", "30.0 6.2 ", "1.5 / 5.0", "There is no property <x>.")


@contextmanager
def console(api: str, folder: Path) -> Iterator[str]:
    """The console in its own process; its address."""
    token = folder / "token"
    token.write_text(TOKEN)
    port = free_port()
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    arguments = [sys.executable, "-c", RUN, api, str(token), str(port)]
    process = subprocess.Popen(arguments, env=ours, cwd=folder)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait() in (0, -signal.SIGTERM)
    assert sorted(path.name for path in folder.iterdir()) == ["token"]  # it stores nothing


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield chromium
        finally:
            chromium.close()


def opened(chromium: Browser, address: str, asked: list[str], **settings: str) -> Page:
    """A page, once the console listens and has shown what it read."""
    page = chromium.new_context(**settings).new_page()  # type: ignore[arg-type]  # a plain keyword of the browser's
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    while True:
        try:
            page.goto(address)
            break
        except Exception as error:
            # a page that says so may be on its way still when the next try begins
            if not any(
                words in str(error) for words in ("ERR_CONNECTION_REFUSED", "interrupted by another navigation")
            ):
                raise
            page.wait_for_timeout(100)
    page.locator(".link-connected").wait_for()
    return page


FORECAST_WORDS = {
    "en": ("1 still learning", "boosted is not installed here", "seasonal-naive", "Learning from the history"),
    "zh": ("1 个仍在学习", "此处未安装梯度提升树", "季节朴素法", "正在从历史数据中学习"),
}
PLAN_WORDS = {
    "en": ("driven", "It follows the meter: <now>.", "1.23 kg with this plan", "no plan yet", "meter/load: regression"),
    "zh": ("受控", "跟随电表：由电池供应负荷", "按计划 1.23 kg", "尚无计划", "pv/energy：周时段均值"),
}
PLAN_FIGURES = ("+2.50", "± 0.26 kg", "−5.0 … 0.0", "+0.81 ≥ +0.67", "5.5")
FORECAST_FIGURES = ("house-01 · meter/load", "0.52 kWh", "0.74", "79 %")


def test_the_district_is_shown_in_both_languages_and_nothing_else_is_asked(tmp_path: Path) -> None:
    """§3: a sum says of how many houses; a stale value is not shown as if it held."""
    asked: list[str] = []
    with serving(FakeNode()) as api, console(api, tmp_path) as address, browser() as chromium:
        for language, words in WORDS.items():
            page = opened(chromium, f"{address}/{language}", asked)
            expect(page.locator(".chart-canvas svg")).to_have_count(3)
            shown = " ".join(page.locator("body").inner_text().split())
            assert [part for part in (*words, *FIGURES) if part not in shown] == []
            assert "9.00" not in shown  # the stale house's power
            assert "Lakeside <b>district</b>" in shown  # said as it is, never made markup
            assert page.locator(".tile-old").count() == 2
            assert page.evaluate("document.documentElement.lang").startswith(language)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.goto(f"{address}/{language}/carbon")
            expect(page.locator(".carbon-table tbody tr")).to_have_count(2)  # the district has no account
            shown = " ".join(page.locator("body").inner_text().split())
            assert [part for part in (*CARBON_WORDS[language], *CARBON_FIGURES) if part not in shown] == []
            assert page.locator(".carbon-bar").count() == 24
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.goto(f"{address}/{language}/forecasts?series=house-01/meter/load")
            expect(page.locator(".forecasts-table tbody tr")).to_have_count(2)
            page.locator(".chart-canvas svg").wait_for()
            shown = " ".join(page.locator("body").inner_text().split())
            assert [part for part in (*FORECAST_WORDS[language], *FORECAST_FIGURES) if part not in shown] == []
            assert page.locator(".won").all_inner_texts() == ["0.80"]
            page.goto(f"{address}/{language}/plans?project=house-01")
            expect(page.locator(".plans-table tbody tr")).to_have_count(2)
            page.locator(".plan-chart svg").wait_for()
            shown = " ".join(page.locator("body").inner_text().split())
            assert [part for part in (*PLAN_WORDS[language], *PLAN_FIGURES) if part not in shown] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert {urlsplit(url).hostname for url in asked if not url.startswith("data:")} == {"127.0.0.1"}


def test_the_things_of_every_project_are_listed_and_the_languages_lead_to_each_other(tmp_path: Path) -> None:
    asked: list[str] = []
    with serving(FakeNode()) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/things", asked, locale="zh-CN")
        expect(page.locator("table")).to_have_count(len(VALUES))
        assert page.url.endswith("/zh/things")
        page.get_by_role("link", name="EN").click()
        page.locator("table").first.wait_for()
        shown = " ".join(page.locator(".content").inner_text().split())
        assert page.url.endswith("/en/things")
        assert [
            part for part in ("carbon_intensity", "kg/kWh", "5 min ago", "2 h ago", "stale") if part not in shown
        ] == []
        page.get_by_role("searchbox").fill("house-02")
        expect(page.locator("table:visible")).to_have_count(1)


def test_a_site_without_a_district_shows_its_projects(tmp_path: Path) -> None:
    node = FakeNode()
    node.values = {"house-01": VALUES["house-01"]}
    with serving(node) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/en", [])
        expect(page.locator(".tile-link")).to_have_count(1)
        assert "3 things" in page.locator(".content").inner_text()


def test_a_node_that_goes_away_and_comes_back_is_said(tmp_path: Path) -> None:
    node = FakeNode()
    with serving(node) as api, console(api, tmp_path) as address, browser() as chromium:
        page = opened(chromium, f"{address}/en", [])
        node.status = 503
        page.locator(".link-away").wait_for()
        expect(page.locator(".notice")).to_contain_text("has not answered")
        expect(page.locator(".net-number")).to_have_text("+5.5")
        node.status = 200
        page.locator(".link-connected").wait_for()
        expect(page.locator(".notice")).to_be_hidden()
