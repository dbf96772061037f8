"""A plant's history, ledger and accountant, for tests."""

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taihu.carbon.accountant import Accountant
from taihu.carbon.accounts import Account
from taihu.carbon.driven import Driven
from taihu.carbon.factors import load_factors
from taihu.carbon.ledger import Ledger
from taihu.carbon.meters import Sources
from taihu.history.history import History
from taihu.kernel.clock import NS_PER_S, SimClock, parse_iso
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.kernel.sections import AccountConfig
from taihu.things.batch import Batch, Column
from taihu.things.property import Kind, Property

HOUR = 3_600 * NS_PER_S
START = parse_iso("2022-05-01T00:00:00Z")
PROPERTIES = {
    "import_register": Property(name="import_register", kind=Kind.COUNTER, unit="kW.h"),
    "energy": Property(name="energy", kind=Kind.INTERVAL, unit="kW.h", interval_s=3_600),
    "power": Property(name="power", unit="W", max_age_s=3_600),
    "intensity": Property(name="intensity", unit="g/(kW.h)", max_age_s=3_600),
    "marginal": Property(name="marginal", unit="g/(kW.h)", max_age_s=3_600),
    "temperature": Property(name="temperature", unit="Cel"),
    "bare": Property(name="bare"),
    "gas_register": Property(name="gas_register", kind=Kind.COUNTER, unit="m3", max_age_s=7_200),
    "oil": Property(name="oil", unit="L/h", max_age_s=3_600),
    "refilled": Property(name="refilled", kind=Kind.INTERVAL, unit="g", interval_s=1),
}


class Plant:
    """A history, a ledger and an accountant that may be opened again, as after a crash."""

    def __init__(self, folder: Path, accounts: list[Account]) -> None:
        self.clock = SimClock(START)
        self.history = History(folder / "history", OsFiles(), self.clock, DEFAULT, self.definitions)
        self.folder = folder
        self.accounts = accounts
        self.granted = True
        self.factors = load_factors()
        self.parents: dict[str, str] = {}
        self.position = 0
        self.drove: list[Driven] = []
        self.ledger = Ledger(folder / "carbon.sqlite")
        self.accountant = self.open()

    def definitions(self, project: str, thing: str) -> Mapping[str, Property]:
        return PROPERTIES

    def parent(self, project: str, thing: str) -> str:
        return self.parents.get(thing, "")

    def driven(self, project: str, controller: str, start: int, limit: int) -> list[Driven]:
        return [one for one in self.drove if one.start >= start][:limit]

    def open(self) -> Accountant:
        self.ledger.close()
        self.ledger = Ledger(self.folder / "carbon.sqlite")
        sources = Sources(self.definitions, lambda reader, project, thing: self.granted, self.parent, self.driven)
        self.accountant = Accountant(
            self.accounts, self.ledger, self.factors, self.history, sources, self.clock, settle_s=600
        )
        return self.accountant

    def say(self, thing: str, name: str, at: int, value: float, project: str = "plant") -> None:
        self.position += 1
        column = Column("d", array("d", [value]).tobytes())
        times = array("q", [at]).tobytes()
        batch = Batch(project, "", (name,), (thing,), b"", at, times, b"", (column,))
        self.accountant.see(batch)
        self.history.apply(self.position, batch)

    def account(self, until: int) -> list[Any]:
        self.clock.jump((until - self.clock.now_ns()) / NS_PER_S)
        while self.accountant.step():
            pass
        return list(self.ledger.rows("plant", 0, 2**62))

    def close(self) -> None:
        self.history.close()
        self.ledger.close()


def account(meter: str = "main", **fields: Any) -> Account:
    return Account("plant", "UTC", AccountConfig(meter=meter, **fields))
