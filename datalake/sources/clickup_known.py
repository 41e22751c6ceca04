"""What a table of ClickUp holds already, remembered in its cursor, so that only news, changes and what vanished are told.

ClickUp has no "changed since" for anything but tasks and no word of what was deleted: lists are read whole and compared.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec
import zstandard

from datalake.lake.raw import RawLog
from datalake.model import Table
from datalake.sources.base import Ask, Deleted, Page
from datalake.sources.records import Drop, Record, pick


class Known:
    """The living rows of a table: of each its key, the scope it was read in (a space, a list, …) and a fingerprint.

    `tell_all` tells rows although they are known: for a whole new reading of the table.
    """

    def __init__(self, table: Table, packed: str, *, tell_all: bool) -> None:
        self._table = table
        self._tell_all = tell_all
        self._drop = Drop(table.secrets) if table.secrets else None
        self._columns = [table.column(name) for name in table.key]
        self._heads = [column.field[0] for column in self._columns if not column.from_request]
        self._rows = {key: (scope, mark) for scope, mark, key in _unpack(packed)}
        self._seen: set[str] = set()

    def pack(self) -> str:
        """The rows as text for the cursor."""
        return _pack((scope, mark, key) for key, (scope, mark) in sorted(self._rows.items()))

    def news(self, scope: str | Callable[[Record], str], page: Page) -> Page | None:
        """The rows of a page that are new or changed, from now on known; None where there are none."""
        told = []
        for record in page.records:
            kept = self._drop(record) if self._drop else record
            key = msgspec.json.encode(self._key(record, page.add)).decode()
            mark = hashlib.blake2b(msgspec.json.encode(page.add) + bytes(kept), digest_size=6).hexdigest()
            self._seen.add(key)
            if self._tell_all or self._rows.get(key, ("", ""))[1] != mark:
                told.append(record)
            self._rows[key] = (scope if isinstance(scope, str) else scope(record), mark)
        return Page(told, page.at, page.add) if told else None

    def holds(self, page: Page) -> list[bool]:
        """Of each record of a page, whether its row is known, in whatever form."""
        return [msgspec.json.encode(self._key(record, page.add)).decode() in self._rows for record in page.records]

    def missing(self, scopes: Collection[str]) -> list[str]:
        """Keys of the rows of these scopes that no page brought. A row that moved to another scope is not missing."""
        return [key for key, (scope, _) in self._rows.items() if scope in scopes and key not in self._seen]

    def scopes(self) -> set[str]:
        return {scope for scope, _ in self._rows.values()}

    def scope(self, key: str) -> str:
        return self._rows[key][0]

    def gone(self, key: str, at: str) -> Deleted:
        """Forget a row, and tell that it is gone."""
        del self._rows[key]
        record: dict[str, Any] = {}
        add: dict[str, Any] = {}
        for column, value in zip(self._columns, msgspec.json.decode(key), strict=True):
            place = add if column.from_request else record
            for step in column.field[:-1]:
                place = place.setdefault(step, {})
            place[column.field[-1]] = value
        return Deleted(msgspec.json.encode(record), at, add)

    def _key(self, record: Record, add: dict[str, Any]) -> list[Any]:
        picked = dict(zip(self._heads, pick(record, *self._heads), strict=True))
        key = []
        for column in self._columns:
            value: Any = add if column.from_request else picked
            for step in column.field:
                value = value.get(step) if isinstance(value, dict) else None
            key.append(value)
        return key


def state_of(ask: Ask) -> dict[str, Any]:
    """The state that the table's last commit left, also where all is to be told again: what vanished is known from it."""
    if not ask.full or ask.parent is None:
        return dict(ask.cursor)
    head = RawLog(ask.parent.objects, ask.table).head()
    return dict(head.cursor) if head else {}


def known_of(ask: Ask) -> Known:
    return Known(ask.table, state_of(ask).get("known", ""), tell_all=ask.full or ask.window is not None)


def living(log: RawLog | None) -> list[tuple[str, list[Any]]]:
    """Scope and key of every row that lives, as the newest commit of a table's log knows them."""
    head = log.head() if log else None
    packed = head.cursor.get("known", "") if head else ""
    return [(scope, msgspec.json.decode(key)) for scope, _, key in _unpack(packed)]


def compared(known: Known, scope: str, pages: Iterable[Page]) -> Iterator[Page]:
    for page in pages:
        if (news := known.news(scope, page)) is not None:
            yield news


def vanished(known: Known, scopes: Collection[str], at: str, is_gone: Callable[[str], bool] | None = None) -> Iterator[Deleted]:
    """Rows of scopes that were read whole since `at` and did not come; with `is_gone` only those of which it says so."""
    for key in known.missing(scopes):
        if is_gone is None or is_gone(key):
            yield known.gone(key, at)


def _pack(rows: Iterable[tuple[str, str, str]]) -> str:
    text = "\n".join(map("\t".join, rows))
    return base64.b64encode(zstandard.ZstdCompressor(level=3).compress(text.encode())).decode() if text else ""


def _unpack(packed: str) -> Iterator[tuple[str, str, str]]:
    if not packed:
        return
    text = zstandard.ZstdDecompressor().decompress(base64.b64decode(packed)).decode()
    for line in text.split("\n"):
        scope, mark, key = line.split("\t")
        yield scope, mark, key
