"""One run over a Stripe account: its clock, its feed of events, and its calls. What tables are read by lives in `stripe_*`."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from datalake.model import Source, Table
from datalake.sources.base import Ask, AuthenticationFailed, Deleted, Item, Page, Skipped
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http
from datalake.sources.paging import Walk
from datalake.sources.records import Record, Split, inner, pick, single, split

DAY = 86_400
LAG = 10
"""A window ends this many seconds before the present: objects of the last seconds may not be in the lists yet."""
OVERLAP = 600
"""Seconds of the feed that are read again: events do not come in the order of their time."""
FEED_REACH = 28 * DAY
"""Stripe keeps events for 30 days. A state older than this is not trusted to them any more."""

VERSIONS = {"usage_record_summaries": "2025-02-24.acacia"}
"""Tables that only an older version of the API gives."""

OWNERS = {
    "bank_account": ("customer", "account"),
    "billing.credit_balance_transaction": ("credit_grant",),
    "card": ("customer", "account"),
    "customer_cash_balance_transaction": ("customer",),
    "entitlements.active_entitlement_summary": ("customer",),
    "fee_refund": ("fee",),
    "source": ("customer",),
    "tax_id": ("customer",),
}
"""Kinds of objects that live inside another one -> the fields that may hold the id of that."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """What the feed says, without its copy of the object, unless that is the last one there will be."""

    id: str
    type: str
    created: int
    object: str
    """Kind of the object that changed."""
    object_id: str
    owner: str
    """Id of the object that it lives in, if its kind is one of OWNERS."""
    last: bytes | None
    """The object as it was when it was deleted."""


class StripeRun(HttpRun):
    """One run of one account: the horizon up to which it reads, and the feed that its tables share."""

    def __init__(
        self,
        source: Source,
        http: Http,
        since: int,
        functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]],
        read_events: Callable[[StripeRun, Ask, int, int], Iterator[Page]],
    ) -> None:
        super().__init__(source, http, functions)
        self.since = since
        self._read_events = read_events
        self._account_lock = threading.Lock()
        self._feed_lock = threading.Lock()
        self._account: Answer | None = None
        self._events: list[Event] = []
        self._events_from: int | None = None

    def account(self) -> Answer:
        """The account's answer, asked once: its `Date` is the clock of the run. A key may lack the permission (403)."""
        with self._account_lock:
            if self._account is None:
                self._account = self.http.get("stripe.account", "/v1/account", operation="GET /v1/account", accept=(403,))
            return self._account

    @property
    def horizon(self) -> int:
        """The run reads what was created before this moment of Stripe's clock."""
        return clock(self.account()) - LAG

    @property
    def beginning(self) -> int:
        """No object is older than the account; where the key may not read it, than Stripe."""
        answer = self.account()
        created = pick(single(answer), "created")[0] if answer.status == 200 else None
        return int(created) if created else 1_293_840_000

    def events(self, since: int, ask: Ask) -> list[Event]:
        """Events from `since` to the horizon. One pass serves all tables: what was read for one is not read again."""
        horizon = self.horizon
        with self._feed_lock:
            start = horizon if self._events_from is None else self._events_from
            if since < start:
                found = {}
                for page in self._read_events(self, ask, since, start):
                    for record in page.records:
                        event = _event(record)
                        found[event.id] = event
                self._events += found.values()
                self._events_from = since
            return [event for event in self._events if event.created >= since]


def _event(record: Record) -> Event:
    id_, type_, created = pick(record, "id", "type", "created")
    about = inner(inner(record, "data") or b"{}", "object") or b"{}"
    object_, object_id = pick(about, "object", "id")
    owner = next(filter(None, pick(about, *OWNERS.get(object_ or "", ()))), "")
    last = bytes(about) if type_.endswith(".deleted") else None
    return Event(id_, type_, created, object_ or "", object_id or "", owner, last)


def clock(answer: Answer) -> int:
    """When Stripe answered, by its own clock (epoch seconds)."""
    date = email.utils.parsedate_tz(answer.headers.get("Date", ""))
    return int(email.utils.mktime_tz(date) if date else time.time())


def feed_state(events: Iterable[Event], through: int) -> dict[str, Any]:
    """The feed is done up to `through`; the events in the overlap before it, which will come again, are known."""
    return {"through": through, "seen": sorted(event.id for event in events if event.created >= through - OVERLAP)}


# Calls


def get(
    run: StripeRun,
    table: Table,
    path: str,
    operation: str,
    params: Sequence[tuple[str, str]] = (),
    *,
    cursor: str = "",
    gone: tuple[int, ...] = (),
) -> Answer:
    """One call. Its answer is good, or says that the thing asked for is gone, if `gone` holds the status for that.

    Raises Skipped where the key lacks a permission or the product is off, in Stripe's words: they name the permission.
    """
    headers = {"Stripe-Version": VERSIONS[table.name]} if table.name in VERSIONS else None
    answer = run.http.get(table.id, path, params, cursor=cursor, operation=operation, accept=(400, 403, 404), headers=headers)
    if answer.status < 400:
        return answer
    try:
        error = msgspec.json.decode(answer.body, type=_Refused).error
    except msgspec.DecodeError:
        raise answer.fault(f"status {answer.status}, and not Stripe's form of an error") from None
    if answer.status in gone and _says_gone(answer.status, error):
        return answer
    message = run.http.redaction(error.message)
    if answer.status == 403 and error.code == "account_invalid":
        raise answer.fault(f"{message} Check STRIPE_ACCOUNT and the key.", AuthenticationFailed)
    if answer.status == 403:
        raise answer.fault(f"{message} Give the key this permission in the dashboard, or leave the table out.", Skipped)
    if answer.status == 400 and not error.param and not error.code:
        raise answer.fault(f"{message} Turn the product on, or leave the table out.", Skipped)
    raise answer.fault(message or f"status {answer.status}")


class _Error(msgspec.Struct):
    message: str = ""
    code: str = ""
    param: str = ""


class _Refused(msgspec.Struct):
    error: _Error


def _says_gone(status: int, error: _Error) -> bool:
    """A row to go on from (400), a connected account that left the platform (403), any other object (404)."""
    cursor_gone = error.code == "resource_missing" and error.param == "starting_after"
    return status == 404 or (status == 400 and cursor_gone) or (status == 403 and error.code == "account_invalid")


def pages(
    run: StripeRun, table: Table, path: str, operation: str, params: Sequence[tuple[str, str]], gone: tuple[int, ...] = ()
) -> Iterator[Page]:
    """All pages of a list, at least one. A list that is gone (a status in `gone`) is an empty page."""
    walk, after = Walk(), ""
    while True:
        asked = [*params, ("starting_after", after)] if after else params
        answer = get(run, table, path, operation, asked, cursor=after, gone=gone)
        if answer.status in gone:
            yield Page([], answer.at)
            return
        page = split(answer, "data", ["has_more"])
        ended(answer, page)
        more = bool(page.facts["has_more"])
        after = pick(page.records[-1], "id")[0] if more else ""
        walk.step(answer, page.records, after or None)
        yield Page(page.records, answer.at)
        if not more:
            return


def ended(answer: Answer, page: Split) -> None:
    """Raises Permanent for a page without rows that says that there is more."""
    if not page.records and page.facts["has_more"]:
        raise answer.fault("the answer says that there is more, and brings no row to go on from")


def by_id(run: StripeRun, table: Table, id_: str, last: bytes | None = None) -> Item:
    """One object. Where it is gone: `last`, its last known form, or at least its id."""
    expand = [(name, value.removeprefix("data.")) for name, value in table.params if name == "expand[]"]
    path = f"{table.path}/{quote(id_, safe='')}"
    answer = get(run, table, path, f"GET {table.path}/:id", expand, cursor=id_, gone=(404,))
    if answer.status == 404:
        return Deleted(last or msgspec.json.encode({"id": id_}), answer.at)
    record = single(answer)
    return Deleted(last or bytes(record), answer.at) if pick(record, "deleted")[0] else Page([record], answer.at)
