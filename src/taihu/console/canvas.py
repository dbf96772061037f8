"""Where a chart is drawn, and the words that stand there until it is."""

from typing import Any

from nicegui import ui

from taihu.console.widgets import Words, box


class Canvas:
    """A chart that is made with the first figures and kept with the next ones; until then it says what it waits for."""

    def __init__(self, classes: str, waiting: str) -> None:
        with box(classes) as self._box:
            self._waiting = Words(waiting, "chart-words")
        self._chart: ui.echart | None = None

    def wait(self, words: str) -> None:
        """Say what it waits for."""
        self._waiting.text = words

    def draw(self, option: dict[str, Any]) -> None:
        """Draw the chart of an ECharts option."""
        self._waiting.text = ""
        if self._chart is None:
            with self._box:
                self._chart = ui.echart(option, renderer="svg").classes("chart-canvas")
        else:
            self._chart.options.update(option)
            self._chart.update()
