"""What all tests share: no property test is gated on seconds, whatever else the machine does meanwhile."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("taihu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taihu")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a quarter of the time, a test waits for a process of its own."""
    return (os.cpu_count() or 1) + 1
