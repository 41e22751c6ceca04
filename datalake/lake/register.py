"""Making published tables known where people query: the file lake.duckdb on a laptop, Glue and Athena on AWS.

Every registration is proved by a count on the engine people use. Publishing rows does not live here, and neither does Athena's
own side (`athena`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datalake.lake.lake import Lake
from datalake.lake.sql import CATALOG, columns, literal, quote, relation
from datalake.model import Table, jsonable
from datalake.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.table import Table as IcebergTable

FILE = "lake.duckdb"
_BUILD = "registering"
_REGISTRATIONS = quote(_BUILD, "datalake", "registrations")


class CountDiffers(Exception):
    """The engine that people use counts other rows than were published; the old registration stands."""


class NotPublished(LookupError):
    """The table has never been published in this lake."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A table as people find it now. `rows` was counted by `engine` (`duckdb` or `athena`) through the registration."""

    rows: int
    metadata_location: str
    uri: str
    seconds: float
    engine: str


def register(lake: Lake, table: Table) -> Registration:
    """Make the catalog people use agree with the contract and with what is published, and prove it by a count.

    Raises NotPublished, CountDiffers.
    """
    begun = time.monotonic()
    published = _published(lake, table)
    if lake.settings.on_aws:
        from datalake.lake import athena

        assert lake.s3 is not None
        engine = "athena"
        rows = athena.count(lake.settings, lake.s3, table)
        _agree(lake, table, published, rows, engine)
        athena.describe(lake, table, published.metadata_location, digest(table))
    elif lake.s3:
        # The REST catalog itself is where people find the table: what is left is the proof.
        engine = "duckdb"
        rows = _count(lake, table)
        _agree(lake, table, published, rows, engine)
    else:
        engine = "duckdb"
        rows = _into_file(lake, table, published)
    return Registration(rows, published.metadata_location, published.location(), time.monotonic() - begun, engine)


def athena_query(settings: Settings, sql: str) -> Any:
    """Ask Athena: its DB-API cursor, with `as_arrow()` for the whole answer at once."""
    from datalake.lake import athena

    return athena.query(settings, sql)


def registered(lake: Lake, table: Table) -> bool:
    """Whether the registration shows what is published now, under the contract as it is now."""
    from datalake.lake.catalog import load_or_none

    published = load_or_none(lake.catalog, table.identifier)
    if published is None:
        return False
    if lake.settings.on_aws:
        from datalake.lake import athena

        return athena.described(lake, table, published, digest(table))
    if lake.s3:
        return False
    path = _path(lake.settings)
    with _locked(path):
        if not path.exists():
            return False
        with _attached(lake, path, read_only=True) as connection:
            found = connection.execute(
                f"SELECT 1 FROM {_REGISTRATIONS} "  # noqa: S608 - a constant
                "WHERE source = ? AND name = ? AND metadata_location = ? AND contract = ?",
                [table.source, table.name, published.metadata_location, digest(table)],
            )
            return found.fetchone() is not None


def query_connection(settings: Settings) -> DuckDBPyConnection:
    """A read-only connection to lake.duckdb, where `stripe.charges` is a view of the published table.

    Opens in a quarter of a second and imports no catalog; an s3:// lake has no such file, and is asked through its catalog.
    Raises FileNotFoundError before the first registration.
    """
    from datalake.lake.engine import open_duckdb

    if settings.lake_url.startswith("s3://"):
        lake = Lake(settings)  # its catalog is served as long as the process lives
        namespaces = sorted(lake.catalog.list_namespaces())
        if not namespaces:
            raise FileNotFoundError(f"nothing has been published in {settings.lake_url} yet; run `datalake sync`")
        connection = lake.connect()
        connection.execute(f"USE {quote(CATALOG, *namespaces[0])}")
        return connection
    path = _path(settings)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: nothing has been published in this lake yet; run `datalake sync`")
    connection = open_duckdb(settings)
    # Attached, not opened: DuckDB would hand out the instance that this process opened on the file's predecessor.
    connection.execute(f"ATTACH {literal(str(path))} AS {quote(CATALOG)} (READ_ONLY)")
    connection.execute(f"USE {quote(CATALOG)}")
    return connection


def digest(table: Table) -> str:
    """Fingerprint of everything that a registration tells of the contract."""
    return hashlib.sha256(json.dumps(jsonable(table), sort_keys=True).encode()).hexdigest()[:16]


def published_rows(published: IcebergTable) -> int | None:
    """Rows of the published snapshot by its summary: records in files less positions deleted. None where it does not say."""
    snapshot = published.metadata.current_snapshot()
    if snapshot is None:
        return 0
    summary: dict[str, Any] = snapshot.summary.additional_properties if snapshot.summary else {}
    if "total-records" not in summary or int(summary.get("total-equality-deletes", 0)):
        return None
    return int(summary["total-records"]) - int(summary.get("total-position-deletes", 0))


def _published(lake: Lake, table: Table) -> IcebergTable:
    from datalake.lake.catalog import load_or_none

    published = load_or_none(lake.catalog, table.identifier)
    if published is None:
        raise NotPublished(f"{table.id} has not been published yet: run `datalake sync {table.id}`")
    return published


def _agree(lake: Lake, table: Table, published: IcebergTable, rows: int, engine: str) -> None:
    """Refuse a count that is not what was published, unless another writer published meanwhile and it is theirs."""
    expected = published_rows(published)
    if expected is None or rows == expected or rows == published_rows(_published(lake, table)):
        return
    raise CountDiffers(
        f"{table.id}: {engine} counts {rows} rows where {expected} were published ({published.metadata_location}); "
        "the old registration stands. Read the table with another engine (`datalake catalog serve`) to see which is right"
    )


def _path(settings: Settings) -> Path:
    return Path(settings.lake_url) / FILE


def _into_file(lake: Lake, table: Table, published: IcebergTable) -> int:
    """Set the table's view in lake.duckdb. The file is built aside and renamed: readers have the old one or the new one.

    Any DuckDB client of the version can open the file after `LOAD iceberg`. It is not for writing: the next registration
    replaces it.
    """
    path = _path(lake.settings)
    with _locked(path):
        build = path.with_name(f".{FILE}.build")
        _remove(build)
        if path.exists():
            shutil.copyfile(path, build)
        try:
            with _attached(lake, build) as connection:
                rows = _set_view(lake, connection, table, published)
            build.chmod(0o444)
            build.replace(path)
        finally:
            _remove(build)
    return rows


def _remove(build: Path) -> None:
    build.unlink(missing_ok=True)
    build.with_name(build.name + ".wal").unlink(missing_ok=True)


def _set_view(lake: Lake, connection: DuckDBPyConnection, table: Table, published: IcebergTable) -> int:
    view = quote(_BUILD, *table.identifier)
    fields = {field.name: field.doc or "" for field in published.schema().fields}
    about = {column.name: f"{column.about} [{column.classification}]" for column in table.columns if column.name in fields}
    about |= {name: fields[name] for name in columns(table) if name in fields and name not in about}
    comment = (
        f"{table.about} Key: {', '.join(table.key) or 'none'}. Owners: {table.technical_owner} (technical), "
        f"{table.business_owner} (business). Classification: {table.classification}. {table.doc}"
    )
    statements = (
        f"CREATE SCHEMA IF NOT EXISTS {quote(_BUILD, table.source)};"  # noqa: S608 - every name is quoted
        f"CREATE SCHEMA IF NOT EXISTS {quote(_BUILD, 'datalake')};"
        f"CREATE TABLE IF NOT EXISTS {_REGISTRATIONS} (source VARCHAR, name VARCHAR, rows BIGINT, metadata_location VARCHAR, "
        "contract VARCHAR, registered_at TIMESTAMPTZ, PRIMARY KEY (source, name));"
        f"CREATE OR REPLACE VIEW {view} AS SELECT {', '.join(map(quote, about))} "
        f"FROM iceberg_scan({literal(published.metadata_location)});"
        f"COMMENT ON VIEW {view} IS {literal(comment)};"
    )
    comments = (f"COMMENT ON COLUMN {view}.{quote(name)} IS {literal(text)};" for name, text in about.items())
    connection.execute(statements + "".join(comments))
    rows = _one_number(connection.execute(f"SELECT count(*) FROM {view}"))  # noqa: S608 - the name is quoted
    _agree(lake, table, published, rows, "duckdb")
    connection.execute(
        f"INSERT OR REPLACE INTO {_REGISTRATIONS} VALUES (?, ?, ?, ?, ?, now())",  # noqa: S608 - the name is quoted
        [table.source, table.name, rows, published.metadata_location, digest(table)],
    )
    return rows


def _count(lake: Lake, table: Table) -> int:
    connection = lake.connect()
    try:
        return _one_number(connection.execute(f"SELECT count(*) FROM {relation(table)}"))  # noqa: S608 - the name is quoted
    finally:
        connection.close()


def _one_number(answer: DuckDBPyConnection) -> int:
    row = answer.fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One at a time, over threads and processes."""
    with path.with_name(f".{FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _attached(lake: Lake, path: Path, *, read_only: bool = False) -> Iterator[DuckDBPyConnection]:
    """A connection with the file attached; attaching saves the quarter second of a new instance. Call under the lock."""
    connection = lake.connect()
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS {quote(_BUILD)} ({'READ_ONLY' if read_only else 'READ_WRITE'})")
        try:
            yield connection
        finally:
            connection.execute(f"DETACH {quote(_BUILD)}")
    finally:
        connection.close()
