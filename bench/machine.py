"""What the machine says about itself and about processes: CPU seconds, memory, disk sync time."""

import os
import platform
import statistics
import tempfile
import threading
import time
from pathlib import Path

MB = 1_048_576


def cpu_seconds(pid: int) -> float:
    """CPU seconds a process has used, all its threads, those that ended too; 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def loop_seconds(pid: int) -> float:
    """CPU seconds that the first thread of a process has used, to a hundredth; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> dict[str, float]:
    """PSS and RSS of a process now, in MB; zeros when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {"pss": 0.0, "rss": 0.0}
    fields = dict(line.split(":") for line in text.splitlines()[1:])
    return {name.lower(): int(fields[name].split()[0]) / 1024 for name in ("Pss", "Rss")}


def peak_rss_mb(pid: int) -> float:
    """The highest RSS a process ever had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class MemoryWatch:
    """The highest sum of PSS and of RSS over some processes while it runs."""

    def __init__(self, pids: list[int], period_s: float = 0.25) -> None:
        self.peak_pss = 0.0
        self.peak_rss = 0.0
        self._pids = pids
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        now = [memory_mb(pid) for pid in self._pids]
        self.peak_pss = max(self.peak_pss, sum(one["pss"] for one in now))
        self.peak_rss = max(self.peak_rss, sum(one["rss"] for one in now))


def fdatasync_ms(folder: Path | None = None, size: int = 4096, runs: int = 50) -> float:
    """Median milliseconds of one fdatasync after an append of `size` bytes, where benchmarks keep their data."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(runs):
            file.write(b"x" * size)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def description() -> str:
    """Processor, memory, load, Python and the disk's sync time, in one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3
    return (
        f"{os.cpu_count()} x {model}, {memory_gb:.0f} GiB, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}, fdatasync {fdatasync_ms():.2f} ms (4 kB), "
        f"{fdatasync_ms(size=MB, runs=15):.2f} ms (1 MB)"
    )
