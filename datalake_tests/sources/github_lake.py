"""A raw layer that tests fill from GitHub's stand-in, and what it says of each row, told in plain Python."""

import json
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Column, Table
from datalake.sandbox.base import Row
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceRun, Window
from datalake.sources.engine import Extraction, extract
from datalake.sources.progress import LogProgress

SOURCE = contracts.load_source("github")
CORE = [table.name for table in SOURCE.tables.values() if table.core]
ORDER = sorted(CORE, key=lambda name: SOURCE.tables[name].parent is not None)
"""Parents before children."""


class RawLake:
    """Raw logs in a folder. `env` points at the stand-in; more settings may be added to it."""

    def __init__(self, folder: Path, env: dict[str, str], **settings: str) -> None:
        self.objects = Objects(str(folder))
        self.settings = Settings.load({**env, **settings})

    def log(self, name: str) -> RawLog:
        return RawLog(self.objects, SOURCE.tables[name])

    def open(self) -> SourceRun:
        return open_run(SOURCE, self.settings, LogProgress())

    def read(self, run: SourceRun, name: str, window: Window | None = None, *, full: bool = False) -> Extraction:
        """One table, committed."""
        table = SOURCE.tables[name]
        parent = self.log(table.parent) if table.parent else None
        options: Any = {"run_id": "test", "parent": parent, "window": window, "full": full, "progress": LogProgress()}
        extraction = extract(run, table, self.log(name), **options)
        extraction.commit()
        return extraction

    def sync(self, *names: str, window: Window | None = None, full: bool = False) -> dict[str, Extraction]:
        """The tables in one run, one after another; all 24 where none is named."""
        run = self.open()
        try:
            return {name: self.read(run, name, window, full=full) for name in names or ORDER}
        finally:
            run.close()

    def cursor(self, name: str) -> dict[str, Any]:
        head = self.log(name).head()
        return head.cursor if head else {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        log = self.log(name)
        return [json.loads(line) for commit in log.since(0) for line in log.lines(commit)]

    def rows(self, name: str) -> dict[tuple[Any, ...], Row]:
        """The newest version of every row, and whether a complete list showed that it is gone."""
        table = SOURCE.tables[name]
        found: dict[tuple[Any, ...], tuple[str, Row]] = {}
        for line in self.lines(name):
            facts = line["_lake"]
            if facts.get("op") == "complete":
                for key, (at, row) in found.items():
                    if at < facts["at"] and all(_value(table, row, n) == v for n, v in facts["scope"].items()):
                        found[key] = at, Row(row.record, row.add, deleted=True)
                continue
            row = Row(line["record"], facts["add"])
            key = key_of(table, row)
            if key not in found or found[key][0] <= facts["at"]:
                found[key] = facts["at"], row
        return {key: row for key, (_, row) in found.items()}

    def differences(self, name: str, ledger: list[Row]) -> list[str]:
        """Where the newest rows are not what the ledger says; empty where they are."""
        table = SOURCE.tables[name]
        told = {key_of(table, row): row for row in ledger}
        found = self.rows(name)
        assert len(told) == len(ledger), f"the ledger of {name} holds a key twice"
        wrong = [f"missing {key}" for key in told.keys() - found.keys()]
        wrong += [f"too many: {key}" for key in found.keys() - told.keys()]
        for key in told.keys() & found.keys():
            if told[key].deleted != found[key].deleted:
                wrong.append(f"{key}: deleted is {found[key].deleted}")
            elif not told[key].deleted and told[key].record != found[key].record:
                both = told[key].record, found[key].record
                names = [n for n in both[0].keys() | both[1].keys() if both[0].get(n) != both[1].get(n)]
                wrong.append(f"{key}: {names} differ: {[(both[0].get(n), both[1].get(n)) for n in names][:1]}")
            elif any(found[key].add.get(name) != value for name, value in told[key].add.items()):
                wrong.append(f"{key}: facts {found[key].add}, must be {told[key].add}")
        return wrong


def key_of(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(_value(table, row, name) for name in table.key)


def _value(table: Table, row: Row, name: str) -> Any:
    column: Column = table.column(name)
    value: Any = row.add if column.from_request else row.record
    for step in column.field:
        value = value.get(step) if isinstance(value, dict) else None
    return value
