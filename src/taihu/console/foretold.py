"""What the node's HTTP API answers about forecasts, as this console reads it."""

import msgspec


class Step(msgspec.Struct, frozen=True):
    """A step as it was expected when it began, or is now, and as it came; None where nothing is known (§3)."""

    start: int
    q10: float | None = None
    q25: float | None = None
    median: float | None = None
    q75: float | None = None
    q90: float | None = None
    came: float | None = None


class Errors(msgspec.Struct, frozen=True):
    """How a forecaster did in the back-test; `mae` in the series' unit, `ratio` to that of the day before."""

    mae: float | None = None
    ratio: float | None = None
    mase: float | None = None
    covered: float | None = None


class Outlook(msgspec.Struct, frozen=True):
    """A series' day before and day ahead; `model` is its champion, None before anything was learned."""

    unit: str | None = None
    step_s: int = 3_600
    model: str | None = None
    errors: Errors | None = None
    values: tuple[Step, ...] = ()


class Model(msgspec.Struct, frozen=True):
    """A series that is kept forecast, its champion, and how all candidates did."""

    thing: str
    property: str
    unit: str | None = None
    model: str | None = None
    known: int | None = None
    thorough: bool = False
    candidates: dict[str, Errors] = {}


class Forecaster(msgspec.Struct, frozen=True):
    """Who may compete, and from how many days of history on."""

    name: str
    days: float = 0.0
    installed: bool = True


class ModelsAnswer(msgspec.Struct, frozen=True):
    """Answer of `/forecast/models`."""

    models: tuple[Model, ...] = ()
    forecasters: tuple[Forecaster, ...] = ()


def champion_errors(model: Model) -> Errors:
    """How the champion of a series did; nothing before there is one."""
    return model.candidates.get(model.model or "", Errors())
