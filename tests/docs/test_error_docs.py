"""docs/errors.md has a heading for every code of an error, below the heading of its kind, and for nothing else."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import taihu
from taihu.kernel.errors import DamagedError, LocalError, RefusedError, RemoteError, TaihuError, TransientError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
KINDS = {
    "Refused": RefusedError,
    "Not possible now": TransientError,
    "Not valid": RemoteError,
    "Damaged": DamagedError,
    "Defects": LocalError,
}
HTTP_ONLY = "Of the HTTP API alone"


def sections() -> dict[str, list[str]]:
    """The codes that have a heading, by the heading above them."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^### (.+)\n\S", text, re.MULTILINE)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def below(kind: type[TaihuError]) -> Iterator[type[TaihuError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from below(one)


@pytest.mark.filterwarnings("ignore")
def test_every_error_has_its_heading() -> None:
    for module in pkgutil.walk_packages(taihu.__path__, "taihu."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    ours = {
        name: {one.code for one in below(kind) if one.__module__.startswith("taihu.")} for name, kind in KINDS.items()
    }
    found = sections()
    assert {name: sorted(found[name]) for name in KINDS} == {name: sorted(codes) for name, codes in ours.items()}


def test_every_problem_of_the_http_door_has_its_heading() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "taihu" / "doors" / "http").glob("*.py"))
    codes = set(re.findall(r'Problem\(\s*\d{3},\s*"([a-z-]+)"', source))
    found = sections()
    assert codes <= {code for names in found.values() for code in names}
    assert set(found[HTTP_ONLY]) <= codes
