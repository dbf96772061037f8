"""What a birth certificate said of a source's metrics, and what later messages mean by it."""

from collections.abc import Iterable

import msgspec

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import DataType, typed
from taihu.protocols.sparkplug.payload import Metric, Template


class Births:
    """The metrics of one birth, by name and by alias. Templates know their members in the same way."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.names: dict[str, Metric] = {}
        self.members: dict[str, Births] = {}
        self._aliases: dict[int, Metric] = {}
        for metric in metrics:
            name = metric.name
            if name is None:
                raise SparkplugError("A metric of a birth has no name.")
            self.names[name] = metric
            if metric.alias is not None and self._aliases.setdefault(metric.alias, metric).name != name:
                raise SparkplugError(f"The alias {metric.alias} stands for {name!r} and for another metric.")
            if isinstance(metric.value, Template):
                self.members[name] = Births(metric.value.members)

    def named(self, metric: Metric) -> Metric | None:
        """A later metric with its name and typed value; None when the birth did not have it."""
        name = metric.name
        if name is None:
            known = None if metric.alias is None else self._aliases.get(metric.alias)
        else:
            known = self.names.get(name)
        if known is None:
            return None
        kind = metric.kind or known.kind
        value = metric.value if metric.kind else typed(kind, metric.value)
        if kind == DataType.TEMPLATE and isinstance(value, Template):
            value = self._instance(known.name or "", value)
        return Metric(
            known.name, known.alias, metric.timestamp, kind, value, metric.historical, metric.transient,
            metric.metadata, metric.properties,
        )  # fmt: skip

    def _instance(self, name: str, value: Template) -> Template:
        births = self.members.get(name)
        if births is None:
            return value
        members = [births.named(member) for member in value.members]
        return msgspec.structs.replace(value, members=tuple(one for one in members if one is not None))
