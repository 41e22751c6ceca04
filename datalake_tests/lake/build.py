"""Small contracts and rows to try the lake with."""

import dataclasses
from pathlib import Path

import duckdb

from datalake.lake.lake import Lake
from datalake.lake.sql import columns, quote, relation
from datalake.model import Classification, Column, Table, parse_type
from datalake.settings import Settings

COLUMNS = {
    "id": "string",
    "amount": "decimal(18,2)",
    "at": "timestamp",
    "day": "date",
    "paid": "bool",
    "rate": "float64",
    "meta": "json",
    "lines": "list<struct{sku:string,quantity:int64,price:decimal(20,10)}>",
    "address": "struct{city:string,geo:struct{lat:float64}}",
}

ROWS = """
SELECT 'k' || range AS id,
       (((range * 37 + $step) % 100000) / 100)::DECIMAL(18,2) AS amount,
       CASE WHEN range % 97 = 0 THEN NULL
            ELSE TIMESTAMP '2025-11-01 00:00:00.123456' + to_hours(range::INTEGER % 3000) END AS at,
       DATE '2025-01-01' + (range % 365)::INTEGER AS day,
       range % 3 = 0 AS paid,
       range / 7 AS rate,
       '{"n": ' || range || '}' AS meta,
       CASE WHEN range % 5 = 0 THEN []
            ELSE [{'sku': 'é' || range, 'quantity': range + $step, 'price': (range / 3)::DECIMAL(20,10)}] END AS lines,
       CASE WHEN range % 7 = 0 THEN NULL ELSE {'city': 'São ' || range, 'geo': {'lat': range / 11}} END AS address,
       TIMESTAMP '2026-01-01 00:00:00' + to_seconds($step) AS _extracted_at,
       $step::BIGINT AS _raw_commit,
       (hash(range, $step) >> 1)::BIGINT AS _row_hash
FROM range($start, $stop)
"""
"""Rows `start` to `stop` of version `step`."""


def column(name: str, type_: str, **more: object) -> Column:
    return dataclasses.replace(Column(name, parse_type(type_), f"What {name} is.", (name,)), **more)


def table(name: str = "charges", columns: dict[str, str] | None = None, **more: object) -> Table:
    made = Table(
        source="stripe",
        name=name,
        about="One row per attempt to move money.",
        doc="https://docs.stripe.com/api/charges",
        tier="core",
        rows="objects",
        columns=tuple(column(n, t) for n, t in (columns or COLUMNS).items()),
        key=("id",),
        classification=Classification.CONFIDENTIAL,
        technical_owner="data@example.com",
        business_owner="finance@example.com",
    )
    return dataclasses.replace(made, **more)


def open_lake(path: Path | str, **settings: str) -> Lake:
    return Lake(Settings({"DATALAKE_URL": str(path), "DATALAKE_THREADS": "2"} | settings))


def merge_sql(table: Table) -> str:
    names = [name for name in columns(table) if name not in ("_deleted_at", "_unmapped")]
    names = [name for name in names if name in COLUMNS or name.startswith("_")]
    sets = ", ".join(f"{quote(name)} = s.{quote(name)}" for name in names if name not in table.key)
    return (
        f"MERGE INTO {relation(table)} AS t USING ({ROWS}) AS s ON t.id = s.id "
        f"WHEN MATCHED AND t._row_hash <> s._row_hash THEN UPDATE SET {sets} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(map(quote, names))}) VALUES ({', '.join(f's.{quote(n)}' for n in names)})"
    )


def merge(lake: Lake, table: Table, start: int, stop: int, step: int = 0) -> None:
    """Merge rows `start` to `stop` in version `step`, in a transaction of its own."""
    connection = lake.connect()
    try:
        connection.execute("BEGIN")
        connection.execute(merge_sql(table), {"start": start, "stop": stop, "step": step})
        connection.execute("COMMIT")
    finally:
        connection.close()


def ask(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    connection = lake.connect()
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def fingerprint(lake: Lake, table: Table) -> tuple[object, ...]:
    """Rows, distinct keys, a sum, and a sum of hashes over all columns."""
    [row] = ask(lake, f"SELECT count(*), count(DISTINCT id), sum(amount), sum(hash(t)::HUGEINT) FROM {relation(table)} AS t")
    return row


def reference(versions: list[tuple[int, int, int]], sql: str) -> list[tuple[object, ...]]:
    """What `sql` says of table `r`: the newest version of each row, kept in plain DuckDB by (start, stop, step) in order."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE r AS {ROWS}", {"start": 0, "stop": 0, "step": 0})
        for start, stop, step in versions:
            connection.execute("DELETE FROM r WHERE substr(id, 2)::BIGINT BETWEEN ? AND ?", [start, stop - 1])
            connection.execute(f"INSERT INTO r {ROWS}", {"start": start, "stop": stop, "step": step})
        return connection.execute(sql).fetchall()
