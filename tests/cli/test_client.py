"""The client against peers that are no node, or a node in trouble: one typed error each (§13)."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from taihu.cli.client import NodeAway, NodeClient, NodeRefused, connect
from taihu.kernel.config import write_example
from taihu.kernel.errors import RefusedError, RemoteError, TaihuError

PROBLEM = b'{"type":"urn:taihu:problem:limit","title":"Too many.","detail":"Ask for less.","status":429}'


@contextmanager
def peer(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not status:
                self.wfile.write(body)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the one it replaces
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/below"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (429, PROBLEM, NodeRefused, "Too many. Ask for less."),
        (503, PROBLEM, NodeAway, "Too many. Ask for less."),
        (500, b"<html>", RemoteError, "status 500"),
        (404, b"[1]", NodeRefused, "status 404"),
        (401, PROBLEM, NodeRefused, "does not know this token. Set TAIHU_TOKEN"),
        (200, b"<html>", RemoteError, "not one of a Taihu node"),
        (200, b"\xff", RemoteError, "not one of a Taihu node"),
        (0, b"", NodeAway, "No node answers"),
        (0, b"SSH-2.0-x\r\n", RemoteError, "is not HTTP"),
    ],
)
def test_what_a_peer_answers(status: int, body: bytes, kind: type[TaihuError], text: str) -> None:
    with peer(status, body) as url, pytest.raises(kind, match=text):
        NodeClient(url, "x").get("projects")


def test_a_refusal_keeps_its_code() -> None:
    with peer(403, PROBLEM) as url, pytest.raises(NodeRefused) as caught:
        NodeClient(url, "x").get("projects")
    assert caught.value.problem == "limit"


def test_events_are_read_as_they_come() -> None:
    with peer(200, b': hello\n\ndata: {"a":1}\n\ndata: {"a":2}\n\n') as url:
        assert list(NodeClient(url, "x").events("projects", "a", "tail")) == [{"a": 1}, {"a": 2}]


def test_what_is_wrong_with_the_place_of_an_answer_is_not_said_of_the_node() -> None:
    with (
        peer(200, b"{}") as url,
        pytest.raises(OSError, match="No space") as caught,
        NodeClient(url, "x").exchange("GET", ("projects",)),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not isinstance(caught.value, TaihuError)


def test_names_are_escaped() -> None:
    with peer(200, b'{"things":[]}') as url:
        assert NodeClient(url, "x").get("projects", "a", "things", "b/../c?d=1", after=None) == {"things": []}


def test_a_site_that_does_not_run_and_a_token_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match="TAIHU_TOKEN"):
        connect(None, None, None)
    (tmp_path / "site.toml").touch()
    with pytest.raises(NodeAway, match="taihu run"):
        connect(None, None, None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "node.json").write_text("[]")
    with pytest.raises(NodeAway, match="taihu run"):
        connect(None, None, tmp_path)


def test_a_site_of_another_user_is_not_one_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal of the system is played."""
    write_example(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError, match=r"node\.json"):
        connect(None, None, tmp_path)
