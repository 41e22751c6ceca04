"""Make the schemas here from Stripe's published types: what the tables use of them, as JSON Schema.

Run by hand at a new version: `schema.json` describes the core tables, `extended.json` the others.

    python datalake_tests/specs/stripe/derive.py types-2026-10-28.endive.json spec3.2024-06-20.json

The first input holds the interfaces of npm's `stripe` 23.1.0 (made by Stripe from its OpenAPI description, API
2026-10-28.endive) as {"interfaces": {"<file>#<name>": {"fields": {name: {"type", "optional"}}, "ext": [...]} or
{"alias": type}}}.
The second is Stripe's OpenAPI description of 2024-06-20, the last to know the objects of OLDER. Descriptions are left out.
Where a field is an id or, when expanded, the object, only the id is kept, unless the lake expands it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOTS = {
    "account": "Accounts#Account",
    "balance_transaction": "BalanceTransactions#BalanceTransaction",
    "charge": "Charges#Charge",
    "coupon": "Coupons#Coupon",
    "credit_note": "CreditNotes#CreditNote",
    "credit_note_line_item": "CreditNoteLineItems#CreditNoteLineItem",
    "customer": "Customers#Customer",
    "discount": "Discounts#Discount",
    "dispute": "Disputes#Dispute",
    "event": "Events#EventBase",
    "invoice": "Invoices#Invoice",
    "invoice_payment": "InvoicePayments#InvoicePayment",
    "invoiceitem": "InvoiceItems#InvoiceItem",
    "line_item": "InvoiceLineItems#InvoiceLineItem",
    "payment_intent": "PaymentIntents#PaymentIntent",
    "payout": "Payouts#Payout",
    "price": "Prices#Price",
    "product": "Products#Product",
    "promotion_code": "PromotionCodes#PromotionCode",
    "refund": "Refunds#Refund",
    "subscription": "Subscriptions#Subscription",
    "subscription_item": "SubscriptionItems#SubscriptionItem",
}
"""Value of `object` in a record of a core table -> the interface that describes it."""

EXTENDED = {
    "application_fee": "ApplicationFees#ApplicationFee",
    "balance": "Balance#Balance",
    "bank_account": "BankAccounts#BankAccount",
    "billing.alert": "Billing/Alerts#Alert",
    "billing.credit_balance_transaction": "Billing/CreditBalanceTransactions#CreditBalanceTransaction",
    "billing.credit_grant": "Billing/CreditGrants#CreditGrant",
    "billing.meter": "Billing/Meters#Meter",
    "billing.meter_event_summary": "Billing/MeterEventSummaries#MeterEventSummary",
    "billing_portal.configuration": "BillingPortal/Configurations#Configuration",
    "capability": "Capabilities#Capability",
    "card": "Cards#Card",
    "checkout.session": "Checkout/Sessions#Session",
    "customer_balance_transaction": "CustomerBalanceTransactions#CustomerBalanceTransaction",
    "customer_cash_balance_transaction": "CustomerCashBalanceTransactions#CustomerCashBalanceTransaction",
    "entitlements.active_entitlement": "Entitlements/ActiveEntitlements#ActiveEntitlement",
    "entitlements.feature": "Entitlements/Features#Feature",
    "exchange_rate": "ExchangeRates#ExchangeRate",
    "fee_refund": "FeeRefunds#FeeRefund",
    "file": "Files#File",
    "file_link": "FileLinks#FileLink",
    "invoice_rendering_template": "InvoiceRenderingTemplates#InvoiceRenderingTemplate",
    "issuing.authorization": "Issuing/Authorizations#Authorization",
    "issuing.card": "Issuing/Cards#Card",
    "issuing.cardholder": "Issuing/Cardholders#Cardholder",
    "issuing.dispute": "Issuing/Disputes#Dispute",
    "issuing.transaction": "Issuing/Transactions#Transaction",
    "item": "LineItems#LineItem",
    "payment_attempt_record": "PaymentAttemptRecords#PaymentAttemptRecord",
    "payment_link": "PaymentLinks#PaymentLink",
    "payment_method": "PaymentMethods#PaymentMethod",
    "payment_record": "PaymentRecords#PaymentRecord",
    "person": "Persons#Person",
    "plan": "Plans#Plan",
    "product_feature": "ProductFeatures#ProductFeature",
    "quote": "Quotes#Quote",
    "radar.early_fraud_warning": "Radar/EarlyFraudWarnings#EarlyFraudWarning",
    "radar.value_list": "Radar/ValueLists#ValueList",
    "reporting.report_run": "Reporting/ReportRuns#ReportRun",
    "reporting.report_type": "Reporting/ReportTypes#ReportType",
    "review": "Reviews#Review",
    "setup_attempt": "SetupAttempts#SetupAttempt",
    "setup_intent": "SetupIntents#SetupIntent",
    "shipping_rate": "ShippingRates#ShippingRate",
    "subscription_schedule": "SubscriptionSchedules#SubscriptionSchedule",
    "tax.registration": "Tax/Registrations#Registration",
    "tax_code": "TaxCodes#TaxCode",
    "tax_id": "TaxIds#TaxId",
    "tax_rate": "TaxRates#TaxRate",
    "topup": "Topups#Topup",
    "transfer": "Transfers#Transfer",
    "transfer_reversal": "TransferReversals#TransferReversal",
    "webhook_endpoint": "WebhookEndpoints#WebhookEndpoint",
}
"""The same for the other tables. An account is described with the core."""

OLDER = ("usage_record_summary",)
"""Objects that only an older version of the API gives."""

EXPANDED = {"Discount", "DeletedDiscount"}
"""Objects that the lake asks for in place of their ids."""

OPAQUE = {
    "Account", "Application", "BalanceTransactionSource", "CustomerSource", "DeletedCustomerSource", "PaymentMethod",
    "SetupIntent", "Source", "Event.Data",
}  # fmt: skip
"""Objects that no table looks into: any object will do."""

OPAQUE_TOO = {
    "PaymentIntent", "PaymentAttemptRecord.PaymentMethodDetails", "PaymentLink.PaymentMethodOptions",
    "PaymentRecord.PaymentMethodDetails", "Registration.CountryOptions", "Session.PaymentMethodOptions",
    "SetupAttempt.PaymentMethodDetails", "SetupIntent.PaymentMethodOptions",
}  # fmt: skip
"""The same for `extended.json`, to keep it small: what differs by means of payment or country stays JSON in the lake."""

BASIC: dict[str, Any] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "true": {"const": True},
    "null": {"type": "null"},
    "any": {},
    "unknown": {},
    "Decimal": {"type": "string", "pattern": r"^-?\d+(\.\d{1,12})?$"},
    "Metadata": {"type": "object", "additionalProperties": {"type": "string"}},
}


ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
BASIC["Address"] = {
    "type": "object",
    "properties": {part: {"type": ["string", "null"]} for part in ADDRESS},
    "required": list(ADDRESS),
    "additionalProperties": False,
}
"""Shared type of Stripe's libraries, not part of the input."""


class Types:
    def __init__(self, interfaces: dict[str, Any], opaque: set[str]) -> None:
        self.interfaces = interfaces
        self.opaque = opaque
        self.definitions: dict[str, Any] = {}

    def resolve(self, name: str, file: str, scope: str) -> str:
        """Full name of the interface that `name` means inside `scope` of `file`."""
        parts = scope.split(".")
        for depth in range(len(parts), -1, -1):
            candidate = f"{file}#{'.'.join([*parts[:depth], name])}"
            if candidate in self.interfaces:
                return candidate
        *folder, last = name.removeprefix("_").split(".")
        here = f"{'/'.join(file.split('/')[:-1])}/"
        near = [key for key in self.interfaces if key.endswith(f"#{last}") and key.startswith(here) and not folder]
        found = near or [
            key
            for key in self.interfaces
            if key.endswith(f"#{last}") and key.split("#")[0].split("/")[:-1] == folder and not key.startswith("V2/")
        ]
        if len(found) != 1:
            raise LookupError(f"{name} in {file}#{scope}: {found}")
        return found[0]

    def schema(self, text: str, file: str, scope: str) -> dict[str, Any]:
        options = [option.strip() for option in re.split(r"\|(?![^<{]*[>}])", text)]
        literals = [option.strip("'") for option in options if option.startswith("'")]
        rest = [option for option in options if not option.startswith("'")]
        # `OtherString` stands for values of later versions; of this version, only the known ones are right.
        rest = [option for option in rest if option != "OtherString"]
        if "string" in rest:
            rest = [option for option in rest if option in BASIC or option.startswith("Array") or option in EXPANDED]
        schemas = [self.option(option, file, scope) for option in dict.fromkeys(rest)]
        if literals:
            schemas.append({"enum": literals})
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def option(self, text: str, file: str, scope: str) -> dict[str, Any]:
        if text in BASIC:
            return dict(BASIC[text])
        if match := re.fullmatch(r"Array<(.*)>", text):
            return {"type": "array", "items": self.schema(match[1], file, scope)}
        if match := re.fullmatch(r"ApiList<(.*)>", text):
            fields = {
                "object": {"const": "list"},
                "data": {"type": "array", "items": self.schema(match[1], file, scope)},
                "has_more": {"type": "boolean"},
                "url": {"type": "string"},
                "total_count": {"type": "integer"},
            }
            return {"type": "object", "properties": fields, "required": ["object", "data", "has_more", "url"]}
        if text.startswith("{") or text in self.opaque:
            return {"type": "object"}
        return {"$ref": f"#/$defs/{self.define(self.resolve(text, file, scope))}"}

    def define(self, name: str) -> str:
        safe = name.replace("/", "_").replace("#", ".")
        if safe in self.definitions:
            return safe
        self.definitions[safe] = {}
        file, scope = name.split("#")
        interface = self.interfaces[name]
        if "alias" in interface:
            self.definitions[safe] = self.schema(interface["alias"], file, scope)
            return safe
        fields = {key: spec for key, spec in interface["fields"].items() if spec["type"] != "void"}
        self.definitions[safe] = {
            "type": "object",
            "properties": {key: self.schema(spec["type"], file, scope) for key, spec in fields.items()},
            "required": [key for key, spec in fields.items() if not spec["optional"]],
            "additionalProperties": False,
        }
        return safe


def older(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI schema of the older description, in the same strict form."""
    if name := next((each["$ref"].split("/")[-1] for each in (schema, *schema.get("anyOf", ())) if "$ref" in each), ""):
        return older(schemas[name], schemas)
    kind = {"integer": "number"}.get(schema["type"], schema["type"])
    if kind != "object":
        return {"type": [kind, "null"] if schema.get("nullable") else kind}
    return {
        "type": "object",
        "properties": {key: older(value, schemas) for key, value in schema["properties"].items()},
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def main() -> None:
    schemas = json.loads(Path(sys.argv[2]).read_text())["components"]["schemas"]
    interfaces = json.loads(Path(sys.argv[1]).read_text())["interfaces"]
    events = sorted(
        spec["fields"]["type"]["type"].strip("'")
        for name, spec in interfaces.items()
        if name.startswith("Events#") and spec.get("ext") == ["EventBase"]
    )
    core, extended = Types(interfaces, OPAQUE), Types(interfaces, OPAQUE | OPAQUE_TOO)
    core.definitions["Events.Event.Type"] = {"enum": events}
    extended.definitions.update({name: older(schemas[name], schemas) for name in OLDER})
    for file, types, roots in (("schema.json", core, ROOTS), ("extended.json", extended, EXTENDED)):
        schema = {
            "$comment": "Derived from npm's stripe 23.1.0 (API 2026-10-28.endive) by derive.py; do not edit.",
            "objects": {name: types.define(interface) for name, interface in roots.items()}
            | {name: name for name in OLDER if name in types.definitions},
            "$defs": types.definitions,
        }
        text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        (Path(__file__).parent / file).write_text(f"{text}\n")


if __name__ == "__main__":
    main()
