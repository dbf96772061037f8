"""Connections as files of a site: `connections/NAME.toml` with the plan, and a keyring for what is secret.

    project = "plant"
    driver = "modbus"
    url = "modbus+tcp://192.0.2.7:502/1"
    period_s = 1.0

    [options]
    timeout_s = 3.0

    [[thing]]
    name = "inverter"
    [[thing.point]]
    name = "power"
    unit = "W"
    where = { register = 40083, type = "int16", scale = 0.1 }

A point's members are those of a property, and `where`, the driver's own address. The keyring,
`connections/keyring.json`, is for its owner alone and holds secrets by connection.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from taihu.drivers.port import ActionPlan, Connection, Plan, Point, ThingPlan
from taihu.kernel.errors import ConfigError, RefusedError
from taihu.kernel.ids import check_name, check_project
from taihu.things.definition import check_definition
from taihu.things.property import Property

FOLDER = "connections"
KEYRING = "keyring.json"
_BYTES_MAX = 16_777_216


class ConnectionFile(msgspec.Struct, frozen=True, kw_only=True):
    """A connection of a project, by which driver, and its plan."""

    project: str
    driver: str
    connection: Connection
    plan: Plan


def read_connection(path: Path) -> ConnectionFile:
    """The connection of a file, without its secrets.

    Raises:
        ConfigError: with the file and what to write instead.
    """
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ConfigError(f"It is larger than {_BYTES_MAX} bytes.", "Split the connection.", path.name)
        content = tomllib.loads(path.read_text("utf-8"))
        return _connection(path.stem, content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{error}.", "Correct the file.", path.name) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{error} is missing or no table.", "docs/drivers.md has an example.", path.name) from None
    except (msgspec.ValidationError, RefusedError) as error:
        raise ConfigError(f"{error}", "docs/drivers.md has an example.", path.name) from None


def write_connection(folder: Path, file: ConnectionFile) -> Path:
    """Write a connection's file, for a person to read and change; its secrets go into no file of a plan."""
    connection = file.connection
    head = {"project": file.project, "driver": file.driver, "url": connection.url, "period_s": connection.period_s}
    lines = [*(f"{name} = {_literal(value)}" for name, value in head.items())]
    if connection.options:
        lines += ["", "[options]", *(f"{name} = {_literal(value)}" for name, value in connection.options.items())]
    for thing in file.plan.things:
        lines += ["", "[[thing]]", f"name = {_literal(thing.name)}"]
        lines += [f"{name} = {_literal(text)}" for name in ("title", "description") if (text := getattr(thing, name))]
        for point in thing.points:
            members = msgspec.to_builtins(point.definition)
            lines += ["[[thing.point]]", *(f"{name} = {_literal(value)}" for name, value in members.items())]
            lines += [f"where = {_literal(point.where)}"]
        for action in thing.actions:
            members = msgspec.to_builtins(action)
            lines += ["[[thing.action]]", *(f"{name} = {_literal(value)}" for name, value in members.items())]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{connection.name}.toml"
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", "utf-8")
    fresh.replace(path)
    return path


def read_keyring(folder: Path) -> dict[str, dict[str, str]]:
    """Secrets by connection.

    Raises:
        ConfigError: others than its owner may read it, or it is no keyring.
    """
    path = folder / KEYRING
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError("Others than its owner may read it.", f"Run: chmod 600 {path}", KEYRING)
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{error}.", 'Write {"connection": {"password": "…"}}.', KEYRING) from None


def write_keyring(folder: Path, name: str, secrets: dict[str, str]) -> None:
    """Keep a connection's secrets; none removes what there was."""
    folder.mkdir(parents=True, exist_ok=True)
    keyring = read_keyring(folder) | {name: secrets}
    if not secrets:
        del keyring[name]
    fresh = folder / (KEYRING + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(keyring))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / KEYRING)


def _connection(name: str, content: dict[str, Any]) -> ConnectionFile:
    known = {"project", "driver", "url", "period_s", "options", "thing"}
    if unknown := sorted(content.keys() - known):
        raise RefusedError(f"There is no setting {unknown[0]!r}.", f"There are: {', '.join(sorted(known))}.")
    connection = msgspec.convert(
        {"name": check_name(name)} | {key: content[key] for key in ("url", "period_s", "options") if key in content},
        Connection,
    )
    if not connection.period_s > 0:
        raise RefusedError("period_s is not above 0.", "Write seconds, such as 10.0.")
    things = tuple(_thing(entry) for entry in content.get("thing", ()))
    return ConnectionFile(
        project=check_project(content["project"]),
        driver=str(content["driver"]),
        connection=connection,
        plan=Plan(things=things),
    )


def _thing(entry: dict[str, Any]) -> ThingPlan:
    plain = {name: value for name, value in entry.items() if name not in ("point", "action")}
    points = []
    for one in entry.get("point", ()):
        members = dict(one)
        where = members.pop("where", {})
        definition = check_definition(msgspec.convert(members, Property))
        points.append(Point(definition=definition, where=msgspec.convert(where, dict[str, Any])))
    actions = tuple(msgspec.convert(one, ActionPlan) for one in entry.get("action", ()))
    thing = msgspec.convert(plain, ThingPlan)
    check_name(thing.name)
    return msgspec.structs.replace(thing, points=tuple(points), actions=actions)


def _literal(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, dict):
        there = ((name, one) for name, one in value.items() if one is not None)  # TOML has no null
        return "{ " + ", ".join(f"{_literal(str(name))} = {_literal(one)}" for name, one in there) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
