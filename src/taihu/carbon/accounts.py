"""One account: whose it is, from when until when, and what it reads."""

from collections.abc import Sequence

import msgspec

from taihu.carbon.ledger import NOW
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import RefusedError
from taihu.kernel.sections import AccountConfig

_GRID = ("region", "intensity", "mix", "carbon_free", "supplier", "upstream")


class AccountBroken(RefusedError):
    """A meter cannot be accounted as declared; the message says what is wrong with it."""

    code = "account"


class Account(msgspec.Struct, frozen=True):
    """One meter to account: its project, that project's time zone, and what `site.toml` says of it."""

    project: str
    timezone: str
    config: AccountConfig

    @property
    def start(self) -> int:
        """Since when it is declared to hold (UTC ns); 0 when that is not said."""
        return from_datetime(self.config.since) if self.config.since else 0

    @property
    def end(self) -> int:
        """Until when it is declared to hold (UTC ns)."""
        return from_datetime(self.config.until) if self.config.until else NOW

    @property
    def key(self) -> tuple[str, str]:
        """Its project, and what the ledger calls it."""
        return self.project, self.config.key

    @property
    def intensity(self) -> str:
        """The property that gives the grid's intensity, with its project; empty where none does."""
        return self._whole(self.config.intensity, 2)

    @property
    def mix(self) -> str:
        """The thing that says what the grid generates, likewise."""
        return self._whole(self.config.mix, 1)

    @property
    def marginal(self) -> str:
        """The property that gives the grid's marginal intensity, likewise."""
        return self._whole(self.config.marginal, 2)

    @property
    def carbon_free(self) -> str:
        """The property that gives the grid's carbon-free share, likewise."""
        return self._whole(self.config.carbon_free, 2)

    def _whole(self, path: str, slashes: int) -> str:
        """A path without a project is in the account's own."""
        return path if not path or path.count("/") == slashes else f"{self.project}/{path}"

    @property
    def watched(self) -> set[tuple[str, str]]:
        """The things whose late readings change the ledger."""
        others = [name.split("/")[:2] for name in (self.intensity, self.mix, self.carbon_free, self.marginal) if name]
        own = [] if self.config.avoided else [(self.project, self.config.meter)]
        return {*own, *((project, thing) for project, thing in others)}


def on_grids(accounts: Sequence[AccountConfig]) -> list[AccountConfig]:
    """A project's accounts, where one behind another says nothing of its grid with what that one says.

    Where that one has several accounts, one after the other, nobody can say which.
    """
    by_key: dict[str, list[AccountConfig]] = {}
    for one in accounts:
        by_key.setdefault(one.key, []).append(one)

    def whole(one: AccountConfig, seen: tuple[str, ...] = ()) -> AccountConfig:
        above = by_key.get(one.behind, [])
        silent = one.draws and not any(getattr(one, name) for name in _GRID)
        if not silent or len(above) != 1 or one.behind in seen:
            return one
        before = whole(above[0], (*seen, one.behind))
        return msgspec.structs.replace(one, **{name: getattr(before, name) for name in _GRID})

    return [whole(one) for one in accounts]
