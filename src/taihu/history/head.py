"""The head: rows since the last flush, in memory. Batches are kept as they come, and made into columns when asked."""

from collections.abc import Sequence

import msgspec

from taihu.history.catalog import Catalog
from taihu.history.frame import Frame, concat, frame_of
from taihu.history.gone import Gone, without
from taihu.things.batch import Batch

_Shape = tuple[int, tuple[str, ...], tuple[str, ...]]  # table, properties, column codes


class Head:
    """Rows by table. Not locked: `Store` calls it under its own lock."""

    def __init__(self) -> None:
        self.rows = 0
        self._waiting: dict[_Shape, list[tuple[int, Batch]]] = {}
        self._frames: dict[int, dict[tuple[str, ...], list[Frame]]] = {}  # by table and properties

    def add(self, position: int, batch: Batch, catalog: Catalog) -> None:
        """Take over the batch of a journal record."""
        self.rows += len(batch)
        codes = tuple([column.code for column in batch.columns])
        route = catalog.route(batch)
        if len(route) == 1:
            self._waiting.setdefault((route[0][0].id, batch.properties, codes), []).append((position, batch))
            return
        for table, indices in route:
            part = msgspec.structs.replace(
                batch,
                properties=tuple(batch.properties[index] for index in indices),
                columns=tuple(batch.columns[index] for index in indices),
            )
            shape = (table.id, part.properties, tuple(codes[index] for index in indices))
            self._waiting.setdefault(shape, []).append((position, part))

    def frames(self, table_id: int, catalog: Catalog) -> list[Frame]:
        """The rows of one table, a few frames for each set of properties however often it is asked."""
        for shape in [shape for shape in self._waiting if shape[0] == table_id]:
            batches = self._waiting.pop(shape)
            self._keep(table_id, frame_of(batches, catalog.ids(batches[0][1].project)))
        return [frame for frames in self._frames.get(table_id, {}).values() for frame in frames]

    def take_out(self, project: str, gone: Sequence[Gone], catalog: Catalog) -> None:
        """Take out what is gone of a project's rows."""
        if not gone:
            return
        for table_id in self.table_ids():
            if catalog.table(table_id).project != project:
                continue
            frames = self.frames(table_id, catalog)
            left = [without(frame, gone) for frame in frames]
            self.rows = max(0, self.rows - sum(map(len, frames)) + sum(map(len, left)))
            del self._frames[table_id]
            for frame in left:
                if len(frame):
                    self._keep(table_id, frame)

    def table_ids(self) -> list[int]:
        """The tables that have rows."""
        return sorted({*self._frames, *(shape[0] for shape in self._waiting)})

    def _keep(self, table_id: int, frame: Frame) -> None:
        """Add a frame. It takes in those before it that are not much longer: n rows are in about log n frames, and
        each was copied about log n times.
        """
        frames = self._frames.setdefault(table_id, {}).setdefault(tuple(frame.cells), [])
        while frames and len(frames[-1]) <= 2 * len(frame):
            frame = concat([frames.pop(), frame])
        frames.append(frame)
