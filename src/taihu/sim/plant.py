"""Assets behind one meter, second by second, with dead times: what the fast layer is tried on.

Time is in steps. What is told at the end of a step acts `act` steps after the next; a reading of the meter is `late`
steps old when it comes, one of an asset `own` steps. So a command shows at the meter after 1 + act + late steps.
"""

from collections.abc import Mapping, Sequence

import msgspec


class Store(msgspec.Struct):
    """A battery: kWh, kW."""

    capacity_kwh: float
    power_kw: float
    held_kwh: float
    one_way: float = 0.95


class Plant:
    """Everything behind the meter. `loads_kw` and `suns_kw` (what generators could give) are by step.

    Assets that are no store take what they are told.
    """

    def __init__(
        self, loads_kw: Sequence[float], stores: Mapping[str, Store],
        suns_kw: Mapping[str, Sequence[float]] | None = None, *,
        act: int = 0, late: int = 0, own: int = 0, step_s: float = 1.0,
    ) -> None:  # fmt: skip
        self.stores = dict(stores)
        self.loads_kw, self._suns_kw = loads_kw, suns_kw or {}
        self._act, self._late, self._own, self._hours = act, late, own, step_s / 3_600
        self._told: list[dict[str, float]] = []
        self.nets_kw: list[float] = []
        """What the meter truly saw, step by step."""
        self._powers: list[dict[str, float]] = []

    @property
    def at(self) -> int:
        """Steps that have ended."""
        return len(self.nets_kw)

    def step(self, told: Mapping[str, float]) -> None:
        """One step, at whose beginning this was told."""
        self._told.append(dict(told))
        force = self._told[max(0, self.at - self._act)] if self.at >= self._act else {}
        powers = {name: self._moved(name, kw) for name, kw in force.items() if name not in self._suns_kw}
        gives = {name: min(most[self.at], force.get(name, most[self.at])) for name, most in self._suns_kw.items()}
        self.nets_kw.append(self.loads_kw[self.at] + sum(powers.values()) - sum(gives.values()))
        self._powers.append(powers | gives)

    def meter(self) -> float:
        """The newest reading of the meter."""
        return self.nets_kw[max(0, self.at - 1 - self._late)]

    def says(self, name: str) -> float:
        """The newest reading of an asset: what it takes, or a generator gives."""
        return self._powers[max(0, self.at - 1 - self._own)].get(name, 0.0)

    def _moved(self, name: str, kw: float) -> float:
        """What an asset takes of what it was told; a store no more than it holds or has room for."""
        store = self.stores.get(name)
        if store is None:
            return kw
        room = (store.capacity_kwh - store.held_kwh) / (store.one_way * self._hours)
        taken = min(max(kw, -store.power_kw, -store.held_kwh * store.one_way / self._hours), store.power_kw, room)
        store.held_kwh += self._hours * (taken * store.one_way if taken > 0 else taken / store.one_way)
        return taken
