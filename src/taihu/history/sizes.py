"""What the store holds, counted from what the manifest says of each file and held in memory: no folder is looked at."""

from taihu.history.store import Store


def stats(store: Store) -> dict[str, int]:
    """Counts of what the store holds."""
    with store.locked():
        tables = store.catalog.tables(rollups=False)
        live = [file for table in tables for file in table.files]
        own = {table.id for table in tables}
        rollups = [file for table in store.catalog.tables() if table.id not in own for file in table.files]
        return {
            "tables": len(tables),
            "things": sum(len(store.catalog.names(project)) for project in {table.project for table in tables}),
            "files": len(live),
            "rows": sum(file.rows for file in live),
            "bytes": sum(file.bytes for file in live),
            "rollup_rows": sum(file.rows for file in rollups),
            "rollup_bytes": sum(file.bytes for file in rollups),
            "head_rows": store.head_rows,
            "checkpoint": store.checkpoint,
            "applied": store.applied,
        }
