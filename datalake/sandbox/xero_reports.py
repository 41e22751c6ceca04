"""Xero's reports as the stand-in makes them: grids of text out of an organisation's journals and documents."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from datalake.sandbox.xero_books import Books
from datalake.sandbox.xero_shapes import Object, ms

Cell = tuple[str, dict[str, str]]


def report(books: Books, name: str, query: Mapping[str, str]) -> Object:
    """One report for the parameters of its call."""
    rows = REPORTS[name](books, query)
    return {
        "ReportID": name,
        "ReportName": name,
        "ReportType": name,
        "ReportTitles": [name, books.name],
        "ReportDate": f"{dt.datetime.fromtimestamp(books.now, dt.UTC):%d %B %Y}",
        "UpdatedDateUTC": ms(books.now * 1000),
        "Fields": [],
        "Rows": rows,
    }


def ten_ninety_nine(books: Books, year: int) -> list[Object]:
    """The yearly reports of an organisation in the United States."""
    paid: defaultdict[str, float] = defaultdict(float)
    for payment in books.objects["payments"].values():
        if (
            payment["PaymentType"] == "ACCPAYPAYMENT"
            and payment["Status"] == "AUTHORISED"
            and _day(payment["Date"]).year == year
        ):
            invoice = books.objects["invoices"][payment["Invoice"]["InvoiceID"]]
            paid[invoice["Contact"]["ContactID"]] += payment["Amount"]
    contacts = [
        books.make(
            "report_ten_ninety_nine",
            number,
            contact_id=id_,
            name=books.objects["contacts"][id_]["Name"],
            federal_tax_id_type="SSN",
            federal_tax_classification="PARTNERSHIP",
            box1=round(amount, 2),
        )
        for number, (id_, amount) in enumerate(sorted(paid.items()), 1)
    ]
    return [{"ReportName": f"1099-{kind} report", "ReportDate": f"1 Jan {year} to 31 Dec {year}", "Contacts": made}
            for kind, made in (("NEC", contacts), ("MISC", contacts[:1]))]  # fmt: skip


def _trial_balance(books: Books, query: Mapping[str, str]) -> list[Object]:
    end = dt.date.fromisoformat(query["date"])
    month, year = _nets(books, end.replace(day=1), end), _nets(books, end.replace(month=1, day=1), end)
    titles = ["Account", "Debit", "Credit", "YTD Debit", "YTD Credit"]
    sections = []
    for class_ in ("REVENUE", "EXPENSE", "ASSET", "LIABILITY", "EQUITY"):
        rows = []
        for account in _accounts(books, class_):
            id_ = account["AccountID"]
            if id_ in year:
                texts = [f"{account['Name']} ({account['Code']})", *_sides(month.get(id_, 0.0)), *_sides(year[id_])]
                rows.append(_row(texts, id_))
        sections.append(_section(class_.title(), rows))
    return [_header(titles), *sections]


def _balance_sheet(books: Books, query: Mapping[str, str]) -> list[Object]:
    end = dt.date.fromisoformat(query["date"])
    before = end.replace(year=end.year - 1, day=min(end.day, 28))
    now, then = _nets(books, dt.date.min, end), _nets(books, dt.date.min, before)
    sections = [_section("Assets", [])]
    for class_ in ("ASSET", "LIABILITY", "EQUITY"):
        rows = [
            _row(
                [account["Name"], _text(now[account["AccountID"]]), _text(then.get(account["AccountID"], 0.0))],
                account["AccountID"],
            )
            for account in _accounts(books, class_)
            if account["AccountID"] in now
        ]
        rows.append(_total(f"Total {class_.title()}", rows))
        sections.append(_section(class_.title(), rows))
    return [_header(["", f"{end:%d %b %Y}", f"{before:%d %b %Y}"]), *sections]


def _profit_and_loss(books: Books, query: Mapping[str, str]) -> list[Object]:
    start, end = dt.date.fromisoformat(query["fromDate"]), dt.date.fromisoformat(query["toDate"])
    category = books.objects["tracking_categories"].get(query.get("trackingCategoryID", ""))
    options: list[str] = []
    titles = [f"{end:%d %b %Y}"]
    if category:
        options = [option["Name"] for option in category["Options"]]
        titles = [*options, "Unassigned", "Total"]
    rows: list[Object] = [_header(["", *titles])]
    for class_, title in (("REVENUE", "Income"), ("EXPENSE", "Less Operating Expenses")):
        lines = []
        for account in _accounts(books, class_):
            figures = [
                round(-sum(_net(books, account, start, end, category, option)), 2)
                for option in ([*options, ""] if category else [None])
            ]
            if any(figures):
                shown = [*figures, round(sum(figures), 2)] if category else figures
                lines.append(_row([account["Name"], *map(_text, shown)], account["AccountID"]))
        rows.append(_section(title, [*lines, _total(f"Total {title}", lines, len(titles))]))
    return rows


def _bank_summary(books: Books, query: Mapping[str, str]) -> list[Object]:
    start, end = dt.date.fromisoformat(query["fromDate"]), dt.date.fromisoformat(query["toDate"])
    rows = []
    for account in [each for each in _accounts(books, "ASSET") if each["Type"] == "BANK"]:
        id_ = account["AccountID"]
        opening = _nets(books, dt.date.min, start - dt.timedelta(days=1)).get(id_, 0.0)
        moved = list(_net(books, account, start, end, None, None))
        received, spent = sum(each for each in moved if each > 0), -sum(each for each in moved if each < 0)
        texts = [account["Name"], _text(opening), _text(received), _text(spent), _text(opening + received - spent)]
        row = _row(texts, id_)
        row["Cells"][0]["Attributes"][0]["Id"] = "accountID"
        rows.append(row)
    titles = ["Bank Accounts", "Opening Balance", "Cash Received", "Cash Spent", "Closing Balance"]
    return [_header(titles), _section("", [*rows, _total("Total", rows, 4)])]


def _executive_summary(books: Books, query: Mapping[str, str]) -> list[Object]:
    end = dt.date.fromisoformat(query["date"])
    nets = _nets(books, end.replace(day=1), end)
    income = -sum(nets.get(account["AccountID"], 0.0) for account in _accounts(books, "REVENUE"))
    sent = sum(
        _day(each["Date"]) >= end.replace(day=1) for each in books.objects["invoices"].values() if each["Type"] == "ACCREC"
    )
    return [
        _header(["", f"{end:%b %Y}", "Variance"]),
        _section("Profitability", [_row(["Income", _text(income), "12.5%"])]),
        _section("Income", [_row(["Number of invoices issued", str(sent), "0.0%"])]),
    ]


def _budget_summary(books: Books, query: Mapping[str, str]) -> list[Object]:
    start = dt.date.fromisoformat(query["date"])
    count = int(query["periods"])
    months = [f"{start.year + (start.month - 1 + n) // 12}-{(start.month - 1 + n) % 12 + 1:02d}" for n in range(count)]
    rows = []
    budget = next(each for each in books.objects["budgets"].values() if each["Type"] == "OVERALL")
    for id_, figures in books.balances[budget["BudgetID"]].items():
        name = books.objects["accounts"][id_]["Name"]
        rows.append(
            _row([name, *(_text(float(figures[month]["Amount"])) if month in figures else "" for month in months)], id_)
        )
    return [_header(["Account", *months]), _section("", rows)]


def _aged(type_: str) -> Callable[[Books, Mapping[str, str]], list[Object]]:
    def made(books: Books, query: Mapping[str, str]) -> list[Object]:
        rows = []
        today = dt.datetime.fromtimestamp(books.now, dt.UTC).date()
        for each in books.objects["invoices"].values():
            mine = each["Contact"]["ContactID"] == query["contactId"] and each["Type"] == type_
            if mine and each["Status"] == "AUTHORISED" and each["AmountDue"] > 0:
                late = (today - _day(each["DueDate"])).days
                texts = [
                    f"{_day(each['Date'])} 00:00:00", each["InvoiceNumber"], f"{_day(each['DueDate'])} 00:00:00",
                    f"{late} days overdue" if late > 0 else "", _text(each["Total"]), _text(each["AmountPaid"]),
                    _text(each["AmountCredited"]), _text(each["AmountDue"]),
                ]  # fmt: skip
                rows.append(_row(texts, each["InvoiceID"], "invoiceID"))
        titles = ["Date", "Number", "Due Date", "", "Total", "Paid", "Credited", "Due"]
        return [_header(titles), _section("", rows)]

    return made


REPORTS: dict[str, Callable[[Books, Mapping[str, str]], list[Object]]] = {
    "AgedPayablesByContact": _aged("ACCPAY"),
    "AgedReceivablesByContact": _aged("ACCREC"),
    "BalanceSheet": _balance_sheet,
    "BankSummary": _bank_summary,
    "BudgetSummary": _budget_summary,
    "ExecutiveSummary": _executive_summary,
    "ProfitAndLoss": _profit_and_loss,
    "TrialBalance": _trial_balance,
}


def _net(
    books: Books, account: Object, start: dt.date, end: dt.date, category: Object | None, option: str | None
) -> Iterable[float]:
    """Net amounts of an account in a stretch; with a category those of one option (empty: of none)."""
    for journal in books.objects["journals"].values():
        if start <= _day(journal["JournalDate"]) <= end:
            for line in journal["JournalLines"]:
                if line["AccountID"] == account["AccountID"]:
                    chosen = [
                        each["Option"]
                        for each in line["TrackingCategories"]
                        if category and each["TrackingCategoryID"] == category["TrackingCategoryID"]
                    ]
                    if category is None or (chosen or [""])[0] == option:
                        yield line["NetAmount"]


def _nets(books: Books, start: dt.date, end: dt.date) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for journal in books.objects["journals"].values():
        if start <= _day(journal["JournalDate"]) <= end:
            for line in journal["JournalLines"]:
                found[line["AccountID"]] += line["NetAmount"]
    return {id_: round(net, 2) for id_, net in found.items()}


def _accounts(books: Books, class_: str) -> list[Object]:
    return [account for account in books.objects["accounts"].values() if account["Class"] == class_]


def _day(text: str) -> dt.date:
    return dt.datetime.fromtimestamp(int(text[6:].partition("+")[0]) / 1000, dt.UTC).date()


def _text(amount: float) -> str:
    return f"{amount:.2f}"


def _sides(net: float) -> tuple[str, str]:
    return (_text(net), "") if net >= 0 else ("", _text(-net))


def _header(titles: list[str]) -> Object:
    return {"RowType": "Header", "Cells": [{"Value": title} for title in titles]}


def _section(title: str, rows: list[Object]) -> Object:
    return {"RowType": "Section", "Title": title, "Rows": rows}


def _row(texts: Iterable[str], id_: str = "", kind: str = "account") -> Object:
    attributes: Any = {"Attributes": [{"Value": id_, "Id": kind}]} if id_ else {}
    return {"RowType": "Row", "Cells": [{"Value": text, **_copy(attributes)} for text in texts]}


def _copy(attributes: Object) -> Object:
    return {name: [dict(each) for each in value] for name, value in attributes.items()}


def _total(title: str, rows: list[Object], columns: int = 2) -> Object:
    sums = [sum(float(row["Cells"][place]["Value"]) for row in rows) for place in range(1, columns + 1)]
    return {"RowType": "SummaryRow", "Cells": [{"Value": title}, *({"Value": _text(each)} for each in sums)]}
