"""The deletions that the history knows: which rows of the files they hide, and what of time they emptied."""

from collections.abc import Iterable

from taihu.history.catalog import Catalog
from taihu.history.gone import EVERY_THING, Gone
from taihu.history.manifest import Erasure, Manifest, Tombstone
from taihu.history.rollup import STEPS_NS
from taihu.things.deletion import TIME_MAX, TIME_MIN

Span = tuple[int, int]  # [start, end)


def stands_until(floor: int | None, reach_ns: int, length_ns: int) -> int:
    """The end of the windows of which some readings have expired, so that they cannot be rolled up again; TIME_MIN."""
    return TIME_MIN if floor is None else -(-(floor + reach_ns) // length_ns) * length_ns


class Tombstones:
    """By deletion. Not locked: `Store` calls it under its own lock."""

    def __init__(self, manifest: Manifest, catalog: Catalog) -> None:
        self._catalog = catalog
        self._all = {one.deletion.id: one for one in manifest.tombstones()}
        self._gone: dict[tuple[str, str], tuple[Gone, ...]] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._all)

    def get(self, number: str) -> Tombstone | None:
        """The tombstone of a deletion, or None."""
        return self._all.get(number)

    def put(self, tombstones: Iterable[Tombstone]) -> None:
        """Add tombstones, or replace them."""
        self._all |= {one.deletion.id: one for one in tombstones}
        self.refresh()

    def refresh(self) -> None:
        """Work out what is hidden again: things have got their ids."""
        found: dict[tuple[str, str], list[Gone]] = {}
        for one in self.pending():
            for gone in self.gone_of(one):
                found.setdefault((one.deletion.project, gone.step), []).append(gone)
        self._gone = {key: tuple(gone) for key, gone in found.items()}
        self._last = max((one.position for one in self._all.values()), default=0)

    def gone(self, project: str, step: str) -> tuple[Gone, ...]:
        """What queries of a project's readings, or of its windows of one step, must not see in files."""
        return self._gone.get((project, step), ())

    def after(self, position: int) -> list[Tombstone]:
        """Those that are of a record at this position."""
        return [] if position > self._last else [one for one in self._all.values() if one.position > position]

    def pending(self, below: Erasure = Erasure.UNFILED) -> list[Tombstone]:
        """Those that have not come as far, the oldest first."""
        return [one for one in self._all.values() if one.state < below]

    def all(self) -> list[Tombstone]:
        """Every one that is kept."""
        return list(self._all.values())

    def spans(self, project: str, thing: str, name: str) -> list[Span]:
        """The stretches of time of which readings of a property were deleted."""
        return [
            (one.deletion.start, one.deletion.end)
            for one in self._all.values()
            if one.deletion.project == project and one.deletion.names(thing, name)
        ]

    def gone_of(self, tombstone: Tombstone) -> list[Gone]:
        """The rows of files that a tombstone is of; none when its thing never had a row."""
        deletion = tombstone.deletion
        ids = self._catalog.ids(deletion.project)
        if deletion.thing and deletion.thing not in ids:
            return []
        thing = ids[deletion.thing] if deletion.thing else EVERY_THING
        found = [Gone("", thing, deletion.property, deletion.start, deletion.end, tombstone.position)]
        reach = max(
            (
                rolled.reach_ns
                for rolled in self._catalog.rolled.values()
                if rolled.project == deletion.project and deletion.property in ("", rolled.property)
            ),
            default=0,
        )
        for step, length in STEPS_NS.items():
            start = max(deletion.start, TIME_MIN + reach + length) - reach - length
            end = min(deletion.end, TIME_MAX - reach) + reach
            again = stands_until(tombstone.floor, reach, length)
            if start < again and end < again:
                found.append(Gone(step, thing, deletion.property, start, end, tombstone.mark - 1))
                start = again
            # Windows from here on are rolled again from what is left.
            found.append(Gone(step, thing, deletion.property, start, TIME_MAX, tombstone.mark - 1))
        return found
