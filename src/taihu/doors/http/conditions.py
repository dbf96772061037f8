"""Conditional requests (RFC 9110, 13) and links between pages (RFC 8288)."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import blake2b
from urllib.parse import urlencode

from starlette.requests import Request

from taihu.doors.http.answers import Problem

ENCODED = ("-gzip", "-zstd")
"""What the tag of an encoded answer ends with: it is another representation of the same."""


def tag_of(body: bytes) -> str:
    """The entity tag of a representation: the same for the same bytes."""
    return f'"{urlsafe_b64encode(blake2b(body, digest_size=9).digest()).decode()}"'


def check_unchanged(request: Request, body: bytes) -> None:
    """Raise Problem (412) when If-Match names another representation than `body`, the one that is to be changed.

    An empty `body` says that there is none, which no If-Match names.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and not (body and matches(wanted, tag_of(body))):
        raise Problem(412, "changed", "It is not any more what If-Match names.", "Read it again, then change it.")


def matches(header: str, tag: str) -> bool:
    """Whether an If-Match or If-None-Match names `tag`, in any encoding.

    >>> matches('W/"a", "b-gzip"', '"b"'), matches("*", '"b"'), matches('"c"', '"b"')
    (True, True, False)
    """
    return header.strip() == "*" or tag in _tags(header)


def _tags(header: str) -> Iterator[str]:
    for part in header.split(","):
        tag = part.strip().removeprefix("W/")
        for ending in ENCODED:
            tag = tag.replace(f'{ending}"', '"')
        yield tag


def next_page(request: Request, **changes: object) -> dict[str, str]:
    """A Link header to the request's own address with other parameters: the page after this one."""
    rest = [(name, value) for name, value in request.query_params.multi_items() if name not in changes]
    query = urlencode([*rest, *changes.items()])
    path = request.scope.get("raw_path", b"").decode("ascii").partition("?")[0] or request.url.path
    return {"Link": f'<{path}?{query}>; rel="next"'}
