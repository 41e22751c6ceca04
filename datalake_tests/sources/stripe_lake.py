"""A raw layer that tests fill from Stripe's stand-in, and what it says of each row, told in plain Python."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import Commit, PartWriter, RawLog
from datalake.model import Table
from datalake.sandbox.base import Row
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceError
from datalake.sources.engine import Extraction, extract
from datalake.sources.progress import LogProgress
from datalake.sources.records import Drop

SOURCE = contracts.load_source("stripe")
CORE = [table for table in SOURCE.tables.values() if table.core]
NOW = 1_795_036_000
"""Nine in the evening: a draft of the day is there, and gone in the morning."""
DAY = 86_400


def parents_first(tables: list[Table]) -> list[Table]:
    def depth(table: Table) -> int:
        return 1 + depth(SOURCE.tables[table.parent]) if table.parent else 0

    return sorted(tables, key=depth)


class Lake:
    """The raw logs of one lake, and the settings to fill them."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.objects, self.env = Objects(str(folder)), env

    def log(self, name: str) -> RawLog:
        return RawLog(self.objects, SOURCE.tables[name])

    def cursor(self, name: str) -> dict[str, Any]:
        head = self.log(name).head()
        assert head is not None
        return head.cursor

    def plant(self, name: str, *records: str) -> None:
        """A first commit of these records, as if they had been read."""
        writer = PartWriter(self.objects, SOURCE.tables[name])
        for record in records:
            writer.write(b'{"_lake":{"at":"2026-11-22T13:00:00.000000Z"},"record":' + record.encode() + b"}\n", 1)
        at = "2026-11-22T13:00:01.000000Z"
        self.log(name).append(Commit(1, "stripe", name, "planted", "sync", at, at, parts=(writer.close(),)))

    def sync(self, *names: str, **how: Any) -> dict[str, Extraction | SourceError]:
        """Read tables (all the core ones) in one run, and commit them."""
        done: dict[str, Extraction | SourceError] = {}
        run = open_run(SOURCE, Settings.load(self.env), LogProgress())
        try:
            for table in parents_first([SOURCE.tables[name] for name in names] or CORE):
                parent = self.log(table.parent) if table.parent else None
                try:
                    extraction = extract(
                        run, table, self.log(table.name), run_id="test", parent=parent, progress=LogProgress(), **how
                    )
                    extraction.commit()
                    done[table.name] = extraction
                except SourceError as error:
                    done[table.name] = error
        finally:
            run.close()
        return done

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        log = self.log(name)
        for commit in log.since(0):
            yield from map(json.loads, log.lines(commit))

    def rows(self, name: str) -> dict[tuple[Any, ...], Row]:
        """What the raw log says about every key: its newest version, gone where a deletion or a whole list says so."""
        table = SOURCE.tables[name]
        newest: dict[tuple[Any, ...], tuple[str, Row]] = {}
        complete: dict[tuple[tuple[str, Any], ...], str] = {}
        for line in self.lines(name):
            facts = line["_lake"]
            if facts.get("op") == "complete":
                scope = tuple(facts["scope"].items())
                complete[scope] = max(facts["at"], complete.get(scope, ""))
                continue
            row = Row(line["record"], facts["add"], facts.get("op") == "delete")
            if (key := key_of(table, row)) not in newest or newest[key][0] <= facts["at"]:
                newest[key] = facts["at"], row
        found = {}
        for key, (at, row) in newest.items():
            gone = any(
                at < read and all(value_of(table, row, column) == value for column, value in scope)
                for scope, read in complete.items()
                if not scope or value_of(table, row, scope[0][0]) == scope[0][1]
            )
            found[key] = Row(row.record, row.add, row.deleted or gone)
        return found


def value_of(table: Table, row: Row, name: str) -> Any:
    column = table.column(name)
    value: Any = row.add if column.from_request else row.record
    for step in column.field:
        value = value[step]
    return value


def key_of(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(value_of(table, row, name) for name in table.key)


def without_secrets(table: Table, record: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(bytes(Drop(table.secrets)(json.dumps(record).encode()))) if table.secrets else record
    return kept
