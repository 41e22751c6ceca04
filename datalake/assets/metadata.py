"""What a materialisation tells, by the same names on every table, so that the UI plots them. Contracts speak in `specs`.

rows_in           records read from the source (raw), or taken from raw (treated)
rows_rejected     records that went to quarantine;  rows_unchanged, rows_inserted, rows_updated, rows_deleted: as named
bytes             compressed bytes written to raw;  calls, pages: requests made and pages taken
lag_s             seconds from asking the source to this publication
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from datalake.model import Table

if TYPE_CHECKING:
    from datalake.lake.lake import Lake
    from datalake.lake.raw import Commit
    from datalake.lake.register import Registration
    from datalake.sources.engine import Extraction
    from datalake.treat import Batch

SHOWN = 2_000
"""Longest cursor that is shown, in characters: full lists keep a digest a scope."""

CHANGES = ("rows_superseded", "rows_unchanged", "rows_inserted", "rows_updated", "rows_deleted")
BATCH_COUNTS = ("rows_in", "rows_rejected", *CHANGES)


CALLS = {"calls": "calls", "retries": "retries", "calls_refused": "limited", "waited_s": "waited"}
"""Names shown, and what the client calls them."""


def raw(lake: Lake, table: Table, extraction: Extraction | None) -> dict[str, Any]:
    """Facts of a raw materialisation. None: the source had nothing new."""
    facts: dict[str, Any] = {
        "dagster/uri": lake.objects.uri(table.raw_prefix),
        "dagster/partition_row_count": extraction.rows if extraction else 0,
        "rows_in": extraction.rows if extraction else 0,
        "bytes": extraction.bytes if extraction else 0,
        "unchanged": extraction is None,
    }
    if extraction:
        facts["pages"] = extraction.pages
        facts |= {name: extraction.calls.get(call, 0) for name, call in CALLS.items()}
        if extraction.commits:
            facts |= _commit(extraction.commits[-1])
    return facts


def treated(lake: Lake, table: Table, batch: Batch | None) -> dict[str, Any]:
    """Facts of a treated materialisation. None: raw held nothing new."""
    facts: dict[str, Any] = {name: getattr(batch, name) if batch else 0 for name in BATCH_COUNTS}
    if batch and batch.drift:
        facts["unknown_fields"] = dg.MetadataValue.json(batch.drift)
    return facts | {"unchanged": batch is None} | _published(lake, table)


def athena(lake: Lake, table: Table, registration: Registration | None) -> dict[str, Any]:
    """Facts of a registered table. None: it is registered as it is published already."""
    facts = _published(lake, table) | {"unchanged": registration is None}
    if registration:
        facts |= {
            "dagster/row_count": registration.rows,
            "dagster/uri": registration.uri,
            "metadata_location": dg.MetadataValue.path(registration.metadata_location),
            "proved_by": registration.engine,
        }
    return facts


def _commit(commit: Commit) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "raw_commit": commit.sequence,
        "kind": commit.kind,
        "lag_s": _seconds_since(commit.started_at),
    }
    if commit.window:
        facts["window"] = " to ".join(commit.window.values())
    if len(json.dumps(commit.cursor)) <= SHOWN:
        facts["cursor"] = dg.MetadataValue.json(commit.cursor)
    return facts


def _published(lake: Lake, table: Table) -> dict[str, Any]:
    """The table as readers see it now. It is published already, so that a catalog that does not answer is told, not raised."""
    from datalake.lake.catalog import load_or_none

    try:
        found = load_or_none(lake.catalog, table.identifier)
    except Exception as error:  # noqa: BLE001  every catalog has errors of its own
        return {"catalog_did_not_answer": str(error)}
    snapshot = found.current_snapshot() if found else None
    if found is None:
        return {}
    facts: dict[str, Any] = {"dagster/uri": found.location()}
    if snapshot:
        facts["snapshot"] = str(snapshot.snapshot_id)
    if "datalake.rows" in found.properties:
        facts["dagster/row_count"] = int(found.properties["datalake.rows"])
    if "datalake.raw_commit" in found.properties:
        facts["raw_commit"] = int(found.properties["datalake.raw_commit"])
    if "datalake.published_at" in found.properties:
        facts["published_at"] = dg.MetadataValue.timestamp(dt.datetime.fromisoformat(found.properties["datalake.published_at"]))
    return facts


def _seconds_since(moment: str) -> float:
    return round((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(moment)).total_seconds(), 3)
