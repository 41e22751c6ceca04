"""Names and types as DuckDB's SQL writes them. Queries do not live here.

Types in a treated table (Iceberg v2) and in DuckDB: `timestamp` is a point in time in UTC, without a zone (`timestamp`,
TIMESTAMP), `json` is its text (`string`, VARCHAR), `decimal(p,s)` is exact, lists and structs are nested. A zone would cost
17 microseconds a row in tables partitioned by month (DuckDB 1.5.5 asks ICU for the month), and Athena's CREATE VIEW and
CREATE TABLE AS refuse columns that have one.
"""

from __future__ import annotations

from datalake.model import QUALITY, SYSTEM_COLUMNS, Table, Type

CATALOG = "lake"
"""Name under which connections of the lake attach its Iceberg catalog."""

_SCALARS = {
    "string": "VARCHAR",
    "json": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}


def quote(*parts: str) -> str:
    """An identifier, each part quoted.

    >>> quote("lake", "stripe", 'odd"name')
    '"lake"."stripe"."odd""name"'
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    """A text literal, for the few statements that take no parameters (ATTACH, LOAD, SET, COMMENT, CREATE VIEW or SECRET).

    >>> literal("it's")
    "'it''s'"
    """
    if "\0" in text:
        raise ValueError("a NUL byte has no place in SQL text")
    return "'" + text.replace("'", "''") + "'"


def relation(table: Table) -> str:
    """The treated table as connections of the lake name it."""
    return quote(CATALOG, *table.identifier)


def columns(table: Table) -> dict[str, Type]:
    """Columns of the treated table in their order: the contract's, then (outside database `quality`) the system's."""
    system = {} if table.source == QUALITY else SYSTEM_COLUMNS
    return {column.name: column.type for column in table.columns} | {name: type_ for name, (type_, _about) in system.items()}


def duckdb_type(type_: Type) -> str:
    """The type as DuckDB writes it.

    >>> from datalake.model import parse_type
    >>> duckdb_type(parse_type("list<struct{a:decimal(18,2),b:json}>"))
    'STRUCT("a" DECIMAL(18,2), "b" VARCHAR)[]'
    """
    match type_.kind:
        case "decimal":
            return f"DECIMAL({type_.precision},{type_.scale})"
        case "list" if type_.element:
            return duckdb_type(type_.element) + "[]"
        case "struct":
            return "STRUCT(" + ", ".join(f"{quote(name)} {duckdb_type(inner)}" for name, inner in type_.fields) + ")"
        case kind:
            return _SCALARS[kind]
