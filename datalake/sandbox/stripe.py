"""Stripe's API as a stand-in shows it: keys, lists, expands, errors, limits. The company behind it lives in `stripe_company`.

Keys: `rk_live_sandbox` and `rk_test_sandbox` (the same company, other `livemode`, lower limits). Tests may send to
`/_sandbox/control`: {"forbid": ["charge", …]} takes Read on these kinds of objects from the keys, {"off": ["dispute",
"issuing", …]} turns a kind or a whole product off (400), {"limits": {"operation": 25, "total": 100}} sets calls a second,
{"delete": ["customer", "cus_…"]} deletes an object at once, with its event.
"""

from __future__ import annotations

import bisect
import re
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox.base import Row, answer
from datalake.sandbox.stripe_business import EVENTS_KEPT, created
from datalake.sandbox.stripe_company import Company
from datalake.sandbox.stripe_ledger import Ledger, summaries
from datalake.sandbox.stripe_objects import Object, listing

NEWEST = "2026-10-28.endive"
DEFAULT_VERSION = "2024-06-20"
"""The version of the account, for calls that name none."""

KEYS = {"rk_live_sandbox": True, "rk_test_sandbox": False}

PATHS = {
    "accounts": "account",
    "application_fees": "application_fee",
    "balance_transactions": "balance_transaction",
    "billing/alerts": "billing.alert",
    "billing/credit_balance_transactions": "billing.credit_balance_transaction",
    "billing/credit_grants": "billing.credit_grant",
    "billing/meters": "billing.meter",
    "billing_portal/configurations": "billing_portal.configuration",
    "charges": "charge",
    "checkout/sessions": "checkout.session",
    "coupons": "coupon",
    "credit_notes": "credit_note",
    "customers": "customer",
    "disputes": "dispute",
    "entitlements/features": "entitlements.feature",
    "events": "event",
    "file_links": "file_link",
    "files": "file",
    "invoice_payments": "invoice_payment",
    "invoice_rendering_templates": "invoice_rendering_template",
    "invoiceitems": "invoiceitem",
    "invoices": "invoice",
    "issuing/authorizations": "issuing.authorization",
    "issuing/cardholders": "issuing.cardholder",
    "issuing/cards": "issuing.card",
    "issuing/disputes": "issuing.dispute",
    "issuing/transactions": "issuing.transaction",
    "payment_attempt_records": "payment_attempt_record",
    "payment_intents": "payment_intent",
    "payment_links": "payment_link",
    "payment_methods": "payment_method",
    "payment_records": "payment_record",
    "payouts": "payout",
    "plans": "plan",
    "prices": "price",
    "products": "product",
    "promotion_codes": "promotion_code",
    "quotes": "quote",
    "radar/early_fraud_warnings": "radar.early_fraud_warning",
    "radar/value_lists": "radar.value_list",
    "refunds": "refund",
    "reporting/report_runs": "reporting.report_run",
    "reporting/report_types": "reporting.report_type",
    "reviews": "review",
    "setup_attempts": "setup_attempt",
    "setup_intents": "setup_intent",
    "shipping_rates": "shipping_rate",
    "subscription_schedules": "subscription_schedule",
    "subscriptions": "subscription",
    "tax/registrations": "tax.registration",
    "tax_codes": "tax_code",
    "tax_rates": "tax_rate",
    "topups": "topup",
    "transfers": "transfer",
    "webhook_endpoints": "webhook_endpoint",
}
"""Path of a list -> kind of its objects."""

PARTS = {
    "accounts/{}/capabilities": "capabilities",
    "accounts/{}/persons": "persons",
    "application_fees/{}/refunds": "application_fee_refunds",
    "checkout/sessions/{}/line_items": "checkout_session_line_items",
    "customers/{}/balance_transactions": "customer_balance_transactions",
    "customers/{}/cash_balance_transactions": "customer_cash_balance_transactions",
    "payment_links/{}/line_items": "payment_link_line_items",
    "products/{}/features": "product_features",
    "quotes/{}/line_items": "quote_line_items",
    "transfers/{}/reversals": "transfer_reversals",
}
"""Path of a list inside an object -> table of its rows."""

SOURCES = {
    "accounts/{}/external_accounts": {"bank_account": "external_account_bank_accounts", "card": "external_account_cards"},
    "customers/{}/sources": {"bank_account": "customer_bank_accounts", "card": "customer_cards"},
}
"""The same for lists that hold two kinds of objects, told apart by the parameter `object`."""

FILTERS = {
    "application_fee": {"charge"},
    "balance_transaction": {"type", "currency", "payout", "source"},
    "billing.alert": {"alert_type", "meter"},
    "billing.credit_balance_transaction": {"credit_grant", "customer"},
    "billing.credit_grant": {"customer"},
    "billing.meter": {"status"},
    "billing_portal.configuration": {"active", "is_default"},
    "charge": {"customer", "payment_intent"},
    "checkout.session": {"customer", "payment_intent", "payment_link", "status", "subscription"},
    "credit_note": {"customer", "invoice"},
    "dispute": {"charge", "payment_intent"},
    "event": {"type", "types[]"},
    "file": {"purpose"},
    "file_link": {"expired", "file"},
    "invoice": {"customer", "status", "subscription", "collection_method"},
    "invoice_payment": {"invoice", "status"},
    "invoice_rendering_template": {"status"},
    "invoiceitem": {"customer", "invoice", "pending"},
    "issuing.authorization": {"status"},
    "issuing.card": {"status", "type"},
    "issuing.cardholder": {"status", "type"},
    "issuing.dispute": {"status", "transaction"},
    "issuing.transaction": {"type"},
    "payment_attempt_record": {"payment_record"},
    "payment_intent": {"customer"},
    "payment_link": {"active"},
    "payment_method": {"customer", "type"},
    "payout": {"status"},
    "plan": {"active", "product"},
    "price": {"active", "product", "currency", "type"},
    "product": {"active"},
    "promotion_code": {"active", "code", "coupon", "customer"},
    "quote": {"customer", "status"},
    "radar.early_fraud_warning": {"charge", "payment_intent"},
    "radar.value_list": {"alias"},
    "refund": {"charge", "payment_intent"},
    "setup_attempt": {"setup_intent"},
    "setup_intent": {"customer", "payment_method"},
    "shipping_rate": {"active", "currency"},
    "subscription": {"customer", "price", "status", "collection_method"},
    "subscription_schedule": {"customer"},
    "tax.registration": {"status"},
    "tax_rate": {"active", "inclusive"},
    "topup": {"status"},
    "transfer": {"destination"},
}

UNDATED = {
    "billing.alert", "billing.credit_balance_transaction", "billing.credit_grant", "billing.meter",
    "billing_portal.configuration", "entitlements.feature", "invoice_rendering_template", "payment_attempt_record",
    "payment_link", "payment_method", "payment_record", "quote", "reporting.report_type", "tax.registration", "tax_code",
    "webhook_endpoint",
}  # fmt: skip
"""Kinds whose lists take no `created` filter."""

REQUIRED = {"payment_attempt_record": "payment_record", "setup_attempt": "setup_intent"}
"""Kinds whose lists are only given by a filter."""

EXPANDS = {
    "coupon": {"applies_to", "currency_options"},
    "customer": {"tax_ids"},
    "invoice": {"discounts", "lines.data.discounts"},
    "invoiceitem": {"discounts"},
    "item": {"discounts", "taxes"},
    "line_item": {"discounts"},
    "plan": {"tiers"},
    "price": {"tiers", "currency_options"},
    "subscription": {"discounts", "items.data.discounts"},
    "subscription_item": {"discounts"},
}
"""What the stand-in can expand. All but discounts are fields that only come when asked for."""

PRODUCTS = {"billing": "Billing", "issuing": "Issuing", "radar": "Radar", "reporting": "Reporting", "tax": "Tax"}
"""Products by the first part of a kind's name, as Stripe writes them."""

_PAGING = {"limit", "starting_after", "ending_before", "expand[]"}
_CREATED = {"created[gte]": 0, "created[gt]": 1, "created[lt]": 0, "created[lte]": 1, "created": 0}


class Refusal(Exception):
    """Stripe's error answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = more.pop("headers", {})
        self.body = {"error": {"message": message, "type": "invalid_request_error", **more}}


@dataclass
class Limits:
    """Calls a second, by operation and in all, counted as Stripe's rate limiters do."""

    operation: int = 25
    total: int = 100
    _calls: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def count(self, operation: str) -> None:
        now = time.monotonic()
        for name, most, reason in ((operation, self.operation, "endpoint-rate"), ("", self.total, "global-rate")):
            calls = self._calls[name]
            while calls and calls[0] <= now - 1:
                calls.popleft()
            if len(calls) >= most:
                raise Refusal(
                    429,
                    "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
                    code="rate_limit",
                    doc_url="https://stripe.com/docs/error-codes/rate-limit",
                    headers={"Stripe-Rate-Limited-Reason": reason, "Stripe-Should-Retry": "true"},
                )
        for name in (operation, ""):
            self._calls[name].append(now)


class Stripe:
    """The stand-in: one account of one company."""

    def __init__(self, business: Company, *, limits: bool) -> None:
        self.business = business
        self.limits = {"live": Limits(25, 100), "test": Limits(25, 25)} if limits else {}
        self.forbidden: set[str] = set()
        self.off: set[str] = set()
        self.served: dict[str, dict[Any, Row]] = {"balance": {}, "exchange_rates": {}}
        """What was told of things that are only ever read as they are at the moment, by that moment."""
        self._requests = 0

    # What `base` asks of a stand-in

    @property
    def now(self) -> int:
        return self.business.now

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/v1/{path:path}", self.get, methods=["GET"]), Route("/{path:path}", self.unknown)]

    def advance(self, seconds: int) -> dict[str, Any]:
        return self.business.advance(seconds)

    def control(self, change: dict[str, Any]) -> None:
        for what, value in change.items():
            match what:
                case "forbid":
                    self.forbidden = set(value)
                case "off":
                    self.off = set(value)
                case "limits":
                    self.limits = {"live": Limits(**value), "test": Limits(**value)} if value else {}
                case "delete":
                    self.business.delete(*value)
                case _:
                    raise ValueError(f"no '{what}' can be changed; there are forbid, off, limits, delete")

    def environment(self, url: str) -> dict[str, str]:
        return {"STRIPE_BASE_URL": url, "STRIPE_API_KEY": "rk_live_sandbox"}

    def ledger(self, table: str) -> Iterable[Row]:
        return Ledger(self.business, self.show, self.served).rows(table)

    # Answers

    async def unknown(self, request: Request) -> Response:
        return self._refused(Refusal(404, f"Unrecognized request URL ({request.method}: {request.url.path})."))

    async def get(self, request: Request) -> Response:
        try:
            live = self._authenticate(request)
            self._version(request)
            found = self._find(request, live)
        except Refusal as refusal:
            return self._refused(refusal)
        return answer(found, 200, self._headers(request.headers.get("stripe-version", DEFAULT_VERSION)))

    def _refused(self, refusal: Refusal) -> Response:
        return answer(refusal.body, refusal.status, {**self._headers(NEWEST), **refusal.headers})

    def _headers(self, version: str) -> dict[str, str]:
        self._requests += 1
        return {"Request-Id": f"req_{self._requests:014d}", "Stripe-Version": version}

    def _authenticate(self, request: Request) -> bool:
        """Whether the key is a live one."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        if key not in KEYS:
            raise Refusal(401, f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}")
        named = request.headers.get("stripe-account", self.business.account_id)
        if named != self.business.account_id:
            raise Refusal(
                403,
                f"The provided key '{key[:8]}***' does not have access to account '{named}' (or that account does not exist).",
                code="account_invalid",
            )
        return KEYS[key]

    def _version(self, request: Request) -> None:
        version = request.headers.get("stripe-version", DEFAULT_VERSION)
        if not re.fullmatch(r"20\d\d-\d\d-\d\d(\.[a-z]+)?", version):
            raise Refusal(400, f"Invalid Stripe API version: {version}")
        old, path = version < "2025-03-31", request.url.path
        if (old and path.startswith("/v1/invoice_payments")) or (not old and path.endswith("/usage_record_summaries")):
            raise Refusal(404, f"Unrecognized request URL (GET: {request.url.path}).")

    def _find(self, request: Request, live: bool) -> Object:
        path = request.path_params["path"]
        folder, _, last = path.rpartition("/")
        query = request.query_params.multi_items()
        if path in PATHS:
            self._allow(live, PATHS[path], f"GET /v1/{path}")
            return self._list(PATHS[path], query, live)
        if folder in PATHS:
            self._allow(live, PATHS[folder], f"GET /v1/{folder}/:id")
            return self._one(PATHS[folder], last, query, live)
        match path.split("/"):
            case ["account"]:
                self._allow(live, "account", "GET /v1/account")
                return self.business.own_account()
            case ["balance"]:
                self._allow(live, "balance", "GET /v1/balance")
                return self._balance()
            case ["exchange_rates"]:
                self._allow(live, "exchange_rate", "GET /v1/exchange_rates")
                return self._page("exchange_rate", self._exchange_rates(), query, live, set())
            case ["subscription_items"]:
                self._allow(live, "subscription", "GET /v1/subscription_items")
                subscription = self._required(query, "subscription")
                self._alive("subscription", subscription)
                return self._page(
                    "subscription_item", self._children("subscription", subscription), query, live, {"subscription"}
                )
            case ["entitlements", "active_entitlements"]:
                self._allow(live, "entitlements.active_entitlement", "GET /v1/entitlements/active_entitlements")
                customer = self._required(query, "customer")
                self._alive("customer", customer)
                rows = self.business.inside("active_entitlements", customer)[::-1]
                return self._page("entitlements.active_entitlement", rows, query, live, {"customer"}, f"/v1/{path}")
            case [("invoices" | "credit_notes") as list_, id_, "lines"]:
                kind = PATHS[list_]
                self._allow(live, kind, f"GET /v1/{list_}/:id/lines")
                self._alive(kind, id_)
                line_kind = "line_item" if kind == "invoice" else "credit_note_line_item"
                return self._page(line_kind, self._children(kind, id_), query, live, set(), url=f"/v1/{path}")
            case ["billing", "meters", meter, "event_summaries"]:
                self._allow(live, "billing.meter_event_summary", "GET /v1/billing/meters/:id/event_summaries")
                return self._summaries(meter, query, live, f"/v1/{path}")
            case ["subscription_items", item, "usage_record_summaries"]:
                self._allow(live, "usage_record_summary", "GET /v1/subscription_items/:id/usage_record_summaries")
                return self._usage_records(item, query, live, f"/v1/{path}")
            case [*list_, id_, last]:
                return self._part("/".join(list_), id_, last, query, live)
        raise Refusal(404, f"Unrecognized request URL (GET: {request.url.path}).")

    def _part(self, folder: str, owner: str, last: str, query: list[tuple[str, str]], live: bool) -> Object:
        """A list inside an object."""
        pattern, url = f"{folder}/{{}}/{last}", f"/v1/{folder}/{owner}/{last}"
        kind, filters = PATHS.get(folder, ""), set[str]()
        if pattern == "customers/{}/tax_ids":
            self._allow(live, "tax_id", f"GET /v1/{pattern}")
            rows = self._alive(kind, owner)["tax_ids"]["data"]
        elif pattern in SOURCES:
            self._allow(live, kind, f"GET /v1/{pattern}")
            self._alive(kind, owner)
            tables, filters = SOURCES[pattern], {"object"}
            wanted = tables.get(dict(query).get("object", ""))
            rows = [row for table in tables.values() if wanted in (None, table) for row in self.business.inside(table, owner)]
            rows.reverse()
        elif pattern in PARTS:
            self._allow(live, kind, f"GET /v1/{pattern}")
            self._alive(kind, owner)
            rows = self.business.inside(PARTS[pattern], owner)[::-1]
            if pattern == "accounts/{}/capabilities" and query:
                raise Refusal(400, f"Received unknown parameter: {query[0][0]}", code="parameter_unknown", param=query[0][0])
        else:
            raise Refusal(404, f"Unrecognized request URL (GET: {url}).")
        return self._page(rows[0]["object"] if rows else "", rows, query, live, filters, url)

    def _summaries(self, meter: str, query: list[tuple[str, str]], live: bool, url: str) -> Object:
        """What a customer used, by day. Both ends of the stretch must be midnights."""
        self._alive("billing.meter", meter)
        customer = self._required(query, "customer")
        self._alive("customer", customer)
        ends = {name: self._required(query, name) for name in ("start_time", "end_time")}
        for name, value in ends.items():
            if not value.isdigit() or int(value) % 86_400:
                raise Refusal(400, f"{name} must be aligned with the start of a UTC day.", param=name)
        start, end = int(ends["start_time"]), int(ends["end_time"])
        rows = [row.record for row in summaries(self.business, meter, customer) if start <= row.record["start_time"] < end]
        filters = {"customer", "start_time", "end_time", "value_grouping_window"}
        return self._page("billing.meter_event_summary", rows[::-1], query, live, filters, url)

    def _usage_records(self, item: str, query: list[tuple[str, str]], live: bool, url: str) -> Object:
        items = {each["id"]: each for made in self.business.objects["subscription"].values() for each in made["_items"]}
        if item not in items:
            raise Refusal(404, f"No such subscription item: '{item}'", code="resource_missing", param="id")
        if items[item]["price"]["recurring"]["usage_type"] != "metered":
            raise Refusal(400, "Usage records exist for metered plans only.", param="subscription_item")
        return self._page("usage_record_summary", self.business.inside("usage_record_summaries", item), query, live, set(), url)

    def _balance(self) -> Object:
        found = self.business.balance()
        told = self.served["balance"]
        if not told or next(reversed(told.values())).record != found:
            told[self.now] = Row(found, {"snapshot_at": self.now})
        return found

    def _exchange_rates(self) -> list[Object]:
        rows = self.business.exchange_rates()
        date = time.strftime("%Y-%m-%d", time.gmtime(self.now))
        self.served["exchange_rates"] |= {(date, row["id"]): Row(row, {"snapshot_date": date}) for row in rows}
        return rows

    def _allow(self, live: bool, kind: str, operation: str) -> None:
        if limits := self.limits.get("live" if live else "test"):
            limits.count(operation)
        if kind in self.forbidden:
            raise Refusal(
                403,
                f"The provided key 'rk_{'live' if live else 'test'}_********dbox' does not have the required permissions for "
                f"this endpoint on account '{self.business.account_id}'. Having the 'rak_{kind}_read' permission would allow "
                "this request to continue.",
            )
        product = kind.partition(".")[0]
        if {kind, product} & self.off:
            name = PRODUCTS.get(product, f"{kind}s")
            raise Refusal(400, f"Your account is not set up to use {name}. Please visit your dashboard to enable it.")

    @staticmethod
    def _required(query: list[tuple[str, str]], name: str) -> str:
        for key, value in query:
            if key == name:
                return value
        raise Refusal(400, f"Missing required param: {name}.", code="parameter_missing", param=name)

    def _alive(self, kind: str, id_: str) -> Object:
        found = self.business.objects[kind].get(id_)
        if found is None and kind == "account":
            raise Refusal(
                403,
                f"The provided key 'rk_***' does not have access to account '{id_}' (or that account does not exist). "
                "Application access may have been revoked.",
                code="account_invalid",
            )
        if found is None or (kind == "event" and found["created"] < self.now - EVENTS_KEPT):
            raise Refusal(404, f"No such {kind}: '{id_}'", code="resource_missing", param="id")
        return found

    def _one(self, kind: str, id_: str, query: list[tuple[str, str]], live: bool) -> Object:
        if kind in ("customer", "product", "coupon", "plan") and id_ in self.business.gone[kind]:
            return {"id": id_, "object": kind, "deleted": True}
        expands = [value for key, value in query if key == "expand[]"]
        return self.show(self._alive(kind, id_), self._expands(kind, expands, ""), live=live)

    def _list(self, kind: str, query: list[tuple[str, str]], live: bool) -> Object:
        objects = self.business.objects[kind]
        order = self.business.order[kind]
        first, behind = 0, len(order)
        if kind == "event":
            first = bisect.bisect_left(order, (self.now - EVENTS_KEPT, -1, ""))
        filters = dict(query)
        for key, value in query:
            if key in _CREATED:
                if not value.isdigit():
                    raise Refusal(400, f"Invalid integer: {value}", param=key)
                place = bisect.bisect_left(order, (int(value) + _CREATED[key], -1, ""))
                if key in ("created[gte]", "created[gt]"):
                    first = max(first, place)
                elif key == "created":
                    first, behind = place, bisect.bisect_left(order, (int(value) + 1, -1, ""))
                else:
                    behind = min(behind, place)
        rows = [objects[id_] for _, _, id_ in reversed(order[first:behind])]
        if kind in REQUIRED:
            self._required(query, REQUIRED[kind])
        rows = self._filter(kind, rows, filters, [value for key, value in query if key == "types[]"])
        dated = set() if kind in UNDATED else set(_CREATED)
        return self._page(kind, rows, query, live, FILTERS.get(kind, set()) | dated)

    def _filter(self, kind: str, rows: list[Object], filters: dict[str, str], types: list[str]) -> list[Object]:
        if len(types) > 20:
            raise Refusal(400, "You may pass at most 20 event types.", param="types")
        if kind == "event" and types:
            return [row for row in rows if row["type"] in types]
        if kind == "event" and (type_ := filters.get("type")):
            pattern = re.compile(re.escape(type_).replace(r"\*", ".*"))
            return [row for row in rows if pattern.fullmatch(row["type"])]
        if kind == "subscription":
            status = filters.pop("status", "")
            if status != "all":
                rows = [row for row in rows if (row["status"] == status if status else row["status"] != "canceled")]
        if kind == "tax.registration" and filters.get("status") == "all":
            return rows
        if kind == "review":
            return [row for row in rows if row["open"]]
        if kind == "invoiceitem" and "pending" in filters:
            return [row for row in rows if (row["invoice"] is None) == (filters["pending"] == "true")]
        if kind == "balance_transaction" and (payout := filters.get("payout")):
            if not self._alive("payout", payout)["automatic"]:
                raise Refusal(
                    400, "Balance transaction history can only be filtered on automatic transfers, not manual.", param="payout"
                )
            return [row for row in rows if row["id"] in set(self.business.settled[payout])]
        for name in FILTERS.get(kind, set()) & set(filters):
            text = {"true": True, "false": False}.get(filters[name], filters[name])
            rows = [row for row in rows if row.get(name) == text]
        return rows

    def _page(
        self, kind: str, rows: list[Object], query: list[tuple[str, str]], live: bool, filters: set[str], url: str = ""
    ) -> Object:
        for key, _ in query:
            if key not in filters | (_PAGING if kind != "reporting.report_type" else {"expand[]"}):
                raise Refusal(400, f"Received unknown parameter: {key}", code="parameter_unknown", param=key)
        asked = dict(query)
        limit = asked.get("limit", "10")
        if not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise Refusal(400, "Invalid limit: must be between 1 and 100", param="limit")
        if "starting_after" in asked and "ending_before" in asked:
            raise Refusal(400, "You may specify only one of `starting_after` and `ending_before`.")
        expands = self._expands(kind, [value for key, value in query if key == "expand[]"], "data.")
        if "ending_before" in asked:
            end = self._place(kind, rows, asked["ending_before"], "ending_before")
            chosen = rows[max(0, end - int(limit)) : end]
            more = end > int(limit)
        else:
            start = self._place(kind, rows, asked["starting_after"], "starting_after") + 1 if "starting_after" in asked else 0
            chosen = rows[start : start + int(limit)]
            more = start + int(limit) < len(rows)
        path = url or f"/v1/{ {kind: path for path, kind in PATHS.items()}.get(kind, kind + 's') }"
        return listing(path, [self.show(row, expands, live=live) for row in chosen], has_more=more)

    def _place(self, kind: str, rows: list[Object], id_: str, param: str) -> int:
        """Where the cursor stands among the rows, or would stand if the filters let it through."""
        for place, row in enumerate(rows):
            if row["id"] == id_:
                return place
        if cursor := self.business.objects[kind].get(id_):
            return sum(created(row) > created(cursor) for row in rows) - 1
        raise Refusal(400, f"No such {kind}: '{id_}'", code="resource_missing", param=param)

    @staticmethod
    def _expands(kind: str, asked: list[str], prefix: str) -> set[str]:
        found = set()
        for path in asked:
            name = path.removeprefix(prefix)
            if not path.startswith(prefix) or name not in EXPANDS.get(kind, set()):
                raise Refusal(
                    400, f"This property cannot be expanded ({path}).", code="property_not_expandable", param="expand"
                )
            found.add(name)
        return found

    # Shapes

    def show(self, made: Object, expands: Iterable[str], *, live: bool = True) -> Object:
        """An object as an answer carries it."""
        kind = made["object"]
        always = set() if kind == "item" else {"discounts"}
        hidden = EXPANDS.get(kind, set()) - always - set(expands)
        shown = {name: value for name, value in made.items() if name not in hidden and not name.startswith("_")}
        if kind == "balance_transaction":
            shown = self._movement(shown)
        if kind == "dispute":
            shown["balance_transactions"] = [self._movement(row) for row in made["balance_transactions"]]
        if "discounts" in expands:
            shown["discounts"] = [self.show(self.business.discounts[id_], ()) for id_ in made["discounts"]]
        for path in expands:
            if ".data." in path:
                name, _, field_ = path.partition(".data.")
                shown[name] = {**shown[name], "data": [self.show(row, {field_}, live=live) for row in shown[name]["data"]]}
        if "livemode" in shown:
            shown["livemode"] = live
        return shown

    def _movement(self, row: Object) -> Object:
        return {**row, "status": "available" if row["available_on"] <= self.now else "pending"}

    def _children(self, kind: str, id_: str) -> list[Object]:
        owner = self.business.objects[kind].get(id_) or self.business.gone[kind][id_]
        children: list[Object] = owner["_items"] if kind == "subscription" else owner["_lines"]
        return children


def build(*, seed: int, scale: float, now: int, limits: bool) -> Stripe:
    """The stand-in as `datalake.sandbox` runs it. The clock starts on a whole second."""
    return Stripe(Company(seed, scale, now), limits=limits)
