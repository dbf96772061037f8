"""The log: one event a line, fields for programs, and nothing in it that opens a door."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.ids import new_token
from taihu.kernel.sections import LogConfig
from taihu.runtime.logs import REDACTED, EventFormatter, redact, set_logging, start_logging


def record(message: str, *values: object, error: bool = False, **fields: object) -> logging.LogRecord:
    trace = None
    if error:
        try:
            raise ValueError("broken")
        except ValueError:
            trace = sys.exc_info()
    made = logging.LogRecord("taihu.test", logging.WARNING, __file__, 1, message, values, trace)
    vars(made).update(fields)
    return made


AS_TEXT, AS_JSON = EventFormatter("ingest", as_json=False), EventFormatter("ingest", as_json=True)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    yield root
    root.setLevel(level)
    root.handlers = handlers


def test_an_event_is_one_line_of_json_with_its_ids() -> None:
    line = AS_JSON.format(record("client %s is refused", "a\nb", project="home", client="a\nb", error=True))
    assert "\n" not in line
    event = json.loads(line)
    assert (event["level"], event["process"], event["logger"]) == ("warning", "ingest", "taihu.test")
    assert (event["event"], event["project"], event["client"]) == ("client a\nb is refused", "home", "a\nb")
    assert "ValueError: broken" in event["trace"] and event["time"].endswith("Z")


def test_text_is_for_people_and_obeys_no_control_character() -> None:
    line = AS_TEXT.format(record("client %s is refused", "\x1b[2Ja\nINFO all is well", project="home"))
    assert line.endswith("ingest  WARNING client \\x1b[2Ja\\nINFO all is well is refused")
    first, *trace = AS_TEXT.format(record("it failed", error=True)).splitlines()
    assert first.endswith("it failed") and all(each.startswith("    ") for each in trace)
    assert trace[-1].strip() == "ValueError: broken"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_one_printable_line(value: str) -> None:
    lines = [formatter.format(record("it said %s", value, client=value)) for formatter in (AS_TEXT, AS_JSON)]
    assert all(line.isprintable() for line in lines)
    event = json.loads(lines[1])
    assert event["client"] == value or REDACTED in lines[1]


def test_nothing_that_opens_a_door_is_written() -> None:
    token = new_token()
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
    for secret in (token, f"http://host/api/v1/{token}/telemetry", f"Bearer {token}", "Basic dXNlcjpwYXNz", key):
        for formatter in (AS_TEXT, AS_JSON):
            line = formatter.format(record("it said %s", secret, client=secret))
            assert REDACTED in line
            assert not any(part in line for part in (token, "dXNlcjpwYXNz", "MHcCAQEE"))
    name = "a" * 44
    assert redact(f"journal segment {name} of 00000000000000000001.seg") == (
        f"journal segment {name} of 00000000000000000001.seg"
    )


def test_the_site_chooses_form_and_level(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("worker", LogConfig(format="json", level="warning"))
    logging.getLogger("taihu.test").info("not told")
    logging.getLogger("taihu.test").warning("told")
    set_logging("worker", LogConfig(level="debug"))
    logging.getLogger("taihu.test").debug("in detail")
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["event"] == "told" and second.endswith("worker  DEBUG   in detail")
