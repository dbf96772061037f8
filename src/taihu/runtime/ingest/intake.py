"""From payloads to batches: the second half of the hot path.

A message of the form that its sender always uses costs one C decode and two appends; types, ranges and times are
checked column by column when the group closes. Whatever the fast way is not sure of takes the slow one, value by value.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
from collections.abc import Mapping as Definitions
from typing import Any, Protocol

from msgspec import structs

from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import RefusedError, TaihuError
from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.kernel.limits import Limits
from taihu.kernel.units import convert
from taihu.runtime.ingest.quarantine import Refused
from taihu.runtime.ingest.rows import UNDECODABLE, decode_flat, row_decoder
from taihu.runtime.ingest.shape import DEFECT, Shape
from taihu.things.batch import FLAG_SUSPECT, Batch
from taihu.things.infer import infer_properties
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.lots import Lot
from taihu.things.mapping.matcher import Decoder
from taihu.things.mapping.plan import plan_for
from taihu.things.mapping.rules import Mapping
from taihu.things.ports import Refusal, Row
from taihu.things.property import Property

log = logging.getLogger("taihu.intake")

_PLANS_PER_CLAIM_MAX = 32
_FORMS_PER_CLAIM_MAX = 1_024
_SHAPES_MAX = 10_000
_SET_BACK_NS = NS_PER_S


class Claim:
    """A topic, or request, that carries readings: whose they are and how to read them.

    `thing` is None where the payload names its things, as a gateway's does. `plans` are the key tuples that may take
    the fast way, with the shape their values go to; while there is one alone, `decode` makes rows for `shape`. `forms`
    is the same of rows that a decoder made, by thing and names.
    """

    __slots__ = (
        "accepted", "decode", "decoder", "forms", "label", "mapping", "may_create", "plans", "project", "refusals",
        "refused", "shape", "thing",
    )  # fmt: skip

    def __init__(self, project: str, thing: str | None, decoder: Decoder, mapping: Mapping, may_create: bool) -> None:
        self.project = project
        self.thing = thing
        self.decoder = decoder
        self.mapping = mapping
        self.label = mapping.label()
        self.may_create = may_create
        self.plans: dict[tuple[str, ...], Shape] = {}
        self.decode: Callable[[bytes], Any] | None = None
        self.shape: Shape | None = None
        self.forms: dict[tuple[str, tuple[str, ...]], Shape] = {}
        self.accepted = 0
        self.refusals = 0
        self.refused: list[str] = []

    def again(self) -> "Claim":
        """The claim of another request alike: with counts of its own, and what is known of forms."""
        claim = Claim(self.project, self.thing, self.decoder, self.mapping, self.may_create)
        if len(self.forms) > _FORMS_PER_CLAIM_MAX // 2:
            self.forms = {}  # what comes next may be of other things
        claim.forms = self.forms
        return claim

    def refuse(self, where: str, reason: str) -> None:
        """Note a refusal for whoever asks; the first few are kept."""
        self.refusals += 1
        if len(self.refused) < _PLANS_PER_CLAIM_MAX:
            self.refused.append(f"{where}: {reason}" if where else reason)

    def lose_row(self) -> None:
        """Nothing of a row that was accepted could be kept."""
        self.accepted -= 1


class Named:
    """One of the things that a claim's payload speaks for."""

    __slots__ = ("lose_row", "refuse", "thing")

    def __init__(self, claim: Claim, thing: str) -> None:
        self.thing = thing
        self.refuse = claim.refuse
        self.lose_row = claim.lose_row


class Registry(Protocol):
    """What the intake asks of the directory."""

    def definitions(self, project: str, thing: str) -> Definitions[str, Property] | None:
        """The thing's properties, or None when there is no such thing."""
        ...

    def model_of(self, project: str, thing: str) -> str:
        """The name of the thing's model; empty when it has none."""
        ...

    def commissioned_at(self, project: str, thing: str) -> int:
        """The first moment the thing can have observed anything (UTC ns)."""
        ...

    @property
    def full(self) -> Set[str]:
        """The projects that store all that they may."""
        ...

    def full_reason(self, project: str) -> str:
        """Why the readings of such a project are refused."""
        ...

    def raw_age(self, project: str, definition: Property) -> int:
        """How old a reading of the property may be to be taken (ns), or FOREVER."""
        ...

    def infer(self, project: str, thing: str, properties: Definitions[str, Property]) -> None:
        """Add inferred properties to a thing."""
        ...

    def create(self, project: str, thing: str) -> None:
        """Register a thing on behalf of one that may; RefusedError beyond the project's limits."""
        ...


class Intake:
    """Collects the readings of one group and turns them into batches."""

    def __init__(self, registry: Registry, clock: Clock, limits: Limits, refuse: Callable[[Refused], None]) -> None:
        self._registry = registry
        self._clock = clock
        self._limits = limits
        self._refuse = refuse
        self._shapes: dict[tuple[Any, ...], Shape] = {}
        self._dirty: list[Shape] = []
        self._stamp = 0
        self._count: Counter[str] = Counter()
        self.generation = 0  # another one whenever plans are forgotten

    def add(self, readings: Sequence[tuple[Any, bytes]]) -> None:
        """Take over messages in their order."""
        dirty = self._dirty
        if self._registry.full:
            readings = self._with_room(readings, self._registry.full)
        self._count.update([claim.project for claim, _ in readings])
        for claim, payload in readings:
            decode, shape = claim.decode, claim.shape
            if decode is None:
                self._add_planned(claim, payload)
                continue
            try:
                row = decode(payload)
            except UNDECODABLE:
                self._add_otherwise(claim, payload)
                continue
            rows = shape.rows
            if not rows:
                dirty.append(shape)
            rows.append(row)
            shape.of.append(claim)

    def finish(self) -> list[Batch]:
        """The batches of everything added since the last call."""
        now = self._clock.now_ns()
        batches: list[Batch] = []
        dirty, self._dirty = self._dirty, []
        for shape in dirty:
            batches += shape.close(now, self._next_stamp, self._limits, self._refuse)
        if len(self._shapes) > _SHAPES_MAX:
            self.forget_plans()
        return batches

    def take_count(self) -> Counter[str]:
        """How many messages were taken over since the last call, by project."""
        count, self._count = self._count, Counter()
        return count

    def forget_plans(self) -> None:
        """Definitions changed: work every plan out again."""
        self._shapes.clear()
        self.generation += 1

    def _with_room(self, readings: Sequence[tuple[Any, bytes]], full: Set[str]) -> list[tuple[Any, bytes]]:
        """The readings of projects that may store more; the others are refused."""
        now = self._clock.now_ns()
        for claim, payload in readings:
            if claim.project in full:
                self._refuse_message(claim, claim.thing or "", self._registry.full_reason(claim.project), payload, now)
        return [one for one in readings if one[0].project not in full]

    def _next_stamp(self, count: int, now: int) -> int:
        """The first of `count` nanoseconds never given before, so that stamped readings cannot collide."""
        if self._stamp - now > _SET_BACK_NS:
            log.warning("the clock was set back by %.0f s", (self._stamp - now) / NS_PER_S)
            self._stamp = 0  # stamped times go on from there, not so far ahead of it
        first = max(now, self._stamp)
        self._stamp = first + count
        return first

    def _add_planned(self, claim: Claim, payload: bytes) -> None:
        """Add a message of a sender with several forms, or with none yet."""
        try:
            values = decode_flat(payload)
            shape = claim.plans[tuple(values)]
        except (*UNDECODABLE, LookupError):
            self._add_otherwise(claim, payload)
            return
        if not shape.rows:
            self._dirty.append(shape)
        shape.rows.append(shape.row(*values.values()))
        shape.of.append(claim)

    def _add_otherwise(self, claim: Claim, payload: bytes) -> None:
        if not self._add_lots(claim, payload):
            self._add_slowly(claim, payload)

    def _add_lots(self, claim: Claim, payload: bytes) -> bool:
        """Take over a payload all at once, form by form; False when it has to be read row by row."""
        lots = claim.decoder.lots(payload)
        owners = {lot.thing or claim.thing for lot in lots}
        if not lots or None in owners or (owners != {claim.thing} and not claim.may_create):
            return False
        now = self._clock.now_ns()
        for lot in lots:
            thing = lot.thing or claim.thing
            assert thing is not None
            form, begin = (thing, lot.names), 0
            while begin < len(lot) and form not in claim.forms:
                self._try_row(claim, thing, Row(lot.row(begin), lot.times[begin]), payload, now)
                begin += 1
            if begin < len(lot):
                self._put_lot(claim.forms[form], claim, thing, lot, begin)
        return True

    def _put_lot(self, shape: Shape, claim: Claim, thing: str, lot: Lot, begin: int) -> None:
        if not shape.of:
            self._dirty.append(shape)
        columns: list[list[Any]] = [*lot.columns, lot.times]
        for column, values in zip(shape.columns, columns, strict=True):
            column += values[begin:]
        shape.of += [claim if thing == claim.thing else Named(claim, thing)] * (len(lot) - begin)
        claim.accepted += len(lot) - begin

    def _add_slowly(self, claim: Claim, payload: bytes) -> None:
        now = self._clock.now_ns()
        try:
            rows = claim.decoder(payload, now)
        except PayloadError as error:
            self._refuse_message(claim, claim.thing or "", str(error), payload, now)
            return
        for row in rows:
            if isinstance(row, Refusal):
                self._refuse_message(claim, claim.thing or "", row.reason, row.payload, now)
                continue
            thing = row.thing or claim.thing
            if thing is None:
                self._refuse_message(claim, "", "the payload names no thing", payload, now)
                continue
            if thing != claim.thing and not claim.may_create:
                reason = f"may not speak for {thing[:NAME_LENGTH_MAX]!r}: use its own token, or a gateway's"
                self._refuse_message(claim, claim.thing or "", reason, payload, now)
                continue
            self._try_row(claim, thing, row, payload, now)

    def _try_row(self, claim: Claim, thing: str, row: Row, payload: bytes, now: int) -> None:
        try:
            self._add_row(claim, thing, row, payload, now)
        except TaihuError as error:
            self._refuse_message(claim, thing, str(error), payload, now)
        except Exception:  # one message must not take the group of all senders with it
            log.exception("a message of %s/%s met a defect: %r", claim.project, thing, payload[:200])
            self._refuse_message(claim, thing, DEFECT, payload, now)

    def _add_row(self, claim: Claim, thing: str, row: Row, payload: bytes, now: int) -> None:
        form = (thing, tuple(row.values))
        known = claim.forms.get(form)
        if known is not None and not row.units and not row.suspect and None not in row.values.values():
            self._put(known, claim, thing, row.values, row.observed_at)
            return
        definitions = self._registry.definitions(claim.project, thing)
        if definitions is None:
            if not claim.may_create:
                raise RefusedError(f"There is no thing {thing!r} in this project.", "Register it first.")
            self._registry.create(claim.project, thing)
            definitions = self._registry.definitions(claim.project, thing) or {}
        values = self._convert(claim, thing, row, definitions, payload, now)
        unknown = {name: value for name, value in values.items() if name not in definitions}
        if unknown:
            inferred, refused = infer_properties(unknown, definitions, self._limits)
            for name, reason in refused:
                del values[name]
                if unknown[name] is not None:
                    self._refuse_value(claim, thing, name, reason, payload, now)
            if inferred:
                if claim.mapping.kind is not None:
                    kind = claim.mapping.kind
                    inferred = {name: structs.replace(one, kind=kind) for name, one in inferred.items()}
                inferred = {name: row.definitions.get(name, one) for name, one in inferred.items()}
                self._registry.infer(claim.project, thing, inferred)
                definitions = {**definitions, **inferred}
        values = {name: value for name, value in values.items() if value is not None}
        if not values:
            return
        flag = FLAG_SUSPECT if row.suspect else 0
        shape = self._shape(claim, thing, tuple(definitions[name] for name in values), -1, flag)
        self._put(shape, claim, thing, values, row.observed_at)
        if flag:
            return
        if not row.units and len(values) == len(row.values) and len(claim.forms) < _FORMS_PER_CLAIM_MAX:
            claim.forms[form] = shape
        self._plan(claim, thing, payload, values, definitions)

    def _put(
        self, shape: Shape, claim: Claim, thing: str, values: Definitions[str, Any], observed_at: int | None
    ) -> None:
        if not shape.of:
            self._dirty.append(shape)
        for column, value in zip(shape.columns, (*values.values(), observed_at), strict=True):
            column.append(value)
        shape.of.append(claim if thing == claim.thing else Named(claim, thing))
        claim.accepted += 1

    def _convert(
        self, claim: Claim, thing: str, row: Row, definitions: Definitions[str, Property], payload: bytes, now: int
    ) -> dict[str, Any]:
        """The values in the units of their definitions; conversion happens once, here (§2)."""
        values = dict(row.values)
        if not row.units:
            return values
        for name, unit in row.units.items():
            definition = definitions.get(name)
            if definition is None or definition.unit == unit or name not in values:
                continue
            try:
                values[name] = _in_unit(values[name], unit, definition)
            except TaihuError as error:
                del values[name]
                self._refuse_value(claim, thing, name, str(error), payload, now)
        return values

    def _plan(
        self, claim: Claim, thing: str, payload: bytes, values: dict[str, Any], definitions: Definitions[str, Property]
    ) -> None:
        """Let the next message of this form take the fast way, if this one was plain enough."""
        if thing != claim.thing or claim.mapping.units or len(claim.plans) >= _PLANS_PER_CLAIM_MAX:
            return
        try:
            document = decode_flat(payload)
        except UNDECODABLE:
            return
        keys = tuple(document)
        plan = plan_for(keys, claim.mapping)
        if plan is None or plan.names != tuple(values):
            return
        definitions_of = tuple(definitions[name] for name in plan.names)
        if plan.time_index is None or type(document[keys[plan.time_index]]) in (int, str):
            shape = claim.plans[keys] = self._shape(claim, thing, definitions_of, plan.time_index)
            claim.decode, claim.shape = (row_decoder(keys), shape) if len(claim.plans) == 1 else (None, None)

    def _shape(
        self, claim: Claim, thing: str, definitions: tuple[Property, ...], time_index: int | None, flag: int = 0
    ) -> Shape:
        model = self._registry.model_of(claim.project, thing)
        earliest = self._registry.commissioned_at(claim.project, thing)
        key = (claim.project, model, claim.label, time_index, earliest, definitions, flag)
        shape = self._shapes.get(key)
        if shape is None:
            ages = tuple([self._registry.raw_age(claim.project, definition) for definition in definitions])
            shape = Shape(claim.project, model, claim.label, definitions, time_index, earliest, ages, flag)
            self._shapes[key] = shape
        return shape

    def _refuse_message(self, claim: Claim, thing: str, reason: str, payload: bytes, now: int) -> None:
        self._refuse_value(claim, thing, "", reason, payload, now)

    def _refuse_value(self, claim: Claim, thing: str, name: str, reason: str, payload: bytes, now: int) -> None:
        thing, name = thing[:NAME_LENGTH_MAX], name[:NAME_LENGTH_MAX]  # as the sender wrote them
        claim.refuse(f"{thing}/{name}" if name else thing, reason)
        self._refuse(
            Refused(project=claim.project, thing=thing, property=name, reason=reason, payload=payload, received_at=now)
        )


def _in_unit(value: Any, unit: str, definition: Property) -> Any:
    if definition.unit is None or type(value) not in (int, float):
        return value
    return convert(value, unit, definition.unit)
