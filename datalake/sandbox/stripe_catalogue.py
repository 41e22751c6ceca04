"""What the company of Stripe's stand-in sells and charges beside its core: catalogue lists, taxes, meters and their usage."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from datalake.sandbox import stripe_objects as shape
from datalake.sandbox.stripe_business import DAY, HOUR, TO_BRL, Business
from datalake.sandbox.stripe_more_objects import make
from datalake.sandbox.stripe_objects import Object

PARTS = {
    "active_entitlements": "customer",
    "application_fee_refunds": "application_fee",
    "capabilities": "account",
    "checkout_session_line_items": "checkout.session",
    "customer_balance_transactions": "customer",
    "customer_bank_accounts": "customer",
    "customer_cards": "customer",
    "customer_cash_balance_transactions": "customer",
    "external_account_bank_accounts": "account",
    "external_account_cards": "account",
    "payment_link_line_items": "payment_link",
    "persons": "account",
    "product_features": "product",
    "quote_line_items": "quote",
    "transfer_reversals": "transfer",
    "usage_record_summaries": "subscription_item",
}
"""Table of rows that exist only inside another object -> the kind of that object."""


class Catalogue(Business):
    """`parts` are rows inside other objects (table -> owner's id -> rows, oldest first); `lost` those that were taken away."""

    def __init__(self, seed: int, scale: float, now: int) -> None:
        self.parts: defaultdict[str, defaultdict[str, list[Object]]] = defaultdict(lambda: defaultdict(list))
        self.lost: defaultdict[str, list[tuple[str, Object]]] = defaultdict(list)
        self.usage: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        """(meter, customer) -> start of a day -> what was used on it."""
        self._luck = random.Random(f"{seed}:more")
        super().__init__(seed, scale, now)

    # Bookkeeping

    def _for(self, happens: Callable[[Object], None], what: Object) -> Callable[[], None]:
        return lambda: happens(what)

    def _make(self, kind: str, prefix: str, event: str | None = None, **known: Any) -> Object:
        """A new object of now."""
        return self._add(make(kind, id=self._id(prefix), created=self.now, **known), event)

    def _pick(self, kind: str, wanted: Callable[[Object], bool] = lambda _object: True) -> Object | None:
        """One living object of a kind, by the department's own dice."""
        found = [candidate for candidate in self.objects[kind].values() if wanted(candidate)]
        return self._luck.choice(found) if found else None

    def inside(self, table: str, owner: str) -> list[Object]:
        """The rows inside an object, oldest first."""
        return self.parts[table].get(owner, [])

    def _put(self, table: str, owner: str, row: Object, event: str | None = None) -> Object:
        self.parts[table][owner].append(row)
        if event:
            self._event(event, row)
        return row

    def _take(self, table: str, owner: str, event: str | None = None) -> None:
        """The oldest of an owner's rows goes, if it is not the only one."""
        rows = self.parts[table][owner]
        if len(rows) > 1:
            self.lost[table].append((owner, gone := rows.pop(0)))
            if event:
                self._event(event, gone)

    def _delete(self, kind: str, id_: str, event: str | None) -> None:
        super()._delete(kind, id_, event)
        if kind == "customer":
            for method in self.objects["payment_method"].values():
                if method["customer"] == id_:
                    self._change(method, "payment_method.detached", customer=None)

    # Taxes of the core business

    def _found(self) -> None:
        self._new_tax_rate("ISS", 5)
        super()._found()

    def _new_tax_rate(self, name: str, percentage: float) -> Object:
        return self._make("tax_rate", "txr", "tax_rate.created", display_name=name, inclusive=True, percentage=percentage)

    def _taxes_of(self, line: Object) -> list[Object]:
        if line["currency"] != "brl":
            return []
        net = line["amount"] - sum(discount["amount"] for discount in line["discount_amounts"])
        tax = round(net * 5 / 105)
        return [
            {
                "amount": tax,
                "tax_behavior": "inclusive",
                "tax_rate_details": {"tax_rate": next(iter(self.objects["tax_rate"]))},
                "taxability_reason": "not_available",
                "taxable_amount": net - tax,
                "type": "tax_rate_details",
            }
        ]

    # Catalogue: what is read in full lists

    def _found_catalogue(self) -> None:
        for code, name in (("10000000", "General - Electronically Supplied Services"), ("10103001", "SaaS - business use")):
            self._add(make("tax_code", id=f"txcd_{code}", name=name, description=f"{name}, as described by law."))
        for country in ("DE", "US"):
            self._register(country)
        for name in ("Expressa", "Econômica"):
            self._new_shipping_rate(name)
        for name in ("API", "Relatórios", "Suporte 24h"):
            self._new_feature(name)
        products = list(self.objects["product"].values())
        features = list(self.objects["entitlements.feature"].values())
        for product in products:
            for feature in features:
                self._attach_feature(product, feature)
        self._make("billing_portal.configuration", "bpc", None, updated=self.now, is_default=True)
        self._make("billing_portal.configuration", "bpc", None, updated=self.now, name="Parceiros")
        for nickname in ("Padrão", "Exportação"):
            self._make("invoice_rendering_template", "inrtem", None, nickname=nickname)
        for path in ("pagamentos", "faturas"):
            self._new_webhook(path)
        for alias in ("bloqueados", "parceiros"):
            self._new_value_list(alias)
        for name in ("balance.summary", "payouts.itemized", "tax.itemized"):
            self._add(
                make(
                    "reporting.report_type",
                    id=f"{name}.1",
                    name=name.replace(".", " ").title(),
                    data_available_start=self.now - 500 * DAY,
                    data_available_end=self.now,
                    updated=self.now,
                )
            )
        for name in ("chamadas_api", "mensagens"):
            meter = self._new_meter(name)
            self._new_alert(meter)

    def _keep_catalogue(self) -> None:
        """Something new, something changed, something gone in every list."""
        n = self._next("catalogue")
        self._add(make("tax_code", id=f"txcd_2{n:07d}", name=f"Digital goods {n}", description="New in law."))
        if registration := self._pick("tax.registration", lambda r: r["status"] == "active"):
            self._change(registration, None, status="expired", expires_at=self.now)
        self._register("FR" if n % 2 else "IT")
        if rate := self._pick("shipping_rate", lambda r: r["active"]):
            self._change(rate, None, active=False)
        self._new_shipping_rate(f"Frete {n}")
        feature = self._new_feature(f"Recurso {n}")
        if old := self._pick("entitlements.feature", lambda f: f["active"] and f is not feature):
            self._change(old, None, name=f"{old['name']} +")
        if product := self._pick("product"):
            self._attach_feature(product, feature)
            self._take("product_features", product["id"])
        if retired := self._pick("entitlements.feature", lambda f: f["name"].startswith("Recurso") and f is not feature):
            self._change(retired, None, active=False)
        if portal := self._pick("billing_portal.configuration"):
            headline = {**portal["business_profile"], "headline": f"Edição {n}"}
            event = "billing_portal.configuration.updated"
            self._change(portal, event, business_profile=headline, updated=self.now)
        self._make("billing_portal.configuration", "bpc", "billing_portal.configuration.created", updated=self.now)
        if template := self._pick("invoice_rendering_template", lambda t: t["status"] == "active"):
            self._change(template, None, version=template["version"] + 1)
        brief = self._make("invoice_rendering_template", "inrtem", None, nickname=f"Campanha {n}")
        self._at(self.now + DAY, lambda: self._change(brief, None, status="archived"))
        self._replace_oldest("webhook_endpoint", lambda: self._new_webhook(f"teste/{n}"))
        if hook := self._pick("webhook_endpoint"):
            self._change(hook, None, description=f"Revisto {n}")
        self._replace_oldest("radar.value_list", lambda: self._new_value_list(f"lista_{n}"))
        if values := self._pick("radar.value_list"):
            self._change(values, None, name=f"{values['alias']} {n}")
        for type_ in self.objects["reporting.report_type"].values():
            self._change(type_, "reporting.report_type.updated", data_available_end=self.now, updated=self.now)
        self._new_tax_rate(f"Taxa {n}", 1.25 * n)
        if tax := self._pick("tax_rate", lambda t: t["display_name"] != "ISS"):
            self._change(tax, "tax_rate.updated", active=False)
        self._change_prices(n)

    def _replace_oldest(self, kind: str, new: Callable[[], Object]) -> None:
        """One more of a kind, and the oldest goes. No event tells."""
        new()
        self._delete(kind, next(iter(self.objects[kind])), None)

    def _change_prices(self, n: int) -> None:
        """A plan that lives for a day, a price that learns a currency and one that changes its tiers."""
        products = list(self.objects["product"].values())
        brief = self._new_price(products[0], "brl", 990 + n, shape.recurring("week"))
        self._at(self.now + DAY + HOUR, lambda: self._price_goes(brief))
        price = self._pick(
            "price", lambda p: p["unit_amount"] is not None and len(p["currency_options"]) == 1 and p is not brief
        )
        if price:
            amount = round(price["unit_amount"] * TO_BRL[price["currency"]] / TO_BRL["usd"]) + 1
            more: Object = {"custom_unit_amount": None, "tax_behavior": "unspecified"}
            more |= {"unit_amount": amount, "unit_amount_decimal": str(amount)}
            other = "usd" if price["currency"] != "usd" else "eur"
            self._change(price, "price.updated", currency_options={**price["currency_options"], other: more})
        for tiered in [p for p in self.objects["price"].values() if p["billing_scheme"] == "tiered"]:
            low, high = tiered["tiers"][0], tiered["tiers"][-1]
            middle = {**low, "unit_amount": 4, "unit_amount_decimal": "4", "up_to": 5000 + n}
            tiers = [low, high] if n % 2 == 0 else [low, middle, high]
            self._change(tiered, "price.updated", tiers=tiers)
            self._change(self.objects["plan"][tiered["id"]], "plan.updated", tiers=tiers)

    def _price_goes(self, price: Object) -> None:
        self._delete("price", price["id"], "price.deleted")
        self._delete("plan", price["id"], "plan.deleted")

    def _new_price(self, product: Object, currency: str, amount: int | None, recurring: Object | None, **more: Any) -> Object:
        made = super()._new_price(product, currency, amount, recurring, **more)
        if recurring:
            tiers = {"tiers": more["tiers"]} if "tiers" in more else {}
            self._add({**shape.plan(made), **tiers}, "plan.created")
        return made

    def _change_product(self) -> None:
        super()._change_product()
        for plan in self.objects["plan"].values():
            nickname = self.objects["price"][plan["id"]]["nickname"]
            if plan["nickname"] != nickname:
                self._change(plan, "plan.updated", nickname=nickname)

    def _register(self, country: str) -> Object:
        options = {country.lower(): {"type": "standard" if country != "US" else "state_sales_tax"}}
        return self._make("tax.registration", "taxreg", None, active_from=self.now, country=country, country_options=options)

    def _new_shipping_rate(self, name: str) -> Object:
        fixed = {"amount": 1_990, "currency": "brl"}
        return self._make("shipping_rate", "shr", None, display_name=name, fixed_amount=fixed)

    def _new_feature(self, name: str) -> Object:
        key = f"feature_{self._next('feature')}"
        return self._add(make("entitlements.feature", id=self._id("feat"), name=name, lookup_key=key))

    def _attach_feature(self, product: Object, feature: Object) -> None:
        made = make("product_feature", id=self._id("prodft"), entitlement_feature=dict(feature))
        self._put("product_features", product["id"], made)

    def _new_webhook(self, path: str) -> Object:
        return self._make("webhook_endpoint", "we", None, url=f"https://cafe-codigo.example.com/{path}")

    def _new_value_list(self, alias: str) -> Object:
        id_ = self._id("rsl")
        items = shape.listing(f"/v1/radar/value_list_items?value_list={id_}", [])
        made = make("radar.value_list", id=id_, created=self.now, alias=alias, name=alias.title(), list_items=items)
        return self._add(made)

    # Usage

    def _new_meter(self, name: str) -> Object:
        titled = name.replace("_", " ").title()
        known = {"display_name": titled, "event_name": name, "updated": self.now}
        return self._make("billing.meter", "mtr", "billing.meter.created", **known)

    def _new_alert(self, meter: Object) -> Object:
        threshold = {"filters": [], "gte": 1000, "meter": meter["id"], "recurrence": "one_time"}
        title = f"Muito uso de {meter['event_name']}"
        return self._add(make("billing.alert", id=self._id("alrt"), title=title, usage_threshold=threshold))

    def _use_services(self) -> None:
        """Yesterday's usage, and some that comes late for a day of last week."""
        yesterday = self.now // DAY * DAY - DAY
        for meter in self.objects["billing.meter"].values():
            for customer in list(self.objects["customer"])[: max(3, round(6 * self.scale))]:
                days = self.usage[(meter["id"], customer)]
                if self._luck.random() < 0.6:
                    days[yesterday] = self._luck.randrange(1, 900)
                if self._luck.random() < 0.2:
                    late = yesterday - 5 * DAY
                    days[late] = days.get(late, 0) + 7
        for item, rows in self.parts["usage_record_summaries"].items():
            if item in self.items_alive():
                rows[-1]["total_usage"] += self._luck.randrange(1, 50)
        if self.now > self.started and (renamed := self._pick("billing.meter")):
            self._change(renamed, "billing.meter.updated", display_name=f"{renamed['display_name']} *", updated=self.now)
            self._new_alert(self._new_meter(f"novo_{self._next('meter')}"))
        if self.now > self.started and (alert := self._pick("billing.alert", lambda a: a["status"] == "active")):
            self._change(alert, None, status="archived")

    def items_alive(self) -> set[str]:
        return {item["id"] for subscription in self.objects["subscription"].values() for item in subscription["_items"]}

    def _subscribe(self, customer: Object) -> None:
        super()._subscribe(customer)
        if self.objects["billing.meter"] and customer["id"] in self.objects["customer"]:
            made = next(reversed(self.objects["subscription"].values()))
            self._meter_a_subscription(made)

    def _meter_a_subscription(self, subscription: Object) -> None:
        """An item that is billed by usage records, as they were before billing meters."""
        legacy = [p for p in self.objects["price"].values() if (p["recurring"] or {}).get("usage_type") == "metered"]
        mine = [price for price in legacy if price["currency"] == subscription["currency"]]
        product = next(iter(self.objects["product"].values()))
        terms = {**shape.recurring("month"), "usage_type": "metered"}
        price = mine[0] if mine else self._new_price(product, subscription["currency"], 30, terms, nickname="uso legado")
        item = self._new_item(subscription["id"], price)
        del item["quantity"]
        self._set_items(subscription, [item, *subscription["_items"]], "customer.subscription.updated")
        period = {"start": item["current_period_start"], "end": item["current_period_end"]}
        row = make("usage_record_summary", id=self._id("sis"), period=period, subscription_item=item["id"], total_usage=1)
        self._put("usage_record_summaries", item["id"], row)
