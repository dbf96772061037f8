"""Whatever the node answers, the console gets a typed answer or one of two errors (§13)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.console.answers import Series
from taihu.console.client import NodeAway, NodeClient, TokenRefused


def ask(handler: Callable[[httpx.Request], httpx.Response], question: Callable[[NodeClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        client = NodeClient("http://node", "secret", httpx.MockTransport(handler))
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(run())


def test_it_sends_its_token_and_reads_what_it_needs() -> None:
    def node(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        assert dict(request.url.params) == {"limit": "2", "after": "a"}
        return httpx.Response(200, json={"things": [{"name": "b", "state": "late", "new": 1}], "next": "b"})

    things, more = ask(node, lambda client: client.things("site", "a", 2))
    assert ([(thing.name, thing.state) for thing in things], more) == ([("b", "late")], True)


def test_named_things_are_all_asked_for() -> None:
    def node(request: httpx.Request) -> httpx.Response:
        assert request.url.params.get_list("thing") == ["a", "b"]
        return httpx.Response(200, json={"values": [{"thing": "a", "property": "power", "value": None}]})

    (value,) = ask(node, lambda client: client.values("site", ("a", "b")))
    assert value.value is None


def test_what_is_not_there_is_empty() -> None:
    assert (
        ask(
            lambda _: httpx.Response(404), lambda client: client.hours(Series("site", "a", "energy", "kW.h"), 24, "UTC")
        )
        == ()
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_told_apart(status: int) -> None:
    with pytest.raises(TokenRefused):
        ask(lambda _: httpx.Response(status), lambda client: client.projects())


@pytest.mark.parametrize("status", [302, 429, 500, 503])
def test_any_other_answer_is_tried_again(status: int) -> None:
    with pytest.raises(NodeAway):
        ask(lambda _: httpx.Response(status), lambda client: client.status())


def test_no_connection_is_a_node_that_is_away() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(NodeAway):
        ask(refuse, lambda client: client.status())


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_a_node_that_is_away(body: bytes) -> None:
    with contextlib.suppress(NodeAway):
        ask(lambda _: httpx.Response(200, content=body), lambda client: client.values("site"))
