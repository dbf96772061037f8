"""Whether a statement is a question and nothing else, told from its parsed tree: all that is not known is refused.

The tree is DuckDB's own (`json_serialize_sql`). What runs afterwards is written again from that tree, so that nothing
runs that was not looked at.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from taihu.history.sql.functions import FUNCTIONS, TABLE_FUNCTIONS, TYPES
from taihu.kernel.errors import RefusedError

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}
_SOURCES = {"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION"}
_MODIFIERS = {"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"}
_ORDERS = {"ASCENDING", "DESCENDING", "ORDER_DEFAULT"}
_EXPRESSIONS = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM = ("duckdb_", "pg_", "pragma_", "sqlite_")

Scope = frozenset[str]


class SqlRefused(RefusedError):
    """The statement cannot be understood, or asks for what is not there: correct it as the sentence says."""

    code = "sql"


class SqlForbidden(RefusedError):
    """The statement does something that a question may not: write one SELECT over the project's views."""

    code = "sql-forbidden"


def check_tree(serialized: str, views: Collection[str]) -> set[str]:
    """The views that a statement reads.

    Args:
        serialized: what `json_serialize_sql` says of it.
        views: the names that are there, in lower case.

    Raises:
        SqlRefused: it does not parse, or names a view that is not there.
        SqlForbidden: it is no single SELECT, or holds a part that is not known to be harmless.
    """
    document = msgspec.json.decode(serialized)
    if document["error"]:
        if document.get("error_type") == "not implemented":
            raise _forbidden("Only SELECT can be asked.")
        raise SqlRefused(f"This is not SQL: {document.get('error_message', '')}.", "Correct the statement.")
    statements = document["statements"]
    if len(statements) != 1:
        raise _forbidden(f"These are {len(statements)} statements.")
    walk = _Walk(views)
    walk.part(statements[0]["node"], frozenset())
    return walk.used


class _Walk:
    """One walk over a tree. A scope is the names that WITH has defined where a part stands."""

    def __init__(self, views: Collection[str]) -> None:
        self.used: set[str] = set()
        self._views = views
        self._rules: dict[str, Callable[[Mapping[str, Any], Scope], None]] = {
            "BASE_TABLE": self._table,
            "TABLE_FUNCTION": self._table_function,
            "FUNCTION": self._function,
            "WINDOW": self._function,
            "TYPE": self._type,
            "PIVOT": self._pivot,
        }

    def part(self, part: Any, scope: Scope) -> None:
        """Check a part of the tree and all below it."""
        if isinstance(part, list):
            for item in part:
                self.part(item, scope)
        elif isinstance(part, dict):
            self._node(part, scope)

    def _node(self, node: dict[str, Any], scope: Scope) -> None:
        kind = node.get("class", node.get("type"))
        if isinstance(kind, str):
            known = _EXPRESSIONS if "class" in node else _QUERIES | _SOURCES | _MODIFIERS | _ORDERS
            if kind not in known:
                raise _forbidden(f"{kind.lower().replace('_', ' ')} is not for a question.")
            if rule := self._rules.get(kind):
                rule(node, scope)
        scope = self._defined(node, scope)
        for name, below in node.items():
            if name != "cte_map":
                self.part(below, scope)

    def _defined(self, node: Mapping[str, Any], scope: Scope) -> Scope:
        """The scope inside a query: each WITH sees those before it, a recursive one itself too."""
        if node.get("type") == "RECURSIVE_CTE_NODE":
            scope |= {_common_name(node["cte_name"])}
        for entry in node.get("cte_map", {}).get("map", ()):
            self.part(entry["value"], scope)
            scope |= {_common_name(entry["key"])}
        return scope

    def _table(self, node: Mapping[str, Any], scope: Scope) -> None:
        path, name = node["qualified_name"]["path"], node["table_name"].lower()
        if len(path) != 1 or node["schema_name"] or node["catalog_name"]:
            raise _forbidden(f"{'.'.join(path)[:80]!r} is of another schema.")
        if node["at_clause"] is not None:
            raise _forbidden("AT is not for a question.")
        if name in scope:
            return
        if name not in self._views:
            raise SqlRefused(
                f"There is no view {node['table_name'][:80]!r} in this project.",
                f"There are {', '.join(sorted(self._views)[:50])}.",
            )
        self.used.add(name)

    def _table_function(self, node: Mapping[str, Any], scope: Scope) -> None:
        if (name := node["function"].get("function_name")) not in TABLE_FUNCTIONS:
            raise _forbidden(f"The table function {str(name)[:80]} is not for a question.")

    def _function(self, node: Mapping[str, Any], scope: Scope) -> None:
        name = node["function_name"]
        if name not in FUNCTIONS or node["schema"] or node["catalog"] or node["qualified_name"]["path"] != [name]:
            raise _forbidden(f"The function {name[:80]} is not for a question.")

    def _type(self, node: Mapping[str, Any], scope: Scope) -> None:
        name = node["type_name"].lower()
        if name not in TYPES or node["schema"] or node["catalog"]:
            raise SqlRefused(f"There is no type {name[:80]} here.", "Cast to a built-in type.")

    def _pivot(self, node: Mapping[str, Any], scope: Scope) -> None:
        if any(pivot.get("pivot_enum") for pivot in node["pivots"]):
            raise _forbidden("PIVOT over an enum is not for a question.")


def _common_name(name: str) -> str:
    if not _PLAIN.fullmatch(name) or name.lower().startswith(_SYSTEM):
        raise _forbidden(f"{name[:80]!r} is no name for WITH: use letters, digits and _.")
    return name.lower()


def _forbidden(what: str) -> SqlForbidden:
    return SqlForbidden(what, "Write one SELECT over the project's views, as docs/sql.md describes.")
