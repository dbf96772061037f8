"""Thing Descriptions as a directory keeps them: W3C Web of Things (WoT) Discovery, 5 December 2023, section 7.3.

What others registered is kept as it came; what Taihu says of a thing itself is built when asked for. Both are shown
enriched: with their registration, and with an identifier where they had none.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from taihu.kernel.clock import format_iso, parse_iso
from taihu.kernel.ids import NAME_LENGTH_MAX, NameRefused, check_name
from taihu.kernel.limits import Limits
from taihu.things.description import parse_description
from taihu.things.document import DescriptionError, Json, Node, join, merge_patch, read_document
from taihu.things.property import Thing, ThingModel

DISCOVERY = "https://www.w3.org/2022/wot/discovery"
ID_LENGTH_MAX = 512
TTL_S_MAX = 1e10

_REGISTRATION = "registration"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_UNUSABLE = re.compile(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_OF_THE_NODE = ("@context", "registration", "links", "forms", "base", "uriVariables", "securityDefinitions", "security")


_iso = lru_cache(maxsize=1024)(format_iso)  # a page's descriptions are retrieved at one time, and many made at one


class Submission(msgspec.Struct, frozen=True):
    """A description that somebody submits, checked: what is kept of it, and how long it means to be good."""

    thing: Thing
    document: Json
    expires_at: int | None = None
    ttl_s: float | None = None

    def expiry(self, now_ns: int) -> int | None:
        """When it expires if it is submitted now: by its `ttl`, else by its `expires` (UTC ns)."""
        return self.expires_at if self.ttl_s is None else now_ns + int(self.ttl_s * 1e9)


def read_submission(
    document: bytes | Json, name: str, models: Mapping[str, ThingModel], limits: Limits, *, lenient: bool = True
) -> Submission:
    """A Thing Description that somebody submits to the directory; raises DescriptionError with its JSON pointer.

    Args:
        document: JSON.
        name: what the thing is called here; else it is made of the document.
        models: the Thing Models that it may name.
        lenient: take a property that Taihu cannot use, of another unit say, for one it knows nothing of.
    """
    given = dict(read_document(document, limits))
    root = Node(given)
    identifier = root.optional("id", _identifier, "")
    registration = root.optional(_REGISTRATION, Node.object, None)
    given.pop(_REGISTRATION, None)
    ttl_s = None if registration is None else registration.optional("ttl", _ttl, None)
    expires_at = None if registration is None else registration.optional("expires", _moment, None)
    thing = parse_description(given, name or _usable_name(root, identifier), models, limits, lenient=lenient)
    return Submission(thing, given, expires_at, ttl_s)


def another_name(name: str, identifier: str) -> str:
    """The name of a thing whose own is taken: with a mark of its identifier, always the same."""
    mark = f"-{sha256(identifier.encode()).hexdigest()[:8]}"
    return name[: NAME_LENGTH_MAX - len(mark)].rstrip() + mark


def enrich(document: Json, registration: Mapping[str, Any]) -> Json:
    """The document as a directory shows it; times of `registration` are UTC nanoseconds, None leaves one out."""
    context = document.get("@context", [])
    contexts = context if isinstance(context, list) else [context]
    if DISCOVERY not in contexts:
        contexts = [*contexts, DISCOVERY]
    shown = {term: value if term == "ttl" else _iso(value) for term, value in registration.items() if value}
    return document | {"@context": contexts, _REGISTRATION: shown}


def registration_of(thing: Thing, registered: Any) -> Json:
    """What a directory says of a thing's registration; times are UTC nanoseconds.

    `registered` has `created_at`, `modified_at`, `expires_at` and `ttl_s`; None for a thing that has only been made.
    """
    if registered is None:
        return {"created": thing.created_at}
    times = {"created": registered.created_at, "modified": registered.modified_at, "expires": registered.expires_at}
    return times | {"ttl": registered.ttl_s}


def difference(before: Json, after: Json) -> Json:
    """The merge patch (RFC 7396) that makes `after` of `before`; what it cannot say, a null, is left out.

    >>> difference({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}})
    {'a': None, 'b': {'c': 3}}
    """
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        known = before.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            if below := difference(known, value):
                patch[key] = below
        elif value is not None and (key not in before or not _equal(known, value)):
            patch[key] = value
    return patch


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, and is not true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def apply_patch(document: Json, patch: bytes, limits: Limits) -> Json:
    """The document after a merge patch (RFC 7396); raises DescriptionError."""
    merged: Json = merge_patch(document, read_document(patch, limits))
    return merged


def check_kept(wanted: Json, built: Json) -> None:
    """Raise DescriptionError, with the place, if a thing's own description would not say all that somebody wants of it.

    What the node alone can say, such as forms, links and security, is not looked at.
    """
    lost = difference(_said(built), _said(wanted))
    pointer = ""
    while isinstance(lost, dict) and lost:
        key = min(lost)
        pointer, lost = join(pointer, key), lost[key]
    if pointer:
        raise DescriptionError(
            pointer,
            "this cannot be kept of a thing that Taihu describes itself.",
            "Leave it as it was, or register the thing under an identifier of your own.",
        )


def _said(document: Json) -> Json:
    """The document without what the node alone can say."""
    said: Json = {}
    for term, value in document.items():
        if term in _OF_THE_NODE or term in ("id", "created", "modified"):
            continue
        if term in ("properties", "actions", "events") and isinstance(value, dict):
            value = {name: _without_forms(one) for name, one in value.items()}
            if not value:  # to have none of them is to say nothing
                continue
        said[term] = value
    return said


def _without_forms(affordance: Any) -> Any:
    if not isinstance(affordance, dict):
        return affordance
    return {term: value for term, value in affordance.items() if term != "forms"}


def _identifier(node: Node) -> str:
    identifier = node.text()
    if len(identifier) > ID_LENGTH_MAX or not _URI.fullmatch(identifier):
        node.fail("it is no identifier.", f"Write a URI of at most {ID_LENGTH_MAX} characters, such as urn:uuid:….")
    return identifier


def _ttl(node: Node) -> float:
    seconds = node.positive()
    if seconds > TTL_S_MAX:
        node.fail("it is too long.", "Leave it out for a registration that does not expire.")
    return seconds


def _moment(node: Node) -> int:
    try:
        moment = parse_iso(node.text())
    except (ValueError, OverflowError):
        moment = -1
    if not 0 <= moment < 2**63:
        node.fail(f"{node.value[:40]!r} is not a time.", "Write one such as 2027-01-31T12:00:00Z.")
    return moment


def _usable_name(root: Node, identifier: str) -> str:
    """A name for the thing: the one the document says, or what of its title or identifier can be a name."""
    if root.has("taihu:name"):
        return ""
    title = root.optional("title", Node.string, "")
    for text in (title, identifier.rpartition(":")[2], sha256(identifier.encode()).hexdigest()[:16]):
        name = _UNUSABLE.sub("-", text)[:NAME_LENGTH_MAX].strip(" -$")
        try:
            return check_name(name)
        except NameRefused:
            continue
    return ""
