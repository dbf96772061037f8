"""How a certificate names a thing: a URI in its subject alternative name, `urn:taihu:PROJECT:THING`."""

import re
from urllib.parse import quote, unquote_to_bytes

from taihu.kernel.ids import NameRefused, check_name, check_project

_URI = re.compile(r"urn:taihu:([^:]+):([A-Za-z0-9._~%-]+)")


def thing_uri(project: str, thing: str) -> str:
    """The URI of a thing.

    >>> thing_uri("house-03", "main meter")
    'urn:taihu:house-03:main%20meter'
    """
    return f"urn:taihu:{project}:{quote(thing, safe='')}"


def parse_thing_uri(uri: str) -> tuple[str, str] | None:
    """The project and thing of a URI; None when it is not one of ours.

    >>> parse_thing_uri("urn:taihu:house-03:main%20meter")
    ('house-03', 'main meter')
    """
    match = _URI.fullmatch(uri)
    if match is None:
        return None
    try:
        return check_project(match[1]), check_name(unquote_to_bytes(match[2]).decode("utf-8"))
    except (UnicodeDecodeError, NameRefused):
        return None
