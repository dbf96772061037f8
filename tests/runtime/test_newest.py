"""Newest values come page by page, and every value is on one page."""

from typing import Any

import pytest
from tests.faults.support import LiveNode

BASE = "/projects/plant/values"


def keys(body: Any) -> list[tuple[str, str]]:
    return [(one["thing"], one["property"]) for one in body["values"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 1_000])
def test_the_pages_together_are_all_values(node: LiveNode, limit: int) -> None:
    for thing in ("pump", "fan"):
        body = b'{"paged": 1, "words": "a"}'
        assert node.ask("POST", f"/api/v1/{node.tokens[thing]}/telemetry", body).status == 200
    whole = node.get(BASE).body
    assert "next" not in whole and {"pump", "fan"} <= {thing for thing, _ in keys(whole)}
    found: list[tuple[str, str]] = []
    after, pages = "", 0
    while True:
        page = node.get(BASE, limit=limit, after=after).body
        assert len({thing for thing, _ in keys(page)}) <= limit
        found, pages, after = found + keys(page), pages + 1, page.get("next", "")
        if not after:
            break
    assert found == keys(whole)
    assert pages >= 4 // limit, "the project has four things, and some of them values"


def test_a_page_says_where_the_next_is(node: LiveNode) -> None:
    """As other pages do, so that a client that follows links needs to know nothing of this one."""
    answer = node.get(BASE, limit=1, property="paged")
    assert answer.body["next"] and {name for _, name in keys(answer.body)} <= {"paged"}
    named = node.get(BASE, thing="pump", limit=1).body
    assert "next" not in named and {thing for thing, _ in keys(named)} == {"pump"}


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 20_001}, {"limit": "x"}])
def test_a_limit_that_is_none_is_refused(node: LiveNode, wrong: dict[str, Any]) -> None:
    assert node.get(BASE, **wrong).status == 400
