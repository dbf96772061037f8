"""What the node's HTTP API answers about controllers and their plans, as this console reads it."""

import msgspec


class Stage(msgspec.Struct, frozen=True):
    """A step of a plan, in kW, kWh and kg/kWh.

    Between which powers a battery follows the meter, what it is expected to do and to hold, and what the meter is
    expected to see without it, with its 80 % band.
    """

    low_kw: float
    high_kw: float
    power_kw: float
    start: int = 0
    content_kwh: float = 0.0
    net_kw: float = 0.0
    net_low_kw: float | None = None
    net_high_kw: float | None = None
    price: float = 0.0
    intensity: float | None = None


class Guard(msgspec.Struct, frozen=True):
    """What a replayed day saved, on average of `days`, and at least (the lower 90 % bound).

    `replaying` says how many days of how many are done, `stand_ins` what was taken for what is not stored.
    """

    days: int = 0
    mean: float | None = None
    lower: float | None = None
    replaying: dict[str, int] = {}
    stand_ins: tuple[str, ...] = ()


class Asset(msgspec.Struct, frozen=True):
    """What a scheduler has one of its assets do, now and in each step of its plan."""

    name: str
    kind: str = ""
    power_kw: float = 0.0
    now_kw: float | None = None
    why: str = ""
    powers_kw: tuple[float, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What a controller decided last: whether it drives and may, what binds, why, and its steps from now on.

    `with_kg` and `without_kg` are expected of the day ahead, with this plan and without control.
    """

    mode: str = ""
    binding: str = ""
    stages: tuple[Stage, ...] = ()
    reason: str = ""
    why: str = ""
    guard: Guard = Guard()
    content_kwh: float = 0.0
    with_kg: float | None = None
    without_kg: float | None = None
    currency: str = ""
    forecast: str = ""
    notes: tuple[str, ...] = ()
    assets: tuple[Asset, ...] = ()


class Saved(msgspec.Struct, frozen=True):
    """What was saved so far, in kg, with half the width of its interval; `estimated` where there is no shadow meter."""

    kg: float = 0.0
    error_kg: float = 0.0
    hours: int = 0
    estimated: bool = False


class Plan(msgspec.Struct, frozen=True):
    """A controller of a project; `waits` says why it has no turn, where it has none."""

    project: str
    controller: str
    decisions: tuple[Decision, ...] = ()
    saved: Saved = Saved()
    guard: Guard = Guard()
    waits: str = ""

    @property
    def last(self) -> Decision | None:
        """What it decided last."""
        return self.decisions[0] if self.decisions else None


class Foretold(msgspec.Struct, frozen=True):
    """An hour's load less generation: expected before it began, with its 80 % band, and as it came (kWh).

    So many controllers together say so.
    """

    start: int
    net_kwh: float
    low_kwh: float
    high_kwh: float
    came_kwh: float | None = None
    controllers: int = 0


class PlansAnswer(msgspec.Struct, frozen=True):
    """Answer of `/plans`: controllers, what they have saved together, and what they expect."""

    plans: tuple[Plan, ...] = ()
    saved: Saved = Saved()
    outlook: tuple[Foretold, ...] = ()
