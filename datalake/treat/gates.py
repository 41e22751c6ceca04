"""The gates of a batch: what must hold of the table as it would be, before anybody sees it. Publishing lives elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datalake.lake.sql import quote, relation
from datalake.model import Table
from datalake.treat.scan import PLACED, one

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_REJECTED = 0.5
FEWEST_REJECTED = 10
"""A batch of which more than half goes to quarantine (and at least this many lines) shows a change at the source or a wrong
contract: publishing the rest would hide it."""

KEY, REQUIRED, RECONCILED, REJECTED = "key_present_and_unique", "required_columns", "rows_reconciled", "rows_fit_contract"

_ABOUT = {
    KEY: "Every key of the batch stands in the table exactly once, and the table grew by the new keys only.",
    REQUIRED: "No living row of the batch is empty where the contract says null: no.",
    RECONCILED: "Every line that raw names was read, and is in the table, superseded by a newer one, or in quarantine.",
    REJECTED: "At most half of the lines went to quarantine.",
}


@dataclass(frozen=True)
class CheckResult:
    """The verdict of one gate."""

    name: str
    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


def gates(table: Table) -> dict[str, str]:
    """The gates of a table: name and what it stands for."""
    return {name: about for name, about in _ABOUT.items() if name != REQUIRED or required(table)}


def required(table: Table) -> list[str]:
    return [column.name for column in table.columns if not column.nullable and column.name not in table.key]


def identity(table: Table) -> tuple[str, ...]:
    """What tells one row from another: the key; where there is none, the fingerprint: equal records are one row."""
    return table.key or ("_row_hash",)


@dataclass(frozen=True)
class Counts:
    """Lines of a batch, and what stands of them in the table. `before` and `after` are the table's rows around the merge."""

    told: int
    """Records and deletions that the commits say they hold."""
    lines: int
    records: int
    deletions: int
    rejected: int
    newest: int
    """Keys of the records."""
    rows_found: int
    keys_found: int
    """Rows of the table that have these keys, and how many of the keys they have."""
    written: int
    """Of these rows, those that this batch brought."""
    before: int
    after: int

    @property
    def superseded(self) -> int:
        return self.records - self.newest

    @property
    def inserted(self) -> int:
        return self.after - self.before

    @property
    def updated(self) -> int:
        return self.written - self.inserted

    @property
    def unchanged(self) -> int:
        return self.newest - self.written


def count(connection: DuckDBPyConnection, table: Table, before: int) -> Counts:
    """Count inside the transaction, after its records were merged."""
    told = one(connection, "SELECT sum(rows) FROM parts")
    lines, records, deletions, rejected = connection.execute(
        """SELECT count(*), count(*) FILTER ("$op" IS NULL AND "$reason" IS NULL),
            count(*) FILTER ("$op" = 'delete' AND "$reason" IS NULL),
            count(*) FILTER ("$reason" IS NOT NULL AND "$op" IS DISTINCT FROM 'complete') FROM lines"""
    ).fetchall()[0]
    keys = ", ".join(map(quote, identity(table)))
    rows_found, keys_found, written = connection.execute(
        f"""SELECT count(*), count(DISTINCT ({keys})), count(*) FILTER (_raw_commit = sequence AND _extracted_at = "$at")
        FROM {relation(table)} JOIN newest USING ({keys})"""
    ).fetchall()[0]
    newest = one(connection, "SELECT count(*) FROM newest")
    after = one(connection, f"SELECT count(*) FROM {relation(table)}")
    return Counts(told, lines, records, deletions, rejected, newest, rows_found, keys_found, written, before, after)


def check(connection: DuckDBPyConnection, table: Table, counts: Counts) -> list[CheckResult]:
    """Judge the table as it would be after COMMIT, inside the transaction that merged the batch."""
    found = [_keys(counts), _reconciled(connection, counts), _rejected(connection, counts)]
    if required(table):
        found.append(_required(connection, table))
    return found


def _keys(counts: Counts) -> CheckResult:
    """Only keys of the batch can have been doubled or lost: all other rows stand where the last check left them."""
    metadata = {
        "keys_of_batch": counts.newest,
        "keys_found": counts.keys_found,
        "rows_found": counts.rows_found,
        "rows_written": counts.written,
        "new_rows": counts.inserted,
    }
    if counts.rows_found == counts.keys_found == counts.newest and 0 <= counts.inserted <= counts.written:
        return CheckResult(KEY, True, _ABOUT[KEY], metadata)
    what = (
        f"{counts.newest} keys were merged; the table would hold {counts.keys_found} of them in {counts.rows_found} rows, "
        f"{counts.written} of them written now, and would have grown by {counts.inserted} rows"
    )
    return CheckResult(KEY, False, f"{what}; run again, and if it stays treat the table from raw anew", metadata)


def _required(connection: DuckDBPyConnection, table: Table) -> CheckResult:
    names = required(table)
    empty = ", ".join(f"count(*) FILTER ({quote(name)} IS NULL)" for name in names)
    keys = ", ".join(map(quote, identity(table)))
    row = connection.execute(
        f"SELECT {empty} FROM {relation(table)} SEMI JOIN newest USING ({keys}) "
        "WHERE _deleted_at IS NULL AND _raw_commit >= (SELECT min(sequence) FROM parts)"
    ).fetchall()[0]
    missing = {name: count for name, count in zip(names, row, strict=True) if count}
    if not missing:
        return CheckResult(REQUIRED, True, _ABOUT[REQUIRED], {"columns": len(names)})
    told = ", ".join(f"{name} in {count} rows" for name, count in missing.items())
    return CheckResult(REQUIRED, False, f"empty: {told}; the contract says null: no", {"empty": missing})


def _reconciled(connection: DuckDBPyConnection, counts: Counts) -> CheckResult:
    differing = connection.execute(
        """SELECT parts.key, parts.rows, count("$n") FILTER ("$op" IS DISTINCT FROM 'complete')
        FROM parts LEFT JOIN lines USING ("$part") GROUP BY ALL
        HAVING parts.rows <> count("$n") FILTER ("$op" IS DISTINCT FROM 'complete') ORDER BY ALL LIMIT 5"""
    ).fetchall()
    metadata = {
        "lines": counts.lines,
        "records": counts.records,
        "deletions": counts.deletions,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "superseded": counts.superseded,
        "rejected": counts.rejected,
    }
    if differing:
        key, told, read = differing[0]
        return CheckResult(
            RECONCILED, False, f"{key} holds {read} lines where its commit says {told}; restore it from the bucket", metadata
        )
    accounted = counts.keys_found + counts.superseded + counts.deletions + counts.rejected
    if accounted != counts.told:
        return CheckResult(RECONCILED, False, f"raw names {counts.told} records, {accounted} are accounted for", metadata)
    return CheckResult(RECONCILED, True, _ABOUT[RECONCILED], metadata)


def _rejected(connection: DuckDBPyConnection, counts: Counts) -> CheckResult:
    # Without the values: verdicts are seen by more people than the quarantine.
    reasons = connection.execute(
        """SELECT coalesce("$column" || ' ', '') || regexp_replace("$reason", ': .*', '', 's') AS why, count(*) AS times
        FROM lines WHERE "$reason" IS NOT NULL GROUP BY why ORDER BY times DESC, why LIMIT 5"""
    ).fetchall()
    metadata = {"rejected": counts.rejected, "lines": counts.lines, "reasons": dict(reasons)}
    if counts.rejected < FEWEST_REJECTED or counts.rejected <= MOST_REJECTED * counts.lines:
        return CheckResult(REJECTED, True, _ABOUT[REJECTED], metadata)
    told = "; ".join(f"{times}x {reason}" for reason, times in reasons)
    key, line = connection.execute(
        f"""SELECT key, line FROM {PLACED} WHERE "$reason" IS NOT NULL ORDER BY "$n" LIMIT 1"""
    ).fetchall()[0]
    what = f"{counts.rejected} of {counts.lines} lines do not fit the contract: {told}"
    return CheckResult(REJECTED, False, f"{what}; the first is line {line} of {key}", metadata)
