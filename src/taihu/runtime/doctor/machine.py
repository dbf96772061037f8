"""The machine under the node: its disk, its limit of open files, its clock and its time zone data."""

import ctypes
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files as resources
from io import BytesIO
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

from taihu.kernel.clock import DAY_NS, from_datetime, parse_iso, to_datetime
from taihu.runtime.doctor.case import Case, State
from taihu.runtime.doctor.finding import Finding, error, note, warning
from taihu.runtime.process import files_needed

_MB = 1_048_576
_FREE_BYTES_MIN = 256 * _MB
_FREE_SHARE_MIN = 0.05
_BUILT_NS = parse_iso("2026-01-01T00:00:00Z")  # no clock that is right shows less
_STEP_S_MAX = 1.0
_UNSYNCED = 0x0040  # STA_UNSYNC, linux/timex.h
_TIME_ERROR = 5
_VOLATILE = {"tmpfs", "ramfs", "overlay"}
_HALF_YEAR_NS = 182 * DAY_NS


def disk(case: Case) -> Iterator[Finding]:
    """Room for what the node writes, and a file system that keeps it."""
    folder = _existing(case.site.data)
    space = os.statvfs(folder)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    why = "Nothing is acknowledged when nothing can be written: devices are slowed, and with a full disk stand still."
    remedy = f"Make room: du -xsh {folder}/*; or lower [limits] journal_retention_bytes."
    said = f"{free // _MB:,} MB of {total // _MB:,} MB are free in {folder}."
    if free < min(_FREE_BYTES_MIN, total // 10) or not free:
        yield error("disk", f"The disk is full: {said}", why, remedy)
    elif free < total * _FREE_SHARE_MIN:
        yield warning("disk", f"The disk is nearly full: {said}", why, remedy)
    if space.f_files and space.f_favail < max(1, space.f_files // 100):
        yield error("disk", f"No new files can be made in {folder}: all inodes are taken.", why, f"df -i {folder}")
    kind = _file_system(folder)
    if kind in _VOLATILE:
        yield warning(
            "disk",
            f"{folder} lies in a {kind} file system.",
            "It is gone with the machine's memory, or with the container: what was acknowledged does not survive that.",
            "Mount a disk or volume there, or name another folder in [node] data.",
        )


def open_files(case: Case) -> Iterator[Finding]:
    """A descriptor for each connection that the limits allow."""
    needed = files_needed(case.site.limits)
    allowed, whose = resource.getrlimit(resource.RLIMIT_NOFILE)[1], "A node that this user starts may open"
    if case.state is State.RUNNING and case.addresses is not None:
        allowed, whose = _open_files_of(case.addresses.pid, allowed), "The node may open"
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        yield warning(
            "open-files",
            f"{whose} {allowed:,} files, and has connections for {needed:,} by its limits.",
            "Beyond it no device can connect, and the history cannot open its files.",
            f"ulimit -n {needed}; under systemd LimitNOFILE={needed} (taihu systemd prints it).",
        )


def clock(case: Case) -> Iterator[Finding]:
    """A machine clock that is right, kept so by somebody, and not set by leaps."""
    now = from_datetime(to_datetime(case.clock.now_ns()))
    if now < _BUILT_NS:
        yield error(
            "clock",
            f"The machine's clock shows {to_datetime(now):%Y-%m-%d}.",
            "Readings that come without a time of their own are stored at that time, and certificates are not valid.",
            "timedatectl set-ntp true; a machine without a battery needs its time from the network before the node.",
        )
    if (synced := _ntp()) is False:
        yield warning(
            "clock",
            "Nobody keeps the machine's clock in time (NTP).",
            "It drifts by seconds a day: readings stamped here, and whether a device is late, go by it.",
            "timedatectl set-ntp true",
        )
    elif synced is None:
        yield note("clock", "Whether the clock is kept in time cannot be told here.", "", "chronyc tracking")
    stepped = (case.status or {}).get("clock_stepped_s", 0.0)
    if abs(stepped) > _STEP_S_MAX:
        yield warning(
            "clock",
            f"The machine's clock was set by {stepped:+,.1f} s while the node ran.",
            "Readings stamped here before and after it are that far apart; those of a set-back hour overlap.",
            "Let NTP slew it: with chrony, makestep only at the start.",
        )


def zones(case: Case) -> Iterator[Finding]:
    """Time zone data: each project's days begin where the newest rules say."""
    names = {case.site.site.timezone, *(case.site.timezone_of(project) for project in case.site.projects)}
    now = case.clock.now_ns()
    for name in sorted(names - {"UTC"}):
        theirs, ours = _zone_file(name, TZPATH), _packaged_zone(name)
        if theirs is None or ours is None:
            continue
        moments = [to_datetime(now + step * _HALF_YEAR_NS) for step in range(-4, 3)]
        wrong = next((at for at in moments if theirs.utcoffset(at) != ours.utcoffset(at)), None)
        if wrong is not None:
            yield error(
                "zones",
                f"The system's zone data says {theirs.utcoffset(wrong)} for {name} on {wrong:%Y-%m-%d}, the newer data "
                f"of the package says {ours.utcoffset(wrong)}.",
                "Days and months of that project begin at the wrong hour, and its daily sums with them.",
                "Bring the system's data up to date: apt-get install --only-upgrade tzdata; start the node again.",
            )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder lies in; empty where it cannot be told."""
    best, kind = "", ""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, found, *_ = line.split()
            point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point)
            if folder.resolve().is_relative_to(point) and len(point) >= len(best):
                best, kind = point, found
    return kind


def _open_files_of(pid: int, otherwise: int) -> int:
    with suppress(OSError):
        found = re.search(r"^Max open files\s+(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
        if found:
            return int(found[1])
    return otherwise


class _Timex(ctypes.Structure):
    """`struct timex` as far as it is read (adjtimex(2)); the kernel writes 208 bytes."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    ]


def _ntp() -> bool | None:
    """Whether something keeps the machine's clock in time; None where that cannot be told."""
    if sys.platform != "linux":
        return None
    found = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not found.status & _UNSYNCED


def _zone_file(name: str, folders: tuple[str, ...]) -> ZoneInfo | None:
    """A zone as the system has it."""
    for folder in folders:
        with suppress(OSError, ValueError), Path(folder, name).open("rb") as file:
            return ZoneInfo.from_file(file)
    return None


def _packaged_zone(name: str) -> ZoneInfo | None:
    """A zone as the package `tzdata` has it, which is pinned and new."""
    with suppress(OSError, ValueError, ModuleNotFoundError):
        path = resources("tzdata").joinpath("zoneinfo", *name.split("/"))
        return ZoneInfo.from_file(BytesIO(path.read_bytes()))
    return None
