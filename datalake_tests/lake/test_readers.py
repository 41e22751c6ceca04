"""Engines that share no code with ours read the same rows and sums, after updates, deletes and a compaction."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datalake.lake.engine import open_duckdb
from datalake.lake.lake import Lake
from datalake.lake.sql import relation
from datalake.lake.upkeep import compact
from datalake.settings import Settings
from datalake_tests.lake.build import ask, merge, reference, table

VERSIONS = [(0, 1000, 0), (700, 1500, 1), (0, 50, 2)]
FACTS = (
    "rows",
    "keys",
    "amounts",
    "first",
    "last",
    "paid",
    "quantities",
    "prices",
    "cities",
    "days",
)


def expected(sql_id: str = "id <> 'k3'") -> dict[str, Any]:
    [row] = reference(
        VERSIONS,
        'SELECT count(*), count(DISTINCT id), sum(amount), min("at"), max("at"), count(*) FILTER (paid), '
        "sum(list_sum(list_transform(lines, lambda l: l.quantity))), sum(list_sum(list_transform(lines, lambda l: l.price))), "
        f"count(DISTINCT address.city), max(day) FROM r WHERE {sql_id}",
    )
    return dict(zip(FACTS, row, strict=True))


@pytest.fixture(params=["merged", "compacted", "by month"])
def metadata(request: pytest.FixtureRequest, lake: Lake) -> str:
    """The metadata file of a table after merges that update rows and a delete."""
    charges = table(partition="at" if request.param == "by month" else None)
    lake.ensure_table(charges)
    for version in VERSIONS:
        merge(lake, charges, *version)
    ask(lake, f"DELETE FROM {relation(charges)} WHERE id = 'k3'")
    if request.param == "compacted":
        assert compact(lake, charges) is not None
    return lake.catalog.load_table(charges.identifier).metadata_location


def facts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same facts, from rows as Python holds them."""
    # ClickHouse shows points in time in the zone of its server.
    times = [moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in _times(rows)]
    lines = [line for row in rows for line in row["lines"]]
    return {
        "rows": len(rows),
        "keys": len({row["id"] for row in rows}),
        "amounts": sum(row["amount"] for row in rows),
        "first": min(times),
        "last": max(times),
        "paid": sum(row["paid"] for row in rows),
        "quantities": sum(line["quantity"] for line in lines),
        "prices": sum(line["price"] for line in lines),
        # ClickHouse has no NULL struct: it reads one as a struct of NULLs.
        "cities": len({row["address"]["city"] for row in rows if row["address"]} - {None}),
        "days": max(row["day"] for row in rows),
    }


def _times(rows: list[dict[str, Any]]) -> list[dt.datetime]:
    return [row["at"] for row in rows if row["at"] is not None]


NEEDED = ("id", "amount", "at", "paid", "lines", "address", "day")


def test_all_readers_agree(metadata: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")  # its own planner is another package
    monkeypatch.chdir("/")  # chdb reads only below the folder that it was started in
    readers = {
        "duckdb": through_duckdb,
        "pyiceberg": through_pyiceberg,
        "polars": through_polars,
        "chdb": through_chdb,
    }
    want = expected()
    assert want["rows"] == 1499
    assert isinstance(want["amounts"], Decimal)
    assert {name: reader(metadata) for name, reader in readers.items()} == dict.fromkeys(readers, want)


def through_duckdb(metadata: str) -> dict[str, Any]:
    with open_duckdb(Settings({})) as connection:
        cursor = connection.execute(f"SELECT * FROM iceberg_scan('{metadata}')")
        names = [column[0] for column in cursor.description or []]
        return facts([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def through_pyiceberg(metadata: str) -> dict[str, Any]:
    from pyiceberg.table import StaticTable

    return facts(StaticTable.from_metadata(metadata).scan(selected_fields=NEEDED).to_arrow().to_pylist())


def through_polars(metadata: str) -> dict[str, Any]:
    import polars

    return facts(polars.scan_iceberg(metadata).select(NEEDED).collect().to_dicts())


def through_chdb(metadata: str) -> dict[str, Any]:
    import chdb

    columns = ", ".join(f'"{name}"' for name in NEEDED)
    answer = chdb.query(f"SELECT {columns} FROM icebergLocal('{Path(metadata).parent.parent}')", "ArrowTable")
    return facts(answer.to_pylist())
