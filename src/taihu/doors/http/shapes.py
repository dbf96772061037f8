"""The shapes of the API's answers and bodies, as its description shows them; times are UTC nanoseconds."""

from typing import Any, Literal, NotRequired, TypedDict

from msgspec import UNSET, Struct, UnsetType

from taihu.doors.http.ports import ThingSummary
from taihu.things.property import Quality

State = Literal["ok"]


class ValidationError(TypedDict):
    """What is wrong with a document, and the JSON pointer of the place; `(root)` for the whole."""

    field: str
    description: str


class Problem(TypedDict):
    """Problem details (RFC 9457): `title` says what is wrong, `detail` what to do about it."""

    type: str
    title: str
    status: int
    instance: NotRequired[str]
    detail: NotRequired[str]
    validationErrors: NotRequired[list[ValidationError]]


class Health(TypedDict):
    """That the node serves."""

    status: State


class Status(TypedDict):
    """Counters of what the token may read, and states of the node."""

    version: str
    now: int
    clock_speed: float
    projects: int
    things: int
    acked: int
    points: int
    stored: int
    refused: int
    storage_bytes: int
    storage_nearly_full: int
    storage_full: int
    journal_position: int
    history_position: int
    worker: Literal["running", "away"]
    clock_stepped_s: float
    groups: NotRequired[int]
    observers: NotRequired[int]
    observers_missed: NotRequired[int]
    mqtt: NotRequired[dict[str, int]]


class ProjectEntry(TypedDict):
    """A project that the token may read something of."""

    name: str
    title: str
    timezone: str
    granted: bool
    things: int
    refused: NotRequired[int]


class Projects(TypedDict):
    """The projects that the token may read something of."""

    projects: list[ProjectEntry]


class ThingsPage(TypedDict):
    """A page of things; `next`, when there may be more, is the last name."""

    things: list[ThingSummary]
    next: NotRequired[str]


class SiteMeters(TypedDict):
    """A site's main meter and its submeters."""

    main_meter: str | None
    submeters: list[str]


class TopologyAnswer(TypedDict):
    """Things that meet the criteria, and each site's meters."""

    things: list[str]
    sites: dict[str, SiteMeters]


class NewestValue(Struct, gc=False):
    """The newest value of a property."""

    thing: str
    property: str
    value: Any
    unit: str | None
    quality: Quality
    observed_at: int
    received_at: int
    age_s: float
    kind: str | UnsetType = UNSET
    stale: bool | UnsetType = UNSET


class NewestValues(TypedDict):
    """Newest values, and the node's time. Where there may be more of a project, `next` is the last thing's name."""

    project: str
    now: int
    values: list[NewestValue]
    next: NotRequired[str]


class HistoryReading(TypedDict):
    """One reading of a series."""

    observed_at: int
    received_at: int
    value: Any
    quality: Quality
    seq: int


class CalculationInput(TypedDict):
    """An input of a calculated property, as it is now."""

    project: str
    thing: str
    property: str
    kind: str
    unit: str | None
    value: Any
    observed_at: int | None
    quality: Quality | None
    stale: bool


class Calculation(TypedDict):
    """What a calculated property is worked out of; its value is null while it is missing, or has one only over time."""

    project: str
    thing: str
    property: str
    kind: str
    unit: str | None
    formula: str
    nature: str
    value: float | None
    observed_at: int | None
    quality: Quality | None
    inputs: list[CalculationInput]
    hidden: int
    lacking: list[str]
    undeclared: list[str]


class HistoryWindow(TypedDict):
    """A window of time; what it says beyond these follows from the kind, and what is missing is null."""

    start: int
    end: int
    coverage: NotRequired[float | None]
    gone: NotRequired[bool]


class HistorySeries(TypedDict):
    """Readings of one property, or windows of it."""

    thing: str
    property: str
    unit: str | None
    kind: str
    formula: NotRequired[str]
    inputs: NotRequired[list[str]]
    hidden: NotRequired[int]
    readings: NotRequired[list[HistoryReading]]
    windows: NotRequired[list[HistoryWindow]]


class HistoryAnswer(TypedDict):
    """Readings or windows of one property, or of each of several `series`."""

    project: str
    series: NotRequired[list[HistorySeries]]
    thing: NotRequired[str]
    property: NotRequired[str]
    unit: NotRequired[str | None]
    kind: NotRequired[str]
    formula: NotRequired[str]
    inputs: NotRequired[list[str]]
    hidden: NotRequired[int]
    readings: NotRequired[list[HistoryReading]]
    windows: NotRequired[list[HistoryWindow]]


class FoundReading(TypedDict):
    """A reading with its full name."""

    project: str
    thing: str
    property: str
    observed_at: int
    received_at: int
    value: Any
    quality: NotRequired[Quality]
    seq: NotRequired[int]


class AsOf(TypedDict):
    """The reading that was newest at a time; null when there was none."""

    unit: str | None
    reading: FoundReading | None


class Wish(TypedDict):
    """What is wanted of a property, since when and by whom."""

    value: Any
    at: int
    by: str


class Wishes(TypedDict):
    """What is wanted of a thing."""

    desired: dict[str, Wish]


class Ticket(TypedDict):
    """A ticket that opens streams, and when it ends."""

    ticket: str
    expires_at: int


class JoinBody(TypedDict):
    """What a device says that registers itself."""

    thing: str


class Joined(TypedDict):
    """The thing that was registered, and its token, told this once."""

    project: str
    thing: str
    token: str


class RefusedEntry(TypedDict):
    """A message or value that was refused."""

    project: str
    thing: str
    property: str
    reason: str
    payload: str
    received_at: int


class QuarantineAnswer(TypedDict):
    """What was refused, newest first."""

    refused: list[RefusedEntry]


class InfluxError(TypedDict):
    """An error as InfluxDB 1.x tells it."""

    error: str


class InfluxError2(TypedDict):
    """An error as InfluxDB 2.x tells it."""

    code: str
    message: str


class PrometheusAnswer(TypedDict):
    """An answer in Prometheus's form; `data` is as its own API has it."""

    status: Literal["success"]
    data: Any
    warnings: NotRequired[list[str]]


class PrometheusError(TypedDict):
    """An error in Prometheus's form."""

    status: Literal["error"]
    errorType: str
    error: str
