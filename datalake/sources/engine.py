"""Reads one table of one source into its raw log: items in, commits out. How the source is asked lives in its module."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from datalake.lake.raw import Commit, ConcurrentCommit, RawLog, now
from datalake.lake.told import Told, as_told, told
from datalake.model import Source, Table
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Discovering, Item, Page, Permanent, SourceRun, Window
from datalake.sources.http import Http
from datalake.sources.paging import Workers
from datalake.sources.progress import Progress as Progress
from datalake.sources.records import Drop, Record
from datalake.sources.spool import Spool

log = logging.getLogger(__name__)

COMMIT_BYTES = 64 * 1024 * 1024
"""A checkpoint publishes once this many bytes of lines wait behind it …"""
COMMIT_SECONDS = 60.0
"""… or this much time has passed since the last commit."""


class HttpRun:
    """One run of a source that is asked over HTTP: its session, its threads, and the functions its contracts name (`rows:`).

    Modules derive from it to keep what their tables share (a feed read once, a list of repositories).
    """

    def __init__(self, source: Source, http: Http, functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]]) -> None:
        self.source = source
        self.http = http
        self.workers = Workers()
        self._functions = functions

    def rows(self, ask: Ask) -> Iterator[Item]:
        """The rows of a table, by the function that its contract names."""
        function = self._functions.get(ask.table.rows)
        if function is None:
            raise Permanent(
                f"{ask.table.id}: the contract says rows: {ask.table.rows}, which is no function of the source's module"
            )
        return function(self, ask)

    def calls(self, table_id: str) -> dict[str, float]:
        return self.http.calls(table_id)

    def close(self) -> None:
        self.workers.close()
        self.http.close()


@dataclass
class Extraction:
    """What was read of one table in one run. `commits` are published already; `commit()` publishes `pending`."""

    log: RawLog
    commits: list[Commit] = field(default_factory=list)
    pending: Commit | None = None
    rows: int = 0
    """Records and deletions."""
    bytes: int = 0
    """Size of the parts as stored."""
    pages: int = 0
    calls: dict[str, float] = field(default_factory=dict)
    """Calls, retries, 429s, bytes received and seconds waited in this run."""
    notes: list[str] = field(default_factory=list)
    told: Told | None = None
    """What the source has told of the table beyond its contract."""

    def commit(self) -> Commit | None:
        """Publish what is pending; None where nothing is.

        Raises ConcurrentCommit where another run committed first: nothing of `pending` is published then. A window's
        commit does not move the cursor, so it is put behind the other run's instead.
        """
        while self.pending is not None:
            try:
                published = self.log.append(self.pending)
            except ConcurrentCommit:
                head = self.log.head()
                if self.pending.kind != "window" or head is None:
                    raise
                self.pending = msgspec.structs.replace(
                    self.pending, sequence=head.sequence + 1, cursor_before=head.cursor, cursor=head.cursor
                )
            else:
                self.commits.append(published)
                self.pending = None
                return published
        return None


def extract(
    run: SourceRun,
    table: Table,
    log: RawLog,
    *,
    run_id: str,
    parent: RawLog | None,
    window: Window | None = None,
    full: bool = False,
    progress: Progress,
) -> Extraction:
    """Read the table from where its log stands and return what was read, the last commit still pending.

    Early commits are published at checkpoints. An error publishes up to the last checkpoint and is raised again, so
    that nothing is half-published and no work is lost. Raises the errors of `base.py` and ConcurrentCommit.
    """
    reader = _Reader(run, table, log, run_id, parent, window, full, progress)
    try:
        reader.read()
    except ConcurrentCommit:
        raise
    except BaseException:
        reader.save()
        raise
    return reader.extraction


class _Reader:
    """One extraction while it runs."""

    def __init__(
        self,
        run: SourceRun,
        table: Table,
        log: RawLog,
        run_id: str,
        parent: RawLog | None,
        window: Window | None,
        full: bool,
        progress: Progress,
    ) -> None:
        self.extraction = Extraction(log)
        self._run = run
        self._table = table
        self._run_id = run_id
        self._kind = "window" if window else "full" if full else "sync"
        self._window = {"since": window.since.isoformat(), "until": window.until.isoformat()} if window else {}
        self._progress = progress
        self._drop = Drop(table.secrets) if table.secrets else None
        self._spool = Spool(log.objects, table)
        self._started_at = now()
        self._committed = time.monotonic()
        self._calls_before = run.calls(table.id)
        self._calls_told = dict(self._calls_before)
        head = log.head()
        self._sequence = head.sequence if head else 0
        self.extraction.told = self._told_before = head.told if head else None
        self._cursor_before = head.cursor if head else {}
        self._cursor = self._cursor_before
        cursor = {} if full else _copy(self._cursor_before)
        self._ask = Ask(table, cursor, window, full, parent, self._note)

    def read(self) -> None:
        """Spool all items; publish at checkpoints when enough has come together; leave the last commit pending."""
        if isinstance(self._run, Discovering):
            self._discover(self._run)
        items = self._run.rows(self._ask)
        with contextlib.closing(items) if isinstance(items, Generator) else contextlib.nullcontext():
            for item in items:
                match item:
                    case Page():
                        self._page(item)
                    case Checkpoint():
                        self._checkpoint(item)
                    case Deleted():
                        facts = {"at": item.at, "add": item.add, "op": "delete"}
                        self._add(_lines(facts, [self._without_secrets(item.record)]), 1)
                    case Complete():
                        facts = {"at": item.at, "op": "complete", "scope": item.scope}
                        self._spool.add(b'{"_lake":' + msgspec.json.encode(facts) + b"}\n", 0)
        self._spool.checkpoint()
        self._prepare()

    def _discover(self, run: Discovering) -> None:
        """Widen the table by what the source says now."""
        before = as_told(self._table, self.extraction.told)
        found = run.contract(before)
        self.extraction.told = told(self._table, found)
        self._ask = replace(self._ask, table=found)
        known = {column.name for column in before.columns}
        if new := [column.name for column in found.columns if column.name not in known]:
            self._note(f"columns that the contract does not name: {', '.join(new)}")

    def save(self) -> None:
        """After an error: publish up to the last checkpoint."""
        try:
            self._spool.drop()
            if self.extraction.pending is None:
                self._prepare()
            self.extraction.commit()
        except Exception as error:  # noqa: BLE001  the error that ended the reading is the one to raise
            log.warning("%s: what was read before the error could not be committed: %s", self._table.id, error)

    def _page(self, page: Page) -> None:
        self.extraction.pages += 1
        if page.records:
            records = page.records
            if self._drop and self._drop.concerns(records):
                records = [self._without_secrets(record) for record in records]
            self._add(_lines({"at": page.at, "add": page.add}, records), len(records))
        self._progress.reading(
            self._table.id,
            rows=self.extraction.rows,
            pages=self.extraction.pages,
            calls=int(self._run.calls(self._table.id).get("calls", 0)),
        )

    def _add(self, lines: bytes, rows: int) -> None:
        end = -1
        for _ in range(rows):  # `find` is ten times as fast as `count` here
            end = lines.find(b"\n", end + 1)
        if end != len(lines) - 1:
            raise Permanent(f"{self._table.id}: a record with a line break reached the raw log; take records from split()")
        self._spool.add(lines, rows)
        self.extraction.rows += rows

    def _without_secrets(self, record: Record) -> Record:
        if self._drop is None:
            return record
        try:
            return self._drop(record)
        except (ValueError, IndexError, RecursionError) as error:
            raise Permanent(
                f"{self._table.id}: a record with secrets to drop is no JSON ({error}); nothing of it is shown"
            ) from None

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        self._spool.checkpoint()
        if not self._window:
            self._cursor = _copy(checkpoint.cursor)
        if self._spool.raw_bytes >= COMMIT_BYTES or time.monotonic() - self._committed >= COMMIT_SECONDS:
            self._prepare()
            self.extraction.commit()

    def _prepare(self) -> None:
        """Make the pending commit of all that the last checkpoint covers, if there is anything to tell."""
        extraction = self.extraction
        parts = self._spool.take()
        last = extraction.commits[-1] if extraction.commits else None
        before = last.cursor if last else self._cursor_before
        cursor = before if self._window else self._cursor
        self._committed = time.monotonic()
        calls = self._run.calls(self._table.id)
        extraction.calls = _difference(calls, self._calls_before)
        if not parts and cursor == before and extraction.told == self._told_before:
            return
        self._told_before = extraction.told
        extraction.bytes += sum(part.bytes for part in parts)
        extraction.pending = Commit(
            sequence=(last.sequence if last else self._sequence) + 1,
            source=self._table.source,
            table=self._table.name,
            run=self._run_id,
            kind=self._kind,
            started_at=self._started_at,
            committed_at=now(),
            cursor_before=before,
            cursor=cursor,
            window=self._window,
            parts=parts,
            calls=_difference(calls, self._calls_told),
            told=extraction.told,
        )
        self._calls_told = calls

    def _note(self, text: str) -> None:
        self.extraction.notes.append(text)
        self._progress.note(self._table.id, text)


def _lines(facts: dict[str, Any], records: Any) -> bytes:
    """The lines of records that share their facts: one join, no record is decoded or copied twice."""
    prefix = b'{"_lake":' + msgspec.json.encode(facts) + b',"record":'
    parts = list(records)
    parts[0] = prefix + bytes(parts[0])
    parts[-1] = bytes(parts[-1]) + b"}\n"
    return (b"}\n" + prefix).join(parts)


def _copy(cursor: dict[str, Any]) -> dict[str, Any]:
    """The cursor as it will be read back, so that neither side can change the other's."""
    return msgspec.json.decode(msgspec.json.encode(cursor), type=dict[str, Any])


def _difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: round(value - before.get(name, 0), 3) for name, value in after.items()}
