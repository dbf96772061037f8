"""What must hold between the settings of a `site.toml`, beyond their types."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import structs

from taihu.kernel.account_checks import account_faults, signal_faults
from taihu.kernel.addresses import is_loopback
from taihu.kernel.ids import NameRefused, check_name, check_project
from taihu.kernel.limits import Limits
from taihu.kernel.retention import Retention, RetentionRefused, parse_age
from taihu.kernel.scheduler_checks import controllers_write, currency_faults, scheduler_faults
from taihu.kernel.sections import (
    ControllerConfig,
    ForecastConfig,
    GrantConfig,
    ProjectConfig,
    Site,
    seconds_of,
)
from taihu.kernel.toml import Fault, nearest

_STEP_S = {"15m": 900, "1h": 3_600}
_HORIZON_MAX_S = 7 * 86_400
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


def faults_of(site: Site) -> Iterator[Fault]:
    """Every fault of a site that its types do not show, the first ones first."""
    yield from _check_zone("$.site.timezone", site.site.timezone)
    yield from _check_listeners(site)
    for name in Limits.__struct_fields__:
        if getattr(site.limits, name) < 0:
            yield Fault(f"$.limits.{name}", f"{name} is negative.", "Write 0 or more.")
    yield from _check_retention("$.retention", site.retention)
    names = [project.name for project in site.projects]
    for index, project in enumerate(site.projects):
        path = f"$.project[{index}]"
        yield from _check_name(path, project.name, names[:index], check_project)
        yield from _check_project(path, project, site)
    for index, grant in enumerate(site.grants):
        yield from _check_grant(f"$.grant[{index}]", grant, names)
    if site.carbon.factors:
        yield from _check_file("$.carbon.factors", site.carbon.factors, site)
    for origin in site.http.cors_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield Fault("$.http.cors_origins", f"{origin[:80]!r} is no origin.", 'Write "https://host:port", or "*".')
    yield from _check_upstream(site)
    if site.mqtt.anonymous:
        yield from _check_known("$.mqtt.anonymous", site.mqtt.anonymous, names)
    yield from _check_opcua(site, names)


def _check_upstream(site: Site) -> Iterator[Fault]:
    fault = upstream_fault(site.upstream.url) if site.upstream.url else ""
    if fault:
        yield Fault("$.upstream.url", fault, 'Write "mqtts://centre.example:8883".')
    if site.upstream.trusted:
        yield from _check_file("$.upstream.trusted", site.upstream.trusted, site)


def upstream_fault(url: str) -> str:
    """What is wrong with the address of a centre; empty when nothing is."""
    try:
        address = urlsplit(url)
        known = address.scheme in ("mqtt", "mqtts") and address.hostname and (address.port or 1)
    except ValueError:
        known = False
    if not known or address.username or address.path.strip("/"):
        return f"{url[:80]!r} is no address of a centre."
    if address.scheme == "mqtt" and not is_loopback(address.hostname or ""):
        return "A token would go to the centre unencrypted."
    return ""


def listeners_of(site: Site) -> list[tuple[str, str, int]]:
    """Every listener the node opens: its setting, its host and its port."""
    mqtt, http = site.mqtt, site.http
    found = [
        ("mqtt.port", mqtt.host, mqtt.port),
        ("mqtt.tls_port", mqtt.host_of_tls, mqtt.tls_port),
        ("mqtt.websocket_port", mqtt.host, mqtt.websocket_port),
        ("mqtt.websocket_tls_port", mqtt.host_of_tls, mqtt.websocket_tls_port),
        ("http.port", http.host, http.port),
        ("http.tls_port", http.host_of_tls, http.tls_port),
    ]
    found.append(("opcua.port", site.opcua.host, site.opcua.port))
    return [(name, host, port) for name, host, port in found if port is not None]


def addresses_of(site: Site) -> list[tuple[str, str]]:
    """The addresses others may reach the node by, with their sections."""
    found = [(name.partition(".")[0], host) for name, host, _ in listeners_of(site)]
    return list(dict.fromkeys([*found, ("console", site.console.host)]))


def _check_listeners(site: Site) -> Iterator[Fault]:
    mqtt, http = site.mqtt, site.http
    for section, host in (
        ("mqtt", mqtt.host),
        ("http", http.host),
        ("console", site.console.host),
        ("opcua", site.opcua.host),
    ):
        if not host:
            yield Fault(f"$.{section}.host", "host is empty.", 'Write "127.0.0.1", or "0.0.0.0" for every interface.')
    for section, host in addresses_of(site):
        if mqtt.anonymous and not is_loopback(host):
            yield Fault(
                "$.mqtt.anonymous",
                f"anonymous gives operator rights to whoever connects, and [{section}] listens on {host}.",
                f'Remove anonymous and give each device a token, or set [{section}] host = "127.0.0.1".',
            )
    yield from _check_tls(site)
    yield from _check_console(site)
    yield from _check_oidc(site)
    taken: dict[int, str] = {}
    for name, _, port in [*listeners_of(site), ("console.port", site.console.host, site.console.port)]:
        if port and taken.setdefault(port, name) != name:
            yield Fault(f"$.{name}", f"Port {port} is that of {taken[port]} too.", "Give each listener its own port.")


def _check_tls(site: Site) -> Iterator[Fault]:
    opened = {name.partition(".")[0]: name for name, _, _ in listeners_of(site) if name.endswith("tls_port")}
    for section, listener in (("mqtt", site.mqtt), ("http", site.http)):
        for name in ("certificate", "key"):
            if value := getattr(listener, name):
                yield from _check_file(f"$.{section}.{name}", value, site)
        if section in opened and not (listener.certificate and listener.key):
            remedy = f"Set [{section}] certificate and key (PEM files); taihu ca issue --server makes them."
            yield Fault(f"$.{opened[section]}", "TLS needs a certificate and its key.", remedy)
        if section not in opened and listener.client_certificates != "off":
            path = f"$.{section}.client_certificates"
            yield Fault(path, "Certificates of clients come with TLS alone.", f"Set [{section}] tls_port.")
    for name in ("trusted", "revoked", "passphrase_file"):
        if value := getattr(site.ca, name):
            yield from _check_file(f"$.ca.{name}", value, site)
    if site.ca.revoked and not site.ca.trusted:
        yield Fault("$.ca.revoked", "A revocation list needs the authority that signed it.", "Set [ca] trusted.")


def _check_console(site: Site) -> Iterator[Fault]:
    console = site.console
    for name in ("certificate", "key"):
        if value := getattr(console, name):
            yield from _check_file(f"$.console.{name}", value, site)
    if bool(console.certificate) != bool(console.key):
        yield Fault(
            "$.console.certificate", "TLS needs a certificate and its key.", "Set [console] certificate and key."
        )
    if console.url and not console.url.startswith(("https://", "http://")):
        yield Fault("$.console.url", f"{console.url!r} is no address.", 'Write one such as "https://site.example".')
    if not is_loopback(console.host) and not console.address.startswith("https://"):
        yield Fault(
            "$.console.host",
            f"people would send their passwords unencrypted to {console.host}.",
            'Set [console] certificate and key, or url = "https://..." of a proxy that has TLS; or host = "127.0.0.1".',
        )


def _check_opcua(site: Site, names: list[str]) -> Iterator[Fault]:
    opcua = site.opcua
    if not opcua.anonymous:
        return
    yield from _check_known("$.opcua.anonymous", opcua.anonymous, names)
    if not is_loopback(opcua.host):
        yield Fault(
            "$.opcua.anonymous",
            f"anonymous shows a project to whoever connects, and [opcua] listens on {opcua.host}.",
            'Remove anonymous and give each client a token, or set [opcua] host = "127.0.0.1".',
        )


def _check_oidc(site: Site) -> Iterator[Fault]:
    oidc = site.oidc
    if not oidc.issuer:
        return
    parts = urlsplit(oidc.issuer)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        yield Fault(
            "$.oidc.issuer", f"{oidc.issuer!r} is not reached over TLS.", 'Write one such as "https://id.example".'
        )
    if not oidc.client_id:
        yield Fault("$.oidc", "client_id is missing.", "Write the one that the provider knows this site by.")
    if oidc.secret:
        yield from _check_file("$.oidc.secret", oidc.secret, site)
        if site.path(oidc.secret).is_file() and site.path(oidc.secret).stat().st_mode & 0o077:
            yield Fault("$.oidc.secret", f"Others may read {oidc.secret}.", f"Run: chmod 600 {site.path(oidc.secret)}")
    for index, role in enumerate(oidc.roles):
        if not role.project and role.role != "owner":
            yield Fault(f"$.oidc.role[{index}]", "To the whole node one can only be owner.", "Add a project.")


def _check_project(path: str, project: ProjectConfig, site: Site) -> Iterator[Fault]:
    if project.timezone:
        yield from _check_zone(f"{path}.timezone", project.timezone)
    yield from _check_retention(f"{path}.retention", project.retention)
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
    yield from account_faults(path, project)
    for index, forecast in enumerate(project.forecasts):
        yield from _check_forecast(f"{path}.forecast[{index}]", forecast)
    for index, controller in enumerate(project.controllers):
        before = [one.name for one in project.controllers[:index]]
        yield from _check_controller(f"{path}.controller[{index}]", controller, before)
    written = controllers_write(project.controllers)
    for index, scheduler in enumerate(project.schedulers):
        before = [one.name for one in project.controllers]
        before += [one.name for one in project.schedulers[:index]]
        yield from scheduler_faults(f"{path}.scheduler[{index}]", scheduler, before, written, site.folder)
    yield from currency_faults(path, project.controllers, project.schedulers)


def _check_forecast(path: str, forecast: ForecastConfig) -> Iterator[Fault]:
    if forecast.property.count("/") != 1:
        yield Fault(f"{path}.property", f"{forecast.property!r} is no property.", 'Write one such as "meter*/power".')
    if not _STEP_S[forecast.every] <= seconds_of(forecast.horizon) <= _HORIZON_MAX_S:
        yield Fault(f"{path}.horizon", f"{forecast.horizon!r} is no horizon.", f"Write {forecast.every} up to 7d.")
    for name in forecast.regressors:
        where, mark, ahead = name.partition("@")
        if where.count("/") != 1 or (mark and not seconds_of(ahead)):
            remedy = 'Write "thing/property", or "thing/property@24h" where it is published ahead.'
            yield Fault(f"{path}.regressors", f"{name!r} is no regressor.", remedy)


def _check_retention(path: str, rule: Retention) -> Iterator[Fault]:
    for field in structs.fields(rule):
        try:
            if age := getattr(rule, field.name):
                parse_age(age)
        except RetentionRefused as error:
            yield Fault(f"{path}.{field.encode_name}", error.message, error.remedy)


def _check_controller(path: str, config: ControllerConfig, before: list[str]) -> Iterator[Fault]:
    if config.name in before:
        yield Fault(f"{path}.name", f"There are two controllers {config.name!r}.", "Give each its own name.")
    yield from signal_faults(path, config)
    for name in ("net", "load", "generation", "intensity", "marginal", "price", "energy", "shadow"):
        value = getattr(config, name)
        if value and value.count("/") != 1 and (name == "net" or value.count("/") != 2):
            yield Fault(f"{path}.{name}", f"{value!r} is no property.", 'Write "thing/property".')
    if not config.cost_weight and not config.carbon_weight:
        yield Fault(f"{path}.cost_weight", "Nothing is to be made small.", "Give cost_weight or carbon_weight.")
    if config.cost_weight and not config.price:
        yield Fault(f"{path}.price", "Costs have a weight, and there is no price.", "Name price, or cost_weight = 0.")


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
