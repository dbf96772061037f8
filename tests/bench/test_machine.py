"""What is told of processes is what the system says."""

import os
import time

from bench.machine import MemoryWatch, cpu_seconds, description, memory_mb, peak_rss_mb


def test_cpu_seconds_are_those_of_the_process() -> None:
    before = cpu_seconds(os.getpid())
    used = time.process_time()
    while time.process_time() - used < 0.02:
        pass
    assert cpu_seconds(os.getpid()) - before >= 0.02


def test_a_process_that_is_gone_counts_nothing() -> None:
    assert cpu_seconds(2**22 + 1) == 0.0
    assert memory_mb(2**22 + 1) == {"pss": 0.0, "rss": 0.0}


def test_memory_is_watched_to_its_peak() -> None:
    with MemoryWatch([os.getpid()], period_s=0.01) as watch:
        pass
    assert 0 < watch.peak_pss <= watch.peak_rss <= peak_rss_mb(os.getpid()) * 1.01


def test_the_machine_is_described_in_one_line() -> None:
    assert "fdatasync" in description() and "\n" not in description()
