"""Compaction: the many small files that merges leave become few large ones. Deleting unused files does not live here."""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datalake.lake.catalog import commit, load_or_none
from datalake.lake.lake import Lake
from datalake.lake.sql import literal, quote
from datalake.model import Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile, ManifestEntry, ManifestFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import IcebergType

MERGES = 16
"""Merges after which a table is worth compacting: reading and merging then cost two to three times as much (measured)."""
FILE_BYTES = 256 * 1024 * 1024
"""Size of the files that compaction writes, roughly."""
ROW_GROUP_ROWS = 16_384
"""Rows of a group in those files. Keys mostly come in order, so that a merge of few rows skips most groups by their bounds."""
TRIES = 3
_COMPACTION = "datalake.compaction"
_log = logging.getLogger(__name__)


class TableMoved(Exception):
    """Other writers published during every try; nothing was changed. Compact again when it is quieter."""


class RowsDiffer(Exception):
    """The files that compaction wrote do not hold the rows that the table's metadata promises; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did. `files_before` counts data and delete files, `rows` those that it wrote anew."""

    files_before: int
    files_after: int
    rows: int
    bytes: int
    seconds: float


def needs_compaction(lake: Lake, table: Table) -> bool:
    """Whether MERGES snapshots or more came behind the last compaction and left more than a few files."""
    published = load_or_none(lake.catalog, table.identifier)
    snapshot = published.metadata.current_snapshot() if published else None
    if published is None or snapshot is None or _files(snapshot) <= MERGES:
        return False
    merges = 0
    while snapshot is not None and not _is_compaction(snapshot) and merges < MERGES:
        merges += 1
        parent = snapshot.parent_snapshot_id
        snapshot = published.metadata.snapshot_by_id(parent) if parent is not None else None
    return merges >= MERGES


def compact(lake: Lake, table: Table) -> Compaction | None:
    """Rewrite every partition that holds deletes or small files, in one commit. None: there was nothing to gain.

    DuckDB streams one partition at a time from the published snapshot into new files, so memory stays within the settings.
    Rows, table properties and history stay as they are; before the commit nothing is visible, and a process that dies leaves
    files that nobody names. The old files stay too, for readers of older snapshots, until those are expired. Raises TableMoved
    if other writers were faster each time: their commits are never lost.
    """
    from pyiceberg.exceptions import CommitFailedException

    begun = time.monotonic()
    for attempt in range(TRIES):
        published = load_or_none(lake.catalog, table.identifier)
        snapshot = published.metadata.current_snapshot() if published else None
        if published is None or snapshot is None:
            return None
        groups = _groups(published)
        if not groups:
            return None
        rewrite = _Rewrite(lake, published, snapshot)
        try:
            for partition, tasks in groups:
                rewrite.group(partition, tasks)
            files_after = rewrite.commit()
        except CommitFailedException:
            rewrite.discard()
            _log.info("%s: published by another writer during compaction, try %d", table.id, attempt + 1)
            continue
        except BaseException:
            rewrite.discard()
            raise
        return Compaction(_files(snapshot), files_after, rewrite.rows, rewrite.bytes, time.monotonic() - begun)
    raise TableMoved(f"{table.id}: other writers published during {TRIES} compactions; nothing was changed. Try again later")


def _files(snapshot: Snapshot) -> int:
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    return int(summary.get("total-data-files", 0)) + int(summary.get("total-delete-files", 0))


def _is_compaction(snapshot: Snapshot) -> bool:
    return bool(snapshot.summary and _COMPACTION in snapshot.summary.additional_properties)


def _groups(table: IcebergTable) -> list[tuple[tuple[Any, ...], list[FileScanTask]]]:
    """Partitions worth rewriting, each with its files: those with deletes, and those with more files than they need.

    All partitions with deletes are among them, so that afterwards no delete file is left in the metadata.
    """
    groups: dict[tuple[Any, ...], list[FileScanTask]] = defaultdict(list)
    for task in table.scan().plan_files():
        partition = task.file.partition
        groups[tuple(partition[n] for n in range(len(partition)))].append(task)
    return [(partition, tasks) for partition, tasks in groups.items() if _worth_it(tasks)]


def _worth_it(tasks: list[FileScanTask]) -> bool:
    small = [task.file.file_size_in_bytes for task in tasks if task.file.file_size_in_bytes < FILE_BYTES // 2]
    return any(task.delete_files for task in tasks) or len(small) > 1 + sum(small) // FILE_BYTES


class _Rewrite:
    """New files for some partitions of one snapshot, and the commit that puts them in the place of the old ones."""

    def __init__(self, lake: Lake, table: IcebergTable, snapshot: Snapshot) -> None:
        self._lake = lake
        self._table = table
        self._snapshot = snapshot
        self._id = uuid.uuid4().hex
        self._folder = f"{table.location()}/data/{self._id}"
        self._metadata_files: list[str] = []
        self._replaced: set[str] = set()
        self._added: list[DataFile] = []
        self.rows = self.bytes = 0

    def group(self, partition: tuple[Any, ...], tasks: list[FileScanTask]) -> None:
        """Write the living rows of one partition into new files."""
        connection = self._lake.connect()
        try:
            paths = self._copy(connection, partition)
        finally:
            connection.close()
        files = [self._data_file(path, tasks[0].file) for path in paths]
        rows = sum(file.record_count for file in files)
        expected = _living_rows(tasks)
        if expected is not None and rows != expected:
            raise RowsDiffer(
                f"{'.'.join(self._table.name())}: compaction read {rows} rows where the metadata promises {expected} "
                f"(snapshot {self._snapshot.snapshot_id}, partition {partition}); nothing was changed. Compare the table with "
                "another engine before going on"
            )
        # COPY writes one empty file where every row was deleted; the metadata need not name it.
        self._added += [file for file in files if file.record_count]
        self._replaced |= {task.file.file_path for task in tasks}
        self.rows += rows
        self.bytes += sum(file.file_size_in_bytes for file in files)

    def _copy(self, connection: DuckDBPyConnection, partition: tuple[Any, ...]) -> list[str]:
        schema = self._table.schema()
        names = ", ".join(quote(field.name) for field in schema.fields)
        written = connection.execute(
            f"COPY (SELECT {names} FROM iceberg_scan({literal(self._table.metadata_location)}) "  # noqa: S608 - all quoted
            f"WHERE {self._condition(partition)}) TO {literal(self._folder)} (FORMAT parquet, COMPRESSION zstd, "
            f"FILE_SIZE_BYTES {FILE_BYTES}, FILENAME_PATTERN '{{uuid}}', OVERWRITE_OR_IGNORE, "
            f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
            f"FIELD_IDS {_field_ids(schema)}, RETURN_FILES)"
        ).fetchone()
        assert written is not None
        return list(written[1])

    def _condition(self, partition: tuple[Any, ...]) -> str:
        """The rows of a partition, as bounds on its source column: they let the reader skip the other partitions' files."""
        conditions = ["true"]
        for field, value in zip(self._table.spec().fields, partition, strict=True):
            name = quote(self._table.schema().find_field(field.source_id).name)
            if value is None:
                conditions.append(f"{name} IS NULL")
                continue
            conditions.append(f"{name} >= DATE '{_month(value)}' AND {name} < DATE '{_month(value + 1)}'")
        return " AND ".join(conditions)

    def _data_file(self, path: str, like: DataFile) -> DataFile:
        import pyarrow.parquet as pq
        from pyiceberg.io.pyarrow import (
            compute_statistics_plan,
            data_file_statistics_from_parquet_metadata,
            parquet_path_to_id_mapping,
        )
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

        source = self._table.io.new_input(path)
        with source.open() as stream:
            footer = pq.read_metadata(stream)
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=footer,
            stats_columns=compute_statistics_plan(self._table.schema(), self._table.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(self._table.schema()),
        )
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=path,
            file_format=FileFormat.PARQUET,
            partition=like.partition,
            file_size_in_bytes=len(source),
            sort_order_id=None,
            spec_id=self._table.spec().spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )

    def commit(self) -> int:
        """Publish; returns how many files the table has then. Raises CommitFailedException if the table moved meanwhile."""
        from pyiceberg.manifest import write_manifest_list
        from pyiceberg.table.snapshots import Operation, Snapshot, Summary
        from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

        metadata = self._table.metadata
        snapshot_id = metadata.new_snapshot_id()
        manifests, kept = self._manifests(snapshot_id)
        path = self._metadata_path(f"snap-{snapshot_id}-0-{self._id}.avro")
        with write_manifest_list(
            format_version=metadata.format_version,
            output_file=self._table.io.new_output(path),
            snapshot_id=snapshot_id,
            parent_snapshot_id=self._snapshot.snapshot_id,
            sequence_number=metadata.next_sequence_number(),
            avro_compression="deflate",
        ) as writer:
            writer.add_manifests(manifests)
        summary = Summary(
            operation=Operation.REPLACE,
            **{
                _COMPACTION: self._id,
                "added-data-files": str(len(self._added)),
                "added-records": str(self.rows),
                "deleted-data-files": str(len(self._replaced)),
                "total-data-files": str(len(self._added) + len(kept)),
                "total-records": str(sum(file.record_count for file in [*self._added, *kept])),
                "total-files-size": str(sum(file.file_size_in_bytes for file in [*self._added, *kept])),
                "total-delete-files": "0",
                "total-position-deletes": "0",
                "total-equality-deletes": "0",
            },
        )
        snapshot = Snapshot.model_validate(
            {
                "snapshot-id": snapshot_id,
                "parent-snapshot-id": self._snapshot.snapshot_id,
                "sequence-number": metadata.next_sequence_number(),
                "manifest-list": path,
                "summary": summary,
                "schema-id": metadata.current_schema_id,
            }
        )
        set_main = {"ref-name": "main", "type": "branch", "snapshot-id": snapshot_id}
        commit(
            self._lake.catalog,
            self._table.name(),
            (
                AssertTableUUID(uuid=metadata.table_uuid),
                AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": self._snapshot.snapshot_id}),
            ),
            (AddSnapshotUpdate(snapshot=snapshot), SetSnapshotRefUpdate.model_validate(set_main)),
        )
        return len(self._added) + len(kept)

    def _manifests(self, snapshot_id: int) -> tuple[list[ManifestFile], list[DataFile]]:
        """Manifests of the new snapshot, and the old data files that stay. Delete manifests go: what they name is rewritten."""
        from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus

        manifests: list[ManifestFile] = []
        kept: list[DataFile] = []
        for manifest in self._snapshot.manifests(self._table.io):
            if manifest.content != ManifestContent.DATA:
                continue
            entries = manifest.fetch_manifest_entry(self._table.io, discard_deleted=True)
            stay = [entry for entry in entries if entry.data_file.file_path not in self._replaced]
            kept += [entry.data_file for entry in stay]
            if len(stay) == len(entries):
                manifests += [manifest] if entries else []
                continue
            go = [entry for entry in entries if entry.data_file.file_path in self._replaced]
            manifests.append(self._manifest(snapshot_id, manifest.partition_spec_id, len(manifests), stay=stay, go=go))
        new = [
            ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=file)
            for file in self._added
        ]
        if new:
            manifests.append(self._manifest(snapshot_id, self._table.spec().spec_id, len(manifests), add=new))
        return manifests, kept

    def _manifest(
        self,
        snapshot_id: int,
        spec_id: int,
        number: int,
        *,
        stay: Sequence[ManifestEntry] = (),
        go: Sequence[ManifestEntry] = (),
        add: Sequence[ManifestEntry] = (),
    ) -> ManifestFile:
        from pyiceberg.manifest import write_manifest

        with write_manifest(
            format_version=self._table.metadata.format_version,
            spec=self._table.specs()[spec_id],
            schema=self._table.schema(),
            output_file=self._table.io.new_output(self._metadata_path(f"{self._id}-m{number}.avro")),
            snapshot_id=snapshot_id,
            avro_compression="deflate",
        ) as writer:
            for entry in stay:
                writer.existing(entry)
            for entry in go:
                writer.delete(entry)
            for entry in add:
                writer.add(entry)
        return writer.to_manifest_file()

    def _metadata_path(self, name: str) -> str:
        path = f"{self._table.location()}/metadata/{name}"
        self._metadata_files.append(path)
        return path

    def discard(self) -> None:
        """Delete what was written; nobody has seen it."""
        objects = self._lake.objects
        written = [*objects.list(self._folder.removeprefix(f"{objects.url}/"))]
        written += [path.removeprefix(f"{objects.url}/") for path in self._metadata_files]
        for key in written:
            try:
                objects.delete(key)
            except OSError:
                _log.warning("could not delete %s, which nothing refers to", objects.uri(key))


def _living_rows(tasks: list[FileScanTask]) -> int | None:
    """Rows of the files less the positions deleted in them. None where an engine deleted by equality: that has no count."""
    from pyiceberg.manifest import DataFileContent

    deletes = {file.file_path: file for task in tasks for file in task.delete_files}.values()
    if any(file.content != DataFileContent.POSITION_DELETES for file in deletes):
        return None
    return sum(task.file.record_count for task in tasks) - sum(file.record_count for file in deletes)


def _month(ordinal: int) -> dt.date:
    """The first day of a month counted from January 1970."""
    return dt.date(1970 + ordinal // 12, ordinal % 12 + 1, 1)


def _field_ids(schema: Schema) -> str:
    """Iceberg's field ids as COPY takes them."""
    return "{" + ", ".join(f"{literal(field.name)}: {_ids(field.field_id, field.field_type)}" for field in schema.fields) + "}"


def _ids(field_id: int, type_: IcebergType) -> str:
    from pyiceberg.types import ListType, StructType

    match type_:
        case StructType():
            inner = "".join(f", {literal(field.name)}: {_ids(field.field_id, field.field_type)}" for field in type_.fields)
            return f"{{__duckdb_field_id: {field_id}{inner}}}"
        case ListType():
            return f"{{__duckdb_field_id: {field_id}, element: {_ids(type_.element_id, type_.element_type)}}}"
    return str(field_id)
