"""One lake: its objects, raw logs, Iceberg catalog and DuckDB, opened from the settings. What they do is elsewhere."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.lake.told import as_told, table_like
from datalake.model import Source, Table
from datalake.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.catalog import Catalog

    from datalake.lake.catalog import CatalogServer
    from datalake.lake.s3 import S3


class Lake:
    """The lake that the settings name. Nothing is opened or imported before it is used; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._catalog: Catalog | None = None
        self._rest: CatalogServer | None = None
        self._duckdb: DuckDBPyConnection | None = None
        self._secret = ""
        self._spill = ""

    @cached_property
    def s3(self) -> S3 | None:
        """Access to the bucket; None for a folder."""
        if not self.settings.lake_url.startswith("s3://"):
            return None
        from datalake.lake.s3 import S3

        return S3(self.settings)

    @cached_property
    def objects(self) -> Objects:
        return Objects(self.settings.lake_url, self.s3.obstore() if self.s3 else None)

    @property
    def catalog(self) -> Catalog:
        """pyiceberg's catalog: DATALAKE_CATALOG. Importing pyiceberg costs about two CPU seconds, once a process."""
        from datalake.lake.catalog import open_catalog

        with self._lock:
            if self._catalog is None:
                self._catalog = open_catalog(self.settings, self.s3)
            return self._catalog

    @property
    def _server(self) -> CatalogServer:
        from datalake.lake.catalog import CatalogServer

        with self._lock:
            if self._rest is None:
                self._rest = CatalogServer(self.catalog, writable=True)
                self._rest.start()
            return self._rest

    def log(self, table: Table) -> RawLog:
        return RawLog(self.objects, table)

    def told(self, table: Table) -> Table:
        """The table as it is published: its contract, and the columns that the source told of beyond it."""
        treated = int(self.properties(table).get("datalake.raw_commit", 0))
        return as_told(table, self.log(table).read(treated).told) if treated else table

    def as_read(self, table: Table) -> Table:
        """The table as it was read last: nothing but the raw log is looked at."""
        head = self.log(table).head()
        return as_told(table, head.told if head else None)

    def found(self, source: Source) -> list[Table]:
        """Tables without a contract that the source told of and that were read."""
        tables = []
        template = next(iter(source.tables.values()))
        for name in self.objects.folders(f"raw/{source.name}"):
            head = None if name in source.tables else self.log(replace(template, name=name)).head()
            if head is not None and head.told is not None and head.told.like in source.tables:
                tables.append(table_like(source.tables[head.told.like], name, head.told))
        return tables

    def connect(self) -> DuckDBPyConnection:
        """A DuckDB connection that reads and writes the treated tables as `lake.<source>.<table>`. Close it after use.

        Connections are cursors of one instance: they cost a millisecond, have transactions of their own, and share the memory
        and threads of the settings however many work side by side.
        """
        with self._lock:
            if self._duckdb is None:
                self._duckdb = self._open()
            if self.s3:
                secret = self.s3.duckdb_secret()
                if secret != self._secret:
                    self._duckdb.execute(secret)
                    self._secret = secret
            return self._duckdb.cursor()

    def _open(self) -> DuckDBPyConnection:
        from datalake.lake.engine import open_duckdb
        from datalake.lake.sql import CATALOG, literal, quote

        connection = open_duckdb(self.settings)
        self._spill = tempfile.mkdtemp(prefix="datalake-spill-")
        connection.execute(f"SET temp_directory = {literal(self._spill)}")
        # A merge of up to so many rows tells the scan their very keys, not just their bounds, and skips most row groups.
        connection.execute("SET GLOBAL dynamic_or_filter_threshold = 5000")
        connection.execute(f"CREATE SECRET catalog (TYPE iceberg, TOKEN {literal(self._server.token)})")
        connection.execute(
            f"ATTACH {literal(CATALOG)} AS {quote(CATALOG)} (TYPE iceberg, ENDPOINT {literal(self._server.url)}, "
            "SECRET catalog, ACCESS_DELEGATION_MODE 'none', READ_ONLY false)"
        )
        return connection

    def ensure_table(self, table: Table) -> None:
        """Create the treated table, or bring it in step with its contract. Raises tables.IllegalChange."""
        from datalake.lake.tables import ensure

        ensure(self.catalog, table)

    def properties(self, table: Table) -> dict[str, str]:
        """Properties of the treated table as it is published now; {} where it does not exist."""
        from datalake.lake.catalog import load_or_none

        found = load_or_none(self.catalog, table.identifier)
        return dict(found.properties) if found else {}

    def on_commit(self, identifier: tuple[str, ...], properties: dict[str, str]) -> None:
        """Set these table properties in the same catalog commit as the next DuckDB commit of the table.

        They replace what was asked before and not yet committed; {} takes that back (after a rollback).
        """
        self._server.on_commit(identifier, properties)

    def settle(self, identifier: tuple[str, ...]) -> None:
        """Commit properties that still wait: a DuckDB transaction that changed no row makes no catalog commit."""
        properties = self._server.take_properties(identifier)
        if properties:
            with self.catalog.load_table(identifier).transaction() as transaction:
                transaction.set_properties(properties)

    def close(self) -> None:
        """Close DuckDB and the catalog's server, and remove what DuckDB spilled."""
        with self._lock:
            if self._duckdb is not None:
                self._duckdb.close()
                self._duckdb = None
            if self._rest is not None:
                self._rest.shutdown()
                self._rest.server_close()
                self._rest = None
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None
            if self._spill:
                shutil.rmtree(self._spill, ignore_errors=True)
                self._spill = ""
