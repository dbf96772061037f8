"""The audit over the API: an owner reads that of a project, an owner of the node all of it, and has it checked."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.identity.audit import Head, Link
from taihu.identity.directory import Directory
from taihu.identity.heads import parse_head
from taihu.identity.principal import Principal
from taihu.identity.verify import Verdict
from taihu.runtime.actions import Action, ActionRefused, own, own_node

_PAGE_MAX = 1_000


class _Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries: of a project or of all, at most so many, below a number."""

    project: str = ""
    limit: int = 100
    before: int | None = None


def _audit_show(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    page = msgspec.convert(dict(arguments), _Page)
    if not 1 <= page.limit <= _PAGE_MAX:
        raise ActionRefused(f"limit = {page.limit} is not from 1 to {_PAGE_MAX}.", "Ask for the next page with before.")
    if page.project:
        own(directory, principal, page.project)
    else:
        own_node(directory, principal)
    links = directory.audit_links(page.limit, page.before, [page.project] if page.project else None)
    return {"entries": [_shown(link) for link in links]}


def _audit_verify(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    own_node(directory, principal)
    return verdict_shown(directory.verify_audit(expected_head(str(arguments.get("head", "")))))


def expected_head(text: str) -> Head | None:
    """A head that somebody kept, as `NUMBER:HASH`; None when there is none. Raises ActionRefused."""
    head = parse_head(text) if text else None
    if text and head is None:
        raise ActionRefused(f"{text[:80]!r} is no head of an audit.", "Write NUMBER:HASH, as taihu audit verify shows.")
    return head


def verdict_shown(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it is answered."""
    return {"entries": verdict.entries, "head": str(verdict.head), "faults": verdict.faults}


def _shown(link: Link) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.structs.asdict(link.entry)
    return {"number": link.number} | entry | {"hash": link.hash.hex()}


ACTIONS: dict[str, Action] = {"audit-show": _audit_show, "audit-verify": _audit_verify}
