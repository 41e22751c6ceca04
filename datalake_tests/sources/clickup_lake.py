"""A raw layer that tests fill from ClickUp's stand-in, and which rows it says live, told in plain Python."""

import json
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Table
from datalake.sandbox.base import Row, Server
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceError, Window
from datalake.sources.engine import Extraction, extract
from datalake.sources.progress import LogProgress
from datalake.sources.records import Drop

SOURCE = contracts.load_source("clickup")
PLACES = ("workspaces", "spaces", "folders", "lists")
TASKS = (*PLACES, "tasks")


class RawLake:
    """Raw logs in a folder. `env` points at the stand-in; more settings may be added to it."""

    def __init__(self, folder: Path, env: dict[str, str], **settings: str) -> None:
        self.objects = Objects(str(folder))
        self.settings = Settings.load({"DATALAKE_URL": str(folder), **env, **settings})

    def log(self, name: str) -> RawLog:
        return RawLog(self.objects, SOURCE.tables[name])

    def sync(self, *names: str, window: Window | None = None, full: bool = False) -> dict[str, Extraction]:
        """The tables in one run, one after another, each committed. The first error is raised, its work kept."""
        run = open_run(SOURCE, self.settings, LogProgress())
        done = {}
        try:
            for name in names:
                table = SOURCE.tables[name]
                parent = self.log(table.parent) if table.parent else None
                options: Any = {"run_id": "test", "parent": parent, "window": window, "full": full, "progress": LogProgress()}
                done[name] = extract(run, table, self.log(name), **options)
                done[name].commit()
        finally:
            run.close()
        return done

    def error(self, *names: str) -> SourceError:
        """What the sync of these tables fails with."""
        try:
            self.sync(*names)
        except SourceError as error:
            return error
        raise AssertionError(f"{', '.join(names)} could be read")

    def cursor(self, name: str) -> dict[str, Any]:
        head = self.log(name).head()
        return head.cursor if head else {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        log = self.log(name)
        return [json.loads(line) for commit in log.since(0) for line in log.lines(commit)]

    def living(self, name: str) -> dict[tuple[Any, ...], Row]:
        """The newest version of every row that neither a deletion nor a complete reading says is gone."""
        table = SOURCE.tables[name]
        newest: dict[tuple[Any, ...], tuple[str, Row]] = {}
        scopes: list[tuple[str, dict[str, Any]]] = []
        for line in self.lines(name):
            facts = line["_lake"]
            if facts.get("op") == "complete":
                scopes.append((facts["at"], facts["scope"]))
                continue
            row = Row(line["record"], facts.get("add", {}), facts.get("op") == "delete")
            if (key := key_of(table, row)) not in newest or newest[key][0] <= facts["at"]:
                newest[key] = facts["at"], row
        return {
            key: row
            for key, (at, row) in newest.items()
            if not row.deleted
            and not any(at < read and all(value_of(table, row, n) == v for n, v in scope.items()) for read, scope in scopes)
        }

    def differences(self, name: str, server: Server) -> list[str]:
        """Where the living rows are not those of the stand-in's ledger; empty where they are."""
        table = SOURCE.tables[name]
        drop = Drop(table.secrets)
        told = {key_of(table, row): row for row in server.ledger(name)}
        found = self.living(name)
        wrong = [f"missing: {key}" for key in told.keys() - found.keys()]
        wrong += [f"too many: {key}" for key in found.keys() - told.keys()]
        for key in told.keys() & found.keys():
            if json.loads(bytes(drop(json.dumps(told[key].record).encode()))) != found[key].record:
                wrong.append(f"differs: {key}")
        return wrong


def key_of(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(value_of(table, row, name) for name in table.key)


def value_of(table: Table, row: Row, name: str) -> Any:
    column = table.column(name)
    value: Any = row.add if column.from_request else row.record
    for step in column.field:
        value = value.get(step) if isinstance(value, dict) else None
    return value
