"""A raw layer that tests fill from a stand-in, and what it says of each row, told in plain Python. Treating is not here."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import Commit, PartWriter, RawLog
from datalake.model import Source, Table
from datalake.sandbox.base import Row
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceError, SourceRun
from datalake.sources.engine import Extraction, extract
from datalake.sources.progress import LogProgress
from datalake.sources.records import Drop

Key = tuple[Any, ...]


class RawLake:
    """One source's raw logs in a folder. `env` points at the stand-in; more settings may be added to it."""

    def __init__(self, source: str, folder: Path, env: Mapping[str, str], **settings: str) -> None:
        self.source = contracts.load_source(source)
        self.objects = Objects(str(folder))
        self.settings = Settings.load({"DATALAKE_URL": str(folder), **env, **settings})

    def log(self, name: str) -> RawLog:
        return RawLog(self.objects, self.source.tables[name])

    def open(self) -> SourceRun:
        return open_run(self.source, self.settings, LogProgress())

    def read(self, run: SourceRun, name: str, **how: Any) -> Extraction:
        """One table, committed. `how` are `extract`'s options. Raises what reading raised, the work until then kept."""
        table = self.source.tables[name]
        parent = self.log(table.parent) if table.parent else None
        extraction = extract(run, table, self.log(name), run_id="test", parent=parent, progress=LogProgress(), **how)
        extraction.commit()
        return extraction

    def sync(self, *names: str, **how: Any) -> dict[str, Extraction]:
        """The tables (all core ones where none is named) in one run, one after another. The first error is raised."""
        run = self.open()
        try:
            return {name: self.read(run, name, **how) for name in names or core(self.source)}
        finally:
            run.close()

    def attempt(self, *names: str, **how: Any) -> dict[str, Extraction | SourceError]:
        """The same, but an error stands at its table, and the others are read."""
        done: dict[str, Extraction | SourceError] = {}
        run = self.open()
        try:
            for name in names or core(self.source):
                try:
                    done[name] = self.read(run, name, **how)
                except SourceError as error:
                    done[name] = error
        finally:
            run.close()
        return done

    def error(self, *names: str, **how: Any) -> SourceError:
        """What the sync of these tables fails with."""
        try:
            self.sync(*names, **how)
        except SourceError as error:
            return error
        raise AssertionError(f"{', '.join(names)} could be read")

    def plant(self, name: str, *records: str) -> None:
        """A first commit of these records, as if they had been read."""
        writer = PartWriter(self.objects, self.source.tables[name])
        for record in records:
            facts = b'{"_lake":{"at":"2026-11-22T13:00:00.000000Z","add":{}},"record":'
            writer.write(facts + record.encode() + b"}\n", 1)
        at = "2026-11-22T13:00:01.000000Z"
        self.log(name).append(Commit(1, self.source.name, name, "planted", "sync", at, at, parts=(writer.close(),)))

    def cursor(self, name: str) -> dict[str, Any]:
        """The state that was reached; empty before the first commit."""
        head = self.log(name).head()
        return head.cursor if head else {}

    def lines(self, name: str, after: int = 0) -> list[dict[str, Any]]:
        """All lines of the commits after that sequence number."""
        log = self.log(name)
        return [json.loads(line) for commit in log.since(after) for line in log.lines(commit)]

    def rows(self, name: str) -> dict[Key, Row]:
        """The newest version of every row, deleted where a deletion or a complete reading says that it is gone."""
        table = self.source.tables[name]
        newest: dict[Key, tuple[str, Row]] = {}
        complete: dict[tuple[str, ...], dict[Key, str]] = {}  # by the scope's columns and their values: read at
        for line in self.lines(name):
            facts = line["_lake"]
            if facts.get("op") == "complete":
                read = complete.setdefault(tuple(facts["scope"]), {})
                scope = tuple(facts["scope"].values())
                read[scope] = max(facts["at"], read.get(scope, ""))
                continue
            row = Row(line["record"], facts["add"], facts.get("op") == "delete")
            if (key := key_of(table, row)) not in newest or newest[key][0] <= facts["at"]:
                newest[key] = facts["at"], row
        return {
            key: Row(row.record, row.add, row.deleted or any(at < gone for gone in _whole(table, row, complete)))
            for key, (at, row) in newest.items()
        }

    def living(self, name: str) -> dict[Key, Row]:
        return {key: row for key, row in self.rows(name).items() if not row.deleted}

    def differences(self, name: str, ledger: Iterable[Row]) -> list[str]:
        """Where the newest rows are not what the ledger says; empty where they are. Of a deleted row only key and mark count.

        A ledger that names deleted rows must name all of them; others forget what is gone. Of the facts of the request
        those count that the ledger names and a column holds.
        """
        table = self.source.tables[name]
        rows = list(ledger)
        told, found = {key_of(table, row): row for row in rows}, self.rows(name)
        facts = {column.field[0] for column in table.columns if column.from_request}
        assert len(told) == len(rows), f"the ledger of {name} holds a key twice"
        wrong = [f"missing: {key}" for key in told.keys() - found.keys()]
        forgets = not any(row.deleted for row in rows)
        wrong += [f"too many: {key}" for key in found.keys() - told.keys() if not (found[key].deleted and forgets)]
        for key in told.keys() & found.keys():
            if told[key].deleted != found[key].deleted:
                wrong.append(f"{key}: deleted is {found[key].deleted}")
            elif not told[key].deleted:
                expected, record = without_secrets(table, told[key].record), found[key].record
                names = [each for each in expected.keys() | record.keys() if expected.get(each) != record.get(each)]
                if expected != record:
                    wrong.append(f"{key}: {names} differ: {[(expected.get(each), record.get(each)) for each in names][:1]}")
                if any(found[key].add.get(each) != told[key].add[each] for each in facts & told[key].add.keys()):
                    wrong.append(f"{key}: facts {found[key].add}, must be {told[key].add}")
        return wrong


def parents_first(source: Source) -> list[Table]:
    def depth(table: Table) -> int:
        return 1 + depth(source.tables[table.parent]) if table.parent else 0

    return sorted(source.tables.values(), key=depth)


def core(source: Source) -> list[str]:
    """The core tables, parents before children."""
    return [table.name for table in parents_first(source) if table.core]


def key_of(table: Table, row: Row) -> Key:
    return tuple(_value(table, row, name) for name in table.key)


def without_secrets(table: Table, record: dict[str, Any]) -> dict[str, Any]:
    """The record as the raw layer may hold it."""
    kept: dict[str, Any] = json.loads(bytes(Drop(table.secrets)(json.dumps(record).encode())))
    return kept


def _value(table: Table, row: Row, name: str) -> Any:
    column = table.column(name)
    value: Any = row.add if column.from_request else row.record
    for step in column.field:
        value = value[step]
    return value


def _whole(table: Table, row: Row, complete: dict[tuple[str, ...], dict[Key, str]]) -> Iterable[str]:
    """When the scopes that this row is in were read whole."""
    for names, read in complete.items():
        values = tuple(_value(table, row, name) for name in names)
        if values in read:
            yield read[values]
