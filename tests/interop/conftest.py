"""One node for the whole folder."""

from collections.abc import Iterator

import pytest
from tests.interop.support import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running node: projects `plant`, `other` and `lab`, the last open to whoever brings no token."""
    running = Site(tmp_path_factory.mktemp("interop"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
