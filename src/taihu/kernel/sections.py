"""The tables of `site.toml` as frozen structs. `docs/configuration.md` has a heading for every setting here."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from taihu.kernel.clock import from_datetime
from taihu.kernel.flexible import Currency, SchedulerConfig
from taihu.kernel.limits import Limits
from taihu.kernel.retention import Retention

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
ClientCertificates = Literal["off", "optional", "required"]
Right = Literal["read", "write", "command"]


_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def seconds_of(text: str) -> int:
    """A length of time such as `15m`, `24h` or `7d` in seconds; 0 where it is none.

    >>> seconds_of("36h"), seconds_of("a while")
    (129600, 0)
    """
    number = text[:-1]
    return int(number) * _SECONDS[text[-1]] if number.isdecimal() and text[-1] in _SECONDS else 0


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of `site.toml`."""


class SiteInfo(Section, frozen=True, kw_only=True):
    """`[site]`: what the site is called and where its days begin and end."""

    name: str = "site"
    title: str = ""
    timezone: str = "UTC"


class NodeConfig(Section, frozen=True, kw_only=True):
    """`[node]`: where the node keeps what it stores."""

    data: str = "data"


class ClockConfig(Section, frozen=True, kw_only=True):
    """`[clock]`: a demo clock. With `start`, wall time begins there and runs `speed` times as fast."""

    speed: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1.0
    start: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def start_ns(self) -> int | None:
        """`start` in UTC nanoseconds."""
        return None if self.start is None else from_datetime(self.start)


class Listener(Section, frozen=True, kw_only=True):
    """What the doors have in common. TLS listens on `tls_host`, or on `host` where that is empty."""

    host: str = "127.0.0.1"
    port: Port
    tls_host: str = ""
    tls_port: Port | None = None
    certificate: str = ""
    key: str = ""
    client_certificates: ClientCertificates = "off"

    @property
    def host_of_tls(self) -> str:
        """The address on which TLS listens."""
        return self.tls_host or self.host


class MqttConfig(Listener, frozen=True, kw_only=True):
    """`[mqtt]`: the endpoint devices connect to. A port of 0 takes any free one; one that is absent is not opened.

    `public` is where clients find it, for Thing Descriptions; without it they have no forms for MQTT.
    """

    port: Port = 1883
    websocket_port: Port | None = None
    websocket_tls_port: Port | None = None
    anonymous: str = ""
    public: str = ""


class HttpConfig(Listener, frozen=True, kw_only=True):
    """`[http]`: the HTTP API. `cors_origins` are those whose pages may ask it from a browser; "*" is all."""

    port: Port = 8080
    cors_origins: tuple[str, ...] = ()


class CaConfig(Section, frozen=True, kw_only=True):
    """`[ca]`: whose client certificates are believed, and how the node's own authority issues them."""

    trusted: str = ""
    revoked: str = ""
    passphrase_file: str = ""
    days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 365


class ConsoleConfig(Section, frozen=True, kw_only=True):
    """`[console]`: the web pages. `url` is where people find them, when that is not the host and port.

    With `certificate` and `key` they come over TLS.
    """

    host: str = "127.0.0.1"
    port: Port = 8090
    url: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def address(self) -> str:
        """Where people find the pages, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url.rstrip("/") or f"http{'s' if self.certificate else ''}://{host}:{self.port}"


class UpstreamConfig(Section, frozen=True, kw_only=True):
    """`[upstream]`: the centre that an edge node sends to, whose certificates it believes, and how old readings go.

    `share` is of the link's time that readings of before the connection may take. `commands` lets the centre command
    the things here.
    """

    url: str = ""
    trusted: str = ""
    commands: bool = False
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5


class OpcuaConfig(Section, frozen=True, kw_only=True):
    """`[opcua]`: our things as an OPC UA server. Without a port there is none; docs/opcua-server.md says the rest."""

    host: str = "127.0.0.1"
    port: Port | None = None
    plain: bool | None = None
    anonymous: str = ""
    interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=3_600)] = 1.0


class LogConfig(Section, frozen=True, kw_only=True):
    """`[log]`: how the node writes its log to stderr: as text for people or as JSON for programs."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class OidcRole(Section, frozen=True, kw_only=True):
    """`[[oidc.role]]`: who has `value`, a pattern, in `claim` has a role in the projects of the pattern `project`.

    Without a project, `owner` of the node.
    """

    claim: str = "groups"
    value: str
    project: str = ""
    role: Literal["owner", "operator", "viewer"]


class OidcConfig(Section, frozen=True, kw_only=True):
    """`[oidc]`: people sign in at an OpenID provider. `secret` is a file that only its owner may read."""

    issuer: str = ""
    client_id: str = ""
    secret: str = ""
    title: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    title_claim: str = "name"
    roles: tuple[OidcRole, ...] = msgspec.field(default=(), name="role")


class ThingConfig(Section, frozen=True, kw_only=True):
    """`[[project.thing]]`: a thing that exists before it first connects. `model` is a Thing Model file."""

    name: str
    model: str = ""
    title: str = ""
    site: str = ""
    building: str = ""
    parent: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    commissioned: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class AccountConfig(Section, frozen=True, kw_only=True):
    """`[[project.account]]`: a meter that is in the ledger, or what a controller avoided at one (docs/carbon.md)."""

    meter: str = ""
    name: str = ""
    every: Literal["5m", "15m", "30m", "1h"] = "1h"
    net: str = ""
    imported: str = msgspec.field(default="", name="import")
    exported: str = msgspec.field(default="", name="export")
    generation: str = ""
    storage: str = ""
    behind: str = ""
    fuel: str = ""
    heating: str = ""
    process: str = ""
    leak: str = ""
    region: str = ""
    intensity: str = ""
    mix: str = ""
    carbon_free: str = ""
    avoided: str = ""
    marginal: str = ""
    supplier: str = ""
    upstream: str = ""
    certificates: bool = False
    power_kw_max: Annotated[float, msgspec.Meta(gt=0)] = 1e6
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def key(self) -> str:
        """What the ledger calls it."""
        return self.name or (f"{self.avoided}-avoided" if self.avoided else self.meter)

    @property
    def energy(self) -> str:
        """The one property that it is of."""
        return self.net or self.imported or self.generation or self.storage

    @property
    def draws(self) -> bool:
        """Whether it counts electricity that is drawn, from the grid or from a meter before it."""
        return bool(self.net or self.imported) and not self.emits

    @property
    def emits(self) -> str:
        """The fuel, material or gas that it is of, where it is one."""
        return self.fuel or self.process or self.leak


class ForecastConfig(Section, frozen=True, kw_only=True):
    """`[[project.forecast]]`: properties that are kept forecast (docs/forecasts.md).

    `property` is a pattern such as `meter*/power`; `horizon` up to seven days, such as `36h`.
    """

    property: str
    every: Literal["15m", "1h"] = "1h"
    horizon: str = "24h"
    regressors: tuple[str, ...] = ()


class CommandRuleConfig(Section, frozen=True, kw_only=True):
    """`[[project.command]]`: what a command to the things and affordances it names has to keep (docs/commands.md)."""

    thing: str = "*"
    name: str = "*"
    role: Literal["operator", "owner"] = "operator"
    minimum: float | None = None
    maximum: float | None = None
    per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None
    quiet: tuple[str, ...] = ()
    only_while: tuple[str, ...] = ()
    two_person: bool = False
    idempotent: bool = False
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    confirm: str = ""
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class ControllerConfig(Section, frozen=True, kw_only=True):
    """`[[project.controller]]`: a battery that is planned, and driven once that has been winning (docs/plan.md).

    Properties are `thing/property` of this project, or `project/thing/property` of one that grants it.
    """

    name: str
    battery: str
    setpoint: str = "setpoint"
    charge: str = "state_of_charge"
    power: str = "power"
    net: str
    load: str
    generation: str = ""
    intensity: str
    marginal: str = ""
    carbon_signal: Literal["average", "marginal"] = "average"
    price: str = ""
    energy: str = ""
    shadow: str = ""
    capacity_kwh: Annotated[float, msgspec.Meta(gt=0)]
    power_kw: Annotated[float, msgspec.Meta(gt=0)]
    one_way: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.95
    low: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    cost_weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    carbon_weight: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    export_price: float = 0.0
    currency: Currency = ""
    every: Literal["5m", "10m", "15m", "30m"] = "15m"
    reflex_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 1.0
    mode: Literal["auto", "advise"] = "auto"
    meter_error: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    factor_error: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1

    @property
    def signal(self) -> str:
        """The property of the intensity that plans go by."""
        return self.marginal if self.carbon_signal == "marginal" else self.intensity


class CarbonConfig(Section, frozen=True, kw_only=True):
    """`[carbon]`: own emission factors, the set of warming potentials, how long late readings are waited for."""

    factors: str = ""
    gwp: Literal["AR6", "AR5"] = "AR6"
    settle_s: Annotated[float, msgspec.Meta(ge=0)] = 900.0


class ProjectConfig(Section, frozen=True, kw_only=True):
    """`[[project]]`: a border that nothing crosses without a grant. Files are relative to the site folder."""

    name: str
    title: str = ""
    timezone: str = ""
    free_topics: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()
    device_claims: bool = False
    retention: Retention = Retention()
    storage_bytes_max: Annotated[int, msgspec.Meta(ge=0)] | None = None
    things: tuple[ThingConfig, ...] = msgspec.field(default=(), name="thing")
    accounts: tuple[AccountConfig, ...] = msgspec.field(default=(), name="account")
    commands: tuple[CommandRuleConfig, ...] = msgspec.field(default=(), name="command")
    forecasts: tuple[ForecastConfig, ...] = msgspec.field(default=(), name="forecast")
    controllers: tuple[ControllerConfig, ...] = msgspec.field(default=(), name="controller")
    schedulers: tuple[SchedulerConfig, ...] = msgspec.field(default=(), name="scheduler")


class GrantConfig(Section, frozen=True, kw_only=True):
    """`[[grant]]`: `to` may do `rights` to the things of `source`, from `begins` until `ends`.

    `things` and `properties` are patterns such as `meter*`; none stand for all.
    """

    source: str = msgspec.field(name="from")
    to: str
    rights: tuple[Right, ...] = ("read",)
    things: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    begins: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    ends: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class SiteFile(Section, frozen=True, kw_only=True):
    """All of `site.toml`."""

    site: SiteInfo = SiteInfo()
    node: NodeConfig = NodeConfig()
    clock: ClockConfig = ClockConfig()
    mqtt: MqttConfig = MqttConfig()
    http: HttpConfig = HttpConfig()
    opcua: OpcuaConfig = OpcuaConfig()
    ca: CaConfig = CaConfig()
    console: ConsoleConfig = ConsoleConfig()
    oidc: OidcConfig = OidcConfig()
    carbon: CarbonConfig = CarbonConfig()
    log: LogConfig = LogConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    retention: Retention = Retention()
    limits: Limits = Limits()
    projects: tuple[ProjectConfig, ...] = msgspec.field(default=(), name="project")
    grants: tuple[GrantConfig, ...] = msgspec.field(default=(), name="grant")


class Site(SiteFile, frozen=True, kw_only=True):
    """A checked `site.toml` and the folder it is in."""

    folder: Path

    @property
    def data(self) -> Path:
        """Where the node keeps what it stores."""
        return self.folder / self.node.data

    def path(self, name: str) -> Path:
        """A file the configuration names, relative to the site folder."""
        return self.folder / name

    def timezone_of(self, project: ProjectConfig) -> str:
        """The project's IANA time zone, or the site's."""
        return project.timezone or self.site.timezone
