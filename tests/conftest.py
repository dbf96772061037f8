"""What all tests share: no property test is gated on seconds, and nothing is left in the temporary folder."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("taihu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taihu")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a quarter of the time, a test waits for a process of its own."""
    return (os.cpu_count() or 1) + 1


_died = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A process of the run that ends before its tests do has not failed one of them alone."""
    if error:
        node.config.stash[_died] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """By its exit code: such a run is not tried again."""
    if session.config.stash.get(_died, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One of this run, which pytest takes away: how the processes of a run end, nobody else would."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("t"))
    yield
    tempfile.tempdir = None
