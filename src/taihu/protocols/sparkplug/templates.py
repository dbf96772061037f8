"""What the standard asks of templates (6.4.23), checked before a birth or a change is sent."""

from collections.abc import Iterable, Mapping

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.payload import Metric, Template


def definitions(metrics: Iterable[Metric]) -> dict[str, Template]:
    """The template definitions among metrics, by the names that instances refer to."""
    found = {}
    for metric in metrics:
        if isinstance(metric.value, Template) and metric.value.definition:
            if metric.name is None or metric.value.ref is not None:
                raise SparkplugError("A template's definition has a name, and refers to none.")
            found[metric.name] = metric.value
    return found


def check_instances(metrics: Iterable[Metric], known: Mapping[str, Template], whole: bool) -> None:
    """Raise SparkplugError for an instance that does not fit its definition; `whole` wants all its members (births)."""
    for metric in metrics:
        value = metric.value
        if not isinstance(value, Template):
            continue
        if value.definition:
            raise SparkplugError(f"{metric.name!r} is a definition, which stands in NBIRTH alone.")
        definition = known.get(value.ref or "")
        if definition is None:
            raise SparkplugError(f"{metric.name!r} is of the template {value.ref!r}, which was not defined.")
        members = {member.name for member in value.members}
        defined = {member.name for member in definition.members}
        if not members <= defined or (whole and members != defined):
            raise SparkplugError(f"{metric.name!r} has other members than its template {value.ref!r}.")
        if not {one.name for one in value.parameters} <= {one.name for one in definition.parameters}:
            raise SparkplugError(f"{metric.name!r} has other parameters than its template {value.ref!r}.")
        check_instances(value.members, known, whole)
