"""Every endpoint has its heading in docs/http.md, and every heading its endpoint."""

import re
from pathlib import Path

from taihu.doors.http.routes import ROUTES

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_every_endpoint_has_its_heading() -> None:
    documented = set()
    for methods, path in re.findall(
        r"^## ((?:GET|PUT|POST)(?: and PUT)?) (/\S+)$", (DOCS / "http.md").read_text(), re.M
    ):
        documented |= {(method, path) for method in methods.split(" and ")}
    served = {
        (method, route.path) for route in ROUTES for method in (route.methods or set()) if method not in ("HEAD",)
    }
    assert documented == served


def test_links_between_documents_lead_somewhere() -> None:
    root = DOCS.parent
    for path in [root / "README.md", root / "ARCHITECTURE.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.relative_to(root)} links to {target}"
