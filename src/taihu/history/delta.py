"""A Delta Lake log for each table's merged files, so that DuckDB, Polars, Spark and pandas read them without us.

The log follows the manifest, which alone counts: each publication adds the files that the log lacks and removes those
that are gone. Rows of the last flushes are not in it before they are merged. `things.parquet` beside the tables of a
project gives the name of each thing's id.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from taihu.history.layout import DECIMALS_MAX, SYSTEM_COLUMNS
from taihu.history.manifest import DataFile, Table
from taihu.history.store import Store
from taihu.kernel.clock import NS_PER_S

if TYPE_CHECKING:
    from deltalake import Field
    from deltalake.transaction import AddAction

LOG = "_delta_log"
THINGS = "things.parquet"
_CHECKPOINT_EVERY = 32  # versions
_TYPES = dict(zip(SYSTEM_COLUMNS, ("integer", "long", "long", "long", "integer", "byte"), strict=True))
_FORM_TYPES = {"int": "long", "bool": "boolean", "text": "string"} | {
    f"d{places}": f"decimal(18,{places})" for places in range(DECIMALS_MAX + 1)
}


def publish(store: Store, table: Table, now_ns: int) -> None:
    """Bring a table's log up to date; raises OSError when it cannot be written, and the next call mends it."""
    import deltalake  # 20 MB and 0.2 s: only once something is merged
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

    folder = store.folder / table.folder
    live = {Path(file.path).name: file for file in table.files if file.level > 0}
    forms = sorted({form for file in live.values() for form in file.forms})
    fields = [_field(name) for name in (*SYSTEM_COLUMNS, *forms)]
    try:
        if not deltalake.DeltaTable.is_deltatable(str(folder)):
            added = [_add(file, now_ns) for file in live.values()]
            create_table_with_add_actions(str(folder), deltalake.Schema(fields), added, partition_by=[])
        else:
            log = deltalake.DeltaTable(str(folder))
            known = {field.name for field in log.schema().fields}
            if fresh := [field for field in fields if field.name not in known]:
                log.alter.add_columns(fresh)
            named = {uri.rsplit("/", 1)[-1] for uri in log.file_uris()}
            actions: list[AddAction | RemoveAction] = []
            actions += [_add(file, now_ns) for name, file in live.items() if name not in named]
            actions += [RemoveAction(name, False, now_ns // 1_000_000) for name in sorted(named - live.keys())]
            if actions:
                log.create_write_transaction(actions, mode="append", schema=log.schema())
                if log.version() % _CHECKPOINT_EVERY == 0:
                    log.create_checkpoint()
                    log.cleanup_metadata()
    except DeltaError as error:
        raise OSError(f"the Delta log of {table.folder} cannot be written: {error}") from error
    write_things(store, table.project)
    for name in store.files.names(folder / LOG):
        if name.endswith(".json"):
            store.files.sync(folder / LOG / name)


def forget_versions(store: Store, table: Table) -> None:
    """Leave no version of a table's log but the present one; raises OSError when it cannot be written."""
    import deltalake
    from deltalake.exceptions import DeltaError

    folder = store.folder / table.folder
    if not store.files.names(folder / LOG):
        return
    try:
        log = deltalake.DeltaTable(str(folder))
        log.create_checkpoint()
    except DeltaError as error:
        raise OSError(f"the Delta log of {table.folder} cannot be written: {error}") from error
    names = store.files.names(folder / LOG)
    for name in names:
        store.files.sync(folder / LOG / name)
    for name in names:
        number = name.partition(".")[0]
        if number.isdigit() and int(number) < log.version():
            store.files.remove(folder / LOG / name)


def published(store: Store) -> list[Table]:
    """The tables that have a log."""
    return [table for table in store.catalog.tables() if store.files.names(store.folder / table.folder / LOG)]


def write_things(store: Store, project: str) -> None:
    """Write the names of a project's things to `things.parquet`, for those who read the files without us."""
    names = list(store.catalog.names(project))
    cursor = store.cursor()
    try:
        cursor.register("known", {"thing": np.arange(len(names), dtype=np.int32), "name": np.array(names, np.object_)})
        store.copy(cursor, f"{project}/things.new", "SELECT thing, name FROM known", (), 1)
    finally:
        cursor.close()
    store.files.rename(store.folder / project / "things.new", store.folder / project / THINGS)


def _field(name: str) -> "Field":
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    return Field(name, PrimitiveType(_TYPES.get(name) or _FORM_TYPES.get(name.rpartition("__")[2], "double")))


def _add(file: DataFile, now_ns: int) -> "AddAction":
    from deltalake.transaction import AddAction

    stats = {
        "numRecords": file.rows,
        "minValues": {"thing": file.thing_min, "observed_at": file.observed_min},
        "maxValues": {"thing": file.thing_max, "observed_at": file.observed_max},
        "nullCount": {"thing": 0, "observed_at": 0},
    }
    return AddAction(
        path=Path(file.path).name,
        size=file.bytes,
        partition_values={},
        modification_time=now_ns // (NS_PER_S // 1_000),
        data_change=True,
        stats=msgspec.json.encode(stats).decode(),
    )
