"""Makes the directory what `site.toml` declares: projects, models, things and grants; adds, never removes."""

from pathlib import Path

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Project
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import ConfigError
from taihu.kernel.files import Files, write_atomic
from taihu.kernel.sections import ProjectConfig, Site
from taihu.runtime.paths import Paths
from taihu.things.document import DescriptionError
from taihu.things.model import local_name, parse_model
from taihu.things.property import Thing
from taihu.things.topology import Topology, TopologyError

_BY = "site.toml"
_PLACE = ("title", "site", "building", "parent", "role", "tags", "groups")


def apply_site(site: Site, directory: Directory, files: Files) -> None:
    """Create or update what `site.toml` declares, and the node's admin token at the first start.

    Raises:
        ConfigError: a model file is not a Thing Model, with its JSON pointer.
    """
    for config in site.projects:
        directory.put_project(Project(name=config.name, title=config.title, timezone=site.timezone_of(config)), _BY)
        _put_things(site, config, directory)
    for grant in site.grants:
        directory.grant(grant.source, grant.to, grant.rights, grant.things, by=_BY)
    paths = Paths(site.data)
    if not paths.admin_token.exists():
        _, token = directory.issue_token(CredentialKind.ADMIN, "", label="the node's owner", by=_BY)
        write_atomic(files, paths.admin_token, token.encode())


def _put_things(site: Site, config: ProjectConfig, directory: Directory) -> None:
    models: dict[str, str] = {}
    things = []
    for entry in config.things:
        if entry.model and entry.model not in models:
            models[entry.model] = _put_model(site.path(entry.model), config.name, directory)
        known = directory.thing(config.name, entry.name)
        fields = {name: getattr(entry, name) for name in _PLACE}
        model = models.get(entry.model, "")
        commissioned_at = from_datetime(entry.commissioned) if entry.commissioned else 0
        thing = Thing(name=entry.name, model=model, commissioned_at=commissioned_at, **fields)
        if known is not None:
            thing = msgspec.structs.replace(thing, created_at=known.created_at, properties=known.properties)
        things.append(thing)
    if things:
        others = directory.things(config.name, "", directory.thing_count(config.name))
        try:
            Topology({thing.name: thing for thing in (*others, *things)}.values())
        except TopologyError as error:
            raise ConfigError(error.message, error.remedy, f"{_BY}: project {config.name}") from None
        directory.put_things(config.name, things, _BY)


def _put_model(path: Path, project: str, directory: Directory) -> str:
    library = {local_name(other.name): other.read_bytes() for other in path.parent.glob("*.json") if other != path}
    try:
        model = parse_model(path.read_bytes(), name=path.name.partition(".")[0], library=library)
    except DescriptionError as error:
        raise ConfigError(error.message, error.remedy, f"{path.name}{error.pointer}") from None
    directory.put_model(project, model, _BY)
    return model.name
