"""Every endpoint has its heading in docs/http.md, and its examples answer in the form that stands below them."""

import re
from typing import Any

import msgspec
from tests.docs.support import DOCS, Reader, examples

from taihu.doors.http.server import ROUTES


def test_every_endpoint_has_its_heading() -> None:
    documented = set()
    headings = re.findall(r"^### ([A-Z]+(?:(?:, | and )[A-Z]+)*) (/\S+)$", (DOCS / "http.md").read_text(), re.M)
    for methods, path in headings:
        documented |= {(method, path) for method in re.split(", | and ", methods)}
    served = {(method, route.path) for route in ROUTES for method in route.methods if method not in ("HEAD",)}
    assert documented == served


def test_the_examples_answer_as_they_say(reader: Reader, first_steps: str) -> None:
    assert first_steps
    for script, wanted in examples("http.md"):
        shown = reader.shell(script)
        if script.startswith("curl"):
            answer = msgspec.json.decode(shown)
            assert not wanted or shape(answer) == shape(msgspec.json.decode(wanted)), (script, shown)
            assert wanted or "status" not in answer, (script, shown)


def test_links_between_documents_lead_somewhere() -> None:
    root = DOCS.parent
    for path in [root / "README.md", root / "ARCHITECTURE.md", *DOCS.rglob("*.md")]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text("utf-8")):
            found = path.parent / target if target else path
            assert found.exists(), f"{path.relative_to(root)} links to {target}"
            assert not anchor or anchor in anchors(found.read_text("utf-8")), (path.name, target, anchor)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-").lower() for heading in headings}


def shape(value: Any) -> Any:
    """What a value is made of: the names in it, and the types, but not how many or which."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if value is None or (isinstance(value, float | int) and not isinstance(value, bool)):
        return "number, or missing"
    return type(value).__name__
