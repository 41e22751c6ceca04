"""The lines of a batch enter the treated table: newest version of each key, deletions, scopes read to their end.

What a row is depends on nothing but the set of lines that were treated: its values are the newest record's by (`_lake.at`, raw
commit, part, line), and it is deleted where a deletion or a complete scope is younger than that record. Typing lives in `scan`.

The row counts that INSERT and MERGE answer are not used: DuckDB 1.5.5 answers none at all when memory is short, with all rows
written. What was written is counted in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from datalake.lake.engine import size_in_bytes
from datalake.lake.sql import columns, literal, quote, relation
from datalake.model import Table
from datalake.treat.gates import identity
from datalake.treat.scan import Scan, one
from datalake.treat.values import Values, member, texts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PORTION = 0.125
"""Share of DuckDB's memory that the rows of one statement may take."""
SAMPLE = 1000
"""Lines looked at, half of them from the middle, to tell how wide rows are."""

_RECORDS = '"$op" IS NULL AND "$reason" IS NULL'


def pick_newest(connection: DuckDBPyConnection, table: Table) -> None:
    """Make the temporary table `newest`: a row a key with `$n`, `$at` and raw commit (`sequence`) of its newest record."""
    keys = _names(identity(table))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE newest AS
        SELECT {keys}, last.n AS "$n", last."at" AS "$at", last.sequence AS sequence FROM (
            SELECT {keys}, max(struct_pack("at" := "$at", n := "$n", sequence := sequence)) AS last
            FROM lines JOIN parts USING ("$part") WHERE {_RECORDS} GROUP BY {keys}
        )"""
    )


def merge_records(connection: DuckDBPyConnection, table: Table, *, anew: bool, empty: bool) -> None:
    """Insert new keys and replace rows that changed.

    `anew` writes rows whose fingerprint is equal too (the contract may have changed). `empty` says the table has no row.
    """
    for some in _portions(connection):
        _merge_some(connection, table, some, anew, empty)


def _portions(connection: DuckDBPyConnection) -> list[tuple[int, int]]:
    """Stretches of `$n` whose newest records are together small beside DuckDB's memory.

    DuckDB's Parquet writer holds up to 122,880 rows of a file in memory, however wide they are, and cannot spill them.
    """
    limit = one(connection, "SELECT current_setting('memory_limit')")
    middle = one(connection, 'SELECT (min("$n") + max("$n")) // 2 FROM lines')
    width = one(
        connection,
        """SELECT avg(strlen(CAST(few AS VARCHAR))) FROM (
            (SELECT * FROM lines LIMIT ?) UNION ALL (SELECT * FROM lines WHERE "$n" > ? LIMIT ?)) AS few""",
        [SAMPLE // 2, middle, SAMPLE // 2],
    )
    rows = max(1000, int(size_in_bytes(limit) * PORTION / (width or 1)))
    return connection.execute(
        """SELECT min("$n"), max("$n") FROM (SELECT "$n", (row_number() OVER (ORDER BY "$n") - 1) // ? AS portion FROM newest)
        GROUP BY portion ORDER BY portion""",
        [rows],
    ).fetchall()


def _merge_some(connection: DuckDBPyConnection, table: Table, some: tuple[int, int], anew: bool, empty: bool) -> None:
    names = [name for name in columns(table) if name != "_deleted_at"]
    own = {"_extracted_at": '"$at"', "_raw_commit": "sequence"}
    # The window keeps the rows on one thread: more of them each fill row groups of their own, with more memory and more CPU.
    rows = f"""SELECT {", ".join(f"{own.get(name, quote(name))} AS {quote(name)}" for name in names)}
        FROM (
            SELECT *, row_number() OVER () AS "$serial"
            FROM lines JOIN (SELECT "$n", sequence FROM newest) USING ("$n") WHERE "$n" BETWEEN ? AND ?
        )"""
    if empty:
        connection.execute(f"INSERT INTO {relation(table)} ({_names(names)}) {rows}", some)
        return
    newer = "s._extracted_at > t._extracted_at OR (s._extracted_at = t._extracted_at AND s._raw_commit >= t._raw_commit)"
    differs = "true" if anew else "t._row_hash <> s._row_hash OR t._deleted_at <= s._extracted_at"
    connection.execute(
        f"""MERGE INTO {relation(table)} AS t USING ({rows}) AS s ON {_same(identity(table), "t", "s")}
        WHEN MATCHED AND (t._row_hash IS NULL OR (({newer}) AND ({differs}))) THEN UPDATE SET
            {", ".join(f"{quote(name)} = s.{quote(name)}" for name in names)},
            _deleted_at = CASE WHEN t._deleted_at > s._extracted_at THEN t._deleted_at END
        WHEN NOT MATCHED THEN INSERT ({_names(names)}) VALUES ({", ".join(f"s.{quote(name)}" for name in names)})""",
        some,
    )


def mark_deleted(connection: DuckDBPyConnection, scan: Scan) -> tuple[int, list[str]]:
    """Mark rows that are gone at the source, keeping their values. Gives their number and what people should know.

    `_deleted_at` is the last deletion that the source told, or else the first complete reading that missed the row. A key that
    was deleted before it was ever read gets a row of its key alone, so that an older record that comes late does not bring it
    to life.
    """
    table, keys = scan.table, _names(identity(scan.table))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE gone AS
        SELECT {keys}, d.last."at" AS "$at", d.last.sequence AS sequence FROM (
            SELECT {keys}, max(struct_pack("at" := "$at", n := "$n", sequence := sequence)) AS last
            FROM lines JOIN parts USING ("$part") WHERE "$op" = 'delete' AND "$reason" IS NULL GROUP BY {keys}
        ) AS d
        WHERE NOT EXISTS (
            SELECT 1 FROM newest JOIN lines AS r USING ("$n")
            WHERE {_same(identity(table), "newest", "d")} AND (r."$at", r."$n") > (d.last."at", d.last.n)
        )"""
    )
    deleted = _delete_gone(connection, table)
    if not one(connection, 'SELECT count(*) FROM lines WHERE "$op" = \'complete\' AND "$reason" IS NULL'):
        return deleted, []
    unreadable = one(
        connection,
        f"""SELECT count(*) FROM lines WHERE "$reason" IS NOT NULL AND "$op" IS DISTINCT FROM 'delete'
        AND ({" OR ".join(f"{quote(name)} IS NULL" for name in identity(table))})""",
    )
    if unreadable:
        note = f"{table.id}: {unreadable} lines in quarantine have no readable key, so no row was taken for gone this time"
        return deleted, [note]
    connection.execute("DELETE FROM gone")
    _find_missing(connection, scan)
    return deleted + _delete_gone(connection, table), []


def _delete_gone(connection: DuckDBPyConnection, table: Table) -> int:
    """Mark the rows that the table `gone` names."""
    if not one(connection, "SELECT count(*) FROM gone"):
        return 0
    keys = _names(identity(table))
    connection.execute(
        f"""MERGE INTO {relation(table)} AS t USING gone AS s ON {_same(identity(table), "t", "s")}
        WHEN MATCHED AND t._extracted_at <= s."$at" AND (t._deleted_at IS NULL OR t._deleted_at < s."$at")
            THEN UPDATE SET _deleted_at = s."$at"
        WHEN NOT MATCHED THEN INSERT ({keys}, _extracted_at, _raw_commit, _deleted_at)
            VALUES ({", ".join(f"s.{quote(name)}" for name in identity(table))}, s."$at", s.sequence, s."$at")"""
    )
    marked: int = one(
        connection, f'SELECT count(*) FROM {relation(table)} AS t JOIN gone USING ({keys}) WHERE t._deleted_at = gone."$at"'
    )
    return marked


def _find_missing(connection: DuckDBPyConnection, scan: Scan) -> None:
    """Add to `gone` the living rows of completely read scopes that were not read again."""
    table, keys = scan.table, _names(identity(scan.table), "t")
    _read_seen(connection, scan)
    scopes = connection.execute(
        """SELECT DISTINCT list_sort(json_keys("$scope")) FROM lines WHERE "$op" = 'complete' AND "$reason" IS NULL"""
    ).fetchall()
    for (names,) in scopes:
        _read_markers(connection, scan, names)
        inside = _same(names, "t", "m") if names else "true"
        connection.execute(
            f"""INSERT INTO gone SELECT {keys}, min(m."$at"), max(m.sequence)
            FROM {relation(table)} AS t JOIN markers AS m ON {inside} AND t._extracted_at < m."$at"
            LEFT JOIN seen ON {_same(identity(table), "seen", "t")}
            WHERE t._deleted_at IS NULL AND (seen."$at" IS NULL OR seen."$at" < m."$at") GROUP BY {keys}"""
        )
    names = _names(identity(table))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE gone AS
        SELECT {names}, min("$at") AS "$at", max(sequence) AS sequence FROM gone GROUP BY {names}"""
    )


def _read_seen(connection: DuckDBPyConnection, scan: Scan) -> None:
    """Make `seen`: when each key was read last, quarantined rows included.

    Rows that were read again unchanged are not written again, so the table does not know that they were seen. A scope's
    reading may reach back into commits that were treated before (a run that was interrupted): they are looked at again.
    """
    table, keys = scan.table, _names(identity(scan.table))
    earliest = one(connection, "SELECT strftime(min(\"$at\"), '%Y-%m-%dT%H:%M:%S.%fZ') FROM lines WHERE \"$op\" = 'complete'")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE seen AS SELECT {keys}, max("$at") AS "$at" FROM lines
        WHERE "$op" IS DISTINCT FROM 'delete' AND "$op" IS DISTINCT FROM 'complete' GROUP BY {keys}"""
    )
    earlier = []
    for sequence in range(scan.commits[0].sequence - 1, 0, -1):
        commit = scan.log.read(sequence)
        if commit.committed_at < earliest:
            break
        earlier.append(commit)
    if any(commit.parts for commit in earlier):
        named = tuple(column for column in table.columns if column.name in table.key) or table.columns
        narrow = Scan(scan.log, replace(table, columns=named), scan.source, earlier[::-1], name="earlier")
        narrow.fill(connection)
        connection.execute(f'INSERT INTO seen SELECT {keys}, "$at" FROM earlier WHERE "$op" IS NULL')
        connection.execute(f'CREATE OR REPLACE TEMP TABLE seen AS SELECT {keys}, max("$at") AS "$at" FROM seen GROUP BY {keys}')


def _read_markers(connection: DuckDBPyConnection, scan: Scan, names: Sequence[str]) -> None:
    """Make `markers`: the complete scopes over these columns, typed as the columns are. Raises ValueError for other values."""
    values = Values(exact=False, zone=scan.source.zone)
    wanted = {name: scan.table.column(name) for name in names}
    these = f"CAST([{', '.join(map(literal, names))}] AS VARCHAR[])"
    picked = "".join(f", {member('map_keys(m)', texts('m'), name)} AS {quote('$' + name)}" for name in names)
    typed = "".join(
        f", {values.value(column.type, quote('$' + name), scan.source.timestamps)} AS {quote(name)}"
        for name, column in wanted.items()
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE markers AS
        SELECT "$at", sequence, "$scope"{typed} FROM (
            SELECT "$at", sequence, "$scope"{picked} FROM (
                SELECT "$at", sequence, "$scope", json_transform("$scope", '"MAP(VARCHAR,JSON)"') AS m
                FROM lines JOIN parts USING ("$part")
                WHERE "$op" = 'complete' AND "$reason" IS NULL AND list_sort(json_keys("$scope")) = {these}
            ))"""
    )
    unfit = " OR ".join(f"{quote(name)} IS NULL" for name in names) or "false"
    wrong = connection.execute(f'SELECT "$scope" FROM markers WHERE {unfit} LIMIT 1').fetchone()
    if wrong:
        raise ValueError(f"{scan.table.id}: the complete scope {wrong[0]} does not fit the columns {', '.join(names)}")


def _names(names: Iterable[str], table: str | None = None) -> str:
    return ", ".join(f"{table}.{quote(name)}" if table else quote(name) for name in names)


def _same(names: Sequence[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in names)
