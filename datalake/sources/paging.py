"""Helpers that source modules share: guards against endless paging, calls side by side, full lists, rows of a parent."""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from datalake.lake.raw import Commit, RawLog
from datalake.sources.base import Ask, Complete, Page
from datalake.sources.http import Answer
from datalake.sources.records import Record, digest, pick
from datalake.sources.scan import Scan

EMPTY_PAGES = 1000
"""Empty pages in a row, each with a next one, after which a walk ends with an error."""
EMPTY_BYTES = 4096
"""An answer without records that is longer than this holds something that was not understood."""

T = TypeVar("T")
R = TypeVar("R")


class Walk:
    """Watches one walk through pages. `step` raises Permanent where the source would be read for ever or in vain."""

    def __init__(self) -> None:
        self._pages: set[int] = set()
        self._next: set[str] = set()
        self._empty = 0

    def step(self, answer: Answer, records: list[Record], next_: object = None) -> None:
        """Check one page: `next_` is the address or cursor of the page after it, None where it is the last."""
        if records:
            self._empty = 0
            page = hash((len(records), bytes(records[0]), bytes(records[-1])))
            if page in self._pages:
                raise answer.fault("the same page came again in this walk: the source repeats itself")
            self._pages.add(page)
        elif len(answer.body) > EMPTY_BYTES:
            raise answer.fault(f"{len(answer.body):,} bytes came and no record in them: the contract's `records` may be wrong")
        if next_ is None:
            return
        if not records:
            self._empty += 1
            if self._empty >= EMPTY_PAGES:
                raise answer.fault(f"{EMPTY_PAGES} empty pages in a row, each with a next one")
        if str(next_) in self._next or str(next_) == answer.asked:
            raise answer.fault(f"the next page is one that was read before: {answer.redaction(str(next_))}")
        self._next.add(str(next_))


class Workers:
    """Threads that make calls side by side, shared by all tables of a run."""

    def __init__(self, workers: int = 16) -> None:
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._inside = threading.local()

    def each(self, items: Iterable[T], fetch: Callable[[T], R]) -> Iterator[R]:
        """`fetch(item)` of every item, in the order of the items, several at once.

        At most two results a worker wait to be taken, however slow the taker. The first error is raised in its place;
        what was not begun then is not begun any more. Inside a `fetch` the calls go one after another.
        """
        if getattr(self._inside, "here", False):
            yield from map(fetch, items)
            return
        pool = self._start()
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(pool.submit(self._call, fetch, item))
                while running and (len(running) >= 2 * self._workers or running[0].done()):
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def submit(self, fetch: Callable[[T], R], item: T) -> Future[R]:
        """`fetch(item)` in a worker, for a caller that decides by each result what to ask next. Never from inside a `fetch`."""
        return self._start().submit(self._call, fetch, item)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, "calls")
            return self._pool

    def _call(self, fetch: Callable[[T], R], item: T) -> R:
        self._inside.here = True
        return fetch(item)


def full_list(
    pages: Iterable[Page], known: str | None, scope: dict[str, Any], at: str
) -> Generator[Page | Complete, None, str]:
    """A full list, told only if it changed: yields nothing where its digest is the `known` one, else its pages and Complete.

    Returns the digest, for the cursor. `at` is the time before the first page was asked for. The list waits on disk, not in
    memory, until it is known whether it changed.

    >>> pages = [Page([b'{"id":1}'], "2026-11-22T13:00:00.000000Z")]
    >>> len(list(full_list(pages, None, {}, "2026-11-22T13:00:00.000000Z")))
    2
    """
    found = digest(())
    with tempfile.SpooledTemporaryFile(max_size=16 * 1024 * 1024) as file:
        for page in pages:
            found = digest(page.records, found)
            if page.records:
                lengths = [memoryview(record).nbytes for record in page.records]
                file.write(msgspec.json.encode([page.at, page.add, lengths]) + b"\n" + b"".join(page.records))
        if found == known:
            return found
        file.seek(0)
        while head := file.readline():
            page_at, add, lengths = msgspec.json.decode(head)
            yield Page([file.read(length) for length in lengths], page_at, add)
    yield Complete(scope, at)
    return found


class Facts(msgspec.Struct):
    """What a raw line says beside its record; `raw.py` tells the forms. `scope` belongs to a `complete` line."""

    at: str
    add: dict[str, Any] = {}
    op: str = ""
    scope: dict[str, Any] = {}


class Line(msgspec.Struct):
    """One line of a raw log."""

    lake: Facts = msgspec.field(name="_lake")
    record: Raw = Raw(b"")


@dataclass(frozen=True, slots=True)
class ParentRow:
    """One line of the parent's raw log: the picked `fields`, the record as received, and where it came from."""

    fields: tuple[Any, ...]
    record: Record
    at: str
    add: dict[str, Any]
    deleted: bool
    sequence: int


def parent_rows(ask: Ask, *fields: str) -> Iterator[ParentRow]:
    """Records and deletions of the parent's raw commits behind `cursor["parent_sequence"]`, oldest first.

    A record can come in several versions. The cursor may move to a row's `sequence` once all rows of that commit are read:
    see `by_commit`.
    """
    for _, rows in by_commit(ask, *fields):
        yield from rows


def by_commit(ask: Ask, *fields: str) -> Iterator[tuple[Commit, Iterator[ParentRow]]]:
    """As `parent_rows`, commit by commit: read a commit's rows before taking the next, then set a checkpoint."""
    if ask.parent is None:
        raise ValueError(f"{ask.table.id} follows no parent: its contract names none")
    for commit in ask.parent.since(ask.cursor.get("parent_sequence", 0)):
        yield commit, rows_of(ask.parent, commit, fields)


def lines_of(log: RawLog, commit: Commit) -> Iterator[Line]:
    """Every line of a commit: records, deletions, and the `complete` lines between them."""
    for text in log.lines(commit):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:  # a lone surrogate in the record
            scan = Scan(text)
            found = {key: text[value:end] for key, _, value, end in scan.members(0)}
            line = Line(msgspec.json.decode(found["_lake"], type=Facts), Raw(found.get("record", b"")))
        yield line


def rows_of(parent: RawLog, commit: Commit, fields: tuple[str, ...]) -> Iterator[ParentRow]:
    for line in lines_of(parent, commit):
        if line.lake.op != "complete":
            deleted = line.lake.op == "delete"
            yield ParentRow(pick(line.record, *fields), line.record, line.lake.at, line.lake.add, deleted, commit.sequence)
