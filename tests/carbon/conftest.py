"""Plants that are closed when a test is over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.carbon.plant import Plant

from taihu.carbon.accounts import Account


@pytest.fixture
def plants(tmp_path: Path) -> Iterator[Any]:
    opened: list[Plant] = []

    def make(*accounts: Account) -> Plant:
        opened.append(Plant(tmp_path, list(accounts)))
        return opened[-1]

    yield make
    for plant in opened:
        plant.close()
