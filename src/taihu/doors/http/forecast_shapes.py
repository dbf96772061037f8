"""The JSON of answers about forecasts."""

from typing import TypedDict


class ForecastStep(TypedDict):
    """One step: what is as likely to be passed as not, and the quantiles of 10, 25, 75 and 90 %."""

    start: int
    end: int
    q10: float | None
    q25: float | None
    median: float | None
    q75: float | None
    q90: float | None


class ForecastAnswer(TypedDict):
    """A forecast; `trained_at` is of the model that there is now, `kept` says whether the series is kept forecast."""

    thing: str
    property: str
    unit: str | None
    issued_at: int
    step_s: int
    model: str
    trained_at: int | None
    kept: bool
    values: list[ForecastStep]


class ForecastCandidate(TypedDict):
    """How a candidate did in the back-test; errors are in the property's unit, `ratio` against the day before.

    `mase` is against what the day before was off by in the part learned from. `held` is the share within the 80 %
    interval; `covered`, of the champion, that once it is calibrated.
    """

    mae: float | None
    ratio: float | None
    first_mae: float | None
    persistence_mae: float | None
    bias: float | None
    held: float | None
    count: int
    mase: float | None
    covered: float | None


class ForecastModel(TypedDict):
    """A series that is kept forecast; `thorough` says that all candidates have competed.

    `lacking` are the regressors that ended, with how many of their newest steps are not known.
    """

    thing: str
    property: str
    unit: str | None
    step_s: int
    horizon: int
    regressors: int
    lacking: dict[str, int]
    model: str | None
    trained_at: int | None
    known: int | None
    thorough: bool
    candidates: dict[str, ForecastCandidate]


class Forecaster(TypedDict):
    """Who may compete: from how many days of history on, and whether it is installed."""

    name: str
    days: float
    installed: bool


class ForecastModels(TypedDict):
    """The series of a project that are kept forecast, and who may compete for them."""

    models: list[ForecastModel]
    left_out: int
    forecasters: list[Forecaster]


class OutlookStep(ForecastStep):
    """A step as it was expected when it began, or is now, and as it came."""

    came: float | None


class ForecastOutlook(TypedDict):
    """A day before and a day ahead; `errors` are the champion's in the back-test."""

    thing: str
    property: str
    unit: str | None
    step_s: int
    model: str | None
    errors: ForecastCandidate | None
    values: list[OutlookStep]


class ForecastLead(TypedDict):
    """Errors of all leads up to `lead_s` that the row before has not; in the property's unit."""

    lead_s: int
    count: int
    mae: float | None
    bias: float | None
    held: float | None
    persistence_mae: float | None
    naive_mae: float | None


class ForecastErrors(TypedDict):
    """How forecasts that were issued did."""

    thing: str
    property: str
    unit: str | None
    issued: int
    step_s: int
    leads: list[ForecastLead]
