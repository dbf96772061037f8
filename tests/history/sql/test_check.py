"""What may be asked, and what is refused before anything runs."""

from contextlib import suppress
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.history.sql.check import SqlForbidden, SqlRefused, check_tree
from taihu.history.sql.functions import FUNCTIONS, TABLE_FUNCTIONS, TYPES

VIEWS = {"meter", "readings"}

QUESTIONS = [
    "SELECT 1",
    "FROM meter",
    "TABLE meter",
    "SELECT thing, avg(power) AS mean FROM meter GROUP BY thing HAVING mean > 3 ORDER BY ALL LIMIT 10 OFFSET 2",
    "SELECT date_trunc('hour', observed_at) h, sum(energy) FILTER (quality = 'good') FROM meter GROUP BY ALL",
    "SELECT extract(hour FROM observed_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Shanghai') FROM meter",
    "SELECT * EXCLUDE (seq) REPLACE (power * 2 AS power) RENAME (thing AS name) FROM meter",
    "SELECT COLUMNS('p.*') FROM meter TABLESAMPLE 10 PERCENT",
    "SELECT power - lag(power) OVER w FROM meter WINDOW w AS (PARTITION BY thing ORDER BY observed_at)",
    "SELECT sum(power) OVER (ORDER BY seq ROWS BETWEEN 3 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM meter",
    "SELECT * FROM meter QUALIFY row_number() OVER (PARTITION BY thing ORDER BY observed_at DESC) = 1",
    "SELECT DISTINCT ON (thing) thing, power FROM meter ORDER BY thing, observed_at DESC",
    "SELECT * FROM meter a ASOF JOIN readings b ON a.thing = b.thing AND a.observed_at >= b.observed_at",
    "SELECT * FROM meter m LEFT JOIN readings r USING (thing), LATERAL (SELECT m.power + 1) x",
    "WITH a AS (SELECT * FROM meter), b AS MATERIALIZED (SELECT * FROM a) SELECT * FROM b",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    "SELECT * FROM range(5) UNION ALL (SELECT 2) EXCEPT SELECT 3",
    "SELECT (SELECT max(power) FROM meter) > ALL (SELECT value FROM readings), EXISTS (FROM readings)",
    "SELECT CASE power WHEN 1 THEN 'a' END, CAST(power AS DECIMAL(9, 2)), TRY_CAST('x' AS INT), 1::DOUBLE[] FROM meter",
    "SELECT power BETWEEN 1 AND 2, power IN (1, 2), thing LIKE 'a%', thing NOT ILIKE 'b' FROM meter",
    "SELECT * FROM meter WHERE thing SIMILAR TO 'c.*' OR thing ^@ 'd'",
    "SELECT [x * 2 FOR x IN [1, 2] IF x > 1], {'a': 1}.a, MAP {'k': 'v'}, [1, 2][1:2], apply([1], lambda x: x)",
    "SELECT a.b FROM (SELECT {'b': 1} AS a), unnest([1, 2]) AS u(v) WHERE v <> 2 AND NOT v IS NULL",
    "FROM readings PIVOT (avg(value) FOR property IN ('power', 'energy') GROUP BY thing)",
    "FROM (SELECT thing, power, energy FROM meter) UNPIVOT (v FOR n IN (power, energy))",
    "SELECT thing, grouping(thing) FROM meter GROUP BY CUBE (thing, quality)",
    "SELECT v FROM (VALUES (1), (2)) AS t(v) ORDER BY #1 LIMIT 50%",
    "SELECT thing COLLATE NOCASE, interval 1 day, date '2026-01-01', x'ab', 5!, 2 ** 3, 7 // 2, ~1, @(-1) FROM meter",
    "SELECT coalesce(power, 0), nullif(1, 2), if(true, 1, 2), TRY(1 / 0), POSITION('a' IN thing) FROM meter",
]

FORBIDDEN = [
    "COPY meter TO '/tmp/x'", "COPY (SELECT 1) TO '/tmp/x.parquet'", "COPY meter FROM '/etc/passwd'",
    "ATTACH '/tmp/x.db'", "DETACH x", "USE x", "INSTALL httpfs", "LOAD httpfs", "FORCE INSTALL spatial",
    "SET memory_limit = '1TB'", "RESET threads", "PRAGMA version", "PRAGMA database_list", "CALL pragma_version()",
    "CREATE TABLE x (i INT)", "CREATE VIEW v AS SELECT 1", "CREATE MACRO m(a) AS a", "CREATE SECRET s (TYPE s3)",
    "CREATE TYPE t AS ENUM ('a')", "CREATE SEQUENCE s", "DROP VIEW meter", "ALTER TABLE meter ADD COLUMN x INT",
    "INSERT INTO meter VALUES (1)", "UPDATE meter SET power = 1", "DELETE FROM meter", "TRUNCATE meter",
    "MERGE INTO meter USING readings ON true WHEN MATCHED THEN DELETE",
    "EXPORT DATABASE '/tmp/x'", "IMPORT DATABASE '/tmp/x'", "CHECKPOINT", "VACUUM", "ANALYZE", "BEGIN", "COMMIT",
    "PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE p", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT * FROM meter",
    "DESCRIBE meter", "SHOW TABLES", "SHOW ALL TABLES", "SUMMARIZE meter", "COMMENT ON VIEW meter IS 'x'",
    "PIVOT meter ON thing USING sum(power)", "SELECT 1; SELECT 2", "SELECT 1; COPY meter TO '/tmp/x'", "", ";",
    "SELECT ?", "SELECT $1", "SELECT $name", "SELECT DEFAULT",
    "WITH a AS (INSERT INTO meter VALUES (1) RETURNING *) SELECT * FROM a",
    "WITH a AS (DELETE FROM meter RETURNING *) SELECT 1", "WITH a AS (COPY meter TO '/tmp/x') SELECT 1",
    "WITH a AS (UPDATE meter SET power = 1 RETURNING *) SELECT * FROM a",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('/work/**')", "SELECT * FROM parquet_scan('x')", "SELECT * FROM read_json('x')",
    "SELECT * FROM read_ndjson_objects('x')", "SELECT * FROM read_duckdb('x')", "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')", "SELECT * FROM parquet_metadata('x')",
    "SELECT * FROM parquet_schema('x')", "SELECT * FROM parquet_kv_metadata('x')",
    "SELECT * FROM duckdb_secrets()", "SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_views()",
    "SELECT * FROM duckdb_extensions()", "SELECT * FROM which_secret('s3://x', 's3')",
    "SELECT * FROM query('SELECT 1')", "SELECT * FROM query_table('meter')", "SELECT * FROM pragma_table_info('meter')",
    "SELECT * FROM json_execute_serialized_sql('{}')", "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM python_map_function('x')", "SELECT * FROM pandas_scan(1)", "SELECT * FROM seq_scan('meter')",
    "SELECT * FROM enable_logging()", "SELECT * FROM duckdb_logs()", "SELECT * FROM force_checkpoint()",
    "SELECT * FROM register_external_resource('x')", "SELECT * FROM repeat_row(1, num_rows = 9)",
    "SELECT getenv('HOME')", "SELECT getvariable('x')", "SELECT current_setting('memory_limit')",
    "SELECT current_query()", "SELECT nextval('s')", "SELECT setseed(1)", "SELECT sleep_ms(1000)",
    "SELECT pg_sleep(9)", "SELECT write_log('x')", "SELECT version()", "SELECT json_serialize_sql('SELECT 1')",
    "SELECT json_deserialize_sql('{}')", "SELECT in_search_path('a', 'b')", "SELECT txid_current()",
    "SELECT query_table('meter')", "SELECT main.abs(1)", "SELECT system.main.abs(1)", "SELECT abs(x := getenv('A'))",
    "SELECT 'a'.getenv()", "SELECT (read_text('/etc/passwd')).content",
    "SELECT * FROM meter WHERE power = (SELECT count(*) FROM duckdb_tables())",
    "SELECT list_transform([1], lambda x: getvariable('y'))", "SELECT [getenv(x) FOR x IN ['HOME']]",
    "SELECT sum(getvariable('x')) OVER () FROM meter", "SELECT 1 ORDER BY getvariable('x')",
    "SELECT 1 LIMIT getvariable('x')", "SELECT power FROM meter GROUP BY getvariable('x')",
    "SELECT count(*) FILTER (getvariable('x')) FROM meter", "SELECT COLUMNS(c -> getvariable(c)) FROM meter",
    "SELECT * FROM meter JOIN readings ON getvariable('x')", "VALUES (getvariable('x'))",
    "SELECT * FROM main.meter", "SELECT * FROM memory.main.meter", "SELECT * FROM hidden.names",
    "SELECT * FROM information_schema.tables", "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM other.main.meter", "SELECT * FROM meter AT (VERSION => 1)",
    "WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings", "WITH \"/etc/passwd\" AS (SELECT 1) SELECT 1",
]  # fmt: skip

UNKNOWN = [
    "SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"", "FROM '../other/meter-1/1.parquet'",
    "SELECT * FROM 'https://example.org/x.csv'", "SELECT * FROM 's3://bucket/x'", "SELECT * FROM '*.parquet'",
    "SELECT * FROM '/dev/fd/100'", "SELECT * FROM '/proc/self/environ'",
    "SELECT * FROM duckdb_settings", "SELECT * FROM duckdb_secrets", "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_class", "SELECT * FROM pragma_database_list", "SELECT * FROM names", "SELECT * FROM nothing",
    "SELECT * FROM meter JOIN nothing USING (thing)", "SELECT (SELECT count(*) FROM nothing)",
    "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
    "SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) q, x", "WITH a AS (SELECT * FROM a) SELECT * FROM a",
    "SELECT 1::regclass", "SELECT CAST(1 AS main.t)", "SELEC 1", "SELECT FROM WHERE", "SELECT 'open", "(((",
    "SELECT 1 1", "\x00",
]  # fmt: skip


def tree(sql: str) -> str:
    row: Any = duckdb.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    return str(row[0])


@pytest.mark.parametrize("sql", QUESTIONS)
def test_questions_pass(sql: str) -> None:
    assert check_tree(tree(sql), VIEWS) <= VIEWS


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_anything_else_is_forbidden(sql: str) -> None:
    with pytest.raises(SqlForbidden) as refused:
        check_tree(tree(sql), VIEWS)
    assert refused.value.remedy


@pytest.mark.parametrize("sql", UNKNOWN)
def test_what_is_not_there_is_refused(sql: str) -> None:
    with pytest.raises((SqlRefused, SqlForbidden, UnicodeError)):
        check_tree(tree(sql), VIEWS)


def test_the_views_that_are_read_are_told() -> None:
    sql = "WITH meter AS (SELECT 1) SELECT * FROM meter, (SELECT * FROM Readings)"
    assert check_tree(tree(sql), VIEWS) == {"readings"}


def test_the_lists_name_only_what_duckdb_has_and_nothing_with_effects() -> None:
    """A name that DuckDB drops, or gives an effect, is found when DuckDB is upgraded."""
    known = duckdb.execute(
        "SELECT function_name, bool_or(has_side_effects) FROM duckdb_functions() GROUP BY 1"
    ).fetchall()
    effects = dict(known)
    assert effects.keys() >= FUNCTIONS - {"->"}
    by_chance = {"gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7", "error"}
    assert {name for name in FUNCTIONS if effects.get(name)} <= by_chance
    assert not any(name.startswith(("read_", "duckdb_", "pragma_", "pg_", "parquet_", "__")) for name in FUNCTIONS)
    assert TABLE_FUNCTIONS <= FUNCTIONS
    types = {row[0].lower() for row in duckdb.execute("SELECT type_name FROM duckdb_types()").fetchall()}
    assert types >= TYPES


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"();,.*'\"=", " SELECT ", " FROM ", " WITH a AS ", " meter ", " COPY ", " read_text", "1"])
    )
)
def test_any_text_is_answered_with_an_error_or_views(words: list[str]) -> None:
    """§13."""
    with suppress(SqlRefused, SqlForbidden):
        assert check_tree(tree("".join(words)), VIEWS) <= VIEWS
