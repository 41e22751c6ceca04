"""One run of Conta Azul: the company of the login, which stands in every row, and the calls that all tables share.

What is read when lives in `conta_azul.py`, how lists are walked in `conta_azul_lists.py`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from datalake.model import Source, Table
from datalake.settings import SettingError
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Item, Page, Skipped
from datalake.sources.conta_azul_lists import ZONE, day_of
from datalake.sources.conta_azul_log import COMPANY
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http
from datalake.sources.records import Record, pick, single


@dataclasses.dataclass(frozen=True)
class Company:
    """The company of the login, as it is told once in a run. `now` is Conta Azul's clock then."""

    id: str
    record: Record
    at: str
    now: dt.datetime


class ContaAzulRun(HttpRun):
    """One run of one company. Its id stands in every row and scope, and every company has a cursor of its own."""

    def __init__(
        self,
        source: Source,
        http: Http,
        functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]],
        *,
        alias: str,
        since: dt.datetime,
        compare_days: int,
    ) -> None:
        super().__init__(source, http, functions)
        self.since = since
        self._alias = alias
        self._compare_days = compare_days
        self._lock = threading.Lock()
        self._company: Company | None = None
        self._told: set[str] = set()

    def rows(self, ask: Ask) -> Iterator[Item]:
        company = self.company.id
        for item in super().rows(dataclasses.replace(ask, cursor=ask.cursor.get(company, {}))):
            match item:
                case Page() | Deleted():
                    yield dataclasses.replace(item, add={COMPANY: company, **item.add})
                case Complete():
                    yield Complete({COMPANY: company, **item.scope}, item.at)
                case Checkpoint():
                    yield Checkpoint({**ask.cursor, company: item.cursor})

    @property
    def company(self) -> Company:
        """Asked once. The setting's name wins over Conta Azul's id, so that keys stay what they were."""
        with self._lock:
            if self._company is None:
                table = self.source.tables["conta_conectada"]
                answer = self.get(table, table.path)
                record = single(answer)
                name = self._alias or pick(record, "id_empresa")[0]
                if not name:
                    raise SettingError(
                        "Conta Azul does not tell the id of the connected company (id_empresa). Set CONTA_AZUL_COMPANY to a "
                        "name for it: it becomes part of every key, so it must never change."
                    )
                date = email.utils.parsedate_to_datetime(answer.headers["Date"]) if "Date" in answer.headers else None
                now = (date or dt.datetime.now(dt.UTC)).astimezone(ZONE)
                self._company = Company(name, record, answer.at, now)
            return self._company

    @property
    def now(self) -> dt.datetime:
        return self.company.now

    @property
    def today(self) -> dt.datetime:
        return day_of(self.now)

    def tell_once(self, ask: Ask, text: str) -> None:
        """Tell something of a table that is true of all its pages."""
        if (key := f"{ask.table.name} {text}") not in self._told:
            self._told.add(key)
            ask.note(text)

    def to_compare(self, state: dict[str, Any]) -> bool:
        """Whether the whole list is to be read: never done, or long enough ago."""
        last = state.get("compared")
        return last is None or self.today.date() - dt.date.fromisoformat(last) >= dt.timedelta(days=self._compare_days)

    def get(
        self, table: Table, path: str, params: dict[str, Any] | None = None, *, cursor: str = "", gone: tuple[int, ...] = ()
    ) -> Answer:
        """One call. The answer is good, or its status is in `gone`. Raises Skipped where the login may not read this."""
        answer = self.http.get(table.id, path, params, cursor=cursor, accept=(403, *gone))
        if answer.status == 403:
            raise answer.fault(
                "Conta Azul refuses this table; run `datalake connect conta_azul` as a person who may see it (a new login has "
                "cured this), or leave the table out",
                Skipped,
            )
        return answer
