"""Makes the directory what `site.toml` declares: projects, models, things and grants; adds, never removes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from taihu.carbon.factors import load_factors
from taihu.identity.directory import Directory
from taihu.identity.grant import Grant, Right
from taihu.identity.principal import CredentialKind, Project
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import ConfigError
from taihu.kernel.files import Files, write_atomic
from taihu.kernel.sections import GrantConfig, ProjectConfig, Site
from taihu.runtime.paths import Paths
from taihu.things.document import DescriptionError
from taihu.things.model import local_name, parse_model
from taihu.things.property import Thing, ThingModel
from taihu.things.topology import Topology, TopologyError

_BY = "site.toml"
_PLACE = ("title", "site", "building", "parent", "role", "tags", "groups")


def apply_site(site: Site, directory: Directory, files: Files) -> None:
    """Create or update what `site.toml` declares, and at the first start the tokens of the node's owner and console.

    All files are read and checked before anything is changed.

    Raises:
        ConfigError: a model file is not a Thing Model, with its JSON pointer, or things cannot belong together so, or
            the file of emission factors is none.
    """
    if (
        site.carbon.factors
    ):  # the worker goes by them; what is wrong is said here, to whoever starts or reloads the node
        load_factors(site.path(site.carbon.factors))
    models = {config.name: _read_models(site, config) for config in site.projects}
    things = {config.name: _things(config, models[config.name], directory) for config in site.projects}
    for config in site.projects:
        _check_topology(config.name, things[config.name], directory)
    for config in site.projects:
        directory.put_project(Project(name=config.name, title=config.title, timezone=site.timezone_of(config)), _BY)
        for model in models[config.name].values():
            directory.put_model(config.name, model, _BY)
        if things[config.name]:
            directory.put_things(config.name, things[config.name], _BY)
    directory.declare_grants([_grant(config) for config in site.grants], _BY)
    paths = Paths(site.data)
    for path, kind, label in (
        (paths.admin_token, CredentialKind.ADMIN, "the node's owner"),
        (paths.console_token, CredentialKind.CONSOLE, "the console"),
    ):
        if not path.exists():
            _renew_token(directory, files, path, kind, label)


def _renew_token(directory: Directory, files: Files, path: Path, kind: CredentialKind, label: str) -> None:
    """Make the token of a file that is not there: whoever removed it wants that the one before opens nothing."""
    for former in directory.credentials(""):
        if former.kind is kind and former.revoked_at is None:
            directory.revoke(former.id, _BY)
    _, token = directory.issue_token(kind, "", label=label, by=_BY)
    write_atomic(files, path, token.encode())


def _grant(config: GrantConfig) -> Grant:
    """Who writes the file speaks for both sides."""
    return Grant(
        from_project=config.source,
        to_project=config.to,
        rights=tuple(map(Right, config.rights)),
        things=config.things,
        properties=config.properties,
        begins_at=from_datetime(config.begins) if config.begins else 0,
        ends_at=from_datetime(config.ends) if config.ends else None,
    )


def _things(config: ProjectConfig, models: Mapping[str, ThingModel], directory: Directory) -> list[Thing]:
    things = []
    for entry in config.things:
        known = directory.thing(config.name, entry.name)
        fields = {name: getattr(entry, name) for name in _PLACE}
        model = models[entry.model].name if entry.model else ""
        commissioned_at = from_datetime(entry.commissioned) if entry.commissioned else 0
        thing = Thing(name=entry.name, model=model, commissioned_at=commissioned_at, **fields)
        if known is not None:
            thing = msgspec.structs.replace(thing, created_at=known.created_at, properties=known.properties)
        things.append(thing)
    return things


def _check_topology(project: str, things: Sequence[Thing], directory: Directory) -> None:
    if not things:
        return
    others = directory.things(project, "", directory.thing_count(project)) if directory.project(project) else []
    try:
        Topology({thing.name: thing for thing in (*others, *things)}.values())
    except TopologyError as error:
        raise ConfigError(error.message, error.remedy, f"{_BY}: project {project}") from None


def _read_models(site: Site, config: ProjectConfig) -> dict[str, ThingModel]:
    """The models of a project's things, by file name."""
    names = dict.fromkeys(entry.model for entry in config.things if entry.model)
    return {name: _read_model(site.path(name)) for name in names}


def _read_model(path: Path) -> ThingModel:
    library = {local_name(other.name): other.read_bytes() for other in path.parent.glob("*.json") if other != path}
    try:
        return parse_model(path.read_bytes(), name=path.name.partition(".")[0], library=library)
    except DescriptionError as error:
        raise ConfigError(error.message, error.remedy, f"{path.name}{error.pointer}") from None
