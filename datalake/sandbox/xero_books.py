"""The books of one organisation on Xero: its records, its clock, its first day. What happens day by day lives in `xero_days`.

The same seed, scale and start give the same books. Every day has dice of its own and happens at ten in the morning, so it does
not matter in how many steps time passes.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from datalake.model import Source, Table
from datalake.sandbox import fill, xero_days
from datalake.sandbox.xero_shapes import Object, address, depreciation, guid_of, moment, ms, phone, without_nulls

DAY = 86_400
HISTORY_DAYS = 60
OPENS = 10 * 3_600
"""The hour at which a day's business happens."""

IDS = {
    "accounts": "AccountID",
    "asset_types": "assetTypeId",
    "assets": "assetId",
    "bank_transactions": "BankTransactionID",
    "bank_transfers": "BankTransferID",
    "batch_payments": "BatchPaymentID",
    "branding_themes": "BrandingThemeID",
    "budgets": "BudgetID",
    "contact_groups": "ContactGroupID",
    "contacts": "ContactID",
    "credit_notes": "CreditNoteID",
    "currencies": "Code",
    "employees": "EmployeeID",
    "expense_claims": "ExpenseClaimID",
    "files": "Id",
    "folders": "Id",
    "invoices": "InvoiceID",
    "items": "ItemID",
    "journals": "JournalID",
    "journals_cash": "JournalID",
    "linked_transactions": "LinkedTransactionID",
    "manual_journals": "ManualJournalID",
    "organisations": "OrganisationID",
    "overpayments": "OverpaymentID",
    "payment_services": "PaymentServiceID",
    "payments": "PaymentID",
    "prepayments": "PrepaymentID",
    "project_tasks": "taskId",
    "project_time_entries": "timeEntryId",
    "project_users": "userId",
    "projects": "projectId",
    "purchase_orders": "PurchaseOrderID",
    "quotes": "QuoteID",
    "receipts": "ReceiptID",
    "repeating_invoices": "RepeatingInvoiceID",
    "reports_index": "ReportID",
    "tax_rates": "TaxType",
    "tracking_categories": "TrackingCategoryID",
    "users": "UserID",
}
"""Table with records of its own -> the field of its id."""

CHART = (
    ("090", "Conta corrente", "BANK", "ASSET"),
    ("091", "Conta em dólar", "BANK", "ASSET"),
    ("610", "Accounts Receivable", "CURRENT", "ASSET"),
    ("710", "Equipamentos", "FIXED", "ASSET"),
    ("800", "Accounts Payable", "CURRLIAB", "LIABILITY"),
    ("820", "Sales Tax", "CURRLIAB", "LIABILITY"),
    ("970", "Capital", "EQUITY", "EQUITY"),
    ("200", "Vendas", "REVENUE", "REVENUE"),
    ("260", "Outras receitas", "OTHERINCOME", "REVENUE"),
    ("310", "Custo das vendas", "DIRECTCOSTS", "EXPENSE"),
    ("400", "Publicidade", "EXPENSE", "EXPENSE"),
    ("429", "Despesas gerais", "EXPENSE", "EXPENSE"),
    ("469", "Aluguel", "OVERHEADS", "EXPENSE"),
)
"""Code, name, type, class of the accounts."""

UNITS = {"BRL": 5.412345, "USD": 1.0, "EUR": 0.8591237}
"""Units of a currency for one dollar."""

UNTOLD = {
    "taxability", "sales_tax_code_id", "tax_breakdown", "repeating_invoice_id", "discount_rate", "discount_amount",
    "prepayment_id", "overpayment_id", "cis_deduction", "cis_rate", "system_account", "expected_payment_date",
    "planned_payment_date", "merged_to_contact_id", "period_lock_date", "end_of_year_lock_date", "bank_account_number",
    "inventory_asset_account_code", "purchases_default_account_code", "sales_default_account_code", "discount",
    "branding_theme_id", "reporting_code", "reporting_code_name", "credit_note_number", "sales_default_line_amount_type",
    "purchases_default_line_amount_type", "tax_number_type", "accounts_receivable_tax_type", "accounts_payable_tax_type",
    "xero_network_key", "code", "batch_payment_id", "batch_payment", "prepayment", "overpayment", "credit_note",
    "branding_theme", "from_tracking", "to_tracking", "employer_identification_number", "cis_deductions",
    "tracking_category_name", "tracking_category_option", "line_of_business", "expected_arrival_date", "receipt_id",
    "expected_arrival_date_string", "narrative", "particulars", "id", "date_string", "tracking",
}  # fmt: skip
"""Columns that stay out of a record unless it says otherwise."""


class Books:
    """One organisation. `objects` are its records by table and id, as they are served in full."""

    def __init__(
        self, source: Source, seed: int, scale: float, now: int, *, name: str, country: str, currencies: tuple[str, ...]
    ) -> None:
        self.scale = scale
        self.name = name
        self.currencies = currencies
        self.started = now
        self.now = now - HISTORY_DAYS * DAY
        self.id = guid_of(f"{seed}:{name}")
        self.objects: defaultdict[str, dict[str, Object]] = defaultdict(dict)
        self.history: defaultdict[str, list[Object]] = defaultdict(list)
        """Id of a document -> its history, oldest first."""
        self.attachments: defaultdict[str, list[Object]] = defaultdict(list)
        self.balances: dict[str, dict[str, dict[str, Object]]] = {}
        """Budget -> account -> month -> balance."""
        self.happened: defaultdict[str, int] = defaultdict(int)
        self._tables = source.tables
        self._fill = fill.Filler(source, seed, now, moment)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self.dice = random.Random(self.id)
        self._clock = self.now
        self._found(country)
        self.advance(now - self.now)

    # Time

    def advance(self, seconds: int) -> None:
        """Let time pass: each ten in the morning that lies in it is a day of business."""
        until = self.now + seconds
        day = (self.now - OPENS) // DAY + 1
        while day * DAY + OPENS <= until:
            self.now = self._clock = day * DAY + OPENS
            self.dice = random.Random(f"{self.id}:{day}")
            xero_days.business(self, day)
            day += 1
        self.now = until

    def _tick(self) -> int:
        """Milliseconds of the next thing that happens: no two happen in the same moment."""
        self._clock += 7
        return self._clock * 1000 + self._clock % 1000

    def today(self, days: int = 0) -> str:
        return ms((self.now // DAY + days) * DAY * 1000)

    # Bookkeeping

    def next(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def guid(self, kind: str) -> str:
        return guid_of(f"{self.id}:{kind}:{self.next(kind)}")

    def make(self, table: str, number: int = 0, **known: Any) -> Object:
        """A new record of a table (or the `number`th), filled from its contract; what is None is left out, as Xero does."""
        untold = dict.fromkeys(UNTOLD & self._columns(table))
        made: Object = without_nulls(
            self._fill.record(self._tables[table], number or self.next(f"fill:{table}"), **{**untold, **known})
        )
        return made

    def add(self, table: str, **known: Any) -> Object:
        """A new record, kept, with its id and stamp."""
        id_field = IDS[table]
        id_column = next(column.name for column in self._tables[table].columns if column.field == (id_field,))
        known.setdefault(id_column, self.guid(table))
        made = self.make(table, **known)
        self.objects[table][made[id_field]] = made
        self.touch(table, made, "Created")
        return made

    def touch(self, table: str, made: Object, change: str = "Edited") -> None:
        """The record changed: a new stamp where it has one, and an entry in its history."""
        at = self._tick()
        columns = self._columns(table)
        if "updated_date_utc" in columns and table != "files":
            made["UpdatedDateUTC"] = ms(at)
        if "updated_date_utc_string" in columns:
            made["UpdatedDateUTCString"] = f"{dt.datetime.fromtimestamp(at // 1000, dt.UTC):%Y-%m-%d %H:%M:%S+00:00}"
        entry = {"Changes": change, "DateUTC": ms(at), "User": "Ana Almeida", "Details": f"{change}: {made[IDS[table]][:8]}"}
        self.history[made[IDS[table]]].append(entry)

    def edit(self, table: str, made: Object | None, **fields: Any) -> None:
        """Change fields (as the API spells them) of a record, with its stamp. Nothing where there is no record."""
        if made is not None:
            made.update(fields)
            self.touch(table, made)

    def drop(self, table: str, made: Object | None) -> None:
        if made is not None:
            del self.objects[table][made[IDS[table]]]

    def some(self, table: str, wanted: Callable[[Object], bool] = lambda _object: True) -> Object | None:
        """One record of a table, by the dice."""
        found = [each for each in self.objects[table].values() if wanted(each)]
        return self.dice.choice(found) if found else None

    def one(self, table: str) -> Object:
        found = self.some(table)
        assert found is not None, f"there are no {table}"
        return found

    def account(self, code: str) -> Object:
        return next(each for each in self.objects["accounts"].values() if each["Code"] == code)

    def bank(self) -> Object:
        return self.account(self.dice.choice(("090", "091")))

    def rate(self, currency: str) -> float:
        """Units of the currency for one of the organisation's own, as `CurrencyRate` has them."""
        return round(UNITS[currency] / UNITS[self.currencies[0]], 10)

    def table(self, name: str) -> Table:
        return self._tables[name]

    def _columns(self, table: str) -> set[str]:
        return {column.name for column in self._tables[table].columns if not column.from_request}

    # What there is on the first day

    def _found(self, country: str) -> None:
        self.add(
            "organisations",
            name=self.name, legal_name=self.name, base_currency=self.currencies[0], country_code=country, version="GLOBAL",
            organisation_type="COMPANY", organisation_entity_type="COMPANY", organisation_status="ACTIVE",
            tax_number=fill.cnpj(len(self.name)), financial_year_end_day=31, financial_year_end_month=12,
            sales_tax_basis="ACCRUALS", sales_tax_period="MONTHLY", default_sales_tax="Tax Exclusive",
            default_purchases_tax="Tax Exclusive", timezone="ESOUTHAMERICASTANDARDTIME", edition="BUSINESS",
            addresses=[address("STREET", 1)], phones=[phone("OFFICE", 1)], external_links=[],
            payment_terms={"Bills": {"Day": 15, "Type": "OFCURRENTMONTH"}}, **{"class": "PREMIUM"},
        )  # fmt: skip
        # The key comes with the record and must never be kept.
        next(iter(self.objects["organisations"].values()))["APIKey"] = "XEROAPIKEYSECRET"
        for code in self.currencies:
            self.add("currencies", code=code, description=f"Currency {code}")
        for type_, name, parts in (
            ("NONE", "Tax Exempt", (("Exempt", 0.0),)),
            ("OUTPUT2", "ICMS", (("ICMS", 18.0),)),
            ("TAX001", "PIS e COFINS", (("PIS", 1.65), ("COFINS", 7.6))),
        ):
            rate = round(sum(rate for _, rate in parts), 4)
            components = [{"Name": part, "Rate": rate, "IsCompound": False, "IsNonRecoverable": False} for part, rate in parts]
            self.add(
                "tax_rates", tax_type=type_, name=name, status="ACTIVE", report_tax_type="OUTPUT", tax_components=components,
                display_tax_rate=rate, effective_rate=rate,
            )  # fmt: skip
        for code, name, type_, class_ in CHART:
            bank = type_ == "BANK"
            bank_number, currency = f"0010 {code}{len(self.name):06d}", self.currencies[code == "091"]
            self.add(
                "accounts", code=code, name=name, type=type_, status="ACTIVE", tax_type="NONE",
                bank_account_type="BANK" if bank else None,
                bank_account_number=bank_number if bank else None, currency_code=currency if bank else None, description=name,
                **{"class": class_},
            )  # fmt: skip
        for name, options in (("Região", ("Norte", "Sul", "Leste")), ("Departamento", ("Vendas", "Oficina"))):
            category = self.add("tracking_categories", name=name, status="ACTIVE", options=[])
            category["Options"] = [self.option(option) for option in options]
        for number in range(3):
            person = fill.person(number)
            self.add(
                "users", email_address=person.email, first_name=person.first, last_name=person.last,
                organisation_role="STANDARD", is_subscriber=number == 0,
            )  # fmt: skip
        self.add("branding_themes", name="Padrão", type="INVOICE", sort_order=0)
        self.add("payment_services", payment_service_type="Custom", payment_service_name="Pix")
        for name in ("Clientes", "Fornecedores"):
            self.add("contact_groups", name=name, status="ACTIVE")
        for _ in range(4):
            xero_days.new_item(self)
        for _ in range(max(6, round(20 * self.scale))):
            xero_days.new_contact(self)
        for description, type_ in (("Overall Budget", "OVERALL"), ("Norte", "TRACKING")):
            budget = self.add("budgets", type=type_, description=description, tracking=[])
            first = dt.datetime.fromtimestamp(self.started, dt.UTC).year - 1
            self.balances[budget["BudgetID"]] = {
                self.account(code)["AccountID"]: {
                    f"{first + month // 12}-{month % 12 + 1:02d}": {
                        "Period": f"{first + month // 12}-{month % 12 + 1:02d}",
                        "Amount": str(1000 + 10 * month),
                        "Notes": "",
                    }
                    for month in range(10, 20)
                }
                for code in ("200", "429")
            }
        account_id = self.account("710")["AccountID"]
        self.add(
            "asset_types",
            asset_type_name="Máquinas",
            fixed_asset_account_id=account_id,
            book_depreciation_setting=depreciation(),
        )
        for number in range(2):
            person = fill.person(number)
            self.add("project_users", name=person.name, email=person.email)
        for name, inbox in (("Inbox", True), ("Contratos", False)):
            self.add("folders", name=name, is_inbox=inbox, file_count=0, email=f"{name.lower()}@example.com")
        for name in ("GST Return", "BAS Report"):
            self.add(
                "reports_index", report_name=name, report_title=name, report_type="GSTReturn",
                report_titles=[name, self.name], report_date="22 November 2026",
            )  # fmt: skip

    def option(self, name: str) -> Object:
        return {"TrackingOptionID": self.guid("tracking_options"), "Name": name, "Status": "ACTIVE"}
