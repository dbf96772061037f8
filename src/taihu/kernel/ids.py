"""Names: `project/thing/property` (§11), and the secrets that open doors."""

import hashlib
import re
import secrets
from typing import NamedTuple

from taihu.kernel.errors import RefusedError

_PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FORBIDDEN = re.compile(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
NAME_LENGTH_MAX = 128


class NameRefused(RefusedError):
    """A name breaks the naming rule; the message says which and how to write it."""

    code = "name"


class Address(NamedTuple):
    """What `project/thing/property` points at; the later parts may be empty."""

    project: str
    thing: str = ""
    property: str = ""


def check_project(name: str) -> str:
    """Return `name` if it may name a project: lower-case letters, digits and hyphens, at most 63."""
    if not _PROJECT.fullmatch(name):
        raise NameRefused(
            f"{name[:80]!r} cannot name a project:",
            "use 1-63 lower-case letters, digits and hyphens, such as house-03.",
        )
    return name


def check_name(name: str) -> str:
    """Return `name` if it may name a thing or property: 1-128 printable characters, none of / + #, no leading $."""
    if not name or len(name) > NAME_LENGTH_MAX or _FORBIDDEN.search(name) or name[0] == "$" or name != name.strip():
        raise NameRefused(
            f"{name[:80]!r} cannot name a thing or property:",
            "use 1-128 printable characters without / + # and without a leading $ or space.",
        )
    return name


def parse_address(text: str) -> Address:
    """Parse `project[/thing[/property]]`.

    >>> parse_address("house-03/meter/power")
    Address(project='house-03', thing='meter', property='power')
    """
    parts = text.split("/")
    if len(parts) > 3:
        raise NameRefused(f"{text[:80]!r} has more than three parts:", "write project/thing/property.")
    check_project(parts[0])
    for part in parts[1:]:
        check_name(part)
    return Address(*parts)


def new_id() -> str:
    """A name for something that has none: 16 random hexadecimal digits."""
    return secrets.token_hex(8)


def new_token() -> str:
    """A bearer secret of 256 random bits, URL-safe, 43 characters."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is stored of a token: its SHA-256. Random 256-bit secrets need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
