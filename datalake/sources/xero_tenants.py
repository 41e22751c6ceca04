"""Who is asked at Xero: the organisations behind a login, their limits and refusals. What is asked lives in `xero`."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from datalake.model import Source, Table
from datalake.settings import SettingError, Settings
from datalake.sources.base import Ask, AuthenticationFailed, Checkpoint, Item, QuotaSpent, Skipped, SourceError
from datalake.sources.budget import Budget, Limit, retry_after
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http, Verdict
from datalake.sources.oauth import OAuth
from datalake.sources.paging import Workers, by_commit
from datalake.sources.progress import Progress
from datalake.sources.records import pick, split

AT_ONCE = 5
"""Calls that Xero answers at once for one organisation."""
A_MINUTE = 60
"""Calls that Xero answers in a minute for one organisation."""

_INVOICES = ("accounting.invoices", "accounting.transactions")
_PAYMENTS = ("accounting.payments", "accounting.transactions")
SCOPES: dict[str, tuple[str, ...]] = {
    "/api.xro/2.0/BankTra": ("accounting.banktransactions", "accounting.transactions"),
    "/api.xro/2.0/BatchPayments": _PAYMENTS,
    "/api.xro/2.0/Budgets": ("accounting.budgets",),
    "/api.xro/2.0/Contact": ("accounting.contacts",),
    "/api.xro/2.0/CreditNotes": _INVOICES,
    "/api.xro/2.0/Invoices": _INVOICES,
    "/api.xro/2.0/Items": (*_INVOICES, "accounting.settings"),
    "/api.xro/2.0/Journals": ("accounting.journals",),
    "/api.xro/2.0/ManualJournals": ("accounting.manualjournals", "accounting.transactions"),
    "/api.xro/2.0/Overpayments": _PAYMENTS,
    "/api.xro/2.0/Payments": _PAYMENTS,
    "/api.xro/2.0/Prepayments": _PAYMENTS,
    "/api.xro/2.0/PurchaseOrders": _INVOICES,
    "/api.xro/2.0/Quotes": _INVOICES,
    "/api.xro/2.0/Reports/BalanceSheet": ("accounting.reports.balancesheet", "accounting.reports"),
    "/api.xro/2.0/Reports/BankSummary": ("accounting.reports.banksummary", "accounting.reports"),
    "/api.xro/2.0/Reports/ProfitAndLoss": ("accounting.reports.profitandloss", "accounting.reports"),
    "/api.xro/2.0/Reports/TrialBalance": ("accounting.reports.trialbalance", "accounting.reports"),
    "/api.xro/2.0/": ("accounting.settings",),
}
"""Start of a core table's path -> scopes (with or without `.read`) of which one is needed: granular, then the old broad one."""


class Disconnected(Skipped):
    """The organisation is no longer connected to the login."""


class Tenant:
    """One organisation: its session and budget. `closed` tells why nothing more is asked in this run."""

    def __init__(self, id_: str, name: str, run: XeroRun) -> None:
        self.id = id_
        self.name = name
        self.closed: QuotaSpent | Disconnected | None = None
        self.http = run.session(self)
        self.workers = Workers(AT_ONCE)
        """Threads of its own: those of another organisation may all be waiting for its minute."""
        self._heard = False
        self._run = run

    def get(
        self,
        table: Table,
        path: str,
        params: Mapping[str, str] = {},
        *,
        modified_since: str = "",
        cursor: object = "",
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """One answer: 2xx, 304, or one of `accept`. `modified_since` is UTC, `2026-11-22T13:00:00Z`; empty: no condition.

        Raises QuotaSpent once the organisation's day is used up, Disconnected, and Skipped where this table may not be read.
        """
        if self.closed is not None:
            raise type(self.closed)(f"{table.id}: {self.closed}")
        headers = {"If-Modified-Since": modified_since.rstrip("Z")} if modified_since else {}
        if self._run.http.most_calls is not None:
            self.http.most_calls = 3 * self._run.http.most_calls  # a refusal is looked into and asked again
        ask = functools.partial(
            self.http.get, table.id, path, params, headers=headers, cursor=cursor, accept=(401, 403, 404, 410, *accept)
        )
        try:
            answer = ask()
            if answer.status in (401, 403):
                self._run.check(self, answer)
                if not scope_is_missing(answer):
                    answer = ask()  # some refusals pass by themselves
        except Disconnected:
            self.closed = Disconnected(f"{self.name} is no longer connected")
            raise
        except QuotaSpent as error:
            self.closed = self.closed or error
            raise
        if answer.status in (401, 403):
            what = f"{self.name} does not let this login read the table: a scope is missing, or the plan has no such endpoint"
            raise answer.fault(what, Skipped)
        if answer.status in (404, 410) and answer.status not in accept:
            raise answer.fault(f"{self.name} has no such endpoint", Skipped)
        if answer.headers.get("X-DayLimit-Remaining") == "0":
            self.closed = QuotaSpent(f"{self.name} has no call left today")
        return answer

    def hear(self, remaining: str) -> None:
        """The first answer of a run tells how much of the minute was used before: by another run, or another program."""
        if remaining.isdigit() and not self._heard:
            self._heard = True
            self.http.budget.spend(max(0, A_MINUTE - 1 - int(remaining)))


class XeroRun(HttpRun):
    """One run of one login: its connections, and a session for each organisation."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        auth: OAuth,
        functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]],
        *,
        base_url: str,
        moved: bool,
        custom: bool,
        progress: Progress,
    ) -> None:
        self.auth = auth
        self._settings = settings
        self._progress = progress
        self._custom = custom
        self._base_url, self._moved = base_url, moved
        self._limit = Limit(_calls_a_minute(settings), 60.0)
        self._lock = threading.RLock()
        self._connected: Answer | None = None
        self._tenants: list[Tenant] | None = None
        self._told_gone = False
        super().__init__(source, self.session(None), functions)

    @property
    def tenants(self) -> list[Tenant]:
        """The organisations to read, asked once. Raises AuthenticationFailed where there is none."""
        with self._lock:
            if self._tenants is None:
                self._tenants = self._open_tenants()
            return self._tenants

    @functools.cached_property
    def now(self) -> dt.datetime:
        """Xero's clock when the run began, UTC; this machine's where the answer names no time."""
        date = email.utils.parsedate_tz(self.connections().headers.get("Date", ""))
        return dt.datetime.fromtimestamp(email.utils.mktime_tz(date) if date else time.time(), dt.UTC)

    @property
    def today(self) -> dt.date:
        return self.now.date()

    def connections(self) -> Answer:
        """The organisations behind the login, asked once a run."""
        with self._lock:
            if self._connected is None:
                self._connected = self.http.get("xero.connections", "/connections")
            return self._connected

    def check(self, tenant: Tenant, refusal: Answer) -> None:
        """After a refusal: raises AuthenticationFailed where the login reads nothing, Disconnected where it lost this one."""
        if tenant.id not in _ids(tenant.http.get(refusal.table_id, "/connections")):
            raise refusal.fault(
                f"{tenant.name} is no longer connected: log in again and choose it; its rows stay", Disconnected
            )

    def tell_gone(self, known: Iterable[str], ask: Ask) -> None:
        """Tell once a run of organisations that were read before and are no longer connected."""
        gone = set(known) - _ids(self.connections())
        with self._lock:
            if gone and not self._told_gone:
                self._told_gone = True
                ask.note(f"no longer connected, so their rows stay as they were: organisations {', '.join(sorted(gone))}")

    def calls(self, table_id: str) -> dict[str, float]:
        tallies = [self.http.calls(table_id), *(tenant.http.calls(table_id) for tenant in self._tenants or ())]
        return {name: round(sum(tally[name] for tally in tallies), 3) for name in tallies[0]}

    def close(self) -> None:
        super().close()
        for tenant in self._tenants or ():
            tenant.workers.close()
            tenant.http.close()

    def _open_tenants(self) -> list[Tenant]:
        wanted = set(self._settings.names("XERO_TENANTS"))
        found, unknown = [], set(wanted)
        for record in split(self.connections()).records:
            id_, kind, name = pick(record, "tenantId", "tenantType", "tenantName")
            # A practice is an accountant's office; it has no books of its own.
            if kind != "PRACTICE" and (not wanted or wanted & {id_, name}):
                found.append(Tenant(id_, name or id_, self))
            unknown -= {id_, name}
        if unknown:
            raise SettingError(f"XERO_TENANTS names {', '.join(sorted(unknown))}, which this login does not read")
        if not found:
            raise AuthenticationFailed("xero: no organisation is connected to this login; log in again and choose one")
        return found

    def session(self, tenant: Tenant | None) -> Http:
        """A session for one organisation, or for what belongs to the login alone."""
        # A custom connection reads one organisation and takes no word of which.
        headers = {"Xero-Tenant-Id": tenant.id} if tenant and not self._custom else {}
        budget = Budget(
            [self._limit], concurrency=AT_ONCE, waiting=lambda seconds, why: self._progress.waiting("xero", seconds, why)
        )
        return Http(
            "xero",
            self._base_url,
            moved=self._moved,
            auth=self.auth,
            budget=budget,
            secrets=self._settings.secrets(),
            headers=headers,
            classify=lambda answer: self._classify(answer, tenant),
            note=self._progress.note,
        )

    def _classify(self, answer: Answer, tenant: Tenant | None) -> Verdict | None:
        """Xero's limits by `X-Rate-Limit-Problem`: concurrent, minute and day of an organisation, minute of the app."""
        if tenant is not None:
            tenant.hear(answer.headers.get("X-MinLimit-Remaining", ""))
        if answer.status != 429:
            return None
        problem = answer.headers.get("X-Rate-Limit-Problem", "").lower()
        wait = retry_after(answer.headers) or 0.0
        if problem == "day" and tenant is not None:
            tenant.closed = QuotaSpent(f"{tenant.name} has no call left today; the day opens again in {wait:,.0f} s")
            return Verdict.QUOTA
        if problem == "concurrent":
            return Verdict.RETRY
        if problem.startswith("app"):
            for each in self._tenants or ():
                each.http.budget.pause(wait, "the app's limit over all organisations")
        return Verdict.LIMITED


def scope_is_missing(answer: Answer) -> bool:
    """Whether a refusal is about what the login may read, not about its token."""
    return answer.status == 401 and b"AuthorizationUnsuccessful" in answer.body


def each_tenant(run: XeroRun, ask: Ask, read: Callable[[Tenant, dict[str, Any]], Iterator[Item]]) -> Iterator[Item]:
    """The rows of all organisations side by side, each by `read(tenant, state)`, whose checkpoints hold its part of the cursor.

    An organisation that is refused, gone, or has spent its day is told and left as it was; one that fails otherwise is an
    error after the others are read. Where nothing could be read at all, that is the error.
    """
    states: dict[str, Any] = dict(ask.cursor.get("tenants", {}))
    tenants = run.tenants
    run.tell_gone(states, ask)
    left_out: list[SourceError] = []
    failed: Exception | None = None
    with _SideBySide({tenant: read(tenant, states.get(tenant.id, {})) for tenant in tenants}) as items:
        for tenant, item in items:
            match item:
                case Checkpoint():
                    states[tenant.id] = item.cursor
                    yield Checkpoint({"tenants": dict(states)})
                case AuthenticationFailed():
                    raise item
                case QuotaSpent() | Skipped():
                    left_out.append(item)
                    if len(tenants) > 1:
                        ask.note(f"{tenant.name} was left as it was: {item}")
                case Exception():
                    failed = failed or item
                case _:
                    yield item
    if failed is not None:
        raise failed
    if len(left_out) == len(tenants):
        raise next((error for error in left_out if not isinstance(error, QuotaSpent)), left_out[0])


class _SideBySide:
    """What several generators yield, as it comes: each runs in a thread of its own, and ends with its error if it fails."""

    def __init__(self, reads: Mapping[Tenant, Iterator[Item]]) -> None:
        self._reads = reads
        self._queue: queue.Queue[tuple[Tenant, Item | Exception | None]] = queue.Queue(2 * len(reads))
        self._left = threading.Event()

    def __enter__(self) -> Iterator[tuple[Tenant, Item | Exception]]:
        for tenant, items in self._reads.items():
            threading.Thread(target=self._read, args=(tenant, items), name=f"read {tenant.name}", daemon=True).start()
        return self._items()

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _items(self) -> Iterator[tuple[Tenant, Item | Exception]]:
        running = len(self._reads)
        while running:
            tenant, item = self._queue.get()
            if item is None:
                running -= 1
            else:
                yield tenant, item

    def _read(self, tenant: Tenant, items: Iterator[Item]) -> None:
        try:
            for item in items:
                if not self._put(tenant, item):
                    return
        except Exception as error:  # noqa: BLE001 - it is raised where the items are taken
            self._put(tenant, error)
        self._put(tenant, None)

    def _put(self, tenant: Tenant, item: Item | Exception | None) -> bool:
        """Hand an item over; False where nobody takes any more."""
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put((tenant, item), timeout=0.2)
                return True
        return False


def listed_parents(run: XeroRun, ask: Ask, *fields: str) -> dict[str, list[tuple[Any, ...]]]:
    """Organisation -> the parent's rows, by their id and `fields`, as its whole list stood when it was read last."""
    parent = run.source.tables[ask.table.parent or ""]
    found: dict[str, list[tuple[Any, ...]]] = {}
    for _, rows in by_commit(replace(ask, cursor={}), parent.column(parent.key[-1]).field[0], *fields):
        listed: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            listed.setdefault(row.add["tenant_id"], []).append(row.fields)
        found |= listed
    return found


def _ids(connections: Answer) -> set[str]:
    return {pick(record, "tenantId")[0] for record in split(connections).records}


def _calls_a_minute(settings: Settings) -> int:
    text = settings["XERO_CALLS_A_MINUTE"]
    if not text.isdigit() or int(text) < 1:
        raise SettingError(f"XERO_CALLS_A_MINUTE is '{text}': write a whole number, at most 60 unless Xero grants more")
    return int(text)
