"""What happens in an organisation's books on a day: business, and since the start one change of every kind. The books live in
`xero_books`, their reports in `xero_reports`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datalake.sandbox import fill
from datalake.sandbox.xero_shapes import Object, address, depreciation, iso, ms, phone

if TYPE_CHECKING:
    from datalake.sandbox.xero_books import Books


def business(books: Books, day: int) -> None:
    """A day: what the size of the organisation brings, and a round of chores (once a week before the start)."""
    for rate, happens in (
        (0.7, new_invoice),
        (0.3, new_bill),
        (0.6, pay),
        (0.3, new_bank_transaction),
        (0.2, new_contact),
    ):
        expected = rate * books.scale
        for _ in range(int(expected * (day + 1)) - int(expected * day)):
            happens(books)
    if books.now >= books.started or day % 7 == 0:
        for chore in CHORES:
            chore(books)
            books.happened[chore.__name__] += 1


# Lines and documents


def line(books: Books, table: str, account: str, currency: str, **more: Any) -> Object:
    """A line of a document: four places in the unit price, two in the sums; now and then a negative one."""
    dice = books.dice
    owner = books.account(account)
    quantity, price = dice.choice((1, 2, 2.5, 12)), dice.randrange(10_000, 9_000_000) / 10_000
    if dice.random() < 0.1:
        price = -price / 10
    amount = round(quantity * round(price, 4), 2)
    tax = dice.choice(("NONE", "OUTPUT2", "TAX001"))
    rate = books.objects["tax_rates"][tax]["EffectiveRate"]
    item = books.some("items")
    known: dict[str, Any] = {
        "line_item_id": books.guid("line_items"), "description": f"Serviço em {currency}", "quantity": quantity,
        "unit_amount": round(price, 4), "line_amount": amount, "tax_type": tax, "tax_amount": round(amount * rate / 100, 2),
        "account_code": account, "account_id": owner["AccountID"],
        "item_code": item["Code"] if item else None,
        "item": {"ItemID": item["ItemID"], "Name": item["Name"], "Code": item["Code"]} if item else None,
        "tracking": tracking(books),
    }  # fmt: skip
    return books.make(table, **{**known, **more})


def tracking(books: Books) -> list[Object]:
    found = []
    for category in books.objects["tracking_categories"].values():
        options = [option for option in category["Options"] if option["Status"] == "ACTIVE"]
        if options and books.dice.random() < 0.7:
            option = books.dice.choice(options)
            found.append(
                {
                    "TrackingCategoryID": category["TrackingCategoryID"],
                    "TrackingOptionID": option["TrackingOptionID"],
                    "Name": category["Name"],
                    "Option": option["Name"],
                }
            )
    return found


def sums(lines: list[Object]) -> dict[str, Any]:
    net, tax = round(sum(each["LineAmount"] for each in lines), 2), round(sum(each["TaxAmount"] for each in lines), 2)
    return {"sub_total": net, "total_tax": tax, "total": round(net + tax, 2)}


def document(books: Books, table: str, account: str, *, currency: str = "", lines: int = 0, **more: Any) -> Object:
    """A new document with lines and sums."""
    contact = books.one("contacts")
    currency = currency or books.dice.choice(books.currencies)
    made = [line(books, LINES[table], account, currency) for _ in range(lines or books.dice.randrange(1, 4))]
    known: dict[str, Any] = {
        "contact": stub(contact), "contact_id": contact["ContactID"], "date": books.today(), "line_items": made,
        "currency_code": currency, "currency_rate": books.rate(currency), "line_amount_types": "Exclusive",
        "has_attachments": False, "status": "AUTHORISED", **sums(made),
    }  # fmt: skip
    names = {column.name for column in books.table(table).columns}
    known = {name: value for name, value in {**known, **more}.items() if name in names}
    return books.add(table, **known)


def stub(contact: Object) -> Object:
    return {"ContactID": contact["ContactID"], "Name": contact["Name"]}


def relined(books: Books, table: str, made: Object | None, lines: list[Object]) -> None:
    """Other lines, and the sums that follow from them."""
    if made is not None and lines:
        total = sums(lines)
        books.edit(table, made, LineItems=lines, SubTotal=total["sub_total"], TotalTax=total["total_tax"], Total=total["total"])


LINES = {
    "bank_transactions": "bank_transaction_line_items",
    "credit_notes": "credit_note_line_items",
    "invoices": "invoice_line_items",
    "overpayments": "overpayment_line_items",
    "prepayments": "prepayment_line_items",
    "purchase_orders": "purchase_order_line_items",
    "quotes": "quote_line_items",
    "receipts": "receipt_line_items",
    "repeating_invoices": "repeating_invoice_line_items",
}
"""Table of documents -> table of their lines."""


def post(books: Books, source_type: str, source_id: str, *entries: tuple[str, float], cash: bool = False) -> None:
    """A journal of (account code, net amount) in the organisation's own currency; the debits and credits add up to nothing."""
    for table, wanted in (("journals", True), ("journals_cash", cash)):
        if wanted:
            lines = []
            for code, net in entries:
                account = books.account(code)
                lines.append(
                    books.make(
                        "journal_lines",
                        journal_line_id=books.guid(table),
                        account_id=account["AccountID"],
                        account_code=code,
                        account_type=account["Type"],
                        account_name=account["Name"],
                        net_amount=net,
                        gross_amount=net,
                        tax_amount=0.0,
                        tax_type="NONE",
                        tax_name="Tax Exempt",
                        tracking_categories=tracking(books) if account["Class"] in ("REVENUE", "EXPENSE") else [],
                    )
                )
            books.add(
                table, journal_number=books.next(table), journal_date=books.today(), created_date_utc=ms(books.now * 1000),
                source_type=source_type, source_id=source_id, journal_lines=lines,
            )  # fmt: skip


def own(made: Object, amount: float) -> float:
    """An amount of a document in the organisation's own currency."""
    return round(amount / float(made.get("CurrencyRate", 1)), 2)


# Business


def new_invoice(books: Books) -> None:
    _new_invoice(books, "ACCREC", "200")


def new_bill(books: Books) -> None:
    _new_invoice(books, "ACCPAY", "429")


def _new_invoice(books: Books, type_: str, account: str) -> None:
    draft = books.dice.random() < 0.2
    sales = type_ == "ACCREC"
    made = document(
        books, "invoices", account, type=type_, status="DRAFT" if draft else "AUTHORISED",
        invoice_number=f"{'INV' if sales else 'BILL'}-{books.next(type_):04d}", due_date=books.today(30), payments=[],
        prepayments=[], overpayments=[], credit_notes=[], invoice_addresses=[], amount_paid=0.0, amount_credited=0.0,
        fully_paid_on_date=None, is_discounted=False, total_discount=None, url=None,
    )  # fmt: skip
    made["AmountDue"] = made["Total"]
    if not draft:
        total, tax = own(made, made["Total"]), own(made, made["TotalTax"])
        sign = 1 if sales else -1
        debtor = "610" if sales else "800"
        post(
            books,
            type_,
            made["InvoiceID"],
            (debtor, sign * total),
            (account, round(-sign * (total - tax), 2)),
            ("820", -sign * tax),
        )


def open_(type_: str) -> Callable[[Object], bool]:
    return lambda made: made["Type"] == type_ and made["Status"] == "AUTHORISED" and made["AmountDue"] > 0


def pay(books: Books) -> None:
    type_ = books.dice.choice(("ACCREC", "ACCPAY"))
    if invoice := books.some("invoices", open_(type_)):
        part = books.dice.choice((1, 1, 2))
        settle(books, invoice, round(invoice["AmountDue"] / part, 2))


def settle(books: Books, invoice: Object, amount: float, **more: Any) -> Object:
    """A payment on an invoice or bill: the invoice changes as well."""
    sales = invoice["Type"] == "ACCREC"
    bank = books.bank()
    made = books.add(
        "payments",
        invoice={"InvoiceID": invoice["InvoiceID"], "InvoiceNumber": invoice["InvoiceNumber"], "Type": invoice["Type"]},
        invoice_id=invoice["InvoiceID"], invoice_number=invoice["InvoiceNumber"], credit_note_id=None,
        account={"AccountID": bank["AccountID"], "Code": bank["Code"], "Name": bank["Name"]}, account_id=bank["AccountID"],
        date=books.today(), currency_rate=invoice["CurrencyRate"], amount=amount, bank_amount=own(invoice, amount),
        status="AUTHORISED", payment_type="ACCRECPAYMENT" if sales else "ACCPAYPAYMENT", is_reconciled=False, has_account=True,
        **more,
    )  # fmt: skip
    paid = {"PaymentID": made["PaymentID"], "Date": made["Date"], "Amount": amount}
    due = round(invoice["AmountDue"] - amount, 2)
    books.edit(
        "invoices",
        invoice,
        Payments=[*invoice["Payments"], paid],
        AmountPaid=round(invoice["AmountPaid"] + amount, 2),
        AmountDue=due,
    )
    if due == 0:
        invoice.update(Status="PAID", FullyPaidOnDate=books.today())
    net = own(invoice, amount) * (1 if sales else -1)
    post(books, made["PaymentType"], made["PaymentID"], (bank["Code"], net), ("610" if sales else "800", -net), cash=True)
    return made


def new_bank_transaction(books: Books) -> None:
    bank = books.bank()
    type_ = books.dice.choice(("SPEND", "RECEIVE"))
    made = document(
        books, "bank_transactions", "429" if type_ == "SPEND" else "260", type=type_, currency=bank["CurrencyCode"],
        bank_account={"AccountID": bank["AccountID"], "Code": bank["Code"], "Name": bank["Name"]},
        bank_account_account_id=bank["AccountID"], is_reconciled=False, url=None,
    )  # fmt: skip
    net = own(made, made["Total"]) * (-1 if type_ == "SPEND" else 1)
    other = "429" if type_ == "SPEND" else "260"
    post(
        books,
        "CASHPAID" if type_ == "SPEND" else "CASHREC",
        made["BankTransactionID"],
        (bank["Code"], net),
        (other, -net),
        cash=True,
    )


def new_contact(books: Books) -> None:
    number = books.next("contact")
    company, person = fill.company(number), fill.person(number)
    group = books.one("contact_groups")
    books.add(
        "contacts", name=company.name, first_name=person.first, last_name=person.last, email_address=company.email,
        contact_status="ACTIVE", tax_number=company.cnpj, company_number=company.cnpj, default_currency=books.currencies[0],
        contact_persons=[{"FirstName": fill.person(n).first, "EmailAddress": fill.person(n).email, "IncludeInEmails": True}
                         for n in (number, number + 1)],
        addresses=[address("STREET", number), address("POBOX", number)],
        phones=[phone("DEFAULT", number), phone("MOBILE", number)],
        contact_groups=[{"ContactGroupID": group["ContactGroupID"], "Name": group["Name"], "Status": "ACTIVE"}],
        sales_tracking_categories=[], purchases_tracking_categories=[], batch_payments=None, has_attachments=False,
        payment_terms={"Sales": {"Day": 30, "Type": "DAYSAFTERBILLDATE"}},
        balances={"AccountsReceivable": {"Outstanding": 0.0, "Overdue": 0.0}},
    )  # fmt: skip


def new_item(books: Books) -> None:
    price = books.dice.randrange(1_000, 900_000) / 100
    details = {"UnitPrice": price, "AccountCode": "200", "TaxType": "OUTPUT2"}
    books.add(
        "items", code=f"IT{books.next('item'):03d}", name=f"Item {price}", is_tracked_as_inventory=True, sales_details=details,
        purchase_details=details,
    )  # fmt: skip


# Chores, one of every kind


def contacts(books: Books) -> None:
    alive = [each for each in books.objects["contacts"].values() if each["ContactStatus"] == "ACTIVE"]
    changed, moved, archived = books.dice.sample(alive, 3)
    books.edit(
        "contacts", changed, Addresses=changed["Addresses"][:1], ContactPersons=changed["ContactPersons"][:1],
        Phones=[phone("DEFAULT", books.next("contact"))],
    )  # fmt: skip
    group = books.one("contact_groups")
    books.edit(
        "contacts",
        moved,
        ContactGroups=[{"ContactGroupID": group["ContactGroupID"], "Name": group["Name"], "Status": "ACTIVE"}],
    )
    books.edit("contacts", archived, ContactStatus="ARCHIVED", MergedToContactID=moved["ContactID"])
    new_contact(books)


def invoices(books: Books) -> None:
    for type_, account in (("ACCREC", "200"), ("ACCPAY", "429")):
        _new_invoice(books, type_, account)
    if (edited := books.some("invoices", lambda made: _untouched(made) and len(made["LineItems"]) > 1)) is not None:
        # A line vanishes; another comes with a new id, as after an edit through the API without ids.
        kept = [{**edited["LineItems"][0], "LineItemID": books.guid("line_items")}, *edited["LineItems"][1:-1]]
        relined(books, "invoices", edited, kept)
        edited["AmountDue"] = edited["Total"]
    books.edit("invoices", books.some("invoices", _untouched), Status="VOIDED", AmountDue=0.0)
    books.edit("invoices", books.some("invoices", lambda made: made["Status"] == "DRAFT"), Status="DELETED")


def _untouched(made: Object) -> bool:
    return _approved(made) and not made["Payments"]


def _approved(made: Object) -> bool:
    return bool(made["Status"] == "AUTHORISED")


def payments(books: Books) -> None:
    pay(books)
    made = books.some("payments", lambda each: each["Status"] == "AUTHORISED" and "BatchPaymentID" not in each)
    if made is not None:
        books.edit("payments", made, Status="DELETED")
        invoice = books.objects["invoices"][made["Invoice"]["InvoiceID"]]
        invoice.pop("FullyPaidOnDate", None)
        books.edit(
            "invoices", invoice, Payments=[each for each in invoice["Payments"] if each["PaymentID"] != made["PaymentID"]],
            AmountPaid=round(invoice["AmountPaid"] - made["Amount"], 2), Status="AUTHORISED",
            AmountDue=round(invoice["AmountDue"] + made["Amount"], 2),
        )  # fmt: skip


def batch_payments(books: Books) -> None:
    bills = [each for each in books.objects["invoices"].values() if open_("ACCPAY")(each)][:-1][:2]
    if not bills:
        return
    id_ = books.guid("batch_payments")
    paid = [settle(books, bill, bill["AmountDue"], batch_payment_id=id_) for bill in bills]
    bank = books.account("090")
    slim = [
        books.make(
            "batch_payment_items",
            payment_id=each["PaymentID"],
            invoice={"InvoiceID": each["Invoice"]["InvoiceID"]},
            invoice_id=each["Invoice"]["InvoiceID"],
            amount=each["Amount"],
            date=each["Date"],
            bank_amount=each["BankAmount"],
        )
        for each in paid
    ]
    books.add(
        "batch_payments", batch_payment_id=id_, type="PAYBATCH", status="AUTHORISED", date=books.today(), payments=slim,
        account={"AccountID": bank["AccountID"]}, account_id=bank["AccountID"], amount=None,
        total_amount=round(sum(each["Amount"] for each in paid), 2), is_reconciled=False,
    )  # fmt: skip
    old = books.some("batch_payments", lambda each: len(each["Payments"]) > 1)
    if old is not None and books.now >= books.started:
        books.edit("batch_payments", old, Payments=old["Payments"][:1])


def credits(books: Books) -> None:  # noqa: A001 - the names of chores are those of what they change
    for table, types in (
        ("credit_notes", ("ACCRECCREDIT", "ACCPAYCREDIT")),
        ("prepayments", ("RECEIVE-PREPAYMENT", "SPEND-PREPAYMENT")),
        ("overpayments", ("RECEIVE-OVERPAYMENT", "SPEND-OVERPAYMENT")),
    ):
        type_ = books.dice.choice(types)
        made = document(
            books, table, "200", type=type_, allocations=[], payments=[], invoice_addresses=[], remaining_credit=None,
            credit_note_number=f"CN-{books.next(table):04d}", applied_amount=None, fully_paid_on_date=None,
            due_date=books.today(30), id=None,
        )  # fmt: skip
        if table != "credit_notes":
            for each in made["LineItems"]:
                del each["LineItemID"]  # these lines come without an id
        made["RemainingCredit"] = made["Total"]
        allocations = [_allocation(books) for _ in range(2)]
        books.edit(table, made, Allocations=[each for each in allocations if each])
        # Old rows have no AllocationID, and an allocation that is taken back vanishes.
        if made["Allocations"] and table == "overpayments":
            del made["Allocations"][0]["AllocationID"]
        if (other := books.some(table, lambda each: len(each["Allocations"]) > 1)) is not None and other is not made:
            books.edit(table, other, Allocations=other["Allocations"][1:], RemainingCredit=other["RemainingCredit"])
        old = [each for each in books.objects[table].values() if each["Status"] == "AUTHORISED" and each is not made]
        books.edit(table, old[0] if old else None, Status="VOIDED")


def _allocation(books: Books) -> Object | None:
    invoice = books.some("invoices", open_("ACCREC"))
    if invoice is None:
        return None
    amount = round(min(invoice["AmountDue"], 10.01), 2)
    books.edit(
        "invoices", invoice, AmountCredited=round(invoice["AmountCredited"] + amount, 2),
        AmountDue=round(invoice["AmountDue"] - amount, 2),
    )  # fmt: skip
    return {
        "AllocationID": books.guid("allocations"), "Amount": amount, "Date": books.today(), "IsDeleted": False,
        "Invoice": {"InvoiceID": invoice["InvoiceID"], "InvoiceNumber": invoice["InvoiceNumber"], "Type": invoice["Type"]},
    }  # fmt: skip


def banking(books: Books) -> None:
    new_bank_transaction(books)
    new_bank_transaction(books)
    edited = books.some("bank_transactions", lambda made: _approved(made) and len(made["LineItems"]) > 1)
    relined(books, "bank_transactions", edited, edited["LineItems"][1:] if edited else [])
    books.edit("bank_transactions", books.some("bank_transactions", _approved), Status="DELETED")
    first, second = ({name: books.account(code)[name] for name in ("AccountID", "Name")} for code in ("090", "091"))
    amount = books.dice.randrange(1_000, 90_000) / 100
    books.add(
        "bank_transfers", amount=amount, date=books.today(), status="AUTHORISED", has_attachments=False,
        from_bank_account=first, from_bank_account_account_id=first["AccountID"],
        to_bank_account=second, to_bank_account_account_id=second["AccountID"],
        from_bank_transaction_id=None, to_bank_transaction_id=None, created_date_utc=ms(books.now * 1000 + 123),
        currency_rate=1.0,
    )  # fmt: skip
    post(books, "TRANSFER", first["AccountID"], ("090", -amount), ("091", amount), cash=True)
    if (other := books.some("bank_transfers", _approved)) is not None:
        other["Status"] = "DELETED"


def orders(books: Books) -> None:
    document(
        books, "purchase_orders", "310", purchase_order_number=f"PO-{books.next('po'):04d}", status="DRAFT",
        delivery_date=books.today(10), total_discount=None,
    )  # fmt: skip
    document(
        books, "quotes", "200", quote_number=f"QU-{books.next('quote'):04d}", status="DRAFT", line_amount_types="EXCLUSIVE",
        expiry_date=books.today(20), expiry_date_string=None, total_discount=None,
    )  # fmt: skip
    for table, status in (("purchase_orders", "AUTHORISED"), ("quotes", "SENT")):
        edited = books.some(table, lambda made: len(made["LineItems"]) > 1)
        relined(books, table, edited, edited["LineItems"][:-1] if edited else [])
        for after in (status, "DELETED"):
            books.edit(table, books.some(table, lambda made: made["Status"] == "DRAFT"), Status=after)


def manual_journals(books: Books) -> None:
    amount = books.dice.randrange(1_000, 90_000) / 100
    lines = [
        books.make(
            "manual_journal_lines",
            line_amount=net,
            account_code=code,
            account_id=books.account(code)["AccountID"],
            tax_type="NONE",
            tax_amount=0.0,
            tracking=[],
            is_blank=False,
        )
        for code, net in (("469", amount), ("970", -amount / 2), ("970", -amount / 2))
    ]
    made = books.add(
        "manual_journals", narration="Ajuste", status="POSTED", date=books.today(), journal_lines=lines,
        line_amount_types="NoTax", has_attachments=False, url=None,
    )  # fmt: skip
    post(books, "MANJOURNAL", made["ManualJournalID"], ("469", amount), ("970", -amount))
    edited = books.some("manual_journals", lambda each: each is not made and len(each["JournalLines"]) == 3)
    if edited is not None:
        first, second, third = edited["JournalLines"]
        books.edit(
            "manual_journals",
            edited,
            JournalLines=[first, {**second, "LineAmount": round(second["LineAmount"] + third["LineAmount"], 4)}],
        )
    books.edit("manual_journals", books.some("manual_journals", lambda each: each["Status"] == "POSTED"), Status="VOIDED")


def settings(books: Books) -> None:
    new_item(books)
    if len(books.objects["items"]) > 3:
        books.drop("items", books.some("items"))
    books.edit("items", books.some("items"), QuantityOnHand=books.dice.randrange(100) + 0.25)
    category = books.one("tracking_categories")
    category["Options"] = [*category["Options"][1:], books.option(f"Opção {books.next('option')}")]
    rate = books.one("tax_rates")
    rate["TaxComponents"] = [{**rate["TaxComponents"][0], "Rate": books.next("rate") + 0.5}]
    books.edit("users", books.one("users"), OrganisationRole=books.dice.choice(("STANDARD", "READONLY", "INVOICEONLY")))
    books.edit("accounts", books.one("accounts"), Description=f"Conta {books.next('edit')}")
    books.drop("payment_services", books.some("payment_services"))
    books.add("payment_services", payment_service_type="Custom", payment_service_name=f"Pix {books.next('service')}")
    books.add("branding_themes", name=f"Tema {books.next('theme')}", type="INVOICE", sort_order=books.next("order"))
    books.add("contact_groups", name=f"Grupo {books.next('group')}", status="ACTIVE")
    gone = books.some("reports_index")
    books.drop("reports_index", gone)
    for name in ("GST Return", "BAS Report")[len(books.objects["reports_index"]) :]:
        books.add(
            "reports_index", report_name=name, report_title=name, report_type="GSTReturn", report_titles=[name, books.name],
            report_date=f"Day {books.next('report')}",
        )  # fmt: skip
    budget = books.one("budgets")
    figures = next(iter(books.balances[budget["BudgetID"]].values()))
    month = books.dice.choice(list(figures))
    figures[month]["Amount"] = f"{books.next('budget')}.50"
    if len(figures) > 4:
        figures.pop(next(each for each in figures if each != month))
    books.edit("budgets", budget)
    books.add("employees", status="ACTIVE", external_link=None)
    books.edit("employees", books.some("employees"), Status="ARCHIVED")


def claims(books: Books) -> None:
    user = books.one("users")
    who = {"UserID": user["UserID"], "FirstName": user["FirstName"], "LastName": user["LastName"]}
    receipt = document(
        books, "receipts", "429", user=who, user_id=user["UserID"], receipt_number=str(books.next("receipt")), status="DRAFT",
        url=None, lines=2,
    )  # fmt: skip
    books.add(
        "expense_claims", status="SUBMITTED", payments=[], user=who, user_id=user["UserID"], payment_due_date=books.today(10),
        receipts=[{"ReceiptID": receipt["ReceiptID"], "Status": "SUBMITTED"}], reporting_date=books.today(),
    )  # fmt: skip
    edited = books.some("receipts", lambda made: len(made["LineItems"]) > 1 and made is not receipt)
    relined(books, "receipts", edited, edited["LineItems"][:1] if edited else [])
    books.edit("expense_claims", books.some("expense_claims"), Status="AUTHORISED")
    template = document(
        books, "repeating_invoices", "200", type="ACCREC", lines=2,
        schedule={"Period": 1, "Unit": "MONTHLY", "DueDate": 10, "DueDateType": "OFFOLLOWINGMONTH", "StartDate": books.today()},
    )  # fmt: skip
    edited = books.some("repeating_invoices", lambda made: len(made["LineItems"]) > 1 and made is not template)
    relined(books, "repeating_invoices", edited, edited["LineItems"][:1] if edited else [])
    if len(books.objects["repeating_invoices"]) > 3:
        books.drop("repeating_invoices", books.some("repeating_invoices", lambda made: made is not template))
    bill, invoice = books.some("invoices", lambda made: made["Type"] == "ACCPAY"), books.some("invoices")
    if bill is not None and invoice is not None:
        books.add(
            "linked_transactions", type="BILLABLEEXPENSE", status="DRAFT", source_transaction_id=bill["InvoiceID"],
            source_transaction_type_code="ACCPAY", source_line_item_id=bill["LineItems"][0]["LineItemID"],
            target_transaction_id=invoice["InvoiceID"], target_line_item_id=invoice["LineItems"][0]["LineItemID"],
            contact_id=invoice["Contact"]["ContactID"],
        )  # fmt: skip
    if len(books.objects["linked_transactions"]) > 3:
        books.drop("linked_transactions", books.some("linked_transactions"))


def attach(books: Books) -> None:
    for table in ("invoices", "contacts", "bank_transactions", "bank_transfers"):
        id_field = {"invoices": "InvoiceID", "contacts": "ContactID"}.get(table) or f"Bank{table[5:-1].title()}ID"
        for made in (books.some(table), books.some(table)):
            if made is not None:
                books.attachments[made[id_field]].append(
                    books.make("attachments", attachment_id=books.guid("attachments"), mime_type="application/pdf")
                )
                books.edit(table, made, HasAttachments=True)
        gone = books.some(table, lambda made: made["HasAttachments"])
        if gone is not None and books.now >= books.started:
            books.attachments.pop(gone[id_field])
            books.edit(table, gone, HasAttachments=False)


def assets(books: Books) -> None:
    kind = books.one("asset_types")
    new = books.add(
        "assets", asset_name=f"Máquina {books.next('asset')}", asset_type_id=kind["assetTypeId"], asset_status="Draft",
        warranty_expiry_date="2030-01-31", book_depreciation_setting=depreciation(), disposal_date=None,
    )  # fmt: skip
    for before, after in (("Registered", "Disposed"), ("Draft", "Registered")):
        older = [each for each in books.objects["assets"].values() if each["assetStatus"] == before and each is not new]
        if older:
            older[0]["assetStatus"] = after
    if len(books.objects["assets"]) > 4:
        books.drop("assets", books.some("assets", lambda made: made is not new))
    kind["locks"] = books.next("locks")
    folder = books.one("folders")
    files = books.objects["files"]
    books.add(
        "files",
        name=f"contrato {books.next('file')}.pdf",
        mime_type="application/pdf",
        folder_id=folder["Id"],
        user=_person(books),
    )
    if len(files) > 3:
        books.drop("files", books.some("files"))
    for each in books.objects["folders"].values():
        each["FileCount"] = sum(file["FolderId"] == each["Id"] for file in files.values())


def _person(books: Books) -> Object:
    user = books.one("users")
    return {"Id": user["UserID"], "Name": user["EmailAddress"], "FirstName": user["FirstName"], "LastName": user["LastName"]}


def projects(books: Books) -> None:
    money = {"currency": books.currencies[0], "value": books.dice.randrange(100, 10_000) / 4}
    amounts = {
        column.name: money for column in books.table("projects").columns if str(column.type).startswith("struct{currency")
    }
    if len(books.objects["projects"]) < 3:
        project = books.add(
            "projects", contact_id=books.one("contacts")["ContactID"], name=f"Projeto {books.next('project')}",
            status="INPROGRESS", currency_code=books.currencies[0], **amounts,
        )  # fmt: skip
    else:
        project = books.one("projects")
        project["minutesLogged"] = books.next("minutes")
    amounts = dict.fromkeys(("rate", "total_amount", "amount_to_be_invoiced", "amount_invoiced"), money)
    task = books.add(
        "project_tasks",
        project_id=project["projectId"],
        name=f"Tarefa {books.next('task')}",
        charge_type="TIME",
        status="ACTIVE",
        **amounts,
    )
    user = books.one("project_users")
    for _ in range(2):
        books.add(
            "project_time_entries", project_id=project["projectId"], task_id=task["taskId"], user_id=user["userId"],
            status="ACTIVE", date_utc=iso(books.now),
        )  # fmt: skip
    if len(books.objects["project_tasks"]) > 4:
        books.drop("project_tasks", books.some("project_tasks"))
    if len(books.objects["project_time_entries"]) > 6:
        books.drop("project_time_entries", books.some("project_time_entries"))
    books.one("project_time_entries")["duration"] = books.next("duration")


CHORES: tuple[Callable[[Books], None], ...] = (
    contacts, invoices, payments, batch_payments, credits, banking, orders, manual_journals, settings, claims, attach, assets,
    projects,
)  # fmt: skip
"""What is done on a day of chores, in this order."""
