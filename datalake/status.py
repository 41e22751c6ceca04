"""The state of every selected table, from the raw log and the catalog alone: nothing is asked at the sources."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.model import Source, Table
from datalake.settings import Settings
from datalake.sources import CONNECTED


def lake_status(settings: Settings) -> list[dict[str, Any]]:
    """A row a table: rows, last publication, age against the promise, rows in quarantine, what raw holds beyond, cursor."""
    lake = Lake(settings)
    try:
        quarantined = _quarantined(lake)
        return [
            _row(lake, table, quarantined.get(table.identifier, 0))
            for name in CONNECTED
            for table in _tables(lake, contracts.load_source(name))
            if settings.selected(table.id, table.core)
        ]
    finally:
        lake.close()


def _tables(lake: Lake, source: Source) -> list[Table]:
    """Those of the contracts, and those that the source told of beyond them."""
    return [*source.tables.values(), *lake.found(source)]


def _row(lake: Lake, table: Table, quarantined: int) -> dict[str, Any]:
    properties = lake.properties(table)
    consumed = int(properties.get("datalake.raw_commit", 0))
    log = lake.log(table)
    head = log.head(consumed)
    return {
        "table": table.id,
        "rows": int(properties["datalake.rows"]) if "datalake.rows" in properties else None,
        "published": properties.get("datalake.published_at", "")[:19],
        "freshness": _freshness(log.last_read(), table),
        "quarantine": quarantined,
        "behind": (head.sequence if head else 0) - consumed,
        "cursor": json.dumps(head.cursor, ensure_ascii=False)[:80] if head and head.cursor else "",
    }


def _freshness(read_at: str | None, table: Table) -> str:
    """How long ago the source was last read to the end, and whether that keeps the contract's promise."""
    if read_at is None:
        return "never read"
    hours = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(read_at)).total_seconds() / 3600
    age = f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
    return age if hours <= table.fresh_within_hours else f"{age}: LATE (promise: {table.fresh_within_hours:.0f} h)"


def _quarantined(lake: Lake) -> dict[tuple[str, str], int]:
    """Rows in quarantine by (source, table)."""
    from datalake.treat.quarantine import TABLE

    if not lake.properties(TABLE):
        return {}
    connection = lake.connect()
    try:
        rows = connection.execute('SELECT "source", "table", count(*) FROM lake.quality.quarantine GROUP BY ALL').fetchall()
    finally:
        connection.close()
    return {(source, table): count for source, table, count in rows}
