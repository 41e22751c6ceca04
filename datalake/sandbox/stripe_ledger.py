"""The truth about every table of Stripe's stand-in: which rows a reader must hold. How they are asked for lives in `stripe`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from datalake.sandbox.base import Row
from datalake.sandbox.stripe_business import DAY, EVENTS_KEPT
from datalake.sandbox.stripe_catalogue import PARTS
from datalake.sandbox.stripe_company import Company
from datalake.sandbox.stripe_more_objects import SHAPES, make
from datalake.sandbox.stripe_objects import Object

KINDS = {
    "early_fraud_warnings": "radar.early_fraud_warning",
    "files": "file",
    "invoice_items": "invoiceitem",
    "top_ups": "topup",
}
"""Kind of the objects of a table where its name does not tell."""

FOLDERS = ("billing_portal", "billing", "checkout", "entitlement", "issuing", "radar", "reporting")
"""First part of a table's name that is the first part of its kind."""

OWNER_FACT = {
    "active_entitlements": "customer_id",
    "checkout_session_line_items": "checkout_session_id",
    "payment_link_line_items": "payment_link_id",
    "product_features": "product_id",
    "quote_line_items": "quote_id",
}
"""Tables whose rows do not hold their owner's id -> the fact of the request that does."""

EXPANDED = {
    "coupon": {"applies_to", "currency_options"},
    "customer": {"tax_ids"},
    "invoice": {"discounts", "lines.data.discounts"},
    "plan": {"tiers"},
    "price": {"tiers", "currency_options"},
    "subscription": {"discounts", "items.data.discounts"},
}
"""What a reader asks to have expanded, by kind."""


class Ledger:
    """`show` makes an answer's form of an object; `served` holds what was told of things without a memory of their own."""

    def __init__(
        self, company: Company, show: Callable[[Object, Iterable[str]], Object], served: Mapping[str, Mapping[Any, Row]]
    ) -> None:
        self.company, self.show, self.served = company, show, served

    def rows(self, table: str) -> Iterable[Row]:
        """Raises KeyError for a table that Stripe does not have."""
        if function := getattr(self, f"_{table}", None):
            return function()  # type: ignore[no-any-return]  # all methods named after tables give rows
        if table in self.served:
            return self.served[table].values()
        if table in PARTS:
            return self._parts(table)
        kind = KINDS.get(table) or _kind(table)
        if kind not in SHAPES and kind not in self.company.objects:
            raise KeyError(table)
        return self._objects(kind)

    def _objects(self, kind: str) -> Iterator[Row]:
        for deleted, objects in ((False, self.company.objects[kind]), (True, self.company.gone[kind])):
            for made in objects.values():
                yield Row(self.show(made, EXPANDED.get(kind, set())), deleted=deleted)

    def _parts(self, table: str) -> Iterator[Row]:
        kind = PARTS[table]
        alive = self.company.items_alive() if kind == "subscription_item" else self.company.objects[kind].keys()
        expands = {"discounts", "taxes"} if table == "checkout_session_line_items" else set()

        def row(owner: str, part: Object, *, deleted: bool) -> Row:
            return Row(self.show(part, expands), {OWNER_FACT[table]: owner} if table in OWNER_FACT else {}, deleted)

        for owner, parts in self.company.parts[table].items():
            for part in parts:
                yield row(owner, part, deleted=owner not in alive)
        for owner, part in self.company.lost[table]:
            yield row(owner, part, deleted=True)

    def _account(self) -> Iterator[Row]:
        yield Row(self.company.own_account())

    def _accounts(self) -> Iterator[Row]:
        return self._objects("account")

    def _events(self) -> Iterator[Row]:
        return (row for row in self._objects("event") if row.record["created"] >= self.company.started - EVENTS_KEPT)

    def _subscription_history(self) -> Iterator[Row]:
        for event in self._events():
            told = event.record
            if told["type"].startswith("customer.subscription."):
                facts = {"event_id": told["id"], "event_type": told["type"], "valid_from": told["created"]}
                yield Row(told["data"]["object"], facts)

    def _balance_transaction_fee_details(self) -> Iterator[Row]:
        for movement in self.company.objects["balance_transaction"].values():
            for index, fee in enumerate(movement["fee_details"]):
                yield Row(fee, {"balance_transaction_id": movement["id"], "fee_index": index})

    def _discounts(self) -> Iterator[Row]:
        """What ended before the start is known from the invoices alone, and they go on showing it as it was."""
        on_invoices = {id_ for invoice in self.company.objects["invoice"].values() for id_ in invoice["discounts"]}
        for discount in self.company.discounts.values():
            ended = discount.get("_ended")
            told = ended is not None and (ended >= self.company.started or discount["id"] not in on_invoices)
            yield Row(self.show(discount, ()), deleted=told)

    def _invoice_line_items(self) -> Iterator[Row]:
        for deleted, invoices in ((False, self.company.objects["invoice"]), (True, self.company.gone["invoice"])):
            for invoice in invoices.values():
                for line in invoice["_lines"]:
                    yield Row(self.show(line, {"discounts"}), deleted=deleted)

    def _invoice_line_item_discounts(self) -> Iterator[Row]:
        for line in self._invoice_line_items():
            for each in line.record["discount_amounts"]:
                facts = {"invoice_id": line.record["invoice"], "line_item_id": line.record["id"]}
                yield Row(each, facts, line.deleted)

    def _invoice_line_item_taxes(self) -> Iterator[Row]:
        for line in self._invoice_line_items():
            for index, each in enumerate(line.record["taxes"]):
                facts = {"invoice_id": line.record["invoice"], "line_item_id": line.record["id"], "tax_index": index}
                yield Row(each, facts, line.deleted)

    def _credit_note_line_items(self) -> Iterator[Row]:
        for note in self.company.objects["credit_note"].values():
            for line in note["_lines"]:
                yield Row(self.show(line, ()), {"credit_note_id": note["id"]})

    def _subscription_items(self) -> Iterator[Row]:
        for subscription in self.company.objects["subscription"].values():
            for item in subscription["_items"]:
                yield Row(self.show(item, {"discounts"}))

    def _subscription_schedule_phases(self) -> Iterator[Row]:
        for schedule in self.company.objects["subscription_schedule"].values():
            for index, phase in enumerate(schedule["phases"]):
                yield Row(phase, {"subscription_schedule_id": schedule["id"], "phase_index": index})

    def _payout_balance_transactions(self) -> Iterator[Row]:
        for payout, movements in self.company.settled.items():
            for id_ in movements:
                yield Row(self.show(self.company.objects["balance_transaction"][id_], ()), {"payout_id": payout})

    def _price_currency_options(self) -> Iterator[Row]:
        for row in self._objects("price"):
            for currency, options in row.record["currency_options"].items():
                yield Row(options, {"price_id": row.record["id"], "currency": currency}, row.deleted)

    def _price_tiers(self) -> Iterator[Row]:
        for row in self._objects("price"):
            for index, tier in enumerate(row.record.get("tiers", ())):
                facts = {"price_id": row.record["id"], "tier_index": index, "currency": row.record["currency"]}
                yield Row(tier, facts, row.deleted)

    def _tax_ids(self) -> Iterator[Row]:
        for row in self._objects("customer"):
            for tax_id in row.record["tax_ids"]["data"]:
                yield Row(tax_id, deleted=row.deleted)
        for _, gone in self.company.lost["tax_ids"]:
            yield Row(gone, deleted=True)

    def _billing_meter_event_summaries(self) -> Iterator[Row]:
        for meter, customer in self.company.usage:
            yield from summaries(self.company, meter, customer)


def summaries(company: Company, meter: str, customer: str) -> list[Row]:
    """What a customer used of a meter on every whole day, oldest first."""
    today = company.now // DAY * DAY
    gone = customer not in company.objects["customer"]
    rows = []
    for day, value in sorted(company.usage.get((meter, customer), {}).items()):
        if day < today:
            id_ = hashlib.blake2b(f"{meter}{customer}{day}".encode(), digest_size=11).hexdigest()
            known = {"aggregated_value": value, "start_time": day, "end_time": day + DAY, "meter": meter}
            rows.append(Row(make("billing.meter_event_summary", id=f"mtrusg_{id_}", **known), {"customer_id": customer}, gone))
    return rows


def _kind(table: str) -> str:
    """The kind of a table's objects, from its name.

    >>> _kind("issuing_cards"), _kind("billing_portal_configurations"), _kind("entitlement_features"), _kind("charges")
    ('issuing.card', 'billing_portal.configuration', 'entitlements.feature', 'charge')
    """
    name = "tax.registrations" if table == "tax_registrations" else table
    for folder in FOLDERS:
        if table.startswith(f"{folder}_"):
            name = f"{folder}{'s' if folder == 'entitlement' else ''}.{table.removeprefix(f'{folder}_')}"
            break
    return name.removesuffix("s")
