"""What the raw log of a Conta Azul table says to the tables that follow it: what stands, what changed, what vanished.

Three kinds of log: lists that are told whole whenever they changed (`listed` in the cursor moves then) with changes told
between; rows read as sets, each set closed by a `complete` line; and the change feed, which is ids only. What is asked of Conta
Azul because of it lives in `conta_azul.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from datalake.lake.raw import Commit, RawLog
from datalake.model import Column
from datalake.sources.paging import Line, lines_of
from datalake.sources.records import Record, pick

COMPANY = "empresa_id"
"""Fact of the request that stands in every key: the company of the login."""


@dataclass(frozen=True, slots=True)
class Set:
    """Rows of the log that were read together, closed by the `complete` line with this `scope` (without the company)."""

    scope: dict[str, Any]
    rows: list[Line]
    at: str


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a list between two commits: ids of rows that are new or other, and of those that are gone."""

    changed: list[str]
    gone: list[str]


def lines(log: RawLog, commit: Commit, company: str) -> Iterator[Line]:
    """The lines of a commit that belong to one company."""
    for line in lines_of(log, commit):
        if (line.lake.scope if line.lake.op == "complete" else line.lake.add).get(COMPANY) == company:
            yield line


def sets(log: RawLog, commit: Commit, company: str) -> Iterator[Set]:
    """The sets of a commit, in their order."""
    rows: list[Line] = []
    for line in lines(log, commit, company):
        if line.lake.op == "complete":
            scope = {name: value for name, value in line.lake.scope.items() if name != COMPANY}
            yield Set(scope, rows, line.lake.at)
            rows = []
        else:
            rows.append(line)


def change(log: RawLog, company: str, start: int, end: int) -> Change:
    """What happened to a list between the commits `start` (0: nothing was read) and `end`."""
    before, after = standing(log, company, start), standing(log, company, end)
    changed = sorted(id_ for id_, mark in after.items() if before.get(id_) != mark)
    return Change(changed, sorted(before.keys() - after.keys()))


def standing(log: RawLog, company: str, end: int) -> dict[str, bytes]:
    """The list as it stands at commit `end`: a fingerprint of each row by its id. Reads back to the last whole list only."""
    commits = []
    for sequence in range(end, 0, -1):
        commit = log.read(sequence)
        commits.append(commit)
        if _is_whole(commit, company):
            break
    standing: dict[str, bytes] = {}
    for commit in reversed(commits):
        for line in lines(log, commit, company):
            if not line.lake.op:
                standing[pick(line.record, "id")[0]] = _mark(line.record)
    return standing


def value(line: Line, column: Column) -> Any:
    """A column's value in a line of its table, where it is a fact of the request or a field of the record itself."""
    return line.lake.add.get(column.field[0]) if column.from_request else pick(line.record, column.field[0])[0]


def owners(log: RawLog, company: str, ids: Iterable[str], owner: str) -> set[str]:
    """The values of the column `owner` that these rows of a log had, wherever they stand in it."""
    wanted, found = set(ids), set()
    column = log.table.column(owner)
    for commit in log.since(0) if wanted else ():
        for line in lines(log, commit, company):
            if not line.lake.op and pick(line.record, "id")[0] in wanted:
                found.add(value(line, column))
    return found


def _is_whole(commit: Commit, company: str) -> bool:
    """Whether the commit holds the whole list: then its cursor says when it was listed, and the one before another time."""
    before, after = commit.cursor_before.get(company, {}), commit.cursor.get(company, {})
    return after.get("listed") is not None and after["listed"] != before.get("listed")


def _mark(record: Record) -> bytes:
    return hashlib.blake2b(record, digest_size=8).digest()
