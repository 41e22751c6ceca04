"""The company beyond its core business: sales on the web, Connect, Issuing, risk, files. How it is shown lives in `stripe`.

It opens these departments 40 days before the start, further back than the kept events reach; from the start on each of them
does something every day. Their dice are their own, so that they hardly touch the core business.
"""

from __future__ import annotations

import random

from datalake.sandbox import stripe_objects as shape
from datalake.sandbox.stripe_business import DAY, HOUR, TO_BRL, cnpj
from datalake.sandbox.stripe_catalogue import Catalogue
from datalake.sandbox.stripe_more_objects import make, money, record_amounts, schedule_item, schedule_phase
from datalake.sandbox.stripe_objects import Object

OPENED = 40 * DAY
"""Seconds before the start at which the departments opened."""

DEPARTMENTS = {
    0: "_watch_risk",
    3: "_use_services",
    4: "_keep_catalogue",
    5: "_serve_customers",
    20: "_sell_on_the_web",
    21: "_run_platform",
    22: "_issue_cards",
    23: "_keep_books",
}
"""Hour of the day -> which department has its turn."""


class Company(Catalogue):
    """All departments, and when each has its turn."""

    def _plan_hour(self, hour: int) -> None:
        super()._plan_hour(hour)
        opening = (self.started - OPENED) // HOUR * HOUR
        if hour == opening:
            self._at(hour + 60, self._open)
        department = DEPARTMENTS.get(hour // HOUR % 24)
        if department and (hour >= self.started or (hour > opening and department == "_use_services")):
            self._at(hour + 600, lambda: self._turn(department))

    def _turn(self, department: str) -> None:
        self._luck = random.Random(f"{self.seed}:{department}:{self.now}")
        getattr(self, department)()

    def _open(self) -> None:
        """Founds what every department starts with, a customer after the other."""
        self._found_catalogue()
        customers = list(self.objects["customer"].values())[: max(3, round(8 * self.scale))]
        for number, customer in enumerate(customers):
            self._at(self.now + 600 + 1800 * number, self._for(self._found_customer, customer))
            self._at(self.now + 1200 + 1800 * number, self._found_account)

    # Customers

    def _found_customer(self, customer: Object) -> None:
        if customer["id"] not in self.objects["customer"]:
            return
        self._luck = random.Random(f"{self.seed}:{customer['id']}")
        for _ in range(2):
            self._save_card(customer)
        self._put_sources(customer)
        self._put_sources(customer)
        self._change_balance(customer, -1_000)
        self._fund(customer, 5_000)
        for feature in list(self.objects["entitlements.feature"].values())[:2]:
            self._entitle(customer, feature)
        self._grant_credit(customer)
        self._set_up(customer, "succeeded")
        self._schedule(customer)
        self._new_quote(customer)
        self._new_payment_link()
        self._close_session(self._new_session(customer))
        self._record_payment(customer)
        self._new_file("dispute_evidence", "pdf")
        self._report(self._order_report())
        self._found_issuing(customer)
        self._top_up()
        charge = self._pick("charge", lambda c: c["paid"])
        if charge:
            self._warn(charge)
            self._review(charge)

    def _serve_customers(self) -> None:
        for customer in self._some_customers(2):
            self._save_card(customer)
            self._put_sources(customer)
            self._take("customer_cards", customer["id"], "customer.source.deleted")
            self._take("customer_bank_accounts", customer["id"], "customer.source.deleted")
            self._change_balance(customer, self._luck.randrange(-900, 900))
            self._fund(customer, self._luck.randrange(100, 9_000))
            self._change_entitlements(customer)
            self._grant_credit(customer)
            self._set_up(customer, "requires_payment_method")
            self._change_tax_ids(customer)
            self._schedule(customer)
            if subscription := self._subscription_of(customer):
                self._discount_an_item(subscription)
        for owner, cards in list(self.parts["customer_cards"].items()):
            if owner in self.objects["customer"]:
                cards[-1]["exp_year"] += 1
                self._event("customer.source.updated", cards[-1])
                break
        for banks in list(self.parts["customer_bank_accounts"].values())[:2]:
            if banks[-1]["status"] == "new" and banks[-1]["customer"] in self.objects["customer"]:
                banks[-1]["status"] = "verified"
                self._event("customer.source.updated", banks[-1])
        if method := self._pick("payment_method", lambda m: m["customer"] is not None):
            self._change(method, "payment_method.detached", customer=None)
        if method := self._pick("payment_method", lambda m: m["customer"] is not None):
            self._change(method, "payment_method.updated", metadata={"apelido": "principal"})
        if grant := self._pick("billing.credit_grant", lambda g: g["voided_at"] is None):
            self._spend_credit(grant)
        if grant := self._pick("billing.credit_grant", lambda g: g["voided_at"] is None):
            self._change(grant, "billing.credit_grant.updated", voided_at=self.now, updated=self.now)
        if intent := self._pick("setup_intent", lambda i: i["status"] == "requires_payment_method"):
            self._attempt(intent, "succeeded")
            self._change(intent, "setup_intent.succeeded", status="succeeded")

    def _some_customers(self, count: int) -> list[Object]:
        customers = list(self.objects["customer"].values())
        return self._luck.sample(customers, min(count, len(customers)))

    def _save_card(self, customer: Object) -> Object:
        last4 = f"{self._luck.randrange(10_000):04d}"
        card = shape.card(brand="visa", last4=last4, country="BR", amount=0)["card"]
        keep = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "regulated_status")
        kept = {name: card[name] for name in (*keep, "wallet")} | {
            "display_brand": "visa",
            "generated_from": None,
            "networks": {"available": ["visa"], "preferred": None},
            "three_d_secure_usage": {"supported": True},
        }
        billing = {name: customer[name] for name in ("address", "email", "name", "phone")} | {"tax_id": None}
        known = {"billing_details": billing, "card": kept, "customer": customer["id"], "type": "card"}
        return self._make("payment_method", "pm", "payment_method.attached", **known)

    def _put_sources(self, customer: Object) -> None:
        last4 = f"{self._luck.randrange(10_000):04d}"
        known = {"customer": customer["id"], "fingerprint": f"Fp{last4}", "last4": last4}
        self._put("customer_cards", customer["id"], make("card", id=self._id("card"), **known), "customer.source.created")
        bank = make("bank_account", id=self._id("ba"), **known)
        self._put("customer_bank_accounts", customer["id"], bank, "customer.source.created")

    def _change_balance(self, customer: Object, amount: int) -> None:
        balance = customer["balance"] + amount
        made = make(
            "customer_balance_transaction",
            id=self._id("cbtxn"),
            amount=amount,
            created=self.now,
            currency=customer["currency"],
            customer=customer["id"],
            description="Crédito de cortesia",
            ending_balance=balance,
        )
        self._put("customer_balance_transactions", customer["id"], made)
        self._change(customer, "customer.updated", balance=balance)

    def _fund(self, customer: Object, amount: int) -> None:
        rows = self.parts["customer_cash_balance_transactions"][customer["id"]]
        sender = {"bic": None, "iban_last4": "1234", "sender_name": "Z"}
        transfer = {"eu_bank_transfer": sender, "reference": "REF-1", "type": "eu_bank_transfer"}
        made = make(
            "customer_cash_balance_transaction",
            id=self._id("ccsbtxn"),
            created=self.now,
            currency="eur",
            customer=customer["id"],
            ending_balance=amount + (rows[-1]["ending_balance"] if rows else 0),
            funded={"bank_transfer": transfer},
            net_amount=amount,
        )
        self._put("customer_cash_balance_transactions", customer["id"], made, "customer_cash_balance_transaction.created")

    def _entitle(self, customer: Object, feature: Object) -> None:
        made = make(
            "entitlements.active_entitlement",
            id=self._id("ent"),
            feature=feature["id"],
            lookup_key=feature["lookup_key"],
        )
        self._put("active_entitlements", customer["id"], made)

    def _change_entitlements(self, customer: Object) -> None:
        """One entitlement comes, the oldest goes; only a summary of the customer's tells."""
        have = {row["feature"] for row in self.parts["active_entitlements"][customer["id"]]}
        if feature := self._pick("entitlements.feature", lambda f: f["id"] not in have):
            self._entitle(customer, feature)
        self._take("active_entitlements", customer["id"])
        rows = self.parts["active_entitlements"][customer["id"]]
        entitlements = shape.embedded(f"/v1/customer/{customer['id']}/entitlements", rows)
        summary = make("entitlements.active_entitlement_summary", customer=customer["id"], entitlements=entitlements)
        self._event("entitlements.active_entitlement_summary.updated", summary)

    def _change_tax_ids(self, customer: Object) -> None:
        """A tax id is given, and an older one beside it withdrawn. `customer.updated` is not sent for that."""
        id_ = customer["id"]
        made = shape.tax_id(
            id=self._id("txi"),
            country="BR",
            created=self.now,
            customer=id_,
            livemode=True,
            owner={"customer": id_, "customer_account": None, "type": "customer"},
            type="br_cnpj",
            value=cnpj(self._next("tax_id")),
        )
        old = customer["tax_ids"]["data"]
        customer["tax_ids"] = shape.embedded(f"/v1/customers/{id_}/tax_ids", [made, *old[:1]])
        self._event("customer.tax_id.created", made)
        for gone in old[1:]:
            self.lost["tax_ids"].append((id_, gone))
            self._event("customer.tax_id.deleted", gone)

    def _discount_an_item(self, subscription: Object) -> None:
        """A discount on a single item of a subscription."""
        item = subscription["_items"][0]
        if item["discounts"]:
            return
        of = {"subscription": subscription["id"], "subscription_item": item["id"]}
        if made := self._new_discount(customer=subscription["customer"], **of):
            items = [{**item, "discounts": [made["id"]]}, *subscription["_items"][1:]]
            self._set_items(subscription, items, "customer.subscription.updated")

    def _grant_credit(self, customer: Object) -> None:
        amount = {"monetary": money(10_000, "brl"), "type": "monetary"}
        known = {"customer": customer["id"], "effective_at": self.now, "updated": self.now}
        grant = self._make("billing.credit_grant", "credgr", "billing.credit_grant.created", amount=amount, **known)
        credit = {"amount": amount, "credits_application_invoice_voided": None, "type": "credits_granted"}
        self._move_credit(grant, "credit", credit)

    def _spend_credit(self, grant: Object) -> None:
        amount = {"monetary": money(self._luck.randrange(1, 900), "brl"), "type": "monetary"}
        self._move_credit(grant, "debit", {"amount": amount, "credits_applied": None, "type": "credits_applied"})

    def _move_credit(self, grant: Object, type_: str, details: Object) -> None:
        known = {"credit_grant": grant["id"], "effective_at": self.now, "type": type_, type_: details}
        event = "billing.credit_balance_transaction.created"
        self._make("billing.credit_balance_transaction", "cbtxn", event, **known)

    def _set_up(self, customer: Object, status: str) -> None:
        id_ = self._id("seti")
        method = self._pick("payment_method", lambda m: m["customer"] == customer["id"])
        made = make(
            "setup_intent",
            id=id_,
            client_secret=f"{id_}_secret_{self._luck.randrange(10**9)}",
            created=self.now,
            customer=customer["id"],
            latest_attempt=None,
            payment_method=method["id"] if method else None,
            status=status,
        )
        self._add(made, "setup_intent.created")
        self._attempt(made, "succeeded" if status == "succeeded" else "requires_action")

    def _attempt(self, intent: Object, status: str) -> None:
        known = {"customer": intent["customer"], "payment_method": intent["payment_method"] or self._id("pm")}
        made = self._make("setup_attempt", "setatt", None, setup_intent=intent["id"], status=status, **known)
        self._change(intent, "setup_intent.requires_action" if status != "succeeded" else None, latest_attempt=made["id"])

    def _schedule(self, customer: Object) -> None:
        """A subscription that will begin later; the schedules made before it go on to their next phases."""
        prices = [p["id"] for p in self.objects["price"].values() if p["recurring"] and p["currency"] == customer["currency"]]
        phases = [
            schedule_phase(
                currency=customer["currency"],
                end_date=self.now + (number + 2) * 30 * DAY,
                items=[schedule_item(prices[number % len(prices)], number + 1)],
                start_date=self.now + (number + 1) * 30 * DAY,
            )
            for number in range(2)
        ]
        for made in self.objects["subscription_schedule"].values():
            if made["customer"] == customer["id"] and len(made["phases"]) > 1:
                self._change(made, "subscription_schedule.updated", phases=made["phases"][:1])
            elif made["customer"] == customer["id"] and made["status"] == "not_started":
                self._change(made, "subscription_schedule.canceled", status="canceled", canceled_at=self.now)
        event = "subscription_schedule.created"
        self._make("subscription_schedule", "sub_sched", event, customer=customer["id"], phases=phases)

    # Sales on the web

    def _sell_on_the_web(self) -> None:
        for customer in self._some_customers(3):
            self._new_quote(customer)
            self._new_session(customer)
            self._record_payment(customer)
        for session in [s for s in self.objects["checkout.session"].values() if s["status"] == "open"][:2]:
            self._close_session(session)
        self._new_payment_link()
        if link := self._pick("payment_link", lambda p: p["active"]):
            self._put("payment_link_line_items", link["id"], self._new_line("brl", "Brinde", 100))
            self._take("payment_link_line_items", link["id"])
            self._change(link, "payment_link.updated", metadata={"versao": f"{self._next('link')}"})
        if link := self._pick("payment_link", lambda p: p["active"]):
            self._change(link, "payment_link.updated", active=False)
        for quote, (status, event) in zip(
            [q for q in self.objects["quote"].values() if q["status"] in ("draft", "open")],
            (("open", "quote.finalized"), ("accepted", "quote.accepted"), ("canceled", "quote.canceled")),
            strict=False,
        ):
            reached = {"open": "finalized_at", "accepted": "accepted_at", "canceled": "canceled_at"}[status]
            transitions = {**quote["status_transitions"], reached: self.now}
            self._change(quote, event, status=status, status_transitions=transitions, number=f"QT-{quote['id'][-6:]}-1")
        if draft := self._pick("quote", lambda q: q["status"] == "draft"):
            self._change(draft, None, description=f"Revisão {self._next('draft')}")  # Stripe sends no event for this
        if record := self._pick("payment_record"):
            value = record["amount"]["value"]
            self._try_record(record)
            self._change(record, None, amount_refunded=money(value, record["amount"]["currency"]))

    def _new_line(self, currency: str, description: str, amount: int) -> Object:
        price = self._pick("price", lambda p: p["currency"] == currency and p["unit_amount"] is not None)
        shown = {name: value for name, value in price.items() if name not in ("tiers", "currency_options")} if price else None
        return make(
            "item",
            id=self._id("li"),
            amount_subtotal=amount,
            amount_total=amount,
            currency=currency,
            description=description,
            price=shown,
            quantity=1,
        )

    def _new_quote(self, customer: Object) -> Object:
        currency = customer["currency"]
        lines = [self._new_line(currency, f"Item {number}", 1_000 * (number + 1)) for number in range(2)]
        total = sum(line["amount_total"] for line in lines)
        upfront = {
            "amount_subtotal": total,
            "amount_total": total,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        }
        made = self._make(
            "quote",
            "qt",
            "quote.created",
            amount_subtotal=total,
            amount_total=total,
            computed={"recurring": None, "upfront": upfront},
            currency=currency,
            customer=customer["id"],
            expires_at=self.now + 30 * DAY,
        )
        self.parts["quote_line_items"][made["id"]] = lines
        return made

    def _new_payment_link(self) -> Object:
        id_ = self._id("plink")
        made = make("payment_link", id=id_, currency="brl", url=f"https://buy.stripe.com/{id_[6:]}")
        self.parts["payment_link_line_items"][id_] = [
            self._new_line("brl", "Curso", 9_900),
            self._new_line("brl", "Livro", 100),
        ]
        return self._add(made, "payment_link.created")

    def _new_session(self, customer: Object) -> Object:
        """A checkout that somebody opens. No event tells of it until it ends."""
        id_ = self._id("cs_live")
        lines = [self._new_line(customer["currency"], "Carrinho", 5_000) for _ in range(self._luck.choice((1, 12)))]
        total = sum(line["amount_total"] for line in lines)
        self.parts["checkout_session_line_items"][id_] = lines
        return self._add(
            make(
                "checkout.session",
                id=id_,
                amount_subtotal=total,
                amount_total=total,
                created=self.now,
                currency=customer["currency"],
                customer=customer["id"],
                expires_at=self.now + DAY,
                url=f"https://checkout.stripe.com/c/pay/{id_}",
            )
        )

    def _close_session(self, session: Object) -> None:
        if self._luck.random() < 0.6:
            known = {"status": "complete", "payment_status": "paid", "url": None}
            self._change(session, "checkout.session.completed", **known)
        else:
            self._change(session, "checkout.session.expired", status="expired", url=None)

    def _record_payment(self, customer: Object) -> None:
        """A payment that another processor took."""
        known = {name: customer[name] for name in ("email", "name", "phone")} | {"customer": customer["id"]}
        amounts = record_amounts(self._luck.randrange(1_000, 90_000), customer["currency"])
        made = self._make("payment_record", "prec", None, customer_details=known, latest_payment_attempt_record=None, **amounts)
        self._try_record(made)

    def _try_record(self, record: Object) -> None:
        currency = record["amount"]["currency"]
        amounts = record_amounts(record["amount"]["value"], currency) | {"amount_guaranteed": record["amount"]}
        known = {"customer_details": record["customer_details"], "payment_record": record["id"]}
        made = self._make("payment_attempt_record", "par", None, **known, **amounts)
        self._change(record, None, latest_payment_attempt_record=made["id"], amount_guaranteed=record["amount"])

    # Connect

    def _found_account(self) -> None:
        id_ = self._id("acct")
        name = f"Parceiro {self._next('partner')}"
        made = shape.account(id=id_, created=self.now, email=f"{name.lower().replace(' ', '.')}@example.com")
        self._add({**made, "business_profile": {**made["business_profile"], "name": name}})
        for capability in ("card_payments", "transfers"):
            row = make("capability", id=capability, account=id_, requested_at=self.now)
            self._put("capabilities", id_, row)
        for first in ("Ana", "Zé"):
            person = make("person", id=self._id("person"), account=id_, created=self.now, first_name=first, last_name="Silva")
            person |= {"dob": {"day": 7, "month": 9, "year": 1980}, "phone": f"+55119{self._next('phone'):08d}"}
            person["relationship"] = {
                **dict.fromkeys(("authorizer", "director", "executive", "legal_guardian", "owner"), False),
                "percent_ownership": 50.5,
                "representative": first == "Ana",
                "title": None,
            }
            self._put("persons", id_, person)
        for _ in range(2):
            self._put_external(id_)
        if charge := self._pick("charge", lambda c: c["paid"]):
            self._take_fee(charge, id_)
        self._transfer(id_)

    def _put_external(self, account: str) -> None:
        last4 = f"{self._next('external'):04d}"
        known = {"account": account, "available_payout_methods": ["standard"], "default_for_currency": False}
        bank = make("bank_account", id=self._id("ba"), last4=last4, fingerprint=f"Fp{last4}", **known)
        self._put("external_account_bank_accounts", account, bank)
        card = make("card", id=self._id("card"), last4=last4, fingerprint=f"Fp{last4}", currency="brl", **known)
        self._put("external_account_cards", account, {**card, "funding": "debit"})

    def _run_platform(self) -> None:
        """The platform's own feed tells nothing about what happens inside connected accounts."""
        self._found_account()
        account = self._pick("account")
        if account:
            id_ = account["id"]
            settings = {**account["settings"], "dashboard": {**account["settings"]["dashboard"], "display_name": "Novo nome"}}
            self._change(account, None, settings=settings)
            self.parts["capabilities"][id_][0]["status"] = "pending"
            self.parts["persons"][id_][-1]["phone"] = f"+55119{self._next('phone'):08d}"
            self.parts["external_account_bank_accounts"][id_][-1]["status"] = "verified"
            self.parts["external_account_cards"][id_][-1]["exp_year"] += 1
            self._take("persons", id_)
            self._put_external(id_)
            self._take("external_account_bank_accounts", id_)
            self._take("external_account_cards", id_)
            self._transfer(id_)
        if len(self.objects["account"]) > 3:
            gone = next(iter(self.objects["account"]))
            self._delete("account", gone, None)
        if fee := self._pick("application_fee", lambda f: f["amount_refunded"] < f["amount"] - 10):
            self._refund_fee(fee)
        if transfer := self._pick("transfer", lambda t: not t["reversed"]):
            self._reverse(transfer)
        self._top_up()
        if pending := self._pick("topup", lambda t: t["status"] == "pending"):
            self._change(pending, "topup.succeeded", status="succeeded")

    def _take_fee(self, charge: Object, account: str) -> None:
        id_ = self._id("fee")
        made = make(
            "application_fee",
            id=id_,
            account=account,
            amount=500,
            charge=charge["id"],
            created=self.now,
            currency=charge["currency"],
            refunds=shape.embedded(f"/v1/application_fees/{id_}/refunds", []),
        )
        self._add(made, "application_fee.created")
        for _ in range(self._next("fee_story") % 3 * 6):
            self._refund_fee(made)

    def _refund_fee(self, fee: Object) -> None:
        known = {"amount": 10, "created": self.now, "currency": fee["currency"], "fee": fee["id"]}
        self._put("application_fee_refunds", fee["id"], make("fee_refund", id=self._id("fr"), **known))
        rows = self.parts["application_fee_refunds"][fee["id"]][::-1]
        refunds = shape.embedded(f"/v1/application_fees/{fee['id']}/refunds", rows)
        self._change(fee, "application_fee.refunded", amount_refunded=10 * len(rows), refunds=refunds)

    def _transfer(self, account: str) -> None:
        id_ = self._id("tr")
        made = make(
            "transfer",
            id=id_,
            amount=4_000,
            created=self.now,
            description="Repasse",
            destination=account,
            destination_payment=self._id("py"),
            reversals=shape.embedded(f"/v1/transfers/{id_}/reversals", []),
        )
        self._add(made, "transfer.created")
        for _ in range(self._next("transfer_story") % 3 * 6):
            self._reverse(made)

    def _reverse(self, transfer: Object) -> None:
        id_ = transfer["id"]
        known = {"amount": 100, "created": self.now, "transfer": id_}
        self._put("transfer_reversals", id_, make("transfer_reversal", id=self._id("trr"), **known))
        rows = self.parts["transfer_reversals"][id_][::-1]
        reversals = shape.embedded(f"/v1/transfers/{id_}/reversals", rows)
        total = 100 * len(rows)
        changes = {"amount_reversed": total, "reversals": reversals, "reversed": total == transfer["amount"]}
        self._change(transfer, "transfer.reversed", **changes)

    def _top_up(self) -> None:
        available = self.now // DAY * DAY + 2 * DAY
        known = {"amount": 50_000, "description": "Reserva", "expected_availability_date": available}
        self._make("topup", "tu", "topup.created", **known)

    # Issuing

    def _found_issuing(self, customer: Object) -> None:
        name = (customer["name"] or "Titular")[:24]
        known = {"email": customer["email"], "name": name, "phone_number": None}
        holder = self._make("issuing.cardholder", "ich", "issuing_cardholder.created", **known)
        card = self._new_card(holder)
        self._contest(self._capture(self._spend(card)))
        self._capture(self._spend(card))
        self._spend(card)

    def _new_card(self, holder: Object) -> Object:
        last4 = f"{self._luck.randrange(10_000):04d}"
        return self._make("issuing.card", "ic", "issuing_card.created", cardholder=dict(holder), last4=last4)

    def _issue_cards(self) -> None:
        for customer in self._some_customers(1):
            self._found_issuing(customer)
        if holder := self._pick("issuing.cardholder", lambda h: h["status"] == "active"):
            self._change(holder, "issuing_cardholder.updated", status="inactive")
        if card := self._pick("issuing.card", lambda c: c["status"] == "active"):
            self._spend(card)
        if card := self._pick("issuing.card", lambda c: c["status"] == "active"):
            self._change(card, "issuing_card.updated", status="canceled", cancellation_reason="lost")
        if authorization := self._pick("issuing.authorization", lambda a: a["status"] == "pending"):
            self._capture(authorization)
        if transaction := self._pick("issuing.transaction", lambda t: t["dispute"] is None):
            self._contest(transaction)
        if dispute := self._pick("issuing.dispute", lambda d: d["status"] == "unsubmitted"):
            self._change(dispute, "issuing_dispute.submitted", status="submitted")

    def _spend(self, card: Object) -> Object:
        amount = self._luck.randrange(500, 9_000)
        shown = {name: value for name, value in card.items() if not name.startswith("_")}
        known = {"amount": amount, "card": shown, "cardholder": card["cardholder"]["id"], "merchant_amount": amount}
        return self._make("issuing.authorization", "iauth", "issuing_authorization.created", **known)

    def _contest(self, transaction: Object) -> None:
        event = "issuing_dispute.created"
        made = self._make("issuing.dispute", "idp", event, amount=-transaction["amount"], transaction=transaction["id"])
        self._change(transaction, "issuing_transaction.updated", dispute=made["id"])

    def _capture(self, authorization: Object) -> Object:
        known = {"amount": -authorization["amount"], "merchant_amount": -authorization["amount"]}
        known |= {"authorization": authorization["id"], "card": authorization["card"]["id"]}
        known["cardholder"] = authorization["cardholder"]
        made = self._make("issuing.transaction", "ipi", "issuing_transaction.created", **known)
        self._change(authorization, "issuing_authorization.updated", status="closed")
        return made

    # Risk

    def _watch_risk(self) -> None:
        if charge := self._pick("charge", lambda c: c["paid"]):
            self._warn(charge)
            self._review(charge)
        if warning := self._pick("radar.early_fraud_warning", lambda w: w["actionable"]):
            self._change(warning, "radar.early_fraud_warning.updated", actionable=False)
        if review := self._pick("review", lambda r: r["open"]):
            self._change(review, "review.closed", open=False, closed_reason="approved", reason="approved")

    def _warn(self, charge: Object) -> None:
        known = {"charge": charge["id"], "payment_intent": charge["payment_intent"]}
        self._make("radar.early_fraud_warning", "issfr", "radar.early_fraud_warning.created", **known)

    def _review(self, charge: Object) -> None:
        known = {"charge": charge["id"], "payment_intent": charge["payment_intent"]}
        self._make("review", "prv", "review.opened", **known)

    # Files and reports

    def _keep_books(self) -> None:
        self._new_file("dispute_evidence", "pdf")
        run = self._order_report()
        self._at(self.now + 30 * HOUR, lambda: self._report(run))
        if link := self._pick("file_link", lambda each: not each["expired"]):
            self._change(link, None, metadata={"revisto": "sim"})

    def _order_report(self) -> Object:
        today = self.now // DAY * DAY
        parameters = {"interval_end": today, "interval_start": today - DAY}
        return self._make("reporting.report_run", "frr", None, parameters=parameters, report_type="balance.summary.1")

    def _report(self, run: Object) -> None:
        result = self._new_file("finance_report_run", "csv")
        done = {"status": "succeeded", "succeeded_at": self.now, "result": {n: v for n, v in result.items() if n != "links"}}
        self._change(run, "reporting.report_run.succeeded", **done)

    def _new_file(self, purpose: str, type_: str) -> Object:
        id_ = self._id("file")
        name = f"arquivo_{self._next('file_name')}.{type_}"
        url = f"https://files.stripe.com/v1/files/{id_}/contents"
        known = {"filename": name, "purpose": purpose, "size": 1_024, "type": type_, "url": url}
        made = make("file", id=id_, created=self.now, links=shape.listing(f"/v1/file_links?file={id_}", []), **known)
        self._add(made, "file.created")
        expires = self.now + (30 * HOUR if type_ == "csv" else 60 * DAY)
        link = self._make("file_link", "link", None, expires_at=expires, file=id_, url=f"https://files.stripe.com/links/{id_}")
        made["links"] = shape.listing(f"/v1/file_links?file={id_}", [link])
        self._at(expires, lambda: self._change(link, None, expired=True, url=None))
        return made

    # What is read as it is at the moment

    def own_account(self) -> Object:
        return shape.account(id=self.account_id, created=self.started - 500 * DAY)

    def balance(self) -> Object:
        movements = self.objects["balance_transaction"].values()
        sums = {"available": 0, "pending": 0}
        for movement in movements:
            sums["available" if movement["available_on"] <= self.now else "pending"] += movement["net"]
        shown = {
            name: [{"amount": amount, "currency": "brl", "source_types": {"card": amount}}] for name, amount in sums.items()
        }
        return make("balance", **shown)

    def exchange_rates(self) -> list[Object]:
        day = self.now // DAY
        drift = 1 + (day % 17) / 1_000
        return [
            make(
                "exchange_rate",
                id=base,
                rates={other: round(TO_BRL[base] / TO_BRL[other] * drift, 8) for other in TO_BRL if other != base},
            )
            for base in TO_BRL
        ]
