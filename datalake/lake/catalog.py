"""The Iceberg catalog: the one that the settings name, and a REST face of it on loopback.

DuckDB writes Iceberg only through a catalog that speaks the REST protocol, so the process serves the calls that DuckDB makes
from whatever catalog pyiceberg opens (SQLite, Glue, REST). pyiceberg's own models check and commit. What a table looks like
and who writes it does not live here.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from datalake.lake.s3 import S3
from datalake.model import QUALITY
from datalake.settings import SettingError, Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import CommitTableResponse, Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate

    from datalake.lake.lake import Lake

Identifier = tuple[str, ...]

COMMIT_TRIES = 5
_log = logging.getLogger(__name__)

_READ = (
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
)
_WRITE = (
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/transactions/commit",
)


def open_catalog(settings: Settings, s3: S3 | None) -> Catalog:
    """The catalog of DATALAKE_CATALOG. Tables lie under `<lake>/treated`."""
    kind = settings["DATALAKE_CATALOG"]
    warehouse = f"{settings.lake_url}/treated"
    properties = {"warehouse": warehouse} | (s3.pyiceberg() if s3 else {})
    if kind == "sqlite":
        if s3:
            raise SettingError(
                "DATALAKE_CATALOG=sqlite serves folder lakes only: for s3:// write glue, or the address of a REST catalog"
            )
        # The FileIO on Arrow imports pandas, a second and a half of CPU, to write a few kilobytes of JSON.
        properties["py-io-impl"] = "pyiceberg.io.fsspec.FsspecFileIO"
        return _open_sqlite(Path(settings.lake_url) / "catalog.db", properties)
    if kind == "glue":
        if not s3:
            raise SettingError("DATALAKE_CATALOG=glue needs DATALAKE_URL=s3://bucket/prefix")
        from pyiceberg.catalog.glue import GlueCatalog

        return GlueCatalog("lake", **properties)
    if urlparse(kind).scheme in ("http", "https"):
        from pyiceberg.catalog.rest import RestCatalog

        token = settings["DATALAKE_CATALOG_TOKEN"]
        return RestCatalog("lake", uri=kind, **properties, **({"token": token} if token else {}))
    raise SettingError(f"DATALAKE_CATALOG={kind} is no catalog: write sqlite, glue, or the address of an Iceberg REST catalog")


def _open_sqlite(path: Path, properties: dict[str, str]) -> Catalog:
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import OperationalError

    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(COMMIT_TRIES):
        try:
            # `timeout`: seconds to wait for another process that is just writing.
            return SqlCatalog("lake", uri=f"sqlite:///{path}?timeout=60", **properties)
        except OperationalError:  # another process is creating the catalog's tables at this moment
            if attempt == COMMIT_TRIES - 1:
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("unreachable")


def load_or_none(catalog: Catalog, identifier: Identifier) -> Table | None:
    """The table, or None where the catalog has none of that name."""
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    try:
        return catalog.load_table(identifier)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


class CatalogServer(ThreadingHTTPServer):
    """Serves `catalog` on a loopback port to those who hold `token`; without `writable`, for reading only.

    A transaction over several tables is checked as a whole, then committed table by table, database `quality` first: Iceberg
    catalogs have no commit over many tables, and a verdict without its data is harmless, data without its verdict is not.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, catalog: Catalog, *, port: int = 0, token: str | None = None, writable: bool = False) -> None:
        self.catalog = catalog
        self.token = token or secrets.token_urlsafe(32)
        self.writable = writable
        self._properties: dict[Identifier, dict[str, str]] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a call from %s to the catalog broke off: %s", client_address, request, exc_info=True)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="iceberg-catalog", daemon=True).start()

    def on_commit(self, identifier: Identifier, properties: dict[str, str]) -> None:
        """Put these table properties into the table's next commit; an empty dict takes back what was asked before."""
        with self._lock:
            self._properties.pop(identifier, None)
            if properties:
                self._properties[identifier] = dict(properties)

    def take_properties(self, identifier: Identifier) -> dict[str, str]:
        """Properties that wait for a commit of the table; they wait no longer."""
        with self._lock:
            return self._properties.pop(identifier, {})

    def commit(self, changes: Sequence[dict[str, Any]]) -> list[CommitTableResponse]:
        """Commit changes as the REST protocol writes them. Raises CommitFailedException where a table has moved on."""
        from pyiceberg.table import CommitTableRequest

        requests = []
        for change in changes:
            name = change["identifier"]
            extra = self.take_properties((*name["namespace"], name["name"]))
            updates = [*change.get("updates", []), *([{"action": "set-properties", "updates": extra}] if extra else [])]
            requests.append(CommitTableRequest.model_validate({**change, "updates": updates}))
        requests.sort(key=lambda request: request.identifier.namespace.root[0] != QUALITY)
        named = [((*request.identifier.namespace.root, request.identifier.name), request) for request in requests]
        if len(named) > 1:
            for identifier, request in named:
                _checked(self.catalog, identifier, request.requirements)
        return [commit(self.catalog, identifier, request.requirements, request.updates) for identifier, request in named]


def commit(
    catalog: Catalog,
    identifier: Identifier,
    requirements: tuple[TableRequirement, ...],
    updates: tuple[TableUpdate, ...],
) -> CommitTableResponse:
    """Commit to one table. Raises CommitFailedException where the table no longer meets the requirements."""
    from pyiceberg.exceptions import CommitFailedException

    for attempt in range(COMMIT_TRIES):
        table = _checked(catalog, identifier, requirements)
        try:
            response = catalog.commit_table(table, requirements, updates)
        except CommitFailedException:
            # Somebody else's change came between. If it was a harmless one (a property) the requirements still hold.
            if attempt == COMMIT_TRIES - 1:
                raise
            continue
        _delete_old_metadata(table, response.metadata)
        return response
    raise AssertionError("unreachable")


def _checked(catalog: Catalog, identifier: Identifier, requirements: Sequence[TableRequirement]) -> Table:
    """The table as it is now, which meets the requirements."""
    table = catalog.load_table(identifier)
    for requirement in requirements:
        requirement.validate(table.metadata)
    return table


def _delete_old_metadata(table: Table, metadata: TableMetadata) -> None:
    """Delete metadata files that fell out of the table's log: pyiceberg does so in its own commits only."""
    if metadata.properties.get("write.metadata.delete-after-commit.enabled") != "true":
        return
    kept = {entry.metadata_file for entry in metadata.metadata_log}
    for entry in table.metadata.metadata_log:
        if entry.metadata_file not in kept:
            try:
                table.io.delete(entry.metadata_file)
            except OSError:
                _log.warning("%s: could not delete old metadata %s", ".".join(table.name()), entry.metadata_file)


def table_json(table: Table, *, config: bool) -> bytes:
    """A table as the REST protocol sends it."""
    metadata = table.metadata
    current = metadata.current_snapshot()
    log = metadata.snapshot_log
    if current and (not log or log[-1].snapshot_id != current.snapshot_id):
        # DuckDB 1.5.5 takes the last entry of the log for the present state, not current-snapshot-id, and commits doubled keys
        # where they differ (after a rollback by another tool, say).
        from pyiceberg.table.snapshots import SnapshotLogEntry

        entry = SnapshotLogEntry(**{"snapshot-id": current.snapshot_id, "timestamp-ms": metadata.last_updated_ms})
        metadata = metadata.model_copy(update={"snapshot_log": [*log, entry]})
    head = json.dumps({"metadata-location": table.metadata_location} | ({"config": {}} if config else {}))
    return f'{head[:-1]}, "metadata": {metadata.model_dump_json()}}}'.encode()


def serve(lake: Lake, port: int, announce: Callable[[str], object] = print) -> None:
    """Serve the lake's catalog on loopback for other engines, for reading, until interrupted.

    They need the bearer token: DATALAKE_CATALOG_TOKEN, or one made for this call and announced.
    """
    server = CatalogServer(lake.catalog, port=port, token=lake.settings["DATALAKE_CATALOG_TOKEN"] or None)
    announce(f"Iceberg REST catalog of {lake.settings.lake_url} at {server.url}, bearer token {server.token}")
    announce("DuckDB:  INSTALL iceberg; LOAD iceberg;")
    announce(f"         CREATE SECRET lake_token (TYPE iceberg, TOKEN '{server.token}');")
    announce(f"         ATTACH 'lake' AS lake (TYPE iceberg, ENDPOINT '{server.url}', SECRET lake_token);")
    announce(f"Python:  pyiceberg.catalog.load_catalog('lake', type='rest', uri='{server.url}', token='{server.token}')")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        announce("stopped")
    finally:
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    server: CatalogServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        _log.debug(format, *args)

    def do_GET(self) -> None:
        from pydantic import ValidationError
        from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError

        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            self.close_connection = True  # what such a client sends is not even read
            self._fail(401, "NotAuthorizedException", "this catalog wants its bearer token")
            return
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "POST" and not self.server.writable:
                self._fail(403, "ForbiddenException", "this catalog is for reading only")
            else:
                self._route([unquote(part) for part in urlparse(self.path).path.strip("/").split("/")], body)
        except (NoSuchTableError, NoSuchNamespaceError) as error:
            self._fail(404, type(error).__name__.replace("Error", "Exception"), str(error))
        except CommitFailedException as error:
            self._fail(409, "CommitFailedException", str(error))
        except (ValidationError, ValueError, KeyError) as error:
            self._fail(400, "BadRequestException", f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - every failure must reach the client as an answer
            # The client must not take it for a refusal: after a commit that broke off nobody knows whether it was done.
            _log.exception("catalog call %s %s failed", self.command, self.path)
            self._fail(500, "CommitStateUnknownException", f"{type(error).__name__}: {error}")

    do_POST = do_HEAD = do_GET  # noqa: N815 - the names in http.server

    def _route(self, parts: list[str], body: bytes) -> None:
        catalog = self.server.catalog
        match parts:
            case ["v1", "config"]:
                endpoints = [*_READ, *(_WRITE if self.server.writable else ())]
                self._answer(200, {"defaults": {}, "overrides": {}, "endpoints": endpoints})
            case ["v1", "transactions", "commit"] if self.command == "POST":
                self.server.commit(json.loads(body)["table-changes"])
                self._send(204, b"")
            case ["v1", "namespaces"]:
                self._answer(200, {"namespaces": [list(name) for name in catalog.list_namespaces()]})
            case ["v1", "namespaces", namespace]:
                self._answer(200, {"namespace": [namespace], "properties": dict(catalog.load_namespace_properties(namespace))})
            case ["v1", "namespaces", namespace, "tables"]:
                tables = [{"namespace": [namespace], "name": name[-1]} for name in catalog.list_tables(namespace)]
                self._answer(200, {"identifiers": tables})
            case ["v1", "namespaces", namespace, "tables", table] if self.command == "POST":
                change = json.loads(body) | {"identifier": {"namespace": [namespace], "name": table}}
                [_done] = self.server.commit([change])
                self._send(200, table_json(catalog.load_table((namespace, table)), config=False))
            case ["v1", "namespaces", namespace, "tables", table]:
                self._send(200, table_json(catalog.load_table((namespace, table)), config=True))
            case _:
                self._fail(404, "NotFoundException", f"this catalog has no {self.command} {self.path}")

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode())

    def _fail(self, status: int, kind: str, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": kind, "code": status}})

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
