"""One batch of a table: from the raw commits behind its progress to a transaction that waits for COMMIT or ROLLBACK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datalake.lake import raw
from datalake.lake.engine import lost_race
from datalake.lake.lake import Lake
from datalake.lake.sql import relation
from datalake.lake.told import as_told
from datalake.model import Source, Table
from datalake.treat import gates, merge, quarantine
from datalake.treat.gates import CheckResult
from datalake.treat.scan import Scan, one

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_DRIFT = 100
"""Names of unknown fields that a batch reports."""


class StaleTable(Exception):
    """Another writer published to the table first; nothing of this batch was published. Prepare it again."""


@dataclass
class Batch:
    """New raw lines of a table, merged and checked in an open transaction that nobody else sees.

    `commit` publishes it with its progress, `rollback` leaves the table as it was; one of them must be called. Rows: `rows_in`
    records and deletions read; of the records, `rows_superseded` had a newer version in the batch, `rows_unchanged` were in the
    table already (or older than what it holds); `rows_deleted` were marked as deleted; `table_rows` with deleted ones.
    """

    table: Table
    raw_commit: int
    """The last raw commit in it."""
    rows_in: int = 0
    rows_rejected: int = 0
    rows_superseded: int = 0
    rows_unchanged: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    table_rows: int = 0
    checks: list[CheckResult] = field(default_factory=list)
    drift: dict[str, int] = field(default_factory=dict)
    """Fields of records that the contract does not name, and how many rows hold them."""
    notes: list[str] = field(default_factory=list)
    _publish: Callable[[], None] = field(default=lambda: None, repr=False)
    _undo: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def commit(self) -> None:
        """Publish. Raises StaleTable if another writer was faster, ValueError where a gate did not let the batch pass."""
        if not self.passed:
            failed = ", ".join(check.name for check in self.checks if not check.passed)
            raise ValueError(f"{self.table.id}: the batch failed {failed} and must be rolled back")
        self._publish()

    def rollback(self) -> None:
        """Forget the batch; harmless after `commit`."""
        self._undo()


def prepare(lake: Lake, table: Table, *, source: Source, run_id: str, from_commit: int | None = None) -> Batch | None:
    """Merge what raw holds beyond the table's progress, and check it. None: raw has nothing new.

    With `from_commit` the raw commits from that one on (1: all) are treated again, whatever the progress says, and rows are
    written even where their records did not change: after a contract has changed. Raises StaleTable.
    """
    consumed = int(lake.properties(table).get("datalake.raw_commit", 0))
    log = lake.log(table)
    commits = log.since(consumed if from_commit is None else from_commit - 1)
    if not commits:
        return None
    table = as_told(table, commits[-1].told)
    lake.ensure_table(table)
    lake.ensure_table(quarantine.TABLE)
    scan = Scan(log, table, source, commits)
    batch = Batch(table, commits[-1].sequence)
    connection = lake.connect()
    try:
        if scan.parts:
            # Before the transaction: temporary tables made inside it would be moved once more by its COMMIT.
            scan.list_parts(connection)
            scan.fill(connection)
            quarantine.explain(connection, scan)
            merge.pick_newest(connection, table)
            connection.execute("BEGIN")
            _merge(connection, scan, batch, anew=from_commit is not None)
        else:
            connection.execute("BEGIN")
            batch.table_rows = one(connection, f"SELECT count(*) FROM {relation(table)}")
    except BaseException as error:
        connection.close()
        if isinstance(error, Exception) and lost_race(error):
            raise StaleTable(f"{table.id}: another writer published first ({error})") from error
        raise
    progress = {
        "datalake.raw_commit": str(max(consumed, batch.raw_commit)),
        "datalake.run": run_id,
        "datalake.published_at": raw.now(),
        "datalake.rows": str(batch.table_rows),
    }
    batch._publish = lambda: _publish(lake, connection, table, progress)
    batch._undo = connection.close
    return batch


def _merge(connection: DuckDBPyConnection, scan: Scan, batch: Batch, *, anew: bool) -> None:
    table = scan.table
    rows = f"SELECT count(*) FROM {relation(table)}"
    before: int = one(connection, rows)
    quarantine.replace(connection, table, [commit.sequence for commit in scan.commits])
    merge.merge_records(connection, table, anew=anew, empty=before == 0)
    counts = gates.count(connection, table, before)
    batch.checks = gates.check(connection, table, counts)
    batch.rows_in = counts.records + counts.deletions + counts.rejected
    batch.rows_rejected, batch.rows_superseded = counts.rejected, counts.superseded
    batch.rows_inserted, batch.rows_updated, batch.rows_unchanged = counts.inserted, counts.updated, counts.unchanged
    batch.rows_deleted, batch.notes = merge.mark_deleted(connection, scan)
    batch.table_rows = one(connection, rows) if batch.rows_deleted else counts.after
    batch.drift = dict(
        connection.execute(
            """SELECT name, count(*) AS times FROM (SELECT unnest(json_keys("_unmapped")) AS name FROM lines)
            GROUP BY name ORDER BY times DESC, name LIMIT ?""",
            [MOST_DRIFT],
        ).fetchall()
    )


def _publish(lake: Lake, connection: DuckDBPyConnection, table: Table, progress: dict[str, str]) -> None:
    lake.on_commit(table.identifier, progress)
    try:
        connection.execute("COMMIT")
    except BaseException as error:
        lake.on_commit(table.identifier, {})
        if isinstance(error, Exception) and lost_race(error):
            raise StaleTable(f"{table.id}: another writer published first ({error})") from error
        raise
    finally:
        connection.close()
    lake.settle(table.identifier)
