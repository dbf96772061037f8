"""One reader, who has followed the page of first steps."""

from collections.abc import Iterator

import pytest
from tests.docs.support import Reader


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Their node runs."""
    found = Reader(tmp_path_factory.mktemp("reader"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def first_steps(reader: Reader) -> str:
    """What the page of first steps printed from the start of the node on."""
    return reader.follow()
