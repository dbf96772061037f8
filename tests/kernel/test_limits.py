"""Limits follow a reload, except those that are read when the node starts."""

import ast
from pathlib import Path

from taihu.kernel.limits import AT_START, Limits

SOURCES = Path(__file__).parents[2] / "src" / "taihu"
OF_ONE = {
    "mqtt_packet_bytes_max",  # of a connection, which agreed on it in its CONNACK
    "observer_heartbeat_s", "observer_queue_bytes_max", "observer_queue_max",  # of an observer
    "http_request_timeout_s",  # of a connection
    "description_items_max",  # of a document
    "join_things_max", "join_things_per_minute_max",  # of a count that is begun anew
}  # fmt: skip


def test_limits_that_a_constructor_copies_need_a_restart() -> None:
    """What is read into an attribute when a part is made does not follow a reload.

    Keep the limits and read them when they are used. What is made once for each start goes into AT_START and its row in
    docs/operations.md; what is made for each connection or document goes into OF_ONE.
    """
    copied = set()
    for path in SOURCES.rglob("*.py"):
        for scope in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(scope, ast.FunctionDef) and scope.name == "__init__":
                for node in ast.walk(scope):
                    if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("limits"):
                        copied.add(node.attr)
    assert copied & set(Limits.__struct_fields__) <= AT_START | OF_ONE


def test_the_page_names_what_is_read_at_the_start() -> None:
    page = (SOURCES.parents[1] / "docs" / "operations.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| limits, but"))
    assert {name for name in Limits.__struct_fields__ if f"`{name}`" in row} == AT_START
