"""A Rocket.Chat workspace in a real MongoDB server: users with their rights, documents, changes as days pass, the ledger.

The server is SecantusDB, a process of its own (`mongodb_server`), a replica set of one with change streams and logins. Tests
may send to `/_sandbox/control`: {"restart": ["--standalone", …]} starts it anew with these arguments, the data kept,
{"rights": ["read@rocketchat", …]} gives the lake's user these roles in place of its own, {"fail": {…}} sets the server's
fail point `failCommand` ({"mode": {"times": 1}, "data": {"failCommands": ["getMore"], "errorCode": 43}}).
"""

from __future__ import annotations

import atexit
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from bson import Int64, ObjectId
from starlette.routing import BaseRoute

from datalake import contracts
from datalake.model import Table
from datalake.sandbox.base import Row
from datalake.sandbox.mongodb_server import ADMIN, Server
from datalake.sandbox.mongodb_workspace import Document, Workspace, Write

DATABASE = "rocketchat"
USER = ("datalake", "sandbox/p@ssword")
RIGHTS = (f"read@{DATABASE}", "read@local", "clusterMonitor@admin")


class Mongo:
    """The stand-in: the server, and the workspace that lies in it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.server = Server()
        atexit.register(self.server.stop)
        self.server.start(login=False)
        with self.server.client(login=False) as client:
            client.admin.command("createUser", ADMIN[0], pwd=ADMIN[1], roles=["root"])
            client.admin.command("createUser", USER[0], pwd=USER[1], roles=_roles(RIGHTS))
            database = client[DATABASE]
            for name, table in workspace.source.tables.items():
                database[table.path].insert_many(workspace.living[name].values(), ordered=False)
        self.server.start()
        self.client = self.server.client()

    # What `base` asks of a stand-in

    @property
    def now(self) -> int:
        return self.workspace.now

    def routes(self) -> Sequence[BaseRoute]:
        return []

    def advance(self, seconds: int) -> dict[str, Any]:
        """Let time pass; tells how many documents were written, changed and deleted."""
        told = {"inserted": 0, "changed": 0, "deleted": 0}
        for write in list(self.workspace.pass_days(seconds)):
            self._write(write)
            told["inserted" if write.before is None else "deleted" if write.after is None else "changed"] += 1
        return told

    def ledger(self, table: str) -> Iterable[Row]:
        of = self.workspace.source.tables[table]
        for document in self.workspace.living[table].values():
            yield Row(_told(of, document))
        for document in self.workspace.gone[table].values():
            yield Row(_told(of, document), deleted=True)

    def control(self, change: dict[str, Any]) -> None:
        for what, how in change.items():
            match what:
                case "restart":
                    self.client.close()
                    self.server.start(*how)
                    self.client = self.server.client()
                case "rights":
                    self.client.admin.command("updateUser", USER[0], roles=_roles(how))
                case "fail":
                    self.client.admin.command({"configureFailPoint": "failCommand", **how})
                case _:
                    raise ValueError(f"there is no control '{what}'")

    def environment(self, url: str) -> dict[str, str]:  # noqa: ARG002  the lake speaks to the server itself
        user, password = USER[0], USER[1].replace("/", "%2F").replace("@", "%40")
        return {
            "MONGODB_URL": f"mongodb://{user}:{password}@127.0.0.1:{self.server.port}/?authSource=admin",
            "MONGODB_DATABASE": DATABASE,
        }

    def _write(self, write: Write) -> None:
        collection = self.client[DATABASE][write.table.path]
        if write.after is None:
            collection.delete_one({"_id": write.id})
        elif write.before is None:
            collection.insert_one(write.after)
        else:
            before = write.before
            changed = {name: value for name, value in write.after.items() if name not in before or before[name] != value}
            collection.update_one({"_id": write.id}, {"$set": changed})


def build(*, seed: int, scale: float, now: int, limits: bool) -> Mongo:  # noqa: ARG001  MongoDB has no limits of calls
    return Mongo(Workspace(contracts.load_source("mongodb"), seed, scale, now))


def _roles(rights: Iterable[str]) -> list[dict[str, str]]:
    return [dict(zip(("role", "db"), right.split("@"), strict=True)) for right in rights]


def _told(table: Table, document: Document) -> dict[str, Any]:
    """A document as the ledger tells it: dates and numbers of columns plain, what lies deeper in Extended JSON."""
    plain = {column.field for column in table.columns if column.type.kind != "json"}
    told: dict[str, Any] = {}
    for name, value in document.items():
        match value:
            case dt.datetime() if (name,) in plain:
                told[name] = value.isoformat()
            case Int64() if (name,) in plain:
                told[name] = int(value)
            case _:
                told[name] = _extended(value)
    return told


def _extended(value: Any) -> Any:
    match value:
        case dict():
            return {name: _extended(inner) for name, inner in value.items()}
        case list():
            return [_extended(inner) for inner in value]
        case dt.datetime():
            return {"$date": {"$numberLong": str(round(value.timestamp() * 1000))}}
        case ObjectId():
            return {"$oid": str(value)}
        case Int64():
            return {"$numberLong": str(value)} if -(2**31) <= value < 2**31 else int(value)
    return value
