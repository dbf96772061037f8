"""What must hold between the settings of a `site.toml`, beyond their types."""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from taihu.kernel.addresses import is_loopback
from taihu.kernel.ids import NameRefused, check_name, check_project
from taihu.kernel.limits import Limits
from taihu.kernel.sections import GrantConfig, ProjectConfig, Site
from taihu.kernel.toml import Fault, nearest


def faults_of(site: Site) -> Iterator[Fault]:
    """Every fault of a site that its types do not show, the first ones first."""
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
