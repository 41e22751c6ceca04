"""The vocabulary between a source module and the engine: what may be asked, what is answered, how it may fail.

How a system is asked lives in its module; HTTP, limits and writing to raw live in their own files beside this one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from datalake.lake.raw import RawLog
from datalake.model import Table


@dataclass(frozen=True, slots=True)
class Page:
    """Records as received, undecoded (`bytes` or `msgspec.Raw`), with the time just before they were asked for.

    `add` are facts of the request that the records do not hold themselves: parent keys, tenant. They reach the table
    through columns with `from_request`.
    """

    records: Sequence[Any]
    at: str
    add: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A record that the source says is gone: its last known form, or at least its key."""

    record: bytes
    at: str
    add: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Complete:
    """Every living row of `scope` (column name -> value; empty: the whole table) was read since `at`.

    Rows of the scope that the table knows from before and that were not read again are gone at the source.
    """

    scope: dict[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All items yielded before may be published with this cursor: a run that dies goes on from here."""

    cursor: dict[str, Any]


Item = Page | Deleted | Complete | Checkpoint


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the past to read again: `since` inclusive, `until` exclusive, both UTC."""

    since: dt.datetime
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Ask:
    """What one table is asked for in one run.

    `cursor` is the state the last commit left ({} the first time, and with `full`). With `window` the table is read for
    that stretch only; checkpoints then serve to publish early, their cursor is not kept.
    """

    table: Table
    cursor: dict[str, Any]
    window: Window | None
    full: bool
    parent: RawLog | None
    """Raw log of `table.parent`, for tables that follow another table's changes (cursor key `parent_sequence`)."""
    note: Callable[[str], None]
    """Tells people about something that is worth a line: a repository skipped, a fall-back to a full read."""


class SourceRun(Protocol):
    """One run of one source: session, token and budget shared by its tables. Made by the module's `open_run`."""

    def rows(self, ask: Ask) -> Iterator[Item]:
        """The rows of a table, by the function its contract names."""
        ...

    def calls(self, table_id: str) -> dict[str, float]:
        """What the table has cost so far in this run: `calls`, `retries`, `limited`, `bytes` received, seconds `waited`."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Discovering(Protocol):
    """A run of a source whose tables and columns are known only when it is asked."""

    def contract(self, table: Table) -> Table:
        """The table with a column for every field that the source has now. Columns that it has already keep their names,
        also those whose field is gone at the source; types follow the source."""
        ...

    def discovered(self, table: Table) -> list[Table]:
        """Tables without a contract that are to be read as well where `table` is: made after it (`like`)."""
        ...


class SourceError(Exception):
    """Something went wrong at the source. The message tells what, where, and what to do next, and holds no secret."""


class Transient(SourceError):
    """Would likely work later: retries are used up. A new run may be started."""


class Permanent(SourceError):
    """Will not work again without a person: a malformed answer, a bad parameter."""


class Skipped(Permanent):
    """One table cannot be read (no permission, product off): the others go on, the run tells it loudly."""


class AuthenticationFailed(Permanent):
    """The key is missing, wrong or expired: no table of the source can be read."""


class Enough(SourceError):
    """A trial's table has made the calls that it may: it can be read."""


class QuotaSpent(Transient):
    """The day's quota is used up: the run ends early and keeps what it has read."""
