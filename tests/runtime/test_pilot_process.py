"""The pilot's threads: turns of the loops go before plans."""

import os
import sys
import threading

import pytest

from taihu.runtime.pilot.process import planning_threads


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_who_plans_steps_back_and_nobody_else() -> None:
    before = nice()
    with planning_threads() as threads:
        assert threads.submit(nice).result() == min(19, max(before, 5))
    assert nice() == before
