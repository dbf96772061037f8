"""The site's configuration: `site.toml` read into frozen structs, with every fault told by file and line.

An empty file is a valid site. `docs/configuration.md` has a heading for every setting here.
"""

import ipaddress
import socket
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import ConfigError
from taihu.kernel.ids import NameRefused, check_name, check_project
from taihu.kernel.limits import Limits
from taihu.kernel.toml import Fault, located, nearest, read_toml

FILE_NAME = "site.toml"

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Right = Literal["read"]


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


class MqttConfig(Section, frozen=True, kw_only=True):
    """`[mqtt]`: the endpoint devices connect to. A port of 0 takes any free one; one that is absent is not opened."""

    host: str = "127.0.0.1"
    port: Port = 1883
    tls_port: Port | None = None
    certificate: str = ""
    key: str = ""
    websocket_port: Port | None = None
    anonymous: str = ""


class HttpConfig(Section, frozen=True, kw_only=True):
    """`[http]`: the HTTP API."""

    host: str = "127.0.0.1"
    port: Port = 8080


class ConsoleConfig(Section, frozen=True, kw_only=True):
    """`[console]`: the web pages."""

    host: str = "127.0.0.1"
    port: Port = 8090


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


class ProjectConfig(Section, frozen=True, kw_only=True):
    """`[[project]]`: a border that nothing crosses without a grant. Files are relative to the site folder."""

    name: str
    title: str = ""
    timezone: str = ""
    free_topics: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()
    things: tuple[ThingConfig, ...] = msgspec.field(default=(), name="thing")


class GrantConfig(Section, frozen=True, kw_only=True):
    """`[[grant]]`: `to` may do `rights` to the things of `source`; `things` are patterns such as `meter*`."""

    source: str = msgspec.field(name="from")
    to: str
    rights: tuple[Right, ...] = ("read",)
    things: tuple[str, ...] = ()


class SiteFile(Section, frozen=True, kw_only=True):
    """All of `site.toml`."""

    site: SiteInfo = SiteInfo()
    node: NodeConfig = NodeConfig()
    clock: ClockConfig = ClockConfig()
    mqtt: MqttConfig = MqttConfig()
    http: HttpConfig = HttpConfig()
    console: ConsoleConfig = ConsoleConfig()
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


def load_site(folder: Path) -> Site:
    """Read `site.toml` of a site folder.

    Raises:
        ConfigError: with the line as `where`, and in `remedy` what to write instead.
    """
    folder = folder.absolute()
    try:
        text = (folder / FILE_NAME).read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"No {FILE_NAME} in {folder}.", f"Run: taihu init {folder}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot be read: {error}.", "Save it as UTF-8 text.", FILE_NAME) from None
    return parse_site(text, folder)


def parse_site(text: str, folder: Path) -> Site:
    """Check the text of a `site.toml` that stands for `folder`; errors as of `load_site`."""
    content = read_toml(text, SiteFile, FILE_NAME)
    site = Site(folder=folder, **{name: getattr(content, name) for name in SiteFile.__struct_fields__})
    for fault in _faults(site):
        raise located(fault, text, FILE_NAME)
    return site


def write_example(folder: Path) -> Path:
    """Write the commented `site.toml` of a new site and return its path.

    Raises:
        ConfigError: there is one already; it is left as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example_text())
    except FileExistsError:
        raise ConfigError(f"{path} exists already.", "Edit it, or name another folder.") from None
    return path


def example_text() -> str:
    """The commented example: every section, with its defaults."""
    return files("taihu.kernel").joinpath("site_example.toml").read_text("utf-8")


def _faults(site: Site) -> Iterator[Fault]:
    yield from _check_zone("$.site.timezone", site.site.timezone)
    yield from _check_listeners(site)
    for name in Limits.__struct_fields__:
        if getattr(site.limits, name) < 0:
            yield Fault(f"$.limits.{name}", f"{name} is negative.", "Write 0 or more.")
    names = [project.name for project in site.projects]
    for index, project in enumerate(site.projects):
        path = f"$.project[{index}]"
        yield from _check_name(path, project.name, names[:index], check_project)
        yield from _check_project(path, project, site)
    for index, grant in enumerate(site.grants):
        yield from _check_grant(f"$.grant[{index}]", grant, names)
    if site.mqtt.anonymous:
        yield from _check_known("$.mqtt.anonymous", site.mqtt.anonymous, names)


def _check_listeners(site: Site) -> Iterator[Fault]:
    mqtt = site.mqtt
    hosts = (("mqtt", mqtt.host), ("http", site.http.host), ("console", site.console.host))
    for section, host in hosts:
        if not host:
            yield Fault(f"$.{section}.host", "host is empty.", 'Write "127.0.0.1", or "0.0.0.0" for every interface.')
        if mqtt.anonymous and not is_loopback(host):
            yield Fault(
                "$.mqtt.anonymous",
                f"anonymous gives operator rights to whoever connects, and [{section}] listens on {host}.",
                f'Remove anonymous and give each device a token, or set [{section}] host = "127.0.0.1".',
            )
    if not is_loopback(site.console.host):
        yield Fault(
            "$.console.host",
            f"the console asks for no password, and {site.console.host} lets others in.",
            'Write "127.0.0.1", and reach it from elsewhere through SSH or a proxy that asks who it is.',
        )
    if mqtt.tls_port is not None and not (mqtt.certificate and mqtt.key):
        yield Fault("$.mqtt.tls_port", "TLS needs a certificate and its key.", "Set certificate and key (PEM files).")
    for name in ("certificate", "key"):
        if value := getattr(mqtt, name):
            yield from _check_file(f"$.mqtt.{name}", value, site)
    taken: dict[int, str] = {}
    ports = {
        "mqtt.port": mqtt.port,
        "mqtt.tls_port": mqtt.tls_port,
        "mqtt.websocket_port": mqtt.websocket_port,
        "http.port": site.http.port,
        "console.port": site.console.port,
    }
    for name, port in ports.items():
        if port and taken.setdefault(port, name) != name:
            yield Fault(f"$.{name}", f"Port {port} is that of {taken[port]} too.", "Give each listener its own port.")


def _check_project(path: str, project: ProjectConfig, site: Site) -> Iterator[Fault]:
    if project.timezone:
        yield from _check_zone(f"{path}.timezone", project.timezone)
    for name in ("free_topics", "deny_subscribe"):
        for topic in getattr(project, name):
            yield from _check_filter(f"{path}.{name}", topic)
    for name in project.mappings:
        yield from _check_file(f"{path}.mappings", name, site)
    names = [thing.name for thing in project.things]
    for index, thing in enumerate(project.things):
        place = f"{path}.thing[{index}]"
        yield from _check_name(place, thing.name, names[:index], check_name)
        if thing.model:
            yield from _check_file(f"{place}.model", thing.model, site)
        if thing.parent:
            yield from _check_known(f"{place}.parent", thing.parent, [name for name in names if name != thing.name])


def _check_grant(path: str, grant: GrantConfig, names: list[str]) -> Iterator[Fault]:
    yield from _check_known(f"{path}.from", grant.source, names)
    yield from _check_known(f"{path}.to", grant.to, names)
    if grant.source == grant.to:
        yield Fault(f"{path}.to", "A project needs no grant from itself.", "Name two projects, or remove this grant.")


def _check_name(path: str, name: str, before: list[str], check: Any) -> Iterator[Fault]:
    try:
        check(name)
    except NameRefused as error:
        yield Fault(f"{path}.name", error.message, error.remedy)
    if name in before:
        yield Fault(f"{path}.name", f"{name} is defined twice.", "Give it another name, or remove one.")


def _check_known(path: str, name: str, names: list[str]) -> Iterator[Fault]:
    if name not in names:
        near = nearest(name, names)
        yield Fault(path, f"{name!r} is not defined in this file.", near or "Define it, or correct the name.")


def _check_zone(path: str, name: str) -> Iterator[Fault]:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        yield Fault(path, f"{name!r} is not a time zone.", 'Write an IANA name such as "Asia/Shanghai".')


def _check_filter(path: str, topic: str) -> Iterator[Fault]:
    levels = topic.split("/")
    wild = any(len(level) > 1 and ("#" in level or "+" in level) for level in levels)
    if not topic or wild or "#" in levels[:-1]:
        remedy = 'Write one such as "chat/#": + stands for one level, # for all that follow.'
        yield Fault(path, f"{topic!r} is not a topic filter.", remedy)


def _check_file(path: str, name: str, site: Site) -> Iterator[Fault]:
    if not site.path(name).is_file():
        yield Fault(path, f"There is no file {site.path(name)}.", "Paths are relative to the site folder.")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_family(host: str) -> socket.AddressFamily:
    """IPv6 for such an address, else IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
