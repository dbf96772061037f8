"""The examination: every check, on a site whose node runs, stands or died."""

from collections.abc import Callable, Iterator
from pathlib import Path

from taihu.kernel.clock import SystemClock
from taihu.kernel.config import load_site
from taihu.kernel.errors import ConfigError
from taihu.kernel.files import OsFiles
from taihu.runtime.doctor import access, devices, machine, plans, storage, stores
from taihu.runtime.doctor.case import Case
from taihu.runtime.doctor.finding import Finding, error

Check = Callable[[Case], Iterator[Finding]]
CONFIG = "config"
CHECKS: dict[str, Check] = {
    "lock": access.lock,
    "ports": access.ports,
    "rights": access.rights,
    "certificates": access.certificates,
    "disk": machine.disk,
    "open-files": machine.open_files,
    "clock": machine.clock,
    "zones": machine.zones,
    "metadata": stores.metadata,
    "journal": stores.journal,
    "history": stores.history,
    "storage": storage.storage,
    "plans": plans.plans,
    "aside": stores.aside,
    "quarantine": devices.quarantine,
}
ALSO = ("device-clock", "lag")
"""What the check of the journal finds beside damage."""


def open_case(folder: Path, *, quick: bool = False, seen: Callable[[int], None] = lambda size: None) -> Case | Finding:
    """The site in `folder`; a finding when its configuration cannot be read."""
    try:
        site = load_site(folder)
    except ConfigError as problem:
        why = "The node does not start, and does not take over changes; one that runs goes on as it was."
        return error(CONFIG, problem.message, why, problem.remedy)
    return Case(site, OsFiles(), SystemClock(), quick=quick, seen=seen)


def size_of(case: Case) -> int:
    """How many bytes of the stores an examination reads, for a bar of progress."""
    folders = () if case.quick else (case.paths.journal, case.paths.history)
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
