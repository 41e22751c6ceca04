"""Xero's reports as dated snapshots, one row a cell. Who is asked lives in `xero_tenants`, other tables in `xero`."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page
from datalake.sources.paging import by_commit
from datalake.sources.records import digest, elements, inner, pick, split
from datalake.sources.xero_tenants import Tenant, XeroRun, each_tenant, listed_parents

MONTHS = 3
"""Months that are asked for on every run, the present one included: late postings change the last ones."""
BUDGET_MONTHS = 12
"""Months that a budget summary shows."""

AT_A_DATE = ("TrialBalance", "BalanceSheet")
"""Reports that show a day; the others show a stretch."""
AGED = {"AgedReceivablesByContact": "ACCREC", "AgedPayablesByContact": "ACCPAY"}
"""Reports of one contact -> type of the documents that they list."""

PARAMS = {"contact_id": "contactId", "tracking_category_id": "trackingCategoryID"}
"""Fact of a snapshot -> the parameter that asks for it."""

CHUNK = 100
"""Contacts whose ageing is asked for between two checkpoints."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Period:
    """What a report is asked for: `start` is None where it shows one day."""

    start: dt.date | None
    end: dt.date
    params: dict[str, str]


def report_snapshots(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """The cells of a report as they stand today, for each of the last months; told where they changed since the last run.

    A snapshot carries its day: the next day's is another set of rows.
    """
    table = ask.table
    today = str(run.today)
    periods = _periods(run, ask)
    categories = listed_parents(run, ask, "Status") if table.parent else {}

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        parts: list[dict[str, str]] = [{}]
        if table.parent:
            active = [id_ for id_, status in categories.get(tenant.id, ()) if status == "ACTIVE"]
            parts = [{"tracking_category_id": id_} for id_ in active]
        known = state.get("digests", {}) if state.get("day") == today else {}
        digests: dict[str, str] = {}
        wanted = [(part, period) for part in parts for period in periods]
        for page, complete in tenant.workers.each(wanted, lambda each: _ask(run, ask, tenant, *each)):
            key = " ".join(str(value) for name, value in complete.scope.items() if name not in ("tenant_id", "snapshot_date"))
            digests[key] = digest(page.records)
            if digests[key] != known.get(key):
                yield page
                yield complete
        yield Checkpoint({"day": today, "digests": digests})

    yield from each_tenant(run, ask, read)


def aged_by_contact(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """Ageing of each contact that has open documents, once a day: a call a contact is dear."""
    contacts = _open_contacts(ask)
    today = str(run.today)
    (period,) = _periods(run, ask)

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        done = state.get("after", "") if state.get("day") == today else ""
        wanted = sorted(id_ for id_ in contacts.get(tenant.id, ()) if id_ > done)
        for start in range(0, len(wanted), CHUNK):
            parts = [{"contact_id": id_} for id_ in wanted[start : start + CHUNK]]
            for snapshot in tenant.workers.each(parts, lambda part: _ask(run, ask, tenant, part, period)):
                yield from snapshot
            done = parts[-1]["contact_id"]
            yield Checkpoint({"day": today, "after": done})
        yield Checkpoint({"day": today, "after": done})

    yield from each_tenant(run, ask, read)


def ten_ninety_nine(run: XeroRun, ask: Ask) -> Iterator[Item]:
    """Amounts of this year and the last, by report and contact; of organisations in the United States only."""
    countries = listed_parents(run, ask, "CountryCode")

    def read(tenant: Tenant, state: dict[str, Any]) -> Iterator[Item]:
        if not any(country == "US" for _, country in countries.get(tenant.id, ())):
            return
        digests: dict[str, str] = {}
        for year in (run.today.year - 1, run.today.year):
            answer = tenant.get(ask.table, ask.table.path, {"reportYear": str(year)}, cursor=year)
            pages = []
            for report in split(answer, "Reports").records:
                facts = {"tenant_id": tenant.id, "report_year": year, "report_name": pick(report, "ReportName")[0]}
                pages.append(Page(elements(inner(report, "Contacts") or b"[]"), answer.at, facts))
            digests[str(year)] = digest_of(pages)
            if digests[str(year)] != state.get(str(year)):
                yield from pages
                yield Complete({"tenant_id": tenant.id, "report_year": year}, answer.at)
        yield Checkpoint(digests)

    yield from each_tenant(run, ask, read)


def digest_of(pages: Iterable[Page]) -> str:
    """A fingerprint of pages: their records, each with the facts beside it."""
    return digest(msgspec.json.encode(page.add) + bytes(record) for page in pages for record in page.records)


def _periods(run: XeroRun, ask: Ask) -> list[Period]:
    """The months to ask for: the last ones, or those of the window; the present one as far as today."""
    name, today = _name(ask), run.today
    last = min(ask.window.until.date(), today) if ask.window else today
    first = ask.window.since.date() if ask.window else _month(today, 1 - MONTHS)
    if name in AGED:
        return [Period(None, last, {"date": str(last)})]
    if name == "BudgetSummary":
        start = _month(last, 0)
        end = _month(start, BUDGET_MONTHS) - dt.timedelta(days=1)
        return [Period(start, end, {"date": str(start)})]
    periods = []
    start = _month(first, 0)
    while start <= last:
        end = min(_month(start, 1) - dt.timedelta(days=1), today)
        if name in AT_A_DATE:
            periods.append(Period(None, end, {"date": str(end)}))
        elif name == "ExecutiveSummary":
            periods.append(Period(start, end, {"date": str(end)}))
        else:
            periods.append(Period(start, end, {"fromDate": str(start), "toDate": str(end)}))
        start = _month(start, 1)
    return periods


def _month(day: dt.date, further: int) -> dt.date:
    """The first day of a month, so many months further.

    >>> _month(dt.date(2026, 1, 31), -1), _month(dt.date(2026, 11, 2), 2)
    (datetime.date(2025, 12, 1), datetime.date(2027, 1, 1))
    """
    months = day.year * 12 + day.month - 1 + further
    return dt.date(months // 12, months % 12 + 1, 1)


def _ask(run: XeroRun, ask: Ask, tenant: Tenant, part: dict[str, str], period: Period) -> tuple[Page, Complete]:
    """One report of one organisation (and contact, or tracking category), and word that these are all its cells."""
    fixed = dict(ask.table.params)
    basis = "CASH" if fixed.get("paymentsOnly") == "true" else "ACCRUAL"
    params = {**fixed, **period.params, **{PARAMS[name]: value for name, value in part.items()}}
    answer = tenant.get(ask.table, ask.table.path, params, cursor=period.end)
    reports = split(answer, "Reports").records
    if len(reports) != 1:
        raise answer.fault(f"{len(reports)} reports came where one was asked for")
    report = msgspec.json.decode(reports[0])
    facts = {"tenant_id": tenant.id, "snapshot_date": str(run.today), **part}
    columns = {column.name for column in ask.table.columns}
    cells = [
        msgspec.json.encode({name: value for name, value in cell.items() if name in columns})
        for cell in _cells(report, period, basis)
    ]
    page = Page(cells, answer.at, {**facts, "report_updated_at": report.get("UpdatedDateUTC")})
    return page, Complete({**facts, "period_end": str(period.end), "basis": basis}, answer.at)


def _cells(report: dict[str, Any], period: Period, basis: str) -> Iterator[dict[str, Any]]:
    """The grid cell by cell. Everything in it is text; what reads as a number is told as one beside it."""
    titles: list[str] = []
    for place, (section, row) in enumerate(_rows(report.get("Rows") or [], "")):
        cells = row.get("Cells") or []
        texts = [cell.get("Value") or "" for cell in cells]
        if row.get("RowType") == "Header":
            titles = texts
        for column, (cell, text) in enumerate(zip(cells, texts, strict=True)):
            ids = {each.get("Id"): each.get("Value") for each in cell.get("Attributes") or []}
            title = titles[column] if column < len(titles) else None
            yield {
                "period_start": str(period.start) if period.start else None,
                "period_end": str(period.end),
                "basis": basis,
                "report_id": report.get("ReportID"),
                "report_name": report.get("ReportName"),
                "section_title": section,
                "row_index": place,
                "row_type": row.get("RowType"),
                "account_id": ids.get("account") or ids.get("accountID"),
                "invoice_id": ids.get("invoiceID"),
                "row_label": texts[0],
                "column_index": column,
                "column_title": title,
                "tracking_option": title if column else None,
                "value": text if _NUMBER.fullmatch(text) else None,
                "value_text": text,
            }


def _rows(rows: Iterable[dict[str, Any]], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that hold cells, each with the title of its section."""
    for row in rows:
        if row.get("Cells"):
            yield section, row
        yield from _rows(row.get("Rows") or [], row.get("Title") or section)


def _open_contacts(ask: Ask) -> dict[str, set[str]]:
    """Organisation -> the contacts that have approved documents with something due, by the invoices read so far."""
    type_ = AGED[_name(ask)]
    due: dict[tuple[str, str], str] = {}
    for _, rows in by_commit(replace(ask, cursor={}), "InvoiceID", "Type", "Status", "AmountDue", "Contact"):
        for row in rows:
            id_, of_type, status, amount, contact = row.fields
            open_ = of_type == type_ and status == "AUTHORISED" and amount and not row.deleted
            due[row.add["tenant_id"], id_] = contact["ContactID"] if open_ else ""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for (tenant, _), contact_id in due.items():
        if contact_id:
            found[tenant].add(contact_id)
    return found


def _name(ask: Ask) -> str:
    return ask.table.path.rpartition("/")[2]
