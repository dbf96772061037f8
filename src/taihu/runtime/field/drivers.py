"""Finds drivers by the scheme of a URL. Built-ins enter by the door of strangers: the entry points `taihu.drivers`."""

from importlib.metadata import entry_points
from typing import Any

from taihu.drivers.port import Driver
from taihu.kernel.errors import RefusedError

GROUP = "taihu.drivers"


class NoDriver(RefusedError):
    """No driver of that name, or for that scheme, is installed: the message lists those that are."""

    code = "no-driver"


def driver_names() -> list[str]:
    """The drivers installed."""
    return sorted({one.name for one in entry_points(group=GROUP)})


def load_driver(name: str) -> type[Driver]:
    """A driver by its name.

    Raises:
        NoDriver: there is none, or what it needs is not installed.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                found: type[Driver] = entry.load()
            except ImportError as error:
                raise NoDriver(f"The driver {name} needs {error.name}.", f"Run: pip install 'taihu[{name}]'") from None
            return found
    raise NoDriver(f"There is no driver {name[:40]!r}.", f"There are: {', '.join(driver_names())}.")


def driver_for(url: str) -> tuple[str, type[Driver]]:
    """The driver that serves a URL's scheme; raises NoDriver."""
    scheme = url.partition("://")[0].lower()
    known: list[str] = []
    for name in driver_names():
        try:
            driver: Any = load_driver(name)
        except NoDriver:
            known.append(f"{name} (not installed)")
            continue
        if scheme in driver.schemes:
            return name, driver
        known += driver.schemes
    raise NoDriver(f"No driver speaks {scheme[:40]!r}.", f"Schemes: {', '.join(known)}.")
