"""What a process gives up, for good, before it runs a stranger's statement: memory, time, files, network, programs.

Limits hold on every POSIX system; Landlock, where Linux has it (5.13), leaves it one folder to read and nothing to
write, connect to or start, whatever DuckDB could be talked into.
"""

import ctypes
import os
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path

_NICE = 10
_OOM_FIRST = "1000"

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h
_SIGKILL = 9

# linux/landlock.h: the rights of each version of it, all refused but for reading beneath one folder
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS = 0b11  # bind and connect TCP, from version 4
_SCOPES = 0b11  # abstract sockets and signals to others, from version 6

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def limit_resources(memory_bytes: int, cpu_s: int) -> None:
    """Bound what this process may take: `memory_bytes` beyond what it has mapped now, `cpu_s` of processor time.

    It runs behind everything else, is the first to go when memory is short, and ends with its parent.
    """
    _set(resource.RLIMIT_AS, _mapped_bytes() + memory_bytes)
    _set(resource.RLIMIT_CPU, cpu_s)
    _set(resource.RLIMIT_CORE, 0)
    os.nice(_NICE)
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
        _libc.prctl(_PR_SET_DUMPABLE, 0)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_FIRST)


def forbid_writing() -> None:
    """Let no file grow from now on; pipes and sockets go on."""
    _set(resource.RLIMIT_FSIZE, 0)


def read_only_beneath(folder: Path) -> bool:
    """Leave this thread, and those it starts, `folder` to read and no other file, address or program; False without.

    Descriptors that are open stay so. Call it before other threads are there.
    """
    if _libc is None:
        return False
    version = _libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)
    if version < 1 or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    rights = _FILE_RIGHTS[min(version, 5)]
    attributes = struct.pack("=Q", rights)
    if version >= 4:
        attributes += struct.pack("=Q", _NET_RIGHTS)
    if version >= 6:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    beneath = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", _READ_FILE | _READ_FOLDER, beneath)
        added = _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        return bool(added == 0 and _libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(beneath)
        os.close(ruleset)


def _set(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _mapped_bytes() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 1 << 30
