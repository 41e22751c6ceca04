"""The road of a source's tables through the layers, written once for the command line and for Dagster.

How rows are read, treated and registered lives in `sources`, `treat` and `lake`; here is only what comes after what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from datalake.lake.lake import Lake
from datalake.lake.raw import ConcurrentCommit
from datalake.lake.register import Registration, register, registered
from datalake.lake.told import as_told
from datalake.lake.upkeep import TableMoved, compact, needs_compaction
from datalake.model import Layer, Source, Table
from datalake.sources import open_run
from datalake.sources.base import AuthenticationFailed, Discovering, QuotaSpent, SourceError, SourceRun, Window
from datalake.sources.engine import Extraction, Progress, extract
from datalake.treat import Batch, StaleTable, prepare
from datalake.treat.quarantine import TABLE as QUARANTINE

ALL_LAYERS = (Layer.RAW, Layer.TREATED, Layer.ATHENA)
TABLES_AT_ONCE = 12
PUBLISH_TRIES = 5
"""How often a batch is prepared anew because another writer published first."""
TREATED_AT_ONCE = 2
"""Treating is bound by cores and shares the memory setting; reading waits for the network."""


class GateClosed(Exception):
    """A gating check failed: the batch was rolled back, the table stands as it was, raw keeps the rows."""


class ParentFailed(SourceError):
    """The table follows another one that could not be read in this run."""


@dataclass
class Step:
    """One layer of one table, done but not yet published.

    Call `commit` before asking the generator for the next step: the table's next layer starts after it. A step with an
    `error` has nothing to commit. `unchanged` says that there was nothing new.
    """

    table: Table
    layer: Layer
    seconds: float
    result: Extraction | Batch | Registration | None = None
    error: Exception | None = None
    notes: list[str] = field(default_factory=list)
    """What people should know beside what was told while it worked."""
    read_to_the_end: Callable[[], None] = lambda: None
    """Notes the table's freshness once its rows are committed."""
    again: Callable[[], Batch | None] | None = None
    """Prepares the batch anew after another writer published first."""

    @property
    def unchanged(self) -> bool:
        return self.error is None and self.result is None

    def facts(self) -> dict[str, Any]:
        """The step as plain data, the same names for every table: for lines, JSON and metadata."""
        facts: dict[str, Any] = {"table": self.table.id, "layer": str(self.layer), "seconds": round(self.seconds, 3)}
        match self.result:
            case Extraction() as read:
                facts |= {"rows": read.rows, "bytes": read.bytes, "pages": read.pages, "calls": int(read.calls.get("calls", 0))}
            case Batch() as batch:
                facts |= {
                    "rows_in": batch.rows_in,
                    "inserted": batch.rows_inserted,
                    "updated": batch.rows_updated,
                    "deleted": batch.rows_deleted,
                    "unchanged": batch.rows_unchanged,
                    "superseded": batch.rows_superseded,
                    "rejected": batch.rows_rejected,
                    "table_rows": batch.table_rows,
                }
            case Registration() as registration:
                facts |= {"rows": registration.rows}
            case None:
                facts |= {"unchanged": self.error is None}
        if self.error is not None:
            facts["error"] = str(self.error)
        return facts

    def commit(self) -> None:
        """Publish what the step prepared. Nothing is half-published; what the publication raises stands in `error` too."""
        try:
            match self.result:
                case Extraction() as extraction:
                    extraction.commit()
                    self.read_to_the_end()
                case Batch() as batch:
                    self._commit_batch(batch)
                case _:
                    pass
        except ConcurrentCommit as error:
            self.notes.append(f"left to the other run: {error}")
        except Exception as error:
            self.error = error
            raise

    def _commit_batch(self, batch: Batch) -> None:
        for _ in range(PUBLISH_TRIES):
            try:
                batch.commit()
            except StaleTable:
                assert self.again is not None
                fresh = self.again()
                self.result = fresh
                if fresh is None:
                    return
                batch = fresh
            else:
                return
        raise StaleTable(f"{self.table.id}: {PUBLISH_TRIES} times another writer published first; run again when it is quiet")


def run_source(
    lake: Lake,
    source: Source,
    tables: Sequence[Table],
    *,
    run_id: str,
    layers: Mapping[str, Sequence[Layer]] | None = None,
    window: Window | None = None,
    full: bool = False,
    progress: Progress,
) -> Iterator[Step]:
    """Yield the finished steps of the tables, in the order in which they finish.

    A table that fails yields its error and goes no further; the others go on. With a wrong key or a spent quota the
    tables that were not begun yield that same error. `layers` names those to run of each table; None: all of all.
    Tables without a contract run where the one that they are made after does, through the same layers.
    """
    wanted = {table.name: [each for each in ALL_LAYERS if layers is None or each in layers[table.name]] for table in tables}
    reading = {name for name, mine in wanted.items() if Layer.RAW in mine}
    failed: dict[str, Exception] = {}
    as_read: dict[str, Table] = {}
    raw_done: set[str] = set()
    waiting = list(tables)
    stop: Exception | None = None
    if any(set(mine) - {Layer.RAW} for mine in wanted.values()):
        # Imported here, not in the threads: Dagster may be using SQLAlchemy in this one, which pyiceberg then imports anew.
        _ = lake.catalog
    run: SourceRun | None = None
    try:
        run = open_run(source, lake.settings, progress) if reading else None
    except SourceError as error:  # a login that was refused
        stop = error

    def found(tables: Sequence[Table]) -> None:
        """Take up tables that have no contract."""
        for table in tables:
            if table.like in wanted and table.name not in wanted:
                wanted[table.name] = wanted[table.like]
                waiting.append(table)

    if any(Layer.RAW not in mine for mine in wanted.values()):
        found([table for table in lake.found(source) if table.like not in reading])

    def raw(table: Table) -> Step:
        assert run is not None
        begun = time.monotonic()
        parent = lake.log(source.tables[table.parent]) if table.parent else None
        log = lake.log(table)
        try:
            extraction = extract(run, table, log, run_id=run_id, parent=parent, window=window, full=full, progress=progress)
        except ConcurrentCommit as error:
            return Step(table, Layer.RAW, time.monotonic() - begun, notes=[f"left to the other run: {error}"])
        as_read[table.name] = as_told(table, extraction.told)
        changed = extraction.pending is not None or extraction.commits
        seen = log.mark_read if window is None else lambda: None
        if not changed:
            seen()
        return Step(
            table,
            Layer.RAW,
            time.monotonic() - begun,
            extraction if changed else None,
            read_to_the_end=seen,
        )

    def prepared(table: Table) -> Batch | None:
        for _ in range(PUBLISH_TRIES - 1):
            try:
                return prepare(lake, table, source=source, run_id=run_id)
            except StaleTable:
                continue
        return prepare(lake, table, source=source, run_id=run_id)

    def treated(table: Table) -> Step:
        begun = time.monotonic()

        def again() -> Batch | None:
            return _checked(prepared(table))

        batch = prepared(table)
        notes = _notes(batch) if batch else []
        step = Step(batch.table if batch else table, Layer.TREATED, time.monotonic() - begun, batch, notes=notes, again=again)
        try:
            _checked(batch)
        except GateClosed as error:
            step.error = error
        return step

    def athena(table: Table) -> Step:
        begun = time.monotonic()
        table = as_read.get(table.name) or lake.told(table)
        notes = _compact(lake, table)
        result = None if registered(lake, table) else register(lake, table)
        return Step(table, Layer.ATHENA, time.monotonic() - begun, result, notes=notes)

    work = {Layer.RAW: raw, Layer.TREATED: treated, Layer.ATHENA: athena}

    with ThreadPoolExecutor(TABLES_AT_ONCE, "read") as readers, ThreadPoolExecutor(TREATED_AT_ONCE, "treat") as treaters:
        running: dict[Future[Step], tuple[Table, Layer, float]] = {}

        def start(table: Table, layer: Layer) -> None:
            pool = readers if layer is Layer.RAW else treaters
            running[pool.submit(work[layer], table)] = (table, layer, time.monotonic())

        try:
            while waiting or running:
                for table in list(waiting):
                    parents = {table.parent, *table.also} & reading if table.name in reading else set()
                    parent = next((name for name in parents if name in failed), None)
                    if stop is not None or parent is not None:
                        waiting.remove(table)
                        cause = stop or ParentFailed(
                            f"{table.id} follows {source.name}.{parent}, which failed: {failed[parent or '']}"
                        )
                        failed[table.name] = cause
                        yield Step(table, wanted[table.name][0], 0.0, error=cause)
                    elif parents <= raw_done:
                        waiting.remove(table)
                        start(table, wanted[table.name][0])
                if not running:
                    continue
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    table, layer, begun = running.pop(future)
                    try:
                        step = future.result()
                    except Exception as error:  # noqa: BLE001  one table that fails never stops the others
                        step = Step(table, layer, time.monotonic() - begun, error=error)
                    if isinstance(step.error, AuthenticationFailed | QuotaSpent):
                        stop = step.error
                    if layer is Layer.RAW and stop is None:
                        found(_discovered(run, table))
                    yield step
                    if step.error is not None:
                        if layer is Layer.RAW:
                            failed[table.name] = step.error
                        continue
                    if layer is Layer.RAW:
                        raw_done.add(table.name)
                    mine = wanted[table.name]
                    if layer is not mine[-1]:
                        start(table, mine[mine.index(layer) + 1])
            if any(Layer.ATHENA in mine for mine in wanted.values()):
                _register_quarantine(lake)
        finally:
            for future in running:
                future.cancel()
            wait(running)
            for future in running:
                if not future.cancelled() and future.exception() is None:
                    abandoned = future.result().result
                    if isinstance(abandoned, Batch):
                        abandoned.rollback()
            if run is not None:
                run.close()


def _discovered(run: SourceRun | Discovering | None, table: Table) -> list[Table]:
    """Tables without a contract that the source has now. That it could not be asked, the table's own step tells."""
    if not isinstance(run, Discovering):
        return []
    try:
        return run.discovered(table)
    except SourceError:
        return []


def _compact(lake: Lake, table: Table) -> list[str]:
    """Compact the table if it is due; what people should know if that must wait."""
    try:
        if needs_compaction(lake, table):
            compact(lake, table)
    except TableMoved as error:
        return [str(error)]
    return []


def _register_quarantine(lake: Lake) -> None:
    """Make new rows in quarantine known where people query."""
    if lake.properties(QUARANTINE) and not registered(lake, QUARANTINE):
        _compact(lake, QUARANTINE)
        register(lake, QUARANTINE)


def _notes(batch: Batch) -> list[str]:
    """What people should know of a batch: rows in quarantine, fields that the contract does not name."""
    notes = list(batch.notes)
    if batch.rows_rejected:
        notes.append(f"{batch.rows_rejected:,} of {batch.rows_in:,} rows went to quarantine: see the table quality.quarantine")
    if batch.drift:
        fields = ", ".join(f"{name} ({count:,})" for name, count in batch.drift.items())
        notes.append(f"fields that the contract does not name, kept in _unmapped: {fields}")
    return notes


def _checked(batch: Batch | None) -> Batch | None:
    """The batch if it may be published; otherwise it is rolled back. Raises GateClosed."""
    if batch is None or batch.passed:
        return batch
    batch.rollback()
    reasons = "; ".join(f"{check.name}: {check.description}" for check in batch.checks if not check.passed)
    raise GateClosed(f"{batch.table.id}: not published, {reasons}")
