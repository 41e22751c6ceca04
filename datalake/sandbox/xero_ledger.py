"""What the lake must hold of the stand-in's books, table by table. How the books are served lives in `xero`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import Any

from datalake.model import Table, snake_case
from datalake.sandbox.base import Row
from datalake.sandbox.xero_books import IDS, Books
from datalake.sandbox.xero_shapes import Object, iso, milliseconds

Served = dict[tuple[str, str, str, str], tuple[Object, dict[str, str]]]
"""(tenant, table, day, parameters) -> the report as it was served last, and its parameters."""

EMBEDDED = {
    "bank_transaction_line_items": ("bank_transactions", "LineItems"),
    "bank_transaction_line_item_tracking": ("bank_transactions", "LineItems.Tracking"),
    "batch_payment_items": ("batch_payments", "Payments"),
    "contact_addresses": ("contacts", "Addresses"),
    "contact_group_members": ("contacts", "ContactGroups"),
    "contact_persons": ("contacts", "ContactPersons"),
    "contact_phones": ("contacts", "Phones"),
    "credit_note_allocations": ("credit_notes", "Allocations"),
    "credit_note_line_items": ("credit_notes", "LineItems"),
    "invoice_line_item_tracking": ("invoices", "LineItems.Tracking"),
    "invoice_line_items": ("invoices", "LineItems"),
    "journal_cash_line_tracking": ("journals_cash", "JournalLines.TrackingCategories"),
    "journal_cash_lines": ("journals_cash", "JournalLines"),
    "journal_line_tracking": ("journals", "JournalLines.TrackingCategories"),
    "journal_lines": ("journals", "JournalLines"),
    "manual_journal_lines": ("manual_journals", "JournalLines"),
    "overpayment_allocations": ("overpayments", "Allocations"),
    "overpayment_line_items": ("overpayments", "LineItems"),
    "prepayment_allocations": ("prepayments", "Allocations"),
    "prepayment_line_items": ("prepayments", "LineItems"),
    "purchase_order_line_items": ("purchase_orders", "LineItems"),
    "quote_line_items": ("quotes", "LineItems"),
    "receipt_line_items": ("receipts", "LineItems"),
    "repeating_invoice_line_items": ("repeating_invoices", "LineItems"),
    "tax_rate_components": ("tax_rates", "TaxComponents"),
    "tracking_options": ("tracking_categories", "Options"),
}
"""Table of children -> table of their parents, and where they lie in it."""

DOCUMENTS = {
    "Accounts": "accounts", "BankTransactions": "bank_transactions", "BankTransfers": "bank_transfers", "Contacts": "contacts",
    "CreditNotes": "credit_notes", "Invoices": "invoices", "ManualJournals": "manual_journals",
    "PurchaseOrders": "purchase_orders", "Quotes": "quotes",
}  # fmt: skip
"""Documents that can have attachments and a history."""
NO_HISTORY = {"Accounts", "BankTransfers"}
"""Of these, those whose history the lake does not ask for."""


def ledger(table: Table, books: Iterable[Books], served: Served) -> Iterator[Row]:
    """The rows of a table over all organisations. Raises KeyError for a table that is not Xero's."""
    for each in books:
        add = {"tenant_id": each.id}
        if table.name in EMBEDDED:
            yield from _embedded(each, table.name, add)
        elif table.name in ("attachments", "history_records"):
            yield from _beside(each, table.name, add)
        elif table.name == "budget_balances":
            yield from _balances(each, add)
        elif table.name == "report_ten_ninety_nine":
            yield from _ninety_nine(each, served, add)
        elif table.name.startswith("report_"):
            yield from _snapshots(each.id, table.name, served)
        else:
            yield from (Row(record, add) for record in each.objects[table.name].values())


def _balances(books: Books, add: dict[str, Any]) -> Iterator[Row]:
    for budget, accounts in books.balances.items():
        for account, months in accounts.items():
            code = books.objects["accounts"][account]["Code"]
            known = {**add, "budget_id": budget, "account_id": account, "account_code": code}
            yield from (Row(balance, known) for balance in months.values())


def _embedded(books: Books, table: str, add: dict[str, Any]) -> Iterator[Row]:
    parent, path = EMBEDDED[table]
    own_id = IDS[parent]
    owner = snake_case(IDS[parent])
    outer, _, deeper = path.partition(".")
    for made in books.objects[parent].values():
        known = {
            **add, owner: made[own_id], "date": made.get("Date"), "journal_date": made.get("JournalDate"),
            "journal_number": made.get("JournalNumber"),
        }  # fmt: skip
        for place, element in enumerate(made.get(outer, [])):
            if deeper:
                between = "line_item_id" if outer == "LineItems" else "journal_line_id"
                of = {between: element["LineItemID" if outer == "LineItems" else "JournalLineID"]}
                yield from (Row(innermost, {**known, **of}) for innermost in element.get(deeper, []))
                continue
            key = {}
            if outer == "Allocations":
                day = _day(element["Date"])
                key = {
                    "allocation_key": element.get(
                        "AllocationID", f"{element['Invoice']['InvoiceID']}/{day}/{element['Amount']}"
                    )
                }
            yield Row(element, {**known, **key, "position": place})


def _beside(books: Books, table: str, add: dict[str, Any]) -> Iterator[Row]:
    for entity, kind in DOCUMENTS.items():
        for id_ in books.objects[kind]:
            known = {**add, "entity": entity, "entity_id": id_}
            if table == "attachments":
                yield from (Row(each, known) for each in books.attachments.get(id_, ()))
            elif entity not in NO_HISTORY:
                yield from (Row(each, {**known, "position": place}) for place, each in enumerate(books.history[id_]))


def _ninety_nine(books: Books, served: Served, add: dict[str, Any]) -> Iterator[Row]:
    for key, (told, query) in served.items():
        if key[0] == books.id and key[1] == "report_ten_ninety_nine":
            for report in told["Reports"]:
                known = {**add, "report_year": int(query["reportYear"]), "report_name": report["ReportName"]}
                yield from (Row(contact, known) for contact in report["Contacts"])


def _snapshots(tenant: str, table: str, served: Served) -> Iterator[Row]:
    """A snapshot is what was served last on its day."""
    for (of, name, day, _), (report, query) in served.items():
        if (of, name) != (tenant, table):
            continue
        end = dt.date.fromisoformat(query.get("toDate") or query["date"])
        start = query.get("fromDate")
        if name == "report_executive_summary":
            start = str(end.replace(day=1))
        if name == "report_budget_summary":
            start, end = str(end), end.replace(year=end.year + 1) - dt.timedelta(days=1)
        add = {"tenant_id": tenant, "snapshot_date": day, "report_updated_at": report["UpdatedDateUTC"]}
        add |= {"contact_id": query["contactId"]} if "contactId" in query else {}
        add |= {"tracking_category_id": query["trackingCategoryID"]} if "trackingCategoryID" in query else {}
        lines = [("", report["Rows"][0])]
        for section in report["Rows"][1:]:
            lines += [(section["Title"], row) for row in section["Rows"]]
        titles = [cell["Value"] for cell in report["Rows"][0]["Cells"]]
        for place, (section, row) in enumerate(lines):
            for column, cell in enumerate(row["Cells"]):
                text = cell["Value"]
                attribute = (cell.get("Attributes") or [{"Id": "", "Value": None}])[0]
                record = {
                    "period_start": start, "period_end": str(end), "basis": "ACCRUAL", "report_id": report["ReportID"],
                    "report_name": report["ReportName"], "section_title": section, "row_index": place,
                    "row_type": row["RowType"], "row_label": row["Cells"][0]["Value"], "column_index": column,
                    "column_title": titles[column], "value_text": text,
                    "value": text if re.fullmatch(r"-?\d+\.\d\d|\d+", text) else None,
                    "account_id": attribute["Value"] if attribute["Id"].startswith("account") else None,
                    "invoice_id": attribute["Value"] if attribute["Id"] == "invoiceID" else None,
                    "tracking_option": titles[column] if column else None,
                }  # fmt: skip
                yield Row(record, add)


def _day(text: str) -> str:
    return iso(milliseconds(text) // 1000)[:10]
