"""MongoDB: the connection, who is asking, and the way each collection is read. BSON, whole readings and changes have modules.

    collection    whole once, by ranges of `_id` (`mongodb_whole`), then what the change stream tells (`mongodb_changes`). Where
                  the server has no change streams: what its update field says has changed, and whole again every week.

A table's `path` is its collection, `params` may hold `database`, where it is not the one of the settings, and `fields`, where
only those are read. Secrets are left out by the server; no event of a change stream carries them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from datalake.model import Source
from datalake.settings import Settings
from datalake.sources.base import Ask, Item, Permanent
from datalake.sources.mongodb_changes import NoStream, follow
from datalake.sources.mongodb_poll import poll, whole_list, window
from datalake.sources.mongodb_run import MongoRun
from datalake.sources.mongodb_sample import NEVER
from datalake.sources.progress import Progress


def open_run(settings: Settings, source: Source, progress: Progress) -> MongoRun:  # noqa: ARG001  the engine tells it
    """One run of MongoDB. Nothing is asked yet. Raises SettingError."""
    return MongoRun(source, settings, {"collection": collection})


def identify(run: MongoRun) -> str:
    """Who is asking, what is there to read, how changes are told."""
    with run.told("the login"):
        status = run.client.admin.command("connectionStatus")["authInfo"]
        users = (
            ", ".join(f"{user['user']} ({user['db']})" for user in status["authenticatedUsers"]) or "nobody (no login asked)"
        )
        roles = ", ".join(sorted({f"{role['role']} on {role['db']}" for role in status["authenticatedUserRoles"]}))
        tables = [table for table in run.source.tables.values() if table.rows == "collection"]
        names = {run.name_of_database(table) for table in tables}
        there = {(name, found) for name in names for found in run.client[name].list_collection_names()}
        without = sum(
            not any(fnmatch.fnmatchcase(found, pattern) for pattern in NEVER) and found not in {table.path for table in tables}
            for _, found in there
        )
        found = sum((run.name_of_database(table), table.path) in there for table in tables)
        if run.tells_changes:
            oplog = run.oplog
            memory = (
                f"of the last {oplog.hours:.1f} hours"
                if oplog
                else "for a time that the user may not see (needs read on local)"
            )
            changes = f"changes are told {memory}"
            if oplog and oplog.full and oplog.hours < 24:
                changes += "; it should be a day or more: enlarge the oplog"
        else:
            changes = "no replica set, so changes are found by update fields and deletions by whole readings"
        version = run.client.server_info()["version"]
    more = f", and {without} without a contract (`datalake contract propose mongodb.<collection>`)" if without else ""
    return (
        f"{users}{f', {roles}' if roles else ''}, on MongoDB {version} at {run.hosts}; {found} of {len(tables)} collections "
        f"are in {', '.join(sorted(names))}{more}; {changes}"
    )


def collection(run: MongoRun, ask: Ask) -> Iterator[Item]:
    table = ask.table
    database, known = run.name_of_database(table), ask.cursor.get("database")
    if known is not None and known != database:
        raise Permanent(
            f"{table.id}: it was read from the database {known}, and the settings now say {database}. Set MONGODB_DATABASE "
            "back, or run with --full to read the table anew from there"
        )
    if ask.window is not None:
        yield from window(run, ask)
        return
    kind = run.kind(table)
    if not kind:
        ask.note(f"there is no collection {database}.{table.path}; a collection exists once something was written to it")
    if kind in ("view", "timeseries"):
        yield from whole_list(run, ask)
    elif run.tells_changes:
        try:
            yield from follow(run, ask)
        except NoStream as why:
            ask.note(f"no change stream can be opened ({why}): changes are found by the update field, deletions once a week")
            yield from poll(run, ask)
    else:
        yield from poll(run, ask)
