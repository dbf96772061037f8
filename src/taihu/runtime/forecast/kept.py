"""Which series are kept forecast: the settings of a site and the things that there are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from taihu.identity.directory import Directory
from taihu.insight.forecast.store import Key
from taihu.kernel.sections import ForecastConfig, seconds_of
from taihu.runtime.forecast.steps import EVERY_S, is_numeric

_AHEAD = "@"


class Source(msgspec.Struct, frozen=True):
    """A regressor: a property of the same project whose readings are of the time `ahead_s` after they were made."""

    thing: str
    property: str
    ahead_s: int = 0


class Kept(msgspec.Struct, frozen=True):
    """A series to keep forecast: how long its steps are, how far, and by what else it may be explained."""

    key: Key
    every: str
    horizon: int
    regressors: tuple[Source, ...] = ()


def kept_of(
    settings: Mapping[str, Sequence[ForecastConfig]], directory: Directory, most: int
) -> tuple[list[Kept], Counter[str]]:
    """The series that the settings name, by project; each once, as the first that names it says.

    At most `most` of them, and by project how many there are beyond.
    """
    found: dict[Key, Kept] = {}
    for one in _all(settings, directory):
        found.setdefault(one.key, one)
    kept = list(found.values())
    return kept[:most], Counter(one.key.project for one in kept[most:])


def source_of(text: str) -> Source:
    """A regressor as it is written: `thing/property`, or `thing/property@24h`."""
    where, _, ahead = text.partition(_AHEAD)
    thing, _, name = where.partition("/")
    return Source(thing, name, seconds_of(ahead) if ahead else 0)


def _all(settings: Mapping[str, Sequence[ForecastConfig]], directory: Directory) -> Iterator[Kept]:
    for project, configs in settings.items():
        if not configs or directory.project(project) is None:
            continue
        things = directory.things(project, "", directory.thing_count(project))
        for config in configs:
            step_s = EVERY_S[config.every]
            horizon = max(1, seconds_of(config.horizon) // step_s)
            regressors = tuple(map(source_of, config.regressors))
            pattern, _, name = config.property.partition("/")
            for thing in things:
                if not fnmatchcase(thing.name, pattern):
                    continue
                for known, definition in (directory.definitions(project, thing.name) or {}).items():
                    if fnmatchcase(known, name) and is_numeric(definition):
                        yield Kept(Key(project, thing.name, known, step_s), config.every, horizon, regressors)
