"""From a topic to the mapping that claims it, and a decoder that knows what the topic says."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.mapping.bundle import bundle
from taihu.things.mapping.decoders import flat_json, scalar, thingsboard, thingsboard_gateway
from taihu.things.mapping.lines import line_lots, line_protocol
from taihu.things.mapping.lots import Lot
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import Format, Mapping
from taihu.things.mapping.senml import senml, senml_cbor, senml_json
from taihu.things.mapping.timed import timed_lots
from taihu.things.mapping.topics import Pattern, fill, parse_pattern
from taihu.things.ports import Refusal, Row

DECODERS: dict[Format, Callable[[Source, bytes, int], Sequence[Row | Refusal]]] = {
    Format.SCALAR: scalar,
    Format.FLAT_JSON: flat_json,
    Format.THINGSBOARD: thingsboard,
    Format.THINGSBOARD_GATEWAY: thingsboard_gateway,
    Format.SENML: senml,
    Format.SENML_JSON: senml_json,
    Format.SENML_CBOR: senml_cbor,
    Format.LINE_PROTOCOL: line_protocol,
    Format.BUNDLE: bundle,
}


_LOTS: dict[Format, Callable[[Source, bytes], list[Lot]]] = {
    Format.THINGSBOARD: timed_lots,
    Format.THINGSBOARD_GATEWAY: timed_lots,
    Format.LINE_PROTOCOL: line_lots,
}


class Decoder:
    """Reads the payloads of one topic: row by row, or, where it can, all of a payload at once."""

    __slots__ = ("_lots", "_rows", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows = DECODERS[source.mapping.format]
        self._lots = _LOTS.get(source.mapping.format)

    def __call__(self, payload: bytes, received_at: int) -> Sequence[Row | Refusal]:
        """The rows of a payload received at a time (UTC ns), which only relative times need; raises PayloadError."""
        return self._rows(self._source, payload, received_at)

    def lots(self, payload: bytes) -> list[Lot]:
        """The rows of a payload by thing and names; none when it has to be read row by row."""
        return self._lots(self._source, payload) if self._lots is not None else []


class Match(msgspec.Struct, frozen=True):
    """A topic that carries readings.

    `thing` is the thing that the topic names, None when it is the connection's or the payload names it.
    """

    mapping: Mapping
    captures: dict[str, str]
    thing: str | None
    source: Source

    def decoder(self, own: str | None, unit_ns: int = 1) -> Decoder:
        """Reads payloads of the topic from a connection of the thing `own`, None when it is of none."""
        source = self.source
        if self.mapping.format is Format.LINE_PROTOCOL:
            source = msgspec.structs.replace(source, own=own, unit_ns=unit_ns)
        return Decoder(source)


class Matcher:
    """The mappings of one project, ready to be asked.

    Literal topics come first, then the pattern that says more, level by level, then the order given. With `project`,
    the capture `{project}` matches that name only (§11). Keep the answer by topic: asking costs microseconds.
    """

    def __init__(self, mappings: Iterable[Mapping], project: str = "", limits: Limits = DEFAULT) -> None:
        given = {"project": project} if project else {}
        parsed = [(mapping, parse_pattern(mapping.topic, given)) for mapping in mappings]
        self._limits = limits
        self._literal: dict[str, Mapping] = {}
        self._patterns: list[tuple[Pattern, Mapping]] = []
        for mapping, pattern in parsed:
            if pattern.literal:
                self._literal.setdefault(mapping.topic, mapping)
            else:
                self._patterns.append((pattern, mapping))
        self._patterns.sort(key=lambda entry: entry[0].rank)

    def match(self, topic: str) -> Match | None:
        """The mapping that claims `topic`, None when it carries no readings."""
        mapping = self._literal.get(topic)
        if mapping is not None:
            return self._answer(mapping, {})
        for pattern, mapping in self._patterns:
            found = pattern.regex.fullmatch(topic)
            if found:
                return self._answer(mapping, found.groupdict())
        return None

    def _answer(self, mapping: Mapping, captures: dict[str, str]) -> Match:
        by_tags = mapping.format is Format.LINE_PROTOCOL
        thing = fill((not by_tags and mapping.thing) or "{thing}", captures) or None
        name = fill(mapping.property or "{property}", captures)
        return Match(mapping, captures, thing, Source(mapping, thing, name, self._limits))
