"""A raw layer that tests fill from Xero's stand-in, and what it says of each row, told in plain Python."""

import json
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Table
from datalake.sandbox.base import Row
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceError, Window
from datalake.sources.engine import Extraction, extract
from datalake.sources.progress import LogProgress

SOURCE = contracts.load_source("xero")
ALL = sorted(SOURCE.tables, key=lambda name: SOURCE.tables[name].parent is not None)
"""Parents before children."""


class RawLake:
    """Raw logs and kept tokens in a folder. `env` points at the stand-in; more settings may be added to it."""

    def __init__(self, folder: Path, env: dict[str, str], **settings: str) -> None:
        self.secrets = Path(env.get("DATALAKE_SECRETS", folder / "secrets.json"))
        self.objects = Objects(str(folder / "lake"))
        self.settings = Settings.load({**env, "DATALAKE_SECRETS": str(self.secrets), **settings})

    def log(self, name: str) -> RawLog:
        return RawLog(self.objects, SOURCE.tables[name])

    def sync(self, *names: str, window: Window | None = None, full: bool = False) -> dict[str, Extraction | SourceError]:
        """The tables (all where none is named) in one run, one after another; committed, or the error that ended them."""
        done: dict[str, Extraction | SourceError] = {}
        run = open_run(SOURCE, self.settings, LogProgress())
        try:
            for name in names or ALL:
                table = SOURCE.tables[name]
                parent = self.log(table.parent) if table.parent else None
                options: Any = {"run_id": "test", "parent": parent, "window": window, "full": full, "progress": LogProgress()}
                try:
                    extraction = extract(run, table, self.log(name), **options)
                    extraction.commit()
                    done[name] = extraction
                except SourceError as error:
                    done[name] = error
        finally:
            run.close()
        return done

    def read(self, name: str, **how: Any) -> Extraction:
        """One table that must not fail."""
        (done,) = self.sync(name, **how).values()
        assert isinstance(done, Extraction), done
        return done

    def fail(self, name: str) -> SourceError:
        """One table that must fail."""
        (done,) = self.sync(name).values()
        assert isinstance(done, SourceError)
        return done

    def kept(self) -> dict[str, Any]:
        """The login as it is kept."""
        kept: dict[str, Any] = json.loads(json.loads(self.secrets.read_text())["XERO_TOKEN"])
        return kept

    def cursor(self, name: str) -> dict[str, Any]:
        head = self.log(name).head()
        return head.cursor if head else {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        log = self.log(name)
        return [json.loads(line) for commit in log.since(0) for line in log.lines(commit)]

    def rows(self, name: str) -> dict[tuple[Any, ...], Row]:
        """The newest version of every row, and whether a complete list showed that it is gone."""
        table = SOURCE.tables[name]
        newest: dict[tuple[Any, ...], tuple[str, Row]] = {}
        scopes: list[tuple[str, dict[str, Any]]] = []
        for line in self.lines(name):
            facts = line["_lake"]
            if facts.get("op") == "complete":
                scopes.append((facts["at"], facts["scope"]))
            else:
                row = Row(line["record"], facts["add"], facts.get("op") == "delete")
                key = tuple(value_of(table, row, column) for column in table.key)
                if key not in newest or newest[key][0] <= facts["at"]:
                    newest[key] = facts["at"], row
        found = {}
        for key, (at, row) in newest.items():
            gone = any(
                at < read and all(value_of(table, row, column) == value for column, value in scope.items())
                for read, scope in scopes
            )
            found[key] = Row(row.record, row.add, row.deleted or gone)
        return found

    def alive(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {key: row.record for key, row in self.rows(name).items() if not row.deleted}


def value_of(table: Table, row: Row, name: str) -> Any:
    column = table.column(name)
    value: Any = row.add if column.from_request else row.record
    for step in column.field:
        value = value[step]
    return value


def truth(table_name: str, ledger: list[Row]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The ledger's living rows by key."""
    table = SOURCE.tables[table_name]
    return {tuple(value_of(table, row, column) for column in table.key): row.record for row in ledger if not row.deleted}
