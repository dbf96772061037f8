"""The node's HTTP API as the commands use it, and how they find the node."""

import http.client
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click
import msgspec

from taihu.kernel.errors import RefusedError, RemoteError, TransientError

DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_S = 60.0


class NodeAway(TransientError):
    """No node answers at the address: start it, or correct the address."""

    code = "node-away"


class NodeRefused(RefusedError):
    """The node says no; message, remedy and `problem`, its code for the reason, are its own."""

    code = "node-refused"

    def __init__(self, message: str, remedy: str, problem: str) -> None:
        super().__init__(message, remedy)
        self.problem = problem


class NodeClient:
    """Calls one node, at `url`, with one token; `owner` says that it is the owner's, of a site here."""

    def __init__(self, url: str, token: str, *, owner: bool = False) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RefusedError(f"{url!r} is not the address of a node:", f"write one such as {DEFAULT_URL}.")
        self.url = url
        self.token = token
        self.owner = owner
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, *path: str, **query: str | int | list[str] | None) -> Any:
        """The JSON answer to a GET; the parts of the path are escaped, absent parameters left out."""
        with self._answer("GET", _target(path, query), None, _TIMEOUT_S) as answer:
            return _decoded(answer.read())

    def get_bytes(self, *path: str, **query: str | int | list[str] | None) -> bytes:
        """The answer to a GET as it is."""
        with self._answer("GET", _target(path, query), None, _TIMEOUT_S) as answer:
            return answer.read()

    def post(self, *path: str, body: Any, **query: str | int | list[str] | None) -> Any:
        """The JSON answer to a POST of `body` as JSON."""
        with self._answer("POST", _target(path, query), msgspec.json.encode(body), _TIMEOUT_S) as answer:
            return _decoded(answer.read())

    def delete(self, *path: str, **query: str | int | list[str] | None) -> Any:
        """The JSON answer to a DELETE; None when it has no content."""
        with self._answer("DELETE", _target(path, query), None, _TIMEOUT_S) as answer:
            body = answer.read()
            return _decoded(body) if body else None

    def events(self, *path: str) -> Iterator[Any]:
        """The data of server-sent events, until the node ends them."""
        with self._answer("GET", _target(path, {}), None, None) as answer:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield _decoded(line[6:])

    @contextmanager
    def exchange(
        self,
        method: str,
        path: Sequence[str],
        body: bytes | None = None,
        content_type: str = "",
        query: Mapping[str, str | int | None] = MappingProxyType({}),
        good: Collection[int] = (),
    ) -> Iterator[http.client.HTTPResponse]:
        """A request, and its answer to be read as it comes; of the statuses from 300 on, those `good` are answers."""
        headers = {"Content-Type": content_type} if content_type else {}
        with self._answer(method, _target(tuple(path), dict(query)), body, _TIMEOUT_S, headers, good) as answer:
            yield answer

    @contextmanager
    def _answer(
        self,
        method: str,
        target: str,
        body: bytes | None,
        timeout_s: float | None,
        headers: Mapping[str, str] = MappingProxyType({}),
        good: Collection[int] = (),
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        answered = False
        try:
            connection.request(method, self._prefix + target, body, {**self._headers, **headers})
            answer = connection.getresponse()
            if answer.status >= 300 and answer.status not in good:
                raise _refusal(answer.status, answer.read())
            answered = True
            yield answer
        except (ConnectionRefusedError, TimeoutError, http.client.RemoteDisconnected, ConnectionResetError):
            raise NodeAway(f"No node answers at {self.url}.", "Start one with taihu run, or set TAIHU_URL.") from None
        except OSError as error:
            if answered:
                raise  # of where the answer is written to: a full disk, a pipe that nobody reads any more
            raise NodeAway(f"No node can be reached at {self.url}: {error}.", "Correct TAIHU_URL.") from None
        except http.client.HTTPException as error:
            raise RemoteError(f"What answers at {self.url} is not HTTP: {error!r}.", "Correct TAIHU_URL.") from None
        finally:
            connection.close()


def connect(url: str | None, token: str | None, site: Path | None) -> NodeClient:
    """The node at `url`, or that of the site folder.

    A site folder gives the address and the owner's token of the node that runs on it.

    Raises:
        NodeAway: no node runs on the site.
        RefusedError: there is no token to call with.
    """
    owner = False
    if site is None and url is None and token is None and Path("site.toml").exists():
        site = Path()
    if site is not None:
        from taihu.kernel.config import load_site

        data = load_site(site).data
        try:
            host, port = msgspec.json.decode((data / "node.json").read_bytes(), type=_Addresses).http
            if not token:
                token, owner = (data / "admin.token").read_text().strip(), True
        except PermissionError:
            raise  # it may well run, and be another user's
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            raise NodeAway(f"No node runs on {site.absolute()}.", f"Start it with: taihu run {site}") from None
        host = f"[{host}]" if ":" in host else host
        url = url or f"http://{host}:{port}"
    if not token:
        raise RefusedError("There is no token to call the node with:", "set TAIHU_TOKEN, or name the site with --site.")
    return NodeClient(url or DEFAULT_URL, token, owner=owner)


def zone_of(node: NodeClient, project: str) -> str:
    """The time zone of a project; UTC where it is not known."""
    named = (one["timezone"] for one in node.get("projects")["projects"] if one["name"] == project)
    return next(named, "") or "UTC"


def node_address(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where its node is: `url`, `token` and `site`."""
    site = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.option("--site", type=site, help="The folder of a site that runs here."),
        click.option("--token", envvar="TAIHU_TOKEN", help="A token of the project [TAIHU_TOKEN]."),
        click.option("--url", envvar="TAIHU_URL", help=f"The node's address [TAIHU_URL; {DEFAULT_URL}]."),
    ):
        command = option(command)
    return command


def node_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that find its node, as one argument `node`; `site_folder` is as --site."""

    @node_address
    @wraps(command)
    def with_node(
        *, url: str | None, token: str | None, site: Path | None, site_folder: Path | None = None, **others: Any
    ) -> None:
        command(node=connect(url, token, site or site_folder), **others)

    return with_node


class _Addresses(msgspec.Struct):
    """What a running node writes into `data/node.json`."""

    http: tuple[str, int]


def _target(path: tuple[str, ...], query: dict[str, str | int | list[str] | None]) -> str:
    target = "/api/v1/" + "/".join(quote(part, safe="") for part in path)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{target}?{urlencode(given, doseq=True)}" if given else target


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteError("The answer is not one of a Taihu node.", "Correct TAIHU_URL.") from None


def _refusal(status: int, body: bytes) -> RefusedError | TransientError | RemoteError:
    """The error of problem details (RFC 9457), or of whatever else answered."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = {}
    message = str(problem.get("title") or f"The node answers with status {status}.")
    remedy = str(problem.get("detail", ""))
    if status == 503:
        return NodeAway(message, remedy)
    if status == 401:
        message, remedy = "The node does not know this token.", "Set TAIHU_TOKEN, or name the site with --site."
    if 400 <= status < 500:
        return NodeRefused(message, remedy, str(problem.get("type", "")).rpartition(":")[2])
    return RemoteError(message, remedy)
