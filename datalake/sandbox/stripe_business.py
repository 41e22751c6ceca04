"""A small company on Stripe: what it sells, to whom, and what happens to it hour by hour. How it is shown lives in `stripe`.

The same seed, scale and start give the same company. Every hour has dice of its own, so it does not matter in how many steps
time passes. Since the start, each day holds at least one change of every kind, so that a day is worth a demonstration.
"""

from __future__ import annotations

import bisect
import copy
import hashlib
import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from datalake.sandbox import stripe_objects as shape
from datalake.sandbox.stripe_objects import Object

DAY = 86_400
HOUR = 3_600
HISTORY_DAYS = 100
EVENTS_KEPT = 30 * DAY
"""Stripe keeps events for 30 days."""

# Minor units of the payer's currency -> hundredths of a real.
TO_BRL = {"brl": 1.0, "usd": 5.412345, "eur": 6.298761, "jpy": 3.571234, "kwd": 1.762345}

PEOPLE: tuple[tuple[str, str, str, str], ...] = (
    ("João Conceição", "BR", "brl", "São Paulo"),
    ("Antônia D'Ávila & Filhos Ltda", "BR", "brl", "Belém"),
    ("Zoë Müller-Lüdenscheidt", "DE", "eur", "Köln"),
    ("株式会社 山田製作所", "JP", "jpy", "東京"),
    ("شركة النور للتجارة", "KW", "kwd", "الكويت"),
    ("Mary O'Neil", "US", "usd", "Boise"),
    ("Îñtërnâtiônàl Açaí 🍇 ME", "BR", "brl", "Manaus"),
    ('Padaria "Pão Quente"', "BR", "brl", "Recife"),
    ("Søren Ångström", "DE", "eur", "Kiel"),
    ("Luiza Gonçalves", "BR", "brl", "Goiânia"),
)

CHORES = {
    1: ("_instant_payout",),
    2: ("_edit_pending_item", "_change_product"),
    7: ("_refund_a_charge",),
    8: ("_refund_slowly",),
    9: ("_delete_a_customer", "_change_customer"),
    10: ("_come_and_go",),
    11: ("_discount_a_subscription", "_discount_a_customer"),
    12: ("_drop_a_line", "_delete_a_pending_item"),
    13: ("_big_invoice",),
    14: ("_dispute_a_charge",),
    15: ("_credit_an_invoice",),
    16: ("_cancel_a_subscription",),
    17: ("_change_items",),
    18: ("_end_a_discount", "_void_a_credit_note"),
    19: ("_delete_a_draft",),
}
"""Hour of the day -> what is done then."""


class Business:
    """The company's objects by kind (the value of `object`), and the clock.

    `objects` are alive, `gone` are deleted with their last values. Nothing outside this class changes them.
    """

    def __init__(self, seed: int, scale: float, now: int) -> None:
        self.seed, self.scale = seed, scale
        self.started = now
        self.now = now - HISTORY_DAYS * DAY
        self.objects: defaultdict[str, dict[str, Object]] = defaultdict(dict)
        self.gone: defaultdict[str, dict[str, Object]] = defaultdict(dict)
        self.order: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        """(created, number, id) of the living, oldest first."""
        self.discounts: dict[str, Object] = {}
        self.settled: dict[str, list[str]] = {}
        """Payout -> the balance transactions it paid out."""
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self.account_id = self._id("acct")
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._dice = random.Random(f"{seed}")
        self._unsettled: list[str] = []
        self._found()
        self.advance(now - self.now)

    # Time

    def advance(self, seconds: int) -> dict[str, int]:
        """Let time pass hour by hour. Returns how many events of each type that brought."""
        before = len(self.objects["event"])
        until = self.now + seconds
        while self.now < until:
            hour_end = min(until, (self.now // HOUR + 1) * HOUR)
            if self.now % HOUR == 0:
                self._dice = random.Random(f"{self.seed}:{self.now}")
                self._plan_hour(self.now)
            while self._agenda and self._agenda[0][0] < hour_end:
                at, _, happens = heapq.heappop(self._agenda)
                self.now = max(self.now, at)
                happens()
            self.now = hour_end
        news: defaultdict[str, int] = defaultdict(int)
        for event in list(self.objects["event"].values())[before:]:
            news[event["type"]] += 1
        return dict(news)

    def _at(self, time: int, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time, self._next("agenda"), happens))

    def _plan_hour(self, hour: int) -> None:
        dice = self._dice
        for rate, happens in ((0.35, self._new_customer), (1.5, self._one_off_sale), (0.4, self._new_pending_item)):
            expected = rate * self.scale / 24
            for _ in range(int(expected) + (dice.random() < expected % 1)):
                self._at(hour + dice.randrange(60, HOUR - 60), happens)
        day, hour_of_day = divmod(hour // HOUR, 24)
        # A week's chores in the past, a day's chores since the start.
        if hour >= self.started or day % 7 == 0:
            for chore in CHORES.get(hour_of_day, ()):
                self._at(hour + dice.randrange(60, HOUR - 60), getattr(self, chore))
        if hour_of_day == 6 and day % 2 == 0:
            self._at(hour + 120, self._automatic_payout)

    # Bookkeeping

    def _next(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def _id(self, prefix: str) -> str:
        number = f"{self.seed}:{prefix}:{self._next(prefix)}"
        return f"{prefix}_1S{hashlib.blake2b(number.encode(), digest_size=11).hexdigest()}"

    def _add(self, made: Object, event: str | None = None) -> Object:
        kind = made["object"]
        self.objects[kind][made["id"]] = made
        self.order[kind].append((created(made), len(self.order[kind]) + len(self.gone[kind]), made["id"]))
        if event:
            self._event(event, made)
        return made

    def _delete(self, kind: str, id_: str, event: str | None) -> None:
        last = self.objects[kind].pop(id_)
        place = bisect.bisect_left(self.order[kind], (created(last), -1, ""))
        while self.order[kind][place][2] != id_:
            place += 1
        del self.order[kind][place]
        self.gone[kind][id_] = last
        if event:
            self._event(event, last)

    def delete(self, kind: str, id_: str) -> None:
        """Delete an object now, with the event that Stripe sends. Raises ValueError where there is none."""
        if id_ not in self.objects[kind]:
            raise ValueError(f"there is no {kind} '{id_}'")
        self._delete(kind, id_, f"{kind}.deleted")

    def _change(self, target: Object, event: str | None, **changes: Any) -> None:
        previous = {name: target.get(name) for name in changes}
        target.update(changes)
        if event:
            self._event(event, target, previous)

    def _event(self, type_: str, about: Object, previous: Object | None = None) -> None:
        data: Object = {"object": copy.deepcopy({k: v for k, v in about.items() if not k.startswith("_")})}
        if previous is not None and type_.endswith(".updated"):
            data["previous_attributes"] = copy.deepcopy(previous)
        self._add(
            {
                "id": self._id("evt"),
                "object": "event",
                "api_version": "2026-10-28.endive",
                "created": self.now,
                "data": data,
                "livemode": True,
                "pending_webhooks": 0,
                "request": {"id": None, "idempotency_key": None},
                "type": type_,
            }
        )

    def _some(self, kind: str, wanted: Callable[[Object], bool] = lambda _object: True) -> Object | None:
        """One living object of a kind, by the dice."""
        found = [candidate for candidate in self.objects[kind].values() if wanted(candidate)]
        return self._dice.choice(found) if found else None

    # Catalogue and customers

    def _found(self) -> None:
        """What there is on the first day."""
        for name, unit in (("Plano Básico", 4_990), ("Plano Profissional", 14_990), ("Plano Açaí ∞", 49_990)):
            thing = self._new_product(name)
            for currency in TO_BRL:
                amount = round(unit / TO_BRL[currency])
                self._new_price(thing, currency, amount, shape.recurring("month"))
        metered = self._new_product("Consumo por faixas")
        tiers = [
            {"flat_amount": None, "flat_amount_decimal": None, "unit_amount": 5, "unit_amount_decimal": "5", "up_to": 1000},
            {
                "flat_amount": 900,
                "flat_amount_decimal": "900",
                "unit_amount": None,
                "unit_amount_decimal": "2.5",
                "up_to": None,
            },
        ]
        self._new_price(
            metered, "brl", None, shape.recurring("month"), billing_scheme="tiered", tiers_mode="graduated", tiers=tiers
        )
        fine = self._new_product("Mensagem avulsa")
        self._new_price(fine, "brl", None, None, unit_amount_decimal="0.725", nickname="fração de centavo")
        for _ in range(3):
            self._new_coupon()
        for _ in range(max(3, round(20 * self.scale))):
            self._new_customer()

    def _new_product(self, name: str) -> Object:
        made = shape.product(
            id=self._id("prod"),
            name=name,
            created=self.now,
            updated=self.now,
            livemode=True,
            marketing_features=[{"name": "Suporte"}],
        )
        return self._add(made, "product.created")

    def _new_price(self, product: Object, currency: str, amount: int | None, recurring: Object | None, **more: Any) -> Object:
        made = shape.price(
            id=self._id("price"),
            created=self.now,
            currency=currency,
            livemode=True,
            product=product["id"],
            recurring=recurring,
            unit_amount=amount,
            **more,
        )
        made["currency_options"] = {
            currency: {
                "custom_unit_amount": None,
                "tax_behavior": "unspecified",
                "unit_amount": amount,
                "unit_amount_decimal": made["unit_amount_decimal"],
            }
        }
        return self._add(made, "price.created")

    def _new_coupon(self) -> Object:
        made = shape.coupon(
            id=f"BLACK{self._next('coupon')}",
            created=self.now,
            duration="repeating",
            duration_in_months=3,
            livemode=True,
            name="Black Friday",
            percent_off=self._dice.choice((7.5, 12.25, 10)),
            applies_to={"products": list(self.objects["product"])[:3]},
            currency_options={},
        )
        self._add(made, "coupon.created")
        code = shape.promotion_code(
            id=self._id("promo"),
            code=f"AMIGO{self._next('code')}",
            created=self.now,
            livemode=True,
            promotion={"coupon": made["id"], "type": "coupon"},
        )
        self._add(code, "promotion_code.created")
        return made

    def _new_customer(self) -> None:
        number = self._next("customer")
        name, country, currency, city = PEOPLE[(number - 1) % len(PEOPLE)]
        id_ = self._id("cus")
        made = shape.customer(
            id=id_,
            address=shape.address(city=city, country=country, line1=f"Rua {number}", postal_code=f"{number:05d}-000"),
            created=self.now,
            currency=currency,
            email=f"pessoa.{number}@example.com",
            invoice_prefix=f"C{number:07d}",
            livemode=True,
            metadata={"origem": self._dice.choice(("site", "indicação", "feira"))},
            name=name,
            phone=f"+55119{number:08d}" if country == "BR" else None,
            preferred_locales=["pt-BR"] if country == "BR" else [],
        )
        known = []
        if country == "BR":
            company = number % 2 == 0
            known = [
                shape.tax_id(
                    id=self._id("txi"),
                    country="BR",
                    created=self.now,
                    customer=id_,
                    livemode=True,
                    owner={"customer": id_, "customer_account": None, "type": "customer"},
                    type="br_cnpj" if company else "br_cpf",
                    value=cnpj(number) if company else cpf(number),
                )
            ]
        made["tax_ids"] = shape.embedded(f"/v1/customers/{id_}/tax_ids", known)
        self._add(made, "customer.created")
        if self._dice.random() < 0.7:
            self._at(self.now + self._dice.randrange(600, 3 * DAY), lambda: self._subscribe(made))

    # Payments

    def _move(
        self, amount: int, currency: str, type_: str, source: str, fees: list[Object], wait_days: int, **more: Any
    ) -> Object:
        """A movement on the balance, in reais."""
        rate = TO_BRL[currency]
        category = {"payment_refund": "refund", "adjustment": "dispute"}.get(type_, type_)
        made = shape.balance_transaction(
            id=self._id("txn"),
            amount=round(amount * rate),
            available_on=self.now // DAY * DAY + wait_days * DAY,
            created=self.now,
            currency="brl",
            exchange_rate=None if currency == "brl" else rate,
            fee_details=fees,
            reporting_category=category,
            source=source,
            type=type_,
            **more,
        )
        self._unsettled.append(made["id"])
        return self._add(made)

    def _pay(self, customer: Object, amount: int, currency: str, description: str, *, luck: float = 0.92) -> Object:
        """A payment intent, tried at once. Its status tells how that went."""
        id_ = self._id("pi")
        method = self._id("pm")
        intent = shape.payment_intent(
            id=id_,
            amount=amount,
            client_secret=f"{id_}_secret_{method[5:]}",
            created=self.now,
            currency=currency,
            customer=customer["id"],
            description=description,
            livemode=True,
            payment_method=method,
            payment_method_types=["card"],
            receipt_email=customer["email"],
        )
        self._add(intent, "payment_intent.created")
        self._try(intent, customer, luck)
        return intent

    def _try(self, intent: Object, customer: Object, luck: float) -> None:
        paid = self._dice.random() < luck
        amount, currency = intent["amount"], intent["currency"]
        made = shape.charge(
            id=self._id("ch"),
            amount=amount,
            billing_details={
                "address": customer["address"],
                "email": customer["email"],
                "name": customer["name"],
                "phone": customer["phone"],
                "tax_id": None,
            },
            created=self.now,
            currency=currency,
            customer=customer["id"],
            description=intent["description"],
            livemode=True,
            outcome=shape.outcome(paid=paid, risk_score=self._dice.randrange(60)),
            payment_intent=intent["id"],
            payment_method=intent["payment_method"],
            payment_method_details=shape.card(
                brand=self._dice.choice(("visa", "mastercard")),
                last4=f"{self._dice.randrange(10_000):04d}",
                country=customer["address"]["country"],
                amount=amount,
            ),
            receipt_email=customer["email"],
            status="succeeded" if paid else "failed",
        )
        if paid:
            settled = round(amount * TO_BRL[currency])
            fees = [shape.fee(round(settled * 0.0399) + 39, "brl", "stripe_fee", "Stripe processing fees")]
            if currency != "brl":
                fees.append(shape.fee(round(settled * 0.02), "brl", "stripe_fee", "Stripe currency conversion fee"))
            movement = self._move(amount, currency, "charge", made["id"], fees, 7, description=intent["description"])
            made |= {"amount_captured": amount, "balance_transaction": movement["id"], "captured": True, "paid": True}
            made["receipt_url"] = f"https://pay.stripe.com/receipts/{made['id']}"
            self._add(made, "charge.succeeded")
            changes = {
                "status": "succeeded",
                "amount_received": amount,
                "latest_charge": made["id"],
                "last_payment_error": None,
            }
            self._change(intent, "payment_intent.succeeded", **changes)
        else:
            made |= {"failure_code": "card_declined", "failure_message": "Your card has insufficient funds."}
            self._add(made, "charge.failed")
            error = {
                "code": "card_declined",
                "decline_code": "insufficient_funds",
                "message": made["failure_message"],
                "type": "card_error",
            }
            self._change(intent, "payment_intent.payment_failed", latest_charge=made["id"], last_payment_error=error)

    def _one_off_sale(self) -> None:
        buyer = self._some("customer")
        if buyer:
            amount = round(self._dice.randrange(1_500, 90_000) / TO_BRL[buyer["currency"]])
            self._pay(buyer, amount, buyer["currency"], f"Venda avulsa {self._next('sale')}")

    # Subscriptions and invoices

    def _subscribe(self, customer: Object) -> None:
        if customer["id"] not in self.objects["customer"]:
            return
        currency = customer["currency"]
        prices = [
            p for p in self.objects["price"].values() if p["currency"] == currency and p["recurring"] and p["unit_amount"]
        ]
        count = 12 if self._next("subscription") % 9 == 0 else self._dice.choice((1, 1, 2))
        id_ = self._id("sub")
        made = shape.subscription(
            id=id_,
            billing_cycle_anchor=self.now,
            created=self.now,
            currency=currency,
            customer=customer["id"],
            livemode=True,
            metadata={"vendedor": self._dice.choice(("Ana", "Zé"))},
            start_date=self.now,
        )
        items = [self._new_item(id_, prices[number % len(prices)]) for number in range(count)]
        made["items"] = shape.embedded(f"/v1/subscription_items?subscription={id_}", items)
        made["_items"] = items
        self._add(made, "customer.subscription.created")
        self._bill(made, "subscription_create")
        self._at(self.now + 30 * DAY, lambda: self._renew(made))

    def _new_item(self, subscription: str, price: Object) -> Object:
        return shape.subscription_item(
            id=self._id("si"),
            created=self.now,
            current_period_end=self.now + 30 * DAY,
            current_period_start=self.now,
            plan=shape.plan(price),
            price={name: value for name, value in price.items() if name not in ("tiers", "currency_options")},
            quantity=self._dice.randrange(1, 4),
            subscription=subscription,
        )

    def _set_items(self, subscription: Object, items: list[Object], event: str) -> None:
        subscription["_items"] = items
        url = f"/v1/subscription_items?subscription={subscription['id']}"
        self._change(subscription, event, items=shape.embedded(url, items))

    def _renew(self, subscription: Object) -> None:
        if subscription["status"] == "canceled":
            return
        items = [
            {**item, "current_period_start": self.now, "current_period_end": self.now + 30 * DAY}
            for item in subscription["_items"]
        ]
        self._set_items(subscription, items, "customer.subscription.updated")
        self._bill(subscription, "subscription_cycle")
        self._at(self.now + 30 * DAY, lambda: self._renew(subscription))

    def _bill(self, subscription: Object, reason: str) -> None:
        customer = self.objects["customer"][subscription["customer"]]
        invoice = self._new_invoice(customer, subscription["currency"], reason, subscription)
        lines = [self._line_of_subscription_item(item, invoice) for item in subscription["_items"]]
        lines += self._take_pending(customer, invoice)
        self._set_lines(invoice, lines)
        self._event("invoice.created", invoice)
        self._change(subscription, None, latest_invoice=invoice["id"])
        if reason == "subscription_create":
            self._finalize(invoice)
        else:
            self._at(self.now + HOUR, lambda: self._finalize(invoice))

    def _line_of_subscription_item(self, item: Object, invoice: Object) -> Object:
        quantity = item.get("quantity", 1)
        return shape.line_item(
            id=self._id("il"),
            amount=quantity * item["price"]["unit_amount"],
            currency=invoice["currency"],
            description=f"{quantity} × {self.objects['product'][item['price']['product']]['name']}",
            discounts=list(item["discounts"]),
            invoice=invoice["id"],
            livemode=True,
            parent={
                "invoice_item_details": None,
                "subscription_item_details": {
                    "invoice_item": None,
                    "proration": False,
                    "proration_details": None,
                    "subscription": item["subscription"],
                    "subscription_item": item["id"],
                },
                "type": "subscription_item_details",
            },
            period={"start": item["current_period_start"], "end": item["current_period_end"]},
            pricing=shape.pricing(item["price"]),
            quantity=quantity,
            subscription=item["subscription"],
        )

    def _new_invoice(self, customer: Object, currency: str, reason: str, subscription: Object | None) -> Object:
        id_ = self._id("in")
        taxes = [{"type": t["type"], "value": t["value"]} for t in customer["tax_ids"]["data"]]
        details = {"metadata": {}, "subscription": subscription["id"]} if subscription else None
        made = shape.invoice(
            id=id_,
            billing_reason=reason,
            created=self.now,
            currency=currency,
            customer=customer["id"],
            customer_address=customer["address"],
            customer_email=customer["email"],
            customer_name=customer["name"],
            customer_phone=customer["phone"],
            customer_tax_ids=taxes,
            discounts=self._discounts_of(customer, subscription),
            livemode=True,
            parent={"quote_details": None, "subscription_details": details, "type": "subscription_details"}
            if details
            else None,
            period_end=self.now,
            period_start=self.now - 30 * DAY,
        )
        return self._add(made)

    def _set_lines(self, invoice: Object, lines: list[Object], event: str | None = None) -> None:
        """The lines, and the sums that follow from them."""
        discounts: defaultdict[str, int] = defaultdict(int)
        for line in lines:
            line["discount_amounts"] = []
            for id_ in [*invoice["discounts"], *line["discounts"]]:
                coupon = self.discounts[id_]["_coupon"]
                amount = int(line["amount"] * coupon["percent_off"] / 100)
                line["discount_amounts"].append({"amount": amount, "discount": id_})
                discounts[id_] += amount
            line["taxes"] = self._taxes_of(line)
        subtotal = sum(line["amount"] for line in lines)
        total = subtotal - sum(discounts.values())
        taxes = [tax for line in lines for tax in line["taxes"]]
        tax = sum(each["amount"] for each in taxes)
        invoice["_lines"] = lines
        self._change(
            invoice,
            event,
            lines=shape.embedded(f"/v1/invoices/{invoice['id']}/lines", lines),
            subtotal=subtotal,
            subtotal_excluding_tax=subtotal,
            total=total,
            total_excluding_tax=total - tax,
            total_taxes=[{**taxes[0], "amount": tax, "taxable_amount": total - tax}] if taxes else [],
            total_discount_amounts=[{"amount": amount, "discount": id_} for id_, amount in discounts.items()],
            amount_due=total,
            amount_remaining=total,
        )

    def _taxes_of(self, line: Object) -> list[Object]:  # noqa: ARG002 - the company that charges taxes looks at the line
        return []

    def _finalize(self, invoice: Object) -> None:
        if invoice["id"] not in self.objects["invoice"] or invoice["status"] != "draft":
            return
        customer = self.objects["customer"][invoice["customer"]]
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        self._change(customer, "customer.updated", next_invoice_sequence=customer["next_invoice_sequence"] + 1)
        self._change(
            invoice,
            "invoice.finalized",
            status="open",
            number=number,
            effective_at=self.now,
            ending_balance=0,
            hosted_invoice_url=f"https://invoice.stripe.com/i/{invoice['id']}",
            invoice_pdf=f"https://pay.stripe.com/invoice/{invoice['id']}/pdf",
            status_transitions={**invoice["status_transitions"], "finalized_at": self.now},
        )
        payment = shape.invoice_payment(
            id=self._id("inpay"),
            amount_requested=invoice["amount_due"],
            created=self.now,
            currency=invoice["currency"],
            invoice=invoice["id"],
            livemode=True,
            payment={"payment_intent": "", "type": "payment_intent"},
        )
        intent = self._pay(customer, invoice["amount_due"], invoice["currency"], f"Fatura {number}")
        payment["payment"] = {"payment_intent": intent["id"], "type": "payment_intent"}
        self._add(payment)
        self._collect(invoice, payment, intent)

    def _collect(self, invoice: Object, payment: Object, intent: Object) -> None:
        tried = {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if intent["status"] == "succeeded":
            amount = invoice["amount_due"]
            paid = {"paid_at": self.now, "canceled_at": None}
            self._change(payment, "invoice_payment.paid", status="paid", amount_paid=amount, status_transitions=paid)
            transitions = {**invoice["status_transitions"], "paid_at": self.now}
            self._change(
                invoice,
                "invoice.paid",
                status="paid",
                amount_paid=amount,
                amount_remaining=0,
                status_transitions=transitions,
                **tried,
            )
            self._event("invoice.payment_succeeded", invoice)
        elif tried["attempt_count"] < 3:
            again = self.now + 2 * DAY
            self._change(invoice, "invoice.payment_failed", next_payment_attempt=again, **tried)
            self._at(again, lambda: self._collect_again(invoice, payment, intent))
        else:
            canceled = {"canceled_at": self.now, "paid_at": None}
            self._change(payment, None, status="canceled", status_transitions=canceled)
            transitions = {**invoice["status_transitions"], "voided_at": self.now}
            self._change(
                intent, "payment_intent.canceled", status="canceled", canceled_at=self.now, cancellation_reason="void_invoice"
            )
            self._change(
                invoice, "invoice.voided", status="void", next_payment_attempt=None, status_transitions=transitions, **tried
            )

    def _collect_again(self, invoice: Object, payment: Object, intent: Object) -> None:
        if customer := self.objects["customer"].get(invoice["customer"]):
            self._try(intent, customer, 0.5)
        self._collect(invoice, payment, intent)

    # Invoice items

    def _new_pending_item(self) -> None:
        customer = self._some("customer", lambda c: self._subscription_of(c) is not None)
        if customer:
            self._pending_item(customer, self._dice.randrange(500, 5_000))

    def _pending_item(self, customer: Object, cents: int) -> Object:
        made = shape.invoice_item(
            id=self._id("ii"),
            amount=round(cents / TO_BRL[customer["currency"]]),
            currency=customer["currency"],
            customer=customer["id"],
            date=self.now,
            description="Horas extras de suporte",
            livemode=True,
            period={"start": self.now, "end": self.now},
        )
        return self._add(made, "invoiceitem.created")

    def _take_pending(self, customer: Object, invoice: Object) -> list[Object]:
        """The customer's pending items as lines; that they now belong to an invoice makes no event of theirs."""
        lines = []
        for item in self.objects["invoiceitem"].values():
            if item["customer"] == customer["id"] and item["invoice"] is None:
                item["invoice"] = invoice["id"]
                lines.append(self._line_of_item(item, invoice))
        return lines

    def _line_of_item(self, item: Object, invoice: Object) -> Object:
        return shape.line_item(
            id=self._id("il"),
            amount=item["amount"],
            currency=item["currency"],
            description=item["description"],
            discounts=list(item["discounts"]),
            invoice=invoice["id"],
            livemode=True,
            parent={
                "invoice_item_details": {
                    "invoice_item": item["id"],
                    "proration": False,
                    "proration_details": None,
                    "subscription": None,
                },
                "subscription_item_details": None,
                "type": "invoice_item_details",
            },
            period=item["period"],
        )

    # Discounts

    def _discounts_of(self, customer: Object, subscription: Object | None) -> list[str]:
        if subscription and subscription["discounts"]:
            return list(subscription["discounts"])
        return [customer["discount"]["id"]] if customer["discount"] else []

    def _new_discount(self, **of: Any) -> Object | None:
        coupon = self._some("coupon", lambda c: not c.get("_brief"))
        if coupon is None:
            return None
        made = shape.discount(
            id=self._id("di"), start=self.now, end=self.now + 90 * DAY, source={"coupon": coupon["id"], "type": "coupon"}, **of
        )
        self.discounts[made["id"]] = {**made, "_coupon": coupon}
        self._change(coupon, "coupon.updated", times_redeemed=coupon["times_redeemed"] + 1)
        self._event("customer.discount.created", made)
        return made

    def _end_discount(self, id_: str) -> None:
        self.discounts[id_]["_ended"] = self.now
        self._event("customer.discount.deleted", self.discounts[id_])

    def _subscription_of(self, customer: Object) -> Object | None:
        for subscription in self.objects["subscription"].values():
            if subscription["customer"] == customer["id"] and subscription["status"] == "active":
                return subscription
        return None

    # Chores

    def _change_product(self) -> None:
        if thing := self._some("product"):
            self._change(thing, "product.updated", description=f"Revisão {self._next('revision')}", updated=self.now)
        if price := self._some("price", lambda p: p["nickname"] is None):
            self._change(price, "price.updated", nickname=f"lista {self._next('list')}")
        if code := self._some("promotion_code", lambda c: c["active"]):
            self._change(code, "promotion_code.updated", metadata={"campanha": f"{self._next('campaign')}"})

    def _change_customer(self) -> None:
        if customer := self._some("customer"):
            self._change(customer, "customer.updated", description=f"Revisto em {self.now}")

    def _delete_a_customer(self) -> None:
        customer = self._some("customer", lambda c: self._subscription_of(c) is None and c["discount"] is None)
        if customer and len(self.objects["customer"]) > 5 and not self._pending_of(customer) and not self._drafts_of(customer):
            self._delete("customer", customer["id"], "customer.deleted")

    def _pending_of(self, customer: Object) -> list[Object]:
        items = self.objects["invoiceitem"].values()
        return [item for item in items if item["customer"] == customer["id"] and item["invoice"] is None]

    def _drafts_of(self, customer: Object) -> list[Object]:
        invoices = self.objects["invoice"].values()
        return [invoice for invoice in invoices if invoice["customer"] == customer["id"] and invoice["status"] == "draft"]

    def _come_and_go(self) -> None:
        """A product, a price and a coupon that are made, and an older one of each that nobody ever used and that goes."""
        thing = self._new_product(f"Experimento {self._next('experiment')}")
        price = self._new_price(thing, "brl", 100, None)
        coupon = self._new_coupon()
        coupon["_brief"] = True
        self._at(self.now + DAY + HOUR, lambda: self._go(thing, price, coupon))

    def _go(self, thing: Object, price: Object, coupon: Object) -> None:
        self._delete("price", price["id"], "price.deleted")
        self._delete("product", thing["id"], "product.deleted")
        self._delete("coupon", coupon["id"], "coupon.deleted")

    def _edit_pending_item(self) -> None:
        """Stripe sends no event for this."""
        if item := self._some("invoiceitem", lambda i: i["invoice"] is None):
            self._change(item, None, amount=item["amount"] + 1, net_amount=item["amount"] + 1)

    def _delete_a_pending_item(self) -> None:
        if item := self._some("invoiceitem", lambda i: i["invoice"] is None):
            self._delete("invoiceitem", item["id"], "invoiceitem.deleted")

    def _refund_a_charge(self) -> None:
        self._refund(slowly=False)

    def _refund_slowly(self) -> None:
        self._refund(slowly=True)

    def _refund(self, *, slowly: bool) -> None:
        charge = self._some("charge", lambda c: c["paid"] and not c["amount_refunded"] and not c["disputed"])
        if charge:
            self._give_back(charge, charge["amount"] if slowly else (charge["amount"] + 1) // 2, slowly=slowly)

    def _give_back(self, charge: Object, amount: int, *, slowly: bool) -> Object:
        made = shape.refund(
            id=self._id("re"),
            amount=amount,
            charge=charge["id"],
            created=self.now,
            currency=charge["currency"],
            customer=charge["customer"],
            destination_details={"card": {"type": "refund"}, "type": "card"},
            payment_intent=charge["payment_intent"],
            reason="requested_by_customer",
            status="pending" if slowly else "succeeded",
        )
        movement = self._move(-amount, charge["currency"], "refund", made["id"], [], 0, description="REFUND FOR CHARGE")
        made["balance_transaction"] = movement["id"]
        self._add(made, "refund.created")
        refunded = charge["amount_refunded"] + amount
        self._change(charge, "charge.refunded", amount_refunded=refunded, refunded=refunded == charge["amount"])
        if slowly:
            self._at(self.now + DAY // 2, lambda: self._refund_done(made))
        return made

    def _refund_done(self, refund: Object) -> None:
        self._change(refund, "refund.updated", status="succeeded")
        self._event("charge.refund.updated", refund, {"status": "pending"})

    def _dispute_a_charge(self) -> None:
        charge = self._some("charge", lambda c: c["paid"] and not c["amount_refunded"] and not c["disputed"])
        if charge is None:
            return
        made = shape.dispute(
            id=self._id("dp"),
            amount=charge["amount"],
            charge=charge["id"],
            created=self.now,
            currency=charge["currency"],
            evidence_details={
                "due_by": self.now + 9 * DAY,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
                "submission_method": "not_submitted",
            },
            livemode=True,
            payment_intent=charge["payment_intent"],
            reason="fraudulent",
            status="needs_response",
        )
        fees = [shape.fee(5_500, "brl", "stripe_fee", "Dispute fee")]
        movement = self._move(
            -charge["amount"], charge["currency"], "adjustment", made["id"], fees, 0, description="Chargeback withdrawal"
        )
        made["balance_transactions"] = [movement]
        self._add(made, "charge.dispute.created")
        self._event("charge.dispute.funds_withdrawn", made)
        self._change(charge, "charge.updated", disputed=True)
        self._at(self.now + 2 * DAY, lambda: self._close_dispute(made))

    def _close_dispute(self, dispute: Object) -> None:
        if self._dice.random() < 0.5:
            movement = self._move(
                dispute["amount"], dispute["currency"], "adjustment", dispute["id"], [], 0, description="Reversal"
            )
            dispute["balance_transactions"] = [*dispute["balance_transactions"], movement]
            self._change(dispute, "charge.dispute.funds_reinstated", status="won")
        else:
            dispute["status"] = "lost"
        self._event("charge.dispute.closed", dispute)

    def _big_invoice(self) -> None:
        """A one-off invoice with more lines than fit into it, a draft for a day."""
        customer = self._some("customer")
        if customer is None:
            return
        items = [self._pending_item(customer, self._dice.randrange(500, 9_000)) for _ in range(self._dice.randrange(12, 16))]
        # One of them becomes a line that is not inside the invoice, but only in the list of its lines.
        for item in (items[0], items[-2]):
            if item_discount := self._new_discount(customer=customer["id"], invoice_item=item["id"]):
                item["discounts"] = [item_discount["id"]]
        invoice = self._new_invoice(customer, customer["currency"], "manual", None)
        if coupon_discount := self._new_discount(customer=customer["id"], invoice=invoice["id"]):
            invoice["discounts"] = [coupon_discount["id"]]
        self._set_lines(invoice, self._take_pending(customer, invoice))
        self._event("invoice.created", invoice)
        self._at(self.now + DAY, lambda: self._finalize(invoice))

    def _drop_a_line(self) -> None:
        """A line leaves a draft, and its item with it."""
        draft = self._some(
            "invoice", lambda i: i["status"] == "draft" and len(i["_lines"]) > 1 and i["billing_reason"] == "manual"
        )
        if draft:
            item = draft["_lines"][-1]["parent"]["invoice_item_details"]["invoice_item"]
            self._delete("invoiceitem", item, "invoiceitem.deleted")
            self._set_lines(draft, draft["_lines"][:-1], "invoice.updated")

    def _delete_a_draft(self) -> None:
        customer = self._some("customer")
        if customer is None:
            return
        for _ in range(2):
            self._pending_item(customer, self._dice.randrange(500, 9_000))
        invoice = self._new_invoice(customer, customer["currency"], "manual", None)
        self._set_lines(invoice, self._take_pending(customer, invoice))
        self._event("invoice.created", invoice)
        self._at(self.now + DAY // 2, lambda: self._draft_goes(invoice))

    def _draft_goes(self, invoice: Object) -> None:
        for item in [i for i in self.objects["invoiceitem"].values() if i["invoice"] == invoice["id"]]:
            self._delete("invoiceitem", item["id"], "invoiceitem.deleted")
        self._delete("invoice", invoice["id"], "invoice.deleted")

    def _credit_an_invoice(self) -> None:
        invoice = self._some("invoice", lambda i: i["status"] == "paid" and not i["post_payment_credit_notes_amount"])
        if invoice is None:
            return
        payment = next(p for p in self.objects["invoice_payment"].values() if p["invoice"] == invoice["id"])
        charge = self.objects["charge"][self.objects["payment_intent"][payment["payment"]["payment_intent"]]["latest_charge"]]
        id_ = self._id("cn")
        lines = [
            shape.credit_note_line(
                id=self._id("cnli"),
                amount=line["amount"],
                description=line["description"],
                discount_amount=sum(d["amount"] for d in line["discount_amounts"]),
                discount_amounts=line["discount_amounts"],
                invoice_line_item=line["id"],
                livemode=True,
                quantity=line["quantity"],
                unit_amount=line["amount"] // line["quantity"],
                unit_amount_decimal=str(line["amount"] // line["quantity"]),
            )
            for line in invoice["_lines"]
        ]
        total = invoice["total"]
        possible = not charge["amount_refunded"] and not charge["disputed"]
        refund = self._give_back(charge, total, slowly=False) if possible else None
        made = shape.credit_note(
            id=id_,
            amount=total,
            created=self.now,
            currency=invoice["currency"],
            customer=invoice["customer"],
            discount_amount=sum(line["discount_amount"] for line in lines),
            discount_amounts=invoice["total_discount_amounts"],
            effective_at=self.now,
            invoice=invoice["id"],
            lines=shape.embedded(f"/v1/credit_notes/{id_}/lines", lines),
            livemode=True,
            memo="Cortesia",
            number=f"{invoice['number']}-CN-01",
            out_of_band_amount=0 if refund else total,
            pdf=f"https://pay.stripe.com/credit_notes/{id_}/pdf",
            post_payment_amount=total,
            refunds=[{"amount_refunded": total, "payment_record_refund": None, "refund": refund["id"], "type": "refund"}]
            if refund
            else [],
            subtotal=invoice["subtotal"],
            subtotal_excluding_tax=invoice["subtotal"],
            total=total,
            total_excluding_tax=total,
            type="post_payment",
        )
        made["_lines"] = lines
        self._add(made, "credit_note.created")
        self._change(invoice, "invoice.updated", post_payment_credit_notes_amount=total)

    def _void_a_credit_note(self) -> None:
        if note := self._some("credit_note", lambda n: n["status"] == "issued" and not n["refunds"]):
            self._change(note, "credit_note.voided", status="void", voided_at=self.now)
        elif note := self._some("credit_note"):
            self._change(note, "credit_note.updated", memo=f"Revista em {self.now}")

    def _cancel_a_subscription(self) -> None:
        subscription = self._some("subscription", lambda s: s["status"] == "active" and s["created"] < self.now - 20 * DAY)
        if subscription:
            details = {
                "comment": "Já não preciso",
                "feedback": "unused",
                "feedback_option": None,
                "reason": "cancellation_requested",
            }
            self._change(
                subscription,
                "customer.subscription.deleted",
                status="canceled",
                canceled_at=self.now,
                ended_at=self.now,
                cancellation_details=details,
            )

    def _change_items(self) -> None:
        """A subscription loses its last item and gains another."""
        subscription = self._some("subscription", lambda s: s["status"] == "active" and len(s["_items"]) > 1)
        if subscription:
            items = subscription["_items"]
            price = self.objects["price"][items[0]["price"]["id"]]
            self._set_items(
                subscription, [*items[:-1], self._new_item(subscription["id"], price)], "customer.subscription.updated"
            )

    def _discount_a_customer(self) -> None:
        customer = self._some("customer", lambda c: c["discount"] is None)
        if customer and (made := self._new_discount(customer=customer["id"])):
            self._change(customer, "customer.updated", discount=made)

    def _discount_a_subscription(self) -> None:
        subscription = self._some("subscription", lambda s: s["status"] == "active" and not s["discounts"])
        if subscription and (made := self._new_discount(customer=subscription["customer"], subscription=subscription["id"])):
            self._change(subscription, "customer.subscription.updated", discounts=[made["id"]])

    def _end_a_discount(self) -> None:
        """One on a customer and one on a subscription that have run for a day."""
        running = {id_ for id_, d in self.discounts.items() if "_ended" not in d and d["start"] < self.now - DAY}
        if customer := self._some("customer", lambda c: c["discount"] is not None and c["discount"]["id"] in running):
            self._end_discount(customer["discount"]["id"])
            self._change(customer, "customer.updated", discount=None)
        if subscription := self._some(
            "subscription", lambda s: s["status"] == "active" and not running.isdisjoint(s["discounts"])
        ):
            self._end_discount(subscription["discounts"][0])
            self._change(subscription, "customer.subscription.updated", discounts=[])

    # Payouts

    def _automatic_payout(self) -> None:
        ready = [id_ for id_ in self._unsettled if self.objects["balance_transaction"][id_]["available_on"] <= self.now]
        amount = sum(self.objects["balance_transaction"][id_]["net"] for id_ in ready)
        if amount > 0:
            payout = self._new_payout(amount, automatic=True)
            self.settled[payout["id"]] = [*ready, payout["balance_transaction"]]
            self._unsettled = [id_ for id_ in self._unsettled if id_ not in set(self.settled[payout["id"]])]

    def _instant_payout(self) -> None:
        self._new_payout(1_000 + self._dice.randrange(500), automatic=False)

    def _new_payout(self, amount: int, *, automatic: bool) -> Object:
        made = shape.payout(
            id=self._id("po"),
            amount=amount,
            arrival_date=self.now // DAY * DAY + DAY,
            automatic=automatic,
            created=self.now,
            currency="brl",
            description="STRIPE PAYOUT",
            destination=f"ba_{self.account_id[5:]}",
            livemode=True,
            method="standard" if automatic else "instant",
            reconciliation_status="in_progress" if automatic else "not_applicable",
        )
        movement = self._move(-amount, "brl", "payout", made["id"], [], 0, description="STRIPE PAYOUT")
        made["balance_transaction"] = movement["id"]
        self._add(made, "payout.created")
        self._at(self.now + DAY // 2, lambda: self._change(made, "payout.updated", status="in_transit"))
        self._at(self.now + DAY, lambda: self._payout_arrives(made))
        return made

    def _payout_arrives(self, payout: Object) -> None:
        trace = {"status": "supported", "value": f"E{payout['id'][5:]}"}
        self._change(payout, "payout.paid", status="paid", trace_id=trace)
        if payout["automatic"]:
            self._change(payout, "payout.reconciliation_completed", reconciliation_status="completed")


def created(made: Object) -> int:
    """When an object came to be; invoice items call it `date`, and some kinds do not tell (0)."""
    time: int = made["date"] if made["object"] == "invoiceitem" else made.get("created", 0)
    return time


def _check_digit(digits: Iterable[int], weights: Iterable[int]) -> int:
    rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return 0 if rest < 2 else 11 - rest


def cpf(number: int) -> str:
    """A Brazilian person's tax number with right check digits.

    >>> cpf(111444777)
    '111.444.777-35'
    """
    digits = [int(digit) for digit in f"{number:09d}"]
    digits.append(_check_digit(digits, range(10, 1, -1)))
    digits.append(_check_digit(digits, range(11, 1, -1)))
    text = "".join(map(str, digits))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def cnpj(number: int) -> str:
    """A Brazilian company's tax number with right check digits.

    >>> cnpj(11222333)
    '11.222.333/0001-81'
    """
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    digits = [int(digit) for digit in f"{number:08d}0001"]
    digits.append(_check_digit(digits, weights[1:]))
    digits.append(_check_digit(digits, weights))
    text = "".join(map(str, digits))
    return f"{text[:2]}.{text[2:5]}.{text[5:8]}/{text[8:12]}-{text[12:]}"
