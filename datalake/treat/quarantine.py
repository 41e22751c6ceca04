"""The table of raw lines that did not become rows, each with its place, reason and text. What is bad is judged in `scan`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from datalake.lake.sql import columns, quote, relation
from datalake.model import QUALITY, Classification, Column, Table, Type
from datalake.treat.scan import PLACED, Scan, one

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS = {
    "source": ("string", "Source of the table."),
    "table": ("string", "Table that the line was meant for."),
    "raw_commit": ("int64", "Raw commit that brought the line."),
    "part": ("string", "Object in raw that holds the line, below the lake's root."),
    "line": ("int64", "Number of the line in the part, from 1; empty lines are not counted."),
    "key": ("string", "The record's key as JSON, where it could be read."),
    "column": ("string", "First column that did not fit; empty where the line as a whole is bad."),
    "reason": ("string", "Why the line is no row."),
    "record": ("string", "The line as it stands in raw; bytes that are no UTF-8 as \\x..."),
    "quarantined_at": ("timestamp", "When the line was treated."),
}

TABLE = Table(
    source=QUALITY,
    name="quarantine",
    about="One row per raw line that did not become a row of its table. Treating the line again replaces its row.",
    doc="",
    tier="core",
    rows="",
    columns=tuple(Column(name, Type(kind), about, (name,)) for name, (kind, about) in _COLUMNS.items()),
    key=("source", "table", "raw_commit", "part", "line"),
    classification=Classification.RESTRICTED,
    technical_owner="data-platform@example.com",
    business_owner="data-platform@example.com",
)

_RELATION = relation(TABLE)


def explain(connection: DuckDBPyConnection, scan: Scan) -> None:
    """Give the lines that the JSON parser could not read their text and what is wrong with them."""
    broken = connection.execute(
        f"""SELECT "$part", "$n", line FROM {PLACED} WHERE "$reason" IS NOT NULL AND "$raw" IS NULL ORDER BY "$n" """
    ).fetchall()
    wanted: dict[int, dict[int, int]] = {}
    for part, number, line in broken:
        wanted.setdefault(part, {})[line] = number
    for part, lines in wanted.items():
        for line, text in _lines(scan, part):
            if line in lines:
                connection.execute(
                    'UPDATE lines SET "$raw" = ?, "$reason" = ? WHERE "$n" = ?',
                    [text.decode(errors="backslashreplace"), _fault(text), lines[line]],
                )


def _lines(scan: Scan, part: int) -> Iterator[tuple[int, bytes]]:
    commit, found = scan.parts[part]
    texts = (line for line in scan.log.lines(msgspec.structs.replace(commit, parts=(found,))) if line.strip())
    return enumerate(texts, 1)


def _fault(line: bytes) -> str:
    """What is wrong with a line that the JSON parser refused."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return f"is no UTF-8 at byte {error.start + 1}"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"is no JSON: {error.msg} at character {error.pos + 1}"
    return "holds half a surrogate pair (\\ud800 to \\udfff), which stands for no character"


def replace(connection: DuckDBPyConnection, table: Table, sequences: Sequence[int]) -> None:
    """Put the bad lines of `lines` into quarantine, in place of what it held of these raw commits."""
    place = [table.source, table.name, sequences[0], sequences[-1]]
    where = 'source = ? AND "table" = ? AND raw_commit BETWEEN ? AND ?'
    if one(connection, f"SELECT count(*) FROM {_RELATION} WHERE {where}", place):
        connection.execute(f"DELETE FROM {_RELATION} WHERE {where}", place)
    if one(connection, 'SELECT count(*) FROM lines WHERE "$reason" IS NOT NULL'):
        known = " AND ".join(f"{quote(name)} IS NOT NULL" for name in table.key) or "false"
        key = f"CASE WHEN {known} THEN to_json(struct_pack({', '.join(map(quote, table.key))})) END" if table.key else "NULL"
        connection.execute(
            f"""INSERT INTO {_RELATION} ({", ".join(map(quote, columns(TABLE)))})
            SELECT ?, ?, sequence, parts.key, line, CAST({key} AS VARCHAR), "$column", "$reason", "$raw",
                make_timestamp(epoch_us(now()))
            FROM {PLACED} WHERE "$reason" IS NOT NULL""",
            [table.source, table.name],
        )
