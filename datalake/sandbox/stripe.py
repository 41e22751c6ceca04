"""Stripe's API as a stand-in shows it: keys, lists, expands, errors, limits. The company behind it lives in `stripe_business`.

Keys: `rk_live_sandbox` and `rk_test_sandbox` (the same company, other `livemode`, lower limits). Tests may send to
`/_sandbox/control`: {"forbid": ["charge", …]} takes Read on these kinds of objects from the keys, {"off": ["dispute", …]}
turns a product off (400), {"limits": {"operation": 25, "total": 100}} sets calls a second, {"delete": ["customer", "cus_…"]}
deletes an object at once, with its event.
"""

from __future__ import annotations

import bisect
import re
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox.base import Row, answer
from datalake.sandbox.stripe_business import EVENTS_KEPT, Business, created
from datalake.sandbox.stripe_objects import Object, account, listing

NEWEST = "2026-10-28.endive"
DEFAULT_VERSION = "2024-06-20"
"""The version of the account, for calls that name none."""

KEYS = {"rk_live_sandbox": True, "rk_test_sandbox": False}

PATHS = {
    "balance_transactions": "balance_transaction",
    "charges": "charge",
    "coupons": "coupon",
    "credit_notes": "credit_note",
    "customers": "customer",
    "disputes": "dispute",
    "events": "event",
    "invoice_payments": "invoice_payment",
    "invoiceitems": "invoiceitem",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "payouts": "payout",
    "prices": "price",
    "products": "product",
    "promotion_codes": "promotion_code",
    "refunds": "refund",
    "subscriptions": "subscription",
}
"""Path of a list -> kind of its objects."""

FILTERS = {
    "balance_transaction": {"type", "currency", "payout", "source"},
    "charge": {"customer", "payment_intent"},
    "credit_note": {"customer", "invoice"},
    "dispute": {"charge", "payment_intent"},
    "event": {"type", "types[]"},
    "invoice": {"customer", "status", "subscription", "collection_method"},
    "invoice_payment": {"invoice", "status"},
    "invoiceitem": {"customer", "invoice", "pending"},
    "payment_intent": {"customer"},
    "payout": {"status"},
    "price": {"active", "product", "currency", "type"},
    "product": {"active"},
    "promotion_code": {"active", "code", "coupon", "customer"},
    "refund": {"charge", "payment_intent"},
    "subscription": {"customer", "price", "status", "collection_method"},
}

EXPANDS = {
    "coupon": {"applies_to", "currency_options"},
    "customer": {"tax_ids"},
    "invoice": {"discounts"},
    "line_item": {"discounts"},
    "price": {"tiers", "currency_options"},
    "subscription": {"discounts"},
}
"""What the stand-in can expand. All but discounts are fields that only come when asked for."""

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

    def __init__(self, business: Business, *, limits: bool) -> None:
        self.business = business
        self.limits = {"live": Limits(25, 100), "test": Limits(25, 25)} if limits else {}
        self.forbidden: set[str] = set()
        self.off: set[str] = set()
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
        if table == "account":
            return [Row(self._account())]
        derived = {
            "balance_transaction_fee_details": self._fee_details,
            "credit_note_line_items": self._credit_note_lines,
            "discounts": self._discounts,
            "invoice_line_items": self._invoice_lines,
            "payout_balance_transactions": self._payout_contents,
            "subscription_items": self._subscription_items,
        }
        if table in derived:
            return derived[table]()
        if table == "events":
            return (row for row in self._ledger("event") if row.record["created"] >= self.business.started - EVENTS_KEPT)
        return self._ledger({**PATHS, "invoice_items": "invoiceitem"}[table])

    def _ledger(self, kind: str) -> Iterator[Row]:
        expands = EXPANDS.get(kind, set())
        for deleted, objects in ((False, self.business.objects[kind]), (True, self.business.gone[kind])):
            for made in objects.values():
                yield Row(self.show(made, expands), deleted=deleted)

    def _fee_details(self) -> Iterator[Row]:
        for movement in self.business.objects["balance_transaction"].values():
            for index, fee in enumerate(movement["fee_details"]):
                yield Row(fee, {"balance_transaction_id": movement["id"], "fee_index": index})

    def _discounts(self) -> Iterator[Row]:
        """What ended before the start is known from the invoices alone, and they go on showing it as it was."""
        on_invoices = {id_ for invoice in self.business.objects["invoice"].values() for id_ in invoice["discounts"]}
        for discount in self.business.discounts.values():
            ended = discount.get("_ended")
            told = ended is not None and (ended >= self.business.started or discount["id"] not in on_invoices)
            yield Row(self.show(discount, ()), deleted=told)

    def _invoice_lines(self) -> Iterator[Row]:
        for row in self._ledger("invoice"):
            for line in self._children("invoice", row.record["id"]):
                yield Row(self.show(line, ()), deleted=row.deleted)

    def _credit_note_lines(self) -> Iterator[Row]:
        for note in self.business.objects["credit_note"].values():
            for line in note["_lines"]:
                yield Row(self.show(line, ()), {"credit_note_id": note["id"]})

    def _subscription_items(self) -> Iterator[Row]:
        for subscription in self.business.objects["subscription"].values():
            for item in subscription["_items"]:
                yield Row(self.show(item, ()))

    def _payout_contents(self) -> Iterator[Row]:
        for payout, movements in self.business.settled.items():
            for id_ in movements:
                yield Row(self.show(self.business.objects["balance_transaction"][id_], ()), {"payout_id": payout})

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
        if request.url.path.startswith("/v1/invoice_payments") and version < "2025-03-31":
            raise Refusal(404, f"Unrecognized request URL (GET: {request.url.path}).")

    def _find(self, request: Request, live: bool) -> Object:
        parts = request.path_params["path"].split("/")
        query = request.query_params.multi_items()
        match parts:
            case ["account"]:
                self._allow(live, "account", "GET /v1/account")
                return self._account()
            case ["subscription_items"]:
                self._allow(live, "subscription", "GET /v1/subscription_items")
                subscription = self._required(query, "subscription")
                self._alive("subscription", subscription)
                return self._page(
                    "subscription_item", self._children("subscription", subscription), query, live, {"subscription"}
                )
            case [("invoices" | "credit_notes") as path, id_, "lines"]:
                kind = PATHS[path]
                self._allow(live, kind, f"GET /v1/{path}/:id/lines")
                self._alive(kind, id_)
                line_kind = "line_item" if kind == "invoice" else "credit_note_line_item"
                return self._page(line_kind, self._children(kind, id_), query, live, set(), url=f"/v1/{path}/{id_}/lines")
            case [path] if path in PATHS:
                self._allow(live, PATHS[path], f"GET /v1/{path}")
                return self._list(PATHS[path], query, live)
            case [path, id_] if path in PATHS:
                self._allow(live, PATHS[path], f"GET /v1/{path}/:id")
                return self._one(PATHS[path], id_, query, live)
        raise Refusal(404, f"Unrecognized request URL (GET: {request.url.path}).")

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
        if kind in self.off:
            raise Refusal(400, f"Your account is not set up to use {kind}s. Please visit your dashboard to enable it.")

    @staticmethod
    def _required(query: list[tuple[str, str]], name: str) -> str:
        for key, value in query:
            if key == name:
                return value
        raise Refusal(400, f"Missing required param: {name}.", code="parameter_missing", param=name)

    def _alive(self, kind: str, id_: str) -> Object:
        found = self.business.objects[kind].get(id_)
        if found is None or (kind == "event" and found["created"] < self.now - EVENTS_KEPT):
            raise Refusal(404, f"No such {kind}: '{id_}'", code="resource_missing", param="id")
        return found

    def _one(self, kind: str, id_: str, query: list[tuple[str, str]], live: bool) -> Object:
        if kind in ("customer", "product", "coupon") and id_ in self.business.gone[kind]:
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
        rows = self._filter(kind, rows, filters, [value for key, value in query if key == "types[]"])
        return self._page(kind, rows, query, live, FILTERS.get(kind, set()) | set(_CREATED))

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
            if key not in _PAGING | filters:
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
        hidden = EXPANDS.get(kind, set()) - {"discounts"} - set(expands)
        shown = {name: value for name, value in made.items() if name not in hidden and not name.startswith("_")}
        if kind == "balance_transaction":
            shown = self._movement(shown)
        if kind == "dispute":
            shown["balance_transactions"] = [self._movement(row) for row in made["balance_transactions"]]
        if "discounts" in expands:
            shown["discounts"] = [self.show(self.business.discounts[id_], ()) for id_ in made["discounts"]]
        if "livemode" in shown:
            shown["livemode"] = live
        return shown

    def _movement(self, row: Object) -> Object:
        return {**row, "status": "available" if row["available_on"] <= self.now else "pending"}

    def _children(self, kind: str, id_: str) -> list[Object]:
        owner = self.business.objects[kind].get(id_) or self.business.gone[kind][id_]
        children: list[Object] = owner["_items"] if kind == "subscription" else owner["_lines"]
        return children

    def _account(self) -> Object:
        return account(id=self.business.account_id, created=self.business.started - 500 * 86_400)


def build(*, seed: int, scale: float, now: int, limits: bool) -> Stripe:
    """The stand-in as `datalake.sandbox` runs it. The clock starts on a whole second."""
    return Stripe(Business(seed, scale, now), limits=limits)
