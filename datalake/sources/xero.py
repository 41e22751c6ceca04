"""How Xero is asked: organisations in turn, what changed since, whole lists, children. Reports live in `xero_reports`.

One login may read several organisations (tenants). Each has limits of its own, so each has its own budget, and its own part of
a table's cursor: one that is refused, spent or gone never holds up the others. What `If-Modified-Since` does not report
(balances of contacts, flags, stock, vanished drafts) is found by reading the whole table once a week.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.settings import Settings
from datalake.sources import xero_reports
from datalake.sources.auth import Request
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Transient
from datalake.sources.frontier import Frontier, earlier
from datalake.sources.http import Answer
from datalake.sources.oauth import OAuth
from datalake.sources.paging import ParentRow, Walk, by_commit, lines_of
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Record, elements, inner, pick, single, split
from datalake.sources.xero_tenants import SCOPES, Tenant, XeroRun, each_tenant, listed_parents, scope_is_missing

OVERLAP = dt.timedelta(hours=1)
"""What changed so long before the newest known change is asked for again: changes can come to light late."""
WHOLE = dt.timedelta(days=7)
"""After this time a table is read whole again."""
PAGE = 100
"""Rows of a page where the endpoint takes no pageSize."""
WHOLE_TRIES = 3
"""How often a list whose pages shift while they are read is read again in one run."""
CHUNK = 100
"""Documents whose children are asked for between two checkpoints."""
JOURNAL_OVERLAP = 50
"""Journal numbers below the newest that are read again: a journal may appear after one with a higher number."""
ASSET_STATUSES = ("DRAFT", "REGISTERED", "DISPOSED")
"""The list of assets wants one of them."""

LOGIN = "https://identity.xero.com"
REFUSALS = {
    "invalid_grant": "the refresh token was used before, is over 60 days old, or was revoked",
    "invalid_client": "XERO_CLIENT_ID or XERO_CLIENT_SECRET is wrong",
    "unauthorized_client": "the app may not use this kind of login; see XERO_CUSTOM_CONNECTION",
}


def oauth(settings: Settings) -> Login:
    """The login that is kept, or that of a custom connection. Raises SettingError where a setting is missing."""
    address, moved = settings.base_url("xero", LOGIN)
    return Login(
        settings,
        "xero",
        token_url=f"{address}/connect/token",
        client_id=settings.require("XERO_CLIENT_ID"),
        client_secret=settings.require("XERO_CLIENT_SECRET"),
        moved=moved,
        grant="client_credentials" if _custom(settings) else "refresh_token",
        refusals=REFUSALS,
    )


def open_run(settings: Settings, source: Source, progress: Progress) -> XeroRun:
    """A run with its login. Raises SettingError where a setting is missing."""
    base_url, moved = settings.base_url("xero", source.base_url)
    functions: dict[str, Callable[[Any, Ask], Iterator[Item]]] = {
        "budget_balances": budget_balances,
        "children_of_changed": children_of_changed,
        "from_parent": from_parent,
        "full_list": full_list,
        "journals_by_offset": journals_by_offset,
        "modified_since": modified_since,
        "report_snapshots": xero_reports.report_snapshots,
        "aged_by_contact": xero_reports.aged_by_contact,
        "ten_ninety_nine": xero_reports.ten_ninety_nine,
    }
    auth, custom = oauth(settings), _custom(settings)
    return XeroRun(source, settings, auth, functions, base_url=base_url, moved=moved, custom=custom, progress=progress)


def _custom(settings: Settings) -> bool:
    return settings["XERO_CUSTOM_CONNECTION"].lower() in ("yes", "true", "1")


def identify(run: XeroRun) -> str:
    """The organisations that the login reads, and the core tables that its scopes do not cover."""
    names = ", ".join(tenant.name for tenant in run.tenants)
    granted = set(str(run.auth.facts.get("scope", "")).split())
    missing = []
    for table in run.source.tables.values() if granted else ():
        top = table
        while top.rows == "from_parent" and top.parent:
            top = run.source.tables[top.parent]
        wanted = next((scopes for start, scopes in SCOPES.items() if top.path.startswith(start)), ())
        if table.core and wanted and not granted & {scope for each in wanted for scope in (each, f"{each}.read")}:
            missing.append(table.name)
    told = f"the scopes do not cover {', '.join(missing)}" if missing else "the scopes cover all core tables"
    return f"{names}; {told if granted else 'the login tells no scopes'}"


class Login(OAuth):
    """Xero's login. Where a scope is missing, another token would be refused as well, so none is asked for."""

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        flow = super().auth_flow(request)
        answer = yield next(flow)
        if not scope_is_missing(answer):
            with contextlib.suppress(StopIteration):
                yield flow.send(answer)


# Functions that the contracts name in `rows:`


def full_list(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """A list read whole and told when it changed: of the login, of each organisation, or of each row of the parent."""
    if ask.table.path == "/connections":
        answer = run.connections()
        pages = [Page(split(answer).records, answer.at)]
        found = yield from told_if_changed(pages, ask.cursor.get("digest"), {}, answer.at)
        yield Checkpoint({"digest": found})
        return
    parents = listed_parents(run, ask) if ask.table.parent else {}

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        at = utc_now()
        pages = _list(tenant, ask)
        if ask.table.parent:
            paths = [re.sub(r"\{.*?\}", id_, ask.table.path) for (id_,) in parents.get(tenant.id, ())]
            lists = tenant.workers.each(paths, lambda path: list(_pages(tenant, ask, path, gone=(404,))))
            pages = itertools.chain.from_iterable(lists)
        found = yield from told_if_changed(pages, state.get("digest"), {"tenant_id": tenant.id}, at)
        yield Checkpoint({"digest": found})

    yield from each_tenant(run, ask, read)


def modified_since(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """What changed since the last run by `If-Modified-Since`; once a week, and at first, the whole table."""

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        if ask.window:
            since, until = (_stamp(moment.timestamp()) for moment in (ask.window.since, ask.window.until))
            for page, stamps, _ in _changes(tenant, ask, since):
                inside = [record for record, at in zip(page.records, stamps, strict=True) if since <= at < until]
                yield Page(inside, page.at, page.add)
        elif _whole_is_due(run, state):
            yield from _read_whole(run, tenant, ask, state)
        else:
            frontier = Frontier(state, OVERLAP)
            for page, stamps, reached in _changes(tenant, ask, frontier.start):
                yield Page([record for record, _ in frontier.fresh(page.records, stamps)], page.at, page.add)
                if reached:
                    yield Checkpoint({**frontier.state(), "whole": state["whole"]})
            yield Checkpoint({**frontier.state(), "whole": state["whole"]})

    yield from each_tenant(run, ask, read)


def journals_by_offset(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """Journals behind the highest number known. They never change; a few numbers are read again for those that came late."""

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        top, seen = (0, set()) if ask.window else (state.get("offset", 0), set(state.get("recent", ())))
        since = _stamp(ask.window.since.timestamp()) if ask.window else ""
        until = _stamp(ask.window.until.timestamp()) if ask.window else "9"
        offset = max(0, top - JOURNAL_OVERLAP)
        walk = Walk()
        while True:
            params = {**dict(ask.table.params), "offset": str(offset)}
            answer = tenant.get(ask.table, ask.table.path, params, modified_since=since, cursor=offset)
            records = _records(answer, ask.table)
            facts = [pick(record, "JournalNumber", "CreatedDateUTC") for record in records]
            numbers = [int(number) for number, _ in facts]
            if numbers and min(numbers) <= offset:
                raise answer.fault(f"journal {min(numbers)} came where those behind {offset} were asked for")
            walk.step(answer, records)
            fresh = [
                record
                for record, (number, made) in zip(records, facts, strict=True)
                if number not in seen and since <= _moment(made) < until
            ]
            yield Page(fresh, answer.at, {"tenant_id": tenant.id})
            seen.update(numbers)
            top = max([top, *numbers])
            seen = {number for number in seen if number > top - JOURNAL_OVERLAP}
            yield Checkpoint({"offset": top, "recent": sorted(seen)})
            if len(records) < PAGE:
                return
            offset = max(numbers)

    yield from each_tenant(run, ask, read)


def from_parent(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """Elements of a list inside the parent's records (`LineItems`), or of a list inside those (`LineItems.Tracking`).

    What the records do not hold is given as facts: the parent's columns of the same name, the place in the list, the id of the
    element between. A parent that is told again replaces its rows as a set; one that vanished takes them along.
    """
    table = ask.table
    parent = run.source.tables[table.parent or ""]
    owner = parent.key[-1]
    facts = [column.field[0] for column in table.columns if column.from_request]
    between = _between(run.source, table)
    made = {"tenant_id", owner, "position", "allocation_key", between[0]}
    taken = {name: parent.column(name).field[0] for name in facts if name not in made}
    fields = [parent.column(owner).field[0], *taken.values()]
    assert ask.parent is not None
    for commit in ask.parent.since(ask.cursor.get("parent_sequence", 0)):
        for line in lines_of(ask.parent, commit):
            if line.lake.op == "complete":
                yield Complete(line.lake.scope, line.lake.at)
                continue
            tenant = line.lake.add["tenant_id"]
            id_, *rest = pick(line.record, *fields)
            add = {"tenant_id": tenant, owner: id_, **dict(zip(taken, rest, strict=True))}
            inside = () if line.lake.op == "delete" else _inside(line.record, table.records, between, facts)
            for own, records in itertools.groupby(inside, key=lambda each: each[0]):
                yield Page([record for _, record in records], line.lake.at, {name: {**add, **own}[name] for name in facts})
            if not table.deletes.startswith("append_only"):
                yield Complete({"tenant_id": tenant, owner: id_}, line.lake.at)
        yield Checkpoint({"parent_sequence": commit.sequence})


def _between(source: Source, table: Table) -> tuple[str, str]:
    """For lists inside a list: the fact that names the element between, and the field of that element that holds it."""
    for column in table.columns:
        if column.from_request and column.refers and column.refers[1] != table.parent:
            middle = source.tables[column.refers[1]]
            if middle.parent == table.parent:
                return column.field[0], middle.column(column.refers[2]).field[0]
    return "", ""


def _inside(
    record: Record, path: str, between: tuple[str, str], facts: Sequence[str]
) -> Iterator[tuple[dict[str, Any], Record]]:
    """The elements at `path`, each with its own facts."""
    field, _, deeper = path.partition(".")
    equal: Counter[str] = Counter()
    for place, element in enumerate(elements(inner(record, field) or b"[]")):
        own: dict[str, Any] = {"position": place} if "position" in facts else {}
        if "allocation_key" in facts:
            own["allocation_key"] = _allocation_key(element, equal)
        if not deeper:
            yield own, element
            continue
        (id_,) = pick(element, between[1])
        for innermost in elements(inner(element, deeper) or b"[]"):
            yield {**own, between[0]: id_}, innermost


def _allocation_key(allocation: Record, equal: Counter[str]) -> str:
    """AllocationID, or where an old row lacks it invoice, day and amount, with a number among equals."""
    id_, invoice, date = pick(allocation, "AllocationID", "Invoice", "Date")
    if id_:
        return str(id_)
    amount = bytes(inner(allocation, "Amount") or b"").decode()
    key = f"{(invoice or {}).get('InvoiceID')}/{_moment(date)[:10]}/{amount}"
    equal[key] += 1
    return key if equal[key] == 1 else f"{key}#{equal[key]}"


def children_of_changed(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """One call for every changed document, of the parent's table and of those beside it."""
    assert ask.parent is not None
    objects = ask.parent.objects

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        sequences: dict[str, int] = dict(state.get("sequences", {}))
        for name in (ask.table.parent or "", *ask.table.also):
            of = run.source.tables[name]
            skip = state.get("done", {}).get(name, 0)
            one = dataclasses.replace(ask, parent=RawLog(objects, of), cursor={"parent_sequence": sequences.get(name, 0)})
            for commit, rows in by_commit(one, of.column(of.key[-1]).field[0], "HasAttachments"):
                newest = {row.fields[0]: row for row in rows if row.add["tenant_id"] == tenant.id}
                fetch = partial(_children, ask.table, tenant, of.path.rpartition("/")[2], known=name in sequences)
                changed = [dataclasses.replace(row, record=b"") for row in newest.values()]
                for start in range(skip, len(changed), CHUNK):
                    for items in tenant.workers.each(changed[start : start + CHUNK], fetch):
                        yield from items
                    yield Checkpoint({"sequences": dict(sequences), "done": {name: start + CHUNK}})
                skip = 0
                sequences[name] = commit.sequence
                yield Checkpoint({"sequences": dict(sequences)})

    yield from each_tenant(run, ask, read)


def _children(table: Table, tenant: Tenant, entity: str, row: ParentRow, *, known: bool) -> list[Item]:
    """The children of one document; `known` says that an earlier version of it may have had some."""
    id_, attached = row.fields
    history = table.records == "HistoryRecords"
    facts = {"tenant_id": tenant.id, "entity": entity, "entity_id": id_}
    if row.deleted or not (history or attached):
        return [Complete(facts, row.at)] if known else []
    answer = tenant.get(table, table.path.format(Entity=entity, EntityID=id_), cursor=id_, accept=(404,))
    records = _records(answer, table)
    if not history:
        return [Page(records, answer.at, facts), Complete(facts, answer.at)]
    # The newest entry comes first; counted from the oldest, an entry keeps its place.
    dated = sorted((_moment(pick(record, "DateUTC")[0]), -place) for place, record in enumerate(records))
    return [Page([records[-behind]], answer.at, {**facts, "position": number}) for number, (_, behind) in enumerate(dated)]


def budget_balances(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """The figures of each budget for last year and this one; a month that changed is replaced as a set."""
    budgets = listed_parents(run, ask)
    first, last = dt.date(run.today.year - 1, 1, 1), dt.date(run.today.year, 12, 31)

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        known, digests = state.get("digests", {}), {}
        for (id_,) in budgets.get(tenant.id, ()):
            path = f"{ask.table.path.partition('{')[0]}{id_}"
            answer = tenant.get(ask.table, path, {"DateFrom": str(first), "DateTo": str(last)}, cursor=id_, accept=(404,))
            rows = list(_balances(answer)) if answer.status == 200 else []
            facts = {"tenant_id": tenant.id, "budget_id": id_}
            pages = [Page([record], answer.at, {**facts, **account}) for account, record in rows]
            digests[id_] = xero_reports.digest_of(pages)
            if digests[id_] != known.get(id_):
                yield from pages
                for year in (first.year, last.year):
                    for month in range(1, 13):
                        yield Complete({**facts, "period": f"{year}-{month:02d}"}, answer.at)
        for id_ in known.keys() - digests.keys():
            yield Complete({"tenant_id": tenant.id, "budget_id": id_}, utc_now())
        yield Checkpoint({"digests": digests})

    yield from each_tenant(run, ask, read)


def _balances(answer: Answer) -> Iterator[tuple[dict[str, Any], Record]]:
    """The balances of one budget, each with its account. `Budgets` is an array, or the budget itself."""
    found = inner(single(answer), "Budgets") or b"[]"
    for budget in [found] if bytes(memoryview(found)[:1]) == b"{" else elements(found):
        for line in elements(inner(budget, "BudgetLines") or b"[]"):
            account, code = pick(line, "AccountID", "AccountCode")
            for balance in elements(inner(line, "BudgetBalances") or b"[]"):
                yield {"account_id": account, "account_code": code}, balance


# Whole tables and changes


def _whole_is_due(run: XeroRun, state: dict[str, Any]) -> bool:
    if "pass" in state or "whole" not in state:
        return True
    return run.now - dt.datetime.fromisoformat(state["whole"]) >= WHOLE


def _read_whole(run: XeroRun, tenant: Tenant, ask: Ask, state: dict[str, Any]) -> Iterator[Item]:
    """Every row of the organisation, from where an earlier run that was stopped had come."""
    begun = state.get("pass") or {"at": utc_now(), "day": _stamp(run.now.timestamp()), "from": ""}
    before = {"whole": state["whole"]} if "whole" in state else {}
    frontier = Frontier(state, OVERLAP)
    for page, stamps, reached in _changes(tenant, ask, begun["from"]):
        frontier.fresh(page.records, stamps)
        yield page
        if reached:
            yield Checkpoint({**before, **frontier.state(), "pass": {**begun, "from": reached}})
    yield Complete({"tenant_id": tenant.id}, begun["at"])
    yield Checkpoint({**frontier.state(), "whole": begun["day"]})


def _changes(tenant: Tenant, ask: Ask, since: str) -> Iterator[tuple[Page, list[str], str]]:
    """Pages of what changed since (empty: of everything), with the rows' stamps; and how far a later run may go on from.

    Where the endpoint sorts by the stamp, each call asks for what changed since the last row of the page before instead of for
    the next page: a row that is edited meanwhile moves to the end and is read there, and no other moves into a page that was
    read. Elsewhere pages are walked, and the walk counts what it saw.
    """
    table, params = ask.table, dict(ask.table.params)
    if "order" not in params:
        for page in _pages(tenant, ask, table.path, since=since) if "page" in params else _list(tenant, ask, since):
            yield page, _stamps(page.records), ""
        return
    walk, start, number = Walk(), since, 1
    while True:
        answer = tenant.get(table, table.path, {**params, "page": str(number)}, modified_since=start, cursor=start)
        records, last, _ = _page(answer, table, params, number)
        walk.step(answer, records)
        stamps = _stamps(records)
        if stamps != sorted(stamps):
            ask.note(f"{tenant.name}: the rows do not come in the order of UpdatedDateUTC; they are read page by page")
            for page in _pages(tenant, ask, table.path, since=since):
                yield page, _stamps(page.records), ""
            return
        # One second before the newest: rows of the same second may have been cut off at the end of the page.
        reached = max(start, earlier(stamps[-1], dt.timedelta(seconds=1)) if stamps else "")
        yield Page(records, answer.at, {"tenant_id": tenant.id}), stamps, reached
        if last:
            return
        start, number = (reached, 1) if start < reached and stamps[0] < reached else (start, number + 1)


def _list(tenant: Tenant, ask: Ask, since: str = "") -> Iterator[Page]:
    """A list of one organisation: in pages where the contract asks for a page, else in one answer."""
    table = ask.table
    if "page" in dict(table.params):
        statuses: Sequence[dict[str, str]] = [{}]
        if table.name == "assets":
            statuses = [{"status": status} for status in ASSET_STATUSES]
        for more in statuses:
            yield from _pages(tenant, ask, table.path, more)
        return
    answer = tenant.get(table, table.path, dict(table.params), modified_since=since)
    records = _records(answer, table)
    Walk().step(answer, records)
    yield Page(records, answer.at, {"tenant_id": tenant.id})


def _pages(
    tenant: Tenant, ask: Ask, path: str, more: dict[str, str] | None = None, since: str = "", gone: tuple[int, ...] = ()
) -> Iterator[Page]:
    """All pages of a list. Where rows moved between pages meanwhile so that some were missed, they are read again."""
    table, params = ask.table, {**dict(ask.table.params), **(more or {})}
    params.pop("order", None)
    id_ = table.column(table.key[-1]).field[0]
    seen: set[str] = set()
    for _ in range(WHOLE_TRIES):
        walk, number, last = Walk(), 1, False
        while not last:
            answer = tenant.get(table, path, {**params, "page": str(number)}, modified_since=since, cursor=number, accept=gone)
            if answer.status in gone:
                return
            records, last, count = _page(answer, table, params, number)
            walk.step(answer, records, None if last else number + 1)
            seen.update(pick(record, id_)[0] for record in records)
            yield Page(records, answer.at, {"tenant_id": tenant.id})
            number += 1
        if len(seen) >= count:
            return
        ask.note(f"{tenant.name}: rows moved between pages while they were read; the list is read again")
    raise answer.fault(f"only {len(seen)} of {count} rows came, for they move between pages; run again", Transient)


def _page(answer: Answer, table: Table, params: dict[str, str], number: int) -> tuple[list[Record], bool, int]:
    """The records of a page, whether it is the last one, and how many rows the whole list has (0: unknown)."""
    if answer.status == 304:
        return [], True, 0
    found = split(answer, table.records, ["pagination", "TotalCount", "PerPage"])
    pagination, total, size = found.facts.values()
    if pagination:
        return found.records, number >= pagination["pageCount"], pagination["itemCount"]
    if total is not None:
        return found.records, number * size >= total, total
    return found.records, len(found.records) < int(params.get("pageSize", PAGE)), 0


def _records(answer: Answer, table: Table) -> list[Record]:
    """The records of an answer that is no page; none where nothing changed, or where the document is gone."""
    return [] if answer.status in (304, 404) else split(answer, table.records).records


# Points in time


def _moment(value: Any) -> str:
    """A point in time as it came, `/Date(1763769600000+0000)/` or ISO, in UTC and whole seconds; empty for none.

    >>> _moment("/Date(1763769600999+1300)/"), _moment("2025-11-22T00:00:00"), _moment("/Date(-1000)/"), _moment(None)
    ('2025-11-22T00:00:00Z', '2025-11-22T00:00:00Z', '1969-12-31T23:59:59Z', '')
    """
    if not value:
        return ""
    if match := re.fullmatch(r"/Date\((-?\d+)([+-]\d{4})?\)/", str(value)):
        return _stamp(int(match[1]) // 1000)
    moment = dt.datetime.fromisoformat(str(value))
    return _stamp((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def _stamp(seconds: float) -> str:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(seconds))).isoformat() + "Z"  # noqa: DTZ001 - the Z says it


def _stamps(records: Sequence[Record]) -> list[str]:
    return [_moment(pick(record, "UpdatedDateUTC")[0]) for record in records]
