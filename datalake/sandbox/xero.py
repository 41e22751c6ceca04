"""Xero's APIs as a stand-in shows them: login, organisations, lists, pages, limits, refusals. The books live in `xero_books`.

Two organisations and a practice are connected to the app `xero-app` (secret `xero-secret`), whose first refresh token is
`first-refresh-token`; the custom connection `xero-custom` (same secret) reads the first organisation alone. Tests may send to
`/_sandbox/control`:

    {"expire": true}                     every access token is refused from now on
    {"lifetime": 2}                      seconds that new access tokens live
    {"forbid": ["Journals"]}             the scope of these paths is missing; "Journals@<tenant>" for one organisation
    {"disconnect": "<tenant>"}           the organisation is no longer connected; {"connect": "<tenant>"} takes it back
    {"limits": {"minute": 60, "day": 5000, "concurrent": 5, "work": 0.1}}    `work`: seconds that an answer takes
    {"page_cap": 20}                     no page is longer
    {"disturb": {"Invoices": "first"}}   after its next page, the first (or last) row of a list is edited, so that rows move
    {"silent": ["contacts", "<id>", {"Balances": {}}]}    a change that moves no stamp
    {"vanish": ["invoices", "<id>"]}     a record goes without a word
"""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime as dt
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from datalake import contracts
from datalake.sandbox import xero_ledger, xero_reports
from datalake.sandbox.base import Row, answer
from datalake.sandbox.xero_books import Books
from datalake.sandbox.xero_shapes import Object, guid_of, iso, milliseconds, ms

APP, CUSTOM, SECRET = "xero-app", "xero-custom", "xero-secret"
FIRST_REFRESH_TOKEN = "first-refresh-token"  # noqa: S105 - a stand-in's
ACCESS_SECONDS = 1800
GRACE_SECONDS = 1800
"""How long the refresh token before the present one is still taken."""
SCOPES = (
    "offline_access accounting.invoices.read accounting.payments.read accounting.banktransactions.read "
    "accounting.manualjournals.read accounting.contacts.read accounting.settings.read accounting.budgets.read "
    "accounting.journals.read accounting.reports.read accounting.attachments.read assets.read projects.read files.read"
)

LISTS = {
    "Accounts": "accounts",
    "BankTransactions": "bank_transactions",
    "BankTransfers": "bank_transfers",
    "BatchPayments": "batch_payments",
    "BrandingThemes": "branding_themes",
    "Budgets": "budgets",
    "ContactGroups": "contact_groups",
    "Contacts": "contacts",
    "CreditNotes": "credit_notes",
    "Currencies": "currencies",
    "Employees": "employees",
    "ExpenseClaims": "expense_claims",
    "Invoices": "invoices",
    "Items": "items",
    "LinkedTransactions": "linked_transactions",
    "ManualJournals": "manual_journals",
    "Organisation": "organisations",
    "Overpayments": "overpayments",
    "PaymentServices": "payment_services",
    "Payments": "payments",
    "Prepayments": "prepayments",
    "PurchaseOrders": "purchase_orders",
    "Quotes": "quotes",
    "Receipts": "receipts",
    "RepeatingInvoices": "repeating_invoices",
    "Reports": "reports_index",
    "TaxRates": "tax_rates",
    "TrackingCategories": "tracking_categories",
    "Users": "users",
}
"""Path of the accounting API -> table."""

PAGED = {
    "BankTransactions", "Contacts", "CreditNotes", "Invoices", "ManualJournals", "Overpayments", "Payments", "Prepayments",
    "PurchaseOrders",
}  # fmt: skip
"""Lists with page and pageSize; without a page they come whole, and documents without their lines."""
FIXED = {"LinkedTransactions", "Quotes"}
"""Lists in pages of a hundred, without a word of how many there are."""
HEEDS_MODIFIED = PAGED | {"Accounts", "BatchPayments", "Employees", "ExpenseClaims", "Items", "Quotes", "Receipts", "Users"}


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, status: int, body: Object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status, self.body, self.headers = status, body, dict(headers or {})


@dataclass
class Limits:
    """Calls of one organisation, counted as Xero does. The day is counted from the start."""

    minute: int = 60
    day: int = 5000
    concurrent: int = 5
    work: float = 0.0
    used_today: int = 0
    running: int = 0
    times: deque[float] = field(default_factory=deque)

    def count(self) -> None:
        now = time.monotonic()
        while self.times and self.times[0] <= now - 60:
            self.times.popleft()
        for used, most, problem, wait in (
            (self.running, self.concurrent, "concurrent", 1),
            (len(self.times), self.minute, "minute", int(60 - (now - self.times[0])) + 1 if self.times else 60),
            (self.used_today, self.day, "day", 66_975),
        ):
            if used >= most:
                raise Refusal(429, {}, {"X-Rate-Limit-Problem": problem, "Retry-After": str(wait), **self.headers()})
        self.times.append(now)
        self.used_today += 1

    def headers(self) -> dict[str, str]:
        return {
            "X-MinLimit-Remaining": str(max(0, self.minute - len(self.times))),
            "X-DayLimit-Remaining": str(max(0, self.day - self.used_today)),
            "X-AppMinLimit-Remaining": "9999",
        }


class Xero:
    """The stand-in: one app, two organisations and a practice."""

    def __init__(self, seed: int, scale: float, now: int, *, limits: bool) -> None:
        source = contracts.load_source("xero")
        self._tables = source.tables
        self._unlimited = not limits
        organisations = (
            ("Café Aurora Ltda", "BR", ("BRL", "USD", "EUR")),
            ("Aurora Coffee Inc", "US", ("USD", "BRL")),
        )
        self.books = {
            books.id: books
            for name, country, currencies in organisations
            for books in [Books(source, seed, scale, now, name=name, country=country, currencies=currencies)]
        }
        self.limits = {id_: Limits() for id_ in self.books} if limits else {}
        self.practice = guid_of(f"{seed}:practice")
        self.forbidden: set[str] = set()
        self.gone: set[str] = set()
        self.page_cap = 1000
        self.disturb: dict[str, str] = {}
        self.lifetime = ACCESS_SECONDS
        self.refresh = FIRST_REFRESH_TOKEN
        self.previous = ("", 0)
        self.access: dict[str, tuple[str, int]] = {}
        """Access token -> client, and when it ends by the stand-in's clock."""
        self.codes: set[str] = set()
        self.reports: xero_ledger.Served = {}
        self._tokens = 0

    # What `base` asks of a stand-in

    @property
    def now(self) -> int:
        return next(iter(self.books.values())).now

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/connect/token", self.token, methods=["POST"]),
            Route("/identity/connect/authorize", self.authorize),
            Route("/connections", self.connections),
            Route("/{api}/{version}/{path:path}", self.get, methods=["GET"]),
        ]

    def advance(self, seconds: int) -> dict[str, Any]:
        for books in self.books.values():
            books.advance(seconds)
        for limits in self.limits.values():
            limits.used_today = 0 if seconds >= 86_400 else limits.used_today
        return {books.name: dict(books.happened) for books in self.books.values()}

    def environment(self, url: str) -> dict[str, str]:
        settings = {
            "XERO_BASE_URL": url,
            "XERO_CLIENT_ID": APP,
            "XERO_CLIENT_SECRET": SECRET,
            "XERO_REFRESH_TOKEN": FIRST_REFRESH_TOKEN,
        }
        return settings | ({"XERO_CALLS_A_MINUTE": "100000"} if self._unlimited else {})

    def control(self, change: dict[str, Any]) -> None:
        for what, value in change.items():
            match what:
                case "expire":
                    self.access.clear()
                case "lifetime":
                    self.lifetime = value
                case "forbid":
                    self.forbidden = set(value)
                case "disconnect":
                    self.gone.add(value)
                case "connect":
                    self.gone.discard(value)
                case "limits":
                    self.limits = {id_: Limits(**value) for id_ in self.books}
                case "page_cap":
                    self.page_cap = value
                case "disturb":
                    self.disturb = dict(value)
                case "silent":
                    table, id_, fields = value
                    self._find(table, id_).update(fields)
                case "vanish":
                    table, id_ = value
                    self._find(table, id_)
                    for books in self.books.values():
                        books.objects[table].pop(id_, None)
                case _:
                    raise ValueError(f"no '{what}' can be changed; see the module's first lines")

    def _find(self, table: str, id_: str) -> Object:
        for books in self.books.values():
            if id_ in books.objects[table]:
                return books.objects[table][id_]
        raise ValueError(f"there is no {table} '{id_}'")

    def ledger(self, table: str) -> Iterable[Row]:
        if table == "connections":
            return [Row(each) for each in self._connected(APP)]
        return xero_ledger.ledger(self._tables[table], self.books.values(), self.reports)

    # Login

    async def authorize(self, request: Request) -> Response:
        """The page on which a person consents: here at once."""
        query = request.query_params
        code = guid_of(f"code:{len(self.codes)}:{self.now}")
        self.codes.add(code)
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query.get('state', '')})}")

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        scheme, _, proof = request.headers.get("authorization", "").partition(" ")
        client, _, secret = base64.b64decode(proof).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if client not in (APP, CUSTOM) or secret != SECRET:
            return answer({"error": "invalid_client"}, 400)
        grant = form.get("grant_type")
        if (grant == "client_credentials") != (client == CUSTOM):
            return answer({"error": "unauthorized_client"}, 400)
        if grant == "refresh_token":
            given = form.get("refresh_token", "")
            if self._tokens == 0 and re.fullmatch(r"refresh-\d{6}", given):
                # The stand-in was started again over a lake that knows it: the token is the last one of its former life.
                self.refresh, self._tokens = given, int(given[-6:])
            known = {self.refresh: True, self.previous[0]: self.now < self.previous[1] + GRACE_SECONDS}
            if not given or not known.get(given, False):
                return answer({"error": "invalid_grant"}, 400)
        elif grant == "authorization_code":
            if form.get("code") not in self.codes:
                return answer({"error": "invalid_grant"}, 400)
            self.codes.discard(form["code"])
        elif grant != "client_credentials":
            return answer({"error": "unsupported_grant_type"}, 400)
        self._tokens += 1
        access = f"access-{self._tokens:06d}"
        self.access[access] = (client, self.now + self.lifetime)
        told = {"access_token": access, "expires_in": self.lifetime, "token_type": "Bearer", "scope": SCOPES}
        if client == APP:
            self.previous = (self.refresh, self.now)
            self.refresh = f"refresh-{self._tokens:06d}"
            told["refresh_token"] = self.refresh
        return answer(told)

    def _authenticate(self, request: Request) -> str:
        """The client that asks."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client, until = self.access.get(token, ("", 0))
        if scheme != "Bearer" or not client:
            raise _problem(401, "Unauthorized", "AuthenticationUnsuccessful")
        if until <= self.now:
            raise _problem(401, "Unauthorized", f"TokenExpired: token expired at {iso(until)}")
        return client

    async def connections(self, request: Request) -> Response:
        try:
            return answer(self._connected(self._authenticate(request)))
        except Refusal as refusal:
            return answer(refusal.body, refusal.status)

    def _connected(self, client: str) -> list[Object]:
        found = [(id_, books.name, "ORGANISATION") for id_, books in self.books.items() if id_ not in self.gone]
        if client == CUSTOM:
            found = found[:1]
        else:
            found.append((self.practice, "Contadores Reunidos", "PRACTICE"))
        return [
            {
                "id": guid_of(f"connection:{id_}"),
                "authEventId": guid_of("event"),
                "tenantId": id_,
                "tenantType": type_,
                "tenantName": name,
                "createdDateUtc": "2025-01-31T13:45:10.1234560",
                "updatedDateUtc": "2025-02-01T13:45:10.1234560",
            }
            for id_, name, type_ in found
        ]

    # Answers

    async def get(self, request: Request) -> Response:
        headers: dict[str, str] = {"Xero-Correlation-Id": guid_of(f"correlation:{time.monotonic()}")}
        try:
            client = self._authenticate(request)
            tenant = request.headers.get("xero-tenant-id") or (next(iter(self.books)) if client == CUSTOM else "")
            if tenant not in {each["tenantId"] for each in self._connected(client)} & self.books.keys():
                raise _problem(403, "Forbidden", "AuthenticationUnsuccessful")
            parts = request.path_params["path"].split("/")
            if {parts[0], f"{parts[0]}@{tenant}"} & self.forbidden:
                raise _problem(401, "Unauthorized", "AuthorizationUnsuccessful")
            if "application/json" not in request.headers.get("accept", ""):
                return Response("<Response><Status>OK</Status></Response>", media_type="text/xml")
            if limits := self.limits.get(tenant):
                limits.count()
                headers |= limits.headers()
                limits.running += 1
                try:
                    await asyncio.sleep(limits.work)
                finally:
                    limits.running -= 1
            found = self._answer(
                self.books[tenant], f"{request.path_params['api']}/{request.path_params['version']}", parts, request
            )
        except Refusal as refusal:
            return answer(refusal.body, refusal.status, {**headers, **refusal.headers})
        return answer(found, 200, headers)

    def _answer(self, books: Books, api: str, parts: list[str], request: Request) -> Any:
        query = dict(request.query_params)
        match api, parts:
            case "assets.xro/1.0", ["Assets"]:
                if "status" not in query:
                    raise Refusal(400, {"type": "validation", "title": "The status field is required."})
                assets = [each for each in books.objects["assets"].values() if each["assetStatus"].upper() == query["status"]]
                return self._items(assets, query, 10)
            case "assets.xro/1.0", ["AssetTypes"]:
                return list(books.objects["asset_types"].values())
            case "projects.xro/2.0", ["Projects"]:
                return self._items(books.objects["projects"].values(), query, 50)
            case "projects.xro/2.0", ["ProjectsUsers"]:
                return self._items(books.objects["project_users"].values(), query, 50)
            case "projects.xro/2.0", ["Projects", id_, ("Tasks" | "Time") as what]:
                if id_ not in books.objects["projects"]:
                    raise Refusal(404, {"message": "Not found"})
                children = books.objects["project_tasks" if what == "Tasks" else "project_time_entries"].values()
                return self._items([each for each in children if each["projectId"] == id_], query, 50)
            case "files.xro/1.0", ["Files"]:
                size, page = min(int(query.get("pagesize", 50)), 100, self.page_cap), int(query.get("page", 1))
                rows = list(books.objects["files"].values())
                return {"TotalCount": len(rows), "Page": page, "PerPage": size, "Items": rows[(page - 1) * size : page * size]}
            case "files.xro/1.0", ["Folders"]:
                return list(books.objects["folders"].values())
            case "api.xro/2.0", _:
                body = self._accounting(books, parts, query, request.headers.get("if-modified-since", ""))
                return {
                    "Id": guid_of(f"{time.monotonic()}"),
                    "Status": "OK",
                    "ProviderName": "Lake",
                    "DateTimeUTC": ms(books.now * 1000),
                    **body,
                }
        raise Refusal(404, {"Message": "The resource you're looking for cannot be found"})

    def _items(self, rows: Iterable[Object], query: dict[str, str], default: int) -> Object:
        chosen, pagination = self._page(list(rows), query, default)
        return {"pagination": pagination, "items": chosen}

    def _page(self, rows: list[Object], query: dict[str, str], default: int) -> tuple[list[Object], Object]:
        size, page = min(int(query.get("pageSize", default)), self.page_cap), int(query["page"])
        pagination = {"page": page, "pageSize": size, "pageCount": -(-len(rows) // size), "itemCount": len(rows)}
        return rows[(page - 1) * size : page * size], pagination

    def _accounting(self, books: Books, parts: list[str], query: dict[str, str], since: str) -> Object:
        match parts:
            case ["Journals"]:
                kind = "journals_cash" if query.get("paymentsOnly") == "true" else "journals"
                rows = [each for each in books.objects[kind].values() if each["JournalNumber"] > int(query.get("offset", 0))]
                return {"Journals": [each for each in rows if milliseconds(each["CreatedDateUTC"]) > _asked(since)][:100]}
            case ["Reports", "TenNinetyNine"]:
                if next(iter(books.objects["organisations"].values()))["CountryCode"] != "US":
                    raise Refusal(404, {"Message": "The report is not available"})
                told = {"Reports": xero_reports.ten_ninety_nine(books, int(query["reportYear"]))}
                self.reports[books.id, "report_ten_ninety_nine", "", query["reportYear"]] = (told, query)
                return told
            case ["Reports", name] if name in xero_reports.REPORTS:
                made = xero_reports.report(books, name, query)
                key = (books.id, _table_of(name, query), iso(books.now)[:10], urlencode(sorted(query.items())))
                self.reports[key] = (made, query)
                return {"Reports": [made]}
            case ["Budgets", id_] if id_ in books.balances:
                return {"Budgets": self._budget(books, id_, query)}
            case [entity, id_, ("Attachments" | "History") as what] if (
                id_ in books.objects[xero_ledger.DOCUMENTS.get(entity, "")]
            ):
                if what == "Attachments":
                    return {"Attachments": books.attachments.get(id_, [])}
                return {"HistoryRecords": books.history[id_][::-1]}
            case [path] if path in LISTS:
                return self._list(books, path, query, since)
        raise Refusal(404, {"Message": "The resource you're looking for cannot be found"})

    def _budget(self, books: Books, id_: str, query: dict[str, str]) -> Object:
        first, last = query.get("DateFrom", "0")[:7], query.get("DateTo", "9")[:7]
        lines = [
            {
                "AccountID": account,
                "AccountCode": books.objects["accounts"][account]["Code"],
                "BudgetBalances": [balance for month, balance in months.items() if first <= month <= last],
            }
            for account, months in books.balances[id_].items()
        ]
        return {**books.objects["budgets"][id_], "BudgetLines": lines}

    def _list(self, books: Books, path: str, query: dict[str, str], since: str) -> Object:
        table = LISTS[path]
        rows = list(books.objects[table].values())
        if path in HEEDS_MODIFIED:
            rows = [each for each in rows if milliseconds(each["UpdatedDateUTC"]) > _asked(since)]
        if path == "Contacts" and query.get("includeArchived") != "true":
            rows = [each for each in rows if each["ContactStatus"] == "ACTIVE"]
        if path == "BankTransfers" and query.get("includeDeleted") != "true":
            rows = [each for each in rows if each["Status"] != "DELETED"]
        if path == "ManualJournals":
            rows.sort(key=lambda each: (milliseconds(each["Date"]), each["ManualJournalID"]))
        elif order := query.get("order"):
            name, _, direction = order.partition(" ")
            if name != "UpdatedDateUTC":
                raise Refusal(400, {"ErrorNumber": 16, "Type": "QueryParseException", "Message": f"No property {name}"})
            rows.sort(key=lambda each: milliseconds(each[name]), reverse=direction == "DESC")
        if path == "ManualJournals" and "order" in query:
            query = {**query, "page": "1"}  # paging breaks: every page is the first one
        key = "Organisations" if path == "Organisation" else path
        if path in PAGED and "page" in query:
            chosen, pagination = self._page(rows, query, 100)
            body = {"pagination": pagination, key: [_rounded(each, query) for each in chosen]}
        elif path in FIXED and "page" in query:
            page = int(query["page"])
            body = {key: rows[(page - 1) * 100 : page * 100]}
        elif path in PAGED:
            body = {
                key: [
                    {name: value for name, value in each.items() if name not in ("LineItems", "JournalLines")} for each in rows
                ]
            }
        else:
            body = {key: [_rounded(each, query) for each in rows]}
        if (how := self.disturb.pop(path, "")) and rows:
            body = copy.deepcopy(body)
            self._move(books, table, rows[0 if how == "first" else -1])
        return body

    def _move(self, books: Books, table: str, made: Object) -> None:
        """Somebody edits a row between two pages: it goes to the end by its stamp, and to the beginning by its date."""
        made["Date"] = ms(86_400_000)
        books.touch(table, made)


def _table_of(name: str, query: Mapping[str, str]) -> str:
    if name == "ProfitAndLoss" and "trackingCategoryID" in query:
        return "report_profit_and_loss_by_tracking"
    return "report" + re.sub(r"([A-Z])", r"_\1", name).lower()


def _problem(status: int, title: str, detail: str) -> Refusal:
    return Refusal(status, {"Type": None, "Title": title, "Status": status, "Detail": detail, "Instance": guid_of(detail)})


def _asked(since: str) -> int:
    """`If-Modified-Since` in milliseconds; before everything where there is none."""
    return int(dt.datetime.fromisoformat(f"{since}+00:00").timestamp() * 1000) if since else -(10**15)


def _rounded(made: Object, query: Mapping[str, str]) -> Object:
    """Without `unitdp=4` unit prices have two places."""
    if query.get("unitdp") == "4" or "LineItems" not in made:
        return made
    return {**made, "LineItems": [{**each, "UnitAmount": round(each["UnitAmount"], 2)} for each in made["LineItems"]]}


def build(*, seed: int, scale: float, now: int, limits: bool) -> Xero:
    """The stand-in as `datalake.sandbox` runs it."""
    return Xero(seed, scale, now, limits=limits)
