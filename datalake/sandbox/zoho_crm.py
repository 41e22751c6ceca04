"""The stand-in for Zoho CRM's login and API v8 (records, settings, exports). What it holds lives in `zoho_crm_world`.

`control` knows: {"credits": n} left today; {"expire_tokens": true}; {"forbid": [modules]}; {"scopes_missing": [path part]};
{"off": [path part]} features not in use; {"reach": n} records that page tokens pass;
{"grow": {"module": …, "rows": n}} of the last 90 (or "days") days;
{"add_field": {"module", "name", "label", "kind"}}; {"remove_field": {"module", "name"}};
{"remake_field": {"module", "name", "kind"}}; {"export_page": n} rows of an export;
{"restore": {"module"}} the record deleted last comes back; {"wide": {"module", "fields": n}} adds n text fields.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import datetime as dt
import hashlib
import io
import json
import random
import zipfile
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox.base import Row, answer
from datalake.sandbox.zoho_crm_org import Module, Object
from datalake.sandbox.zoho_crm_world import DAY, OF_A_RECORD, World

CLIENT_ID, CLIENT_SECRET = "1000.SANDBOX", "5ecret-of-the-sandbox-client"
REFRESH_TOKEN = "1000.sandbox.refresh"  # noqa: S105  opens nothing but this stand-in
TOKENS, TOKEN_SECONDS, TOKEN_LIFE = 10, 600, 3600
CREDITS = 70_000
COSTS = {"deleted": 2, "bulk": 50}
PAGE, LAST_ROW, REACH = 200, 2_000, 100_000
EXPORT_PAGE = 200_000
STATES = ("ADDED", "IN PROGRESS", "COMPLETED")
SETTINGS = {
    "settings/modules": ("modules", "modules"),
    "users": ("users", "users"),
    "org": ("organization", "org"),
    "org/currencies": ("currencies", "currencies"),
    "Contacts/roles": ("contact_roles", "contact_roles"),
    "Entity_Scores__s": ("entity_scores", "data"),
}
"""Paths of lists that are not named as their tables: table, and where the records sit."""
RELATED = {
    "Contacts": "campaign_contacts",
    "Leads": "campaign_leads",
    "Contact_Roles": "deal_contact_roles",
    "Stage_History": "deal_stage_history",
    "Attachments": "attachments",
    "__timeline": "record_timeline",
    "Emails": "record_emails",
}


class Refusal(Exception):
    """An answer that is an error, in Zoho's form."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "details": details, "message": message, "status": "error"}


class Zoho:
    """One organisation behind its login."""

    def __init__(self, world: World, *, limits: bool) -> None:
        self.world = world
        self.limits = limits
        self.credits = CREDITS
        self.spent: deque[tuple[int, int]] = deque()
        self.tokens: dict[str, int] = {}
        self.asked: deque[int] = deque()
        self.codes: set[str] = set()
        self.url = ""
        self.forbidden: set[str] = set()
        self.unscoped: tuple[str, ...] = ()
        self.off: tuple[str, ...] = ()
        self.reach = REACH
        self.export_page = EXPORT_PAGE
        self.jobs: dict[str, Object] = {}

    @property
    def now(self) -> int:
        return self.world.now

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/oauth/v2/auth", self.authorize),
            Route("/oauth/v2/token", self.token, methods=["POST"]),
            Route("/crm/bulk/v8/read", self.api, methods=["POST"]),
            Route("/crm/{path:path}", self.api),
        ]

    def advance(self, seconds: int) -> Object:
        return self.world.advance(seconds)

    def ledger(self, table: str) -> Iterable[Row]:
        module, _, name = table.partition(":")
        return self.world.custom(name) if module == "module" else self.world.ledger(table)

    def control(self, change: Object) -> None:
        world = self.world
        match change:
            case {"credits": int(left)}:
                self.credits = left
                self.spent.clear()
            case {"expire_tokens": True}:
                self.tokens.clear()
            case {"forbid": list(modules)}:
                self.forbidden = set(modules)
            case {"scopes_missing": list(parts)}:
                self.unscoped = tuple(parts)
            case {"off": list(parts)}:
                self.off = tuple(parts)
            case {"reach": int(reach)}:
                self.reach = reach
            case {"export_page": int(rows)}:
                self.export_page = rows
            case {"grow": {"module": module, "rows": rows}}:
                days = change["grow"].get("days", 90)
                dice = random.Random(f"{world.seed}/grow {module} {rows}")
                for _ in range(rows):
                    world.add(world.modules[module], dice, world.now - dice.randrange(60, days * DAY + 61))
            case {"wide": {"module": module, "fields": count}}:
                for number in range(count):
                    self._add_field(module, f"Extra_{number}", f"Extra {number}", "text")
            case {"add_field": {"module": module, "name": name, "label": label, "kind": kind}}:
                self._add_field(module, name, label, kind)
            case {"remove_field": {"module": module, "name": name}}:
                fields = world.modules[module].fields
                fields.remove(next(field for field in fields if field["api_name"] == name))
                for record in world.modules[module].records.values():
                    record.pop(name)
            case {"remake_field": {"module": module, "name": name, "kind": kind}}:
                next(each for each in world.modules[module].fields if each["api_name"] == name)["data_type"] = kind
            case {"restore": {"module": module}}:
                of = world.modules[module]
                id_ = list(of.buried)[-1]
                of.records[id_] = of.buried.pop(id_)
                of.tombstones.pop(id_)
                of.records[id_]["Modified_Time"] = dt.datetime.fromtimestamp(world.now, dt.UTC).isoformat()
            case _:
                raise ValueError(f"unknown change {change}")

    def _add_field(self, module: str, name: str, label: str, kind: str) -> None:
        of = self.world.modules[module]
        field = self.world.add_field(of, name, label, kind, "", custom=True)
        dice = random.Random(f"{self.world.seed}/{module}.{name}")
        for record in of.records.values():
            record[name] = self.world.value(field, dice)

    def environment(self, url: str) -> dict[str, str]:
        self.url = url
        return {
            "ZOHO_CRM_CLIENT_ID": CLIENT_ID,
            "ZOHO_CRM_CLIENT_SECRET": CLIENT_SECRET,
            "ZOHO_CRM_REFRESH_TOKEN": REFRESH_TOKEN,
            "ZOHO_CRM_BASE_URL": url,
        }

    # The login

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            return answer({"error": "invalid_client"})
        kept = query.get("access_type") == "offline" and query.get("prompt") == "consent"
        code = f"1000.code.{len(self.codes)}.{'offline' if kept else 'online'}"
        self.codes.add(code)
        back = {"code": code, "location": "us", "accounts-server": self.url, "state": query.get("state", "")}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(back)}", 302)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("client_id") != CLIENT_ID:
            return answer({"error": "invalid_client"})
        if form.get("client_secret") != CLIENT_SECRET:
            return answer({"error": "invalid_client_secret"})
        told: Object = {}
        if form.get("grant_type") == "authorization_code":
            if form.get("code") not in self.codes:
                return answer({"error": "invalid_code"})
            self.codes.discard(form["code"])
            if form["code"].endswith("offline"):
                told["refresh_token"] = REFRESH_TOKEN
        elif form.get("refresh_token") != REFRESH_TOKEN:
            return answer({"error": "invalid_code"})
        while self.asked and self.asked[0] <= self.now - TOKEN_SECONDS:
            self.asked.popleft()
        if self.limits and len(self.asked) >= TOKENS:
            why = "You have made too many requests continuously. Please try again after some time."
            return answer({"error": "Access Denied", "error_description": why, "status": "failure"}, 400)
        self.asked.append(self.now)
        token = f"1000.access.{hashlib.sha256(f'{self.world.seed}/{self.now}/{len(self.tokens)}'.encode()).hexdigest()[:24]}"
        self.tokens[token] = self.now + TOKEN_LIFE
        # The API answers under another name than the login, as the real one does.
        told |= {"access_token": token, "api_domain": self.url.replace("127.0.0.1", "localhost"), "token_type": "Bearer"}
        return answer({**told, "scope": "ZohoCRM.modules.READ ZohoCRM.settings.READ", "expires_in": TOKEN_LIFE})

    # The API

    async def api(self, request: Request) -> Response:
        try:
            self._enter(request)
            body = await request.body()
            found = self._find(request, json.loads(body) if body else None)
        except Refusal as refusal:
            return answer(refusal.body, refusal.status, self._headers())
        if isinstance(found, Response):
            return found
        if found is None:
            return Response(status_code=304 if "if-modified-since" in request.headers else 204, headers=self._headers())
        return answer(found, 201 if request.method == "POST" else 200, self._headers())

    def _left(self) -> int:
        while self.spent and self.spent[0][0] <= self.now - DAY:
            self.spent.popleft()
        return max(0, self.credits - sum(cost for _, cost in self.spent))

    def _headers(self) -> dict[str, str]:
        """What is left of the day's credits shows once half of them are gone."""
        left = self._left()
        return {"X-API-CREDITS-REMAINING": str(left)} if left < CREDITS / 2 else {}

    def _enter(self, request: Request) -> None:
        path = request.url.path
        if not request.url.netloc.startswith("localhost"):
            raise Refusal(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Zoho-oauthtoken" or self.tokens.get(token, 0) <= self.now:
            raise Refusal(401, "INVALID_TOKEN", "invalid oauth token")
        if any(part in path for part in self.unscoped):
            raise Refusal(401, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL")
        cost = next((cost for part, cost in COSTS.items() if path.endswith(part) or f"/{part}/" in path), 1)
        cost = 1 if request.method == "GET" and "/bulk/" in path else cost
        if self._left() < cost:
            raise Refusal(429, "TOO_MANY_REQUESTS", "You have reached the limit of API credits of 24 hours", limit=self.credits)
        self.spent.append((self.now, cost))
        if any(part in path for part in self.off):
            raise Refusal(400, "FEATURE_NOT_ENABLED", "the feature is not available in your edition or is not enabled")

    def _find(self, request: Request, body: Object | None) -> Object | Response | None:
        parts = request.path_params.get("path", "bulk/v8/read").removeprefix("v8/").split("/")
        query = dict(request.query_params)
        match parts:
            case ["bulk", "v8", "read", *rest]:
                return self._bulk(rest, body)
            case ["settings", *rest] if "module" in query:
                return self._of_module(rest[-1], query)
            case ["settings", "pipeline"]:
                return {"pipeline": list(self.world.lists["pipelines"][query["layout_id"]].values())}
            case ["users", user, "territories"]:
                return self._page("territories", list(self.world.lists["user_territories"][user].values()), query)
            case _ if "/".join(parts) in SETTINGS or parts[0] == "settings":
                table, records = SETTINGS.get("/".join(parts), (parts[-1], parts[-1]))
                rows = list(self.world.lists[table][""].values())
                if table in ("business_hours", "fiscal_year"):
                    return {records: rows[0]}
                return self._page(records, rows, query)
        module = self._module(parts[0])
        match parts[1:]:
            case []:
                return self._list(module, query, request.headers.get("if-modified-since", ""))
            case ["actions", "count"]:
                return {"count": sum(not record.get("Converted__s") for record in module.records.values())}
            case ["deleted"]:
                return self._deleted(module, query, request.headers.get("if-modified-since", ""))
            case [id_]:
                return {"data": [self._shown(self._record(module, id_), query.get("fields"))]}
            case [id_, related] if related in RELATED:
                return self._related(module, id_, related, query)
        raise Refusal(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")

    def _module(self, name: str) -> Module:
        if name not in self.world.modules:
            raise Refusal(400, "INVALID_MODULE", "the module name given seems to be invalid", resource_path_index=0)
        if name in self.forbidden:
            raise Refusal(403, "NO_PERMISSION", "permission denied", permissions=[f"Crm_Implied_View_{name}"])
        return self.world.modules[name]

    def _record(self, module: Module, id_: str) -> Object:
        if id_ not in module.records:
            raise Refusal(400, "INVALID_DATA", "the id given seems to be invalid", resource_path_index=1)
        return module.records[id_]

    # Lists of records

    def _list(self, module: Module, query: dict[str, str], since: str) -> Object | None:
        names = [name for name in query.get("fields", "").split(",") if name]
        if not names:
            raise Refusal(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param="fields")
        if len(names) > 50:
            raise Refusal(400, "LIMIT_EXCEEDED", "Cannot process more than 50 fields", param="fields", limit=50)
        order = query.get("sort_by", "id")
        if order not in ("id", "Created_Time", "Modified_Time"):
            raise Refusal(400, "INVALID_DATA", "invalid sort_by", param="sort_by")
        rows = [row for row in module.records.values() if self._wanted(row, query)]
        if since:
            bound = self._since(since)
            rows = [row for row in rows if dt.datetime.fromisoformat(row["Modified_Time"]) >= bound]
        rows.sort(key=lambda row: (self._moment(row, order), int(row["id"])))
        first = self._first(query, since, rows, order)
        size = self._size(query)
        chosen = rows[first : first + size]
        if not chosen:
            return None
        listed = module.listed()
        shown = [
            {name: row.get(name) for name in names if name in listed or name.startswith("$")} | {"id": row["id"]}
            for row in chosen
        ]
        more = first + size < len(rows)
        info: Object = {"per_page": size, "count": len(chosen), "page": first // size + 1, "more_records": more}
        info |= {"sort_by": order, "sort_order": query.get("sort_order", "desc"), "next_page_token": None}
        if more:
            last = chosen[-1]
            info["next_page_token"] = self._token(query, since, [self._moment(last, order), last["id"], first + size])
            info["page_token_expiry"] = dt.datetime.fromtimestamp(self.now + DAY, dt.UTC).isoformat()
        return {"data": shown, "info": info}

    @staticmethod
    def _moment(row: Object, order: str) -> str:
        return "" if order == "id" else dt.datetime.fromisoformat(row[order]).astimezone(dt.UTC).isoformat()

    @staticmethod
    def _wanted(row: Object, query: dict[str, str]) -> bool:
        """Converted records, and unapproved ones, show only where they are asked for."""
        flags = (("converted", row.get("Converted__s") is True, "false"), ("approved", row.get("$approved", True), "true"))
        return all(
            query.get(name, usual) == "both" or query.get(name, usual) == str(value).lower() for name, value, usual in flags
        )

    @staticmethod
    def _since(text: str) -> dt.datetime:
        moment = None
        with contextlib.suppress(ValueError):
            moment = dt.datetime.fromisoformat(text)
        if moment is None or moment.tzinfo is None or text.endswith("Z"):
            raise Refusal(400, "INVALID_DATA", "invalid header value", header="If-Modified-Since")
        return moment

    @staticmethod
    def _size(query: dict[str, str]) -> int:
        size = query.get("per_page", "200")
        if not size.isdigit() or not 1 <= int(size) <= PAGE:
            raise Refusal(400, "LIMIT_EXCEEDED", "per_page should be within 200", param="per_page", limit=PAGE)
        return int(size)

    def _first(self, query: dict[str, str], since: str, rows: list[Object], order: str) -> int:
        """Where the page begins."""
        if "page_token" not in query:
            first = (int(query.get("page", "1")) - 1) * self._size(query)
            if first >= LAST_ROW:
                raise Refusal(
                    400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", "use page_token for records beyond 2000", limit=LAST_ROW
                )
            return first
        if "page" in query:
            raise Refusal(400, "AMBIGUITY_DURING_PROCESSING", "page and page_token cannot be given together")
        asked, issued, place = json.loads(base64.urlsafe_b64decode(query["page_token"]))
        if asked != self._fingerprint(query, since) or issued < self.now - DAY:
            raise Refusal(400, "INVALID_DATA", "the page_token has expired or belongs to other parameters", param="page_token")
        moment, id_, passed = place
        if passed >= self.reach:
            raise Refusal(400, "PAGINATION_LIMIT_EXCEEDED", f"page_token reaches {self.reach} records", limit=self.reach)
        return sum((self._moment(row, order), int(row["id"])) <= (moment, int(id_)) for row in rows)

    def _token(self, query: dict[str, str], since: str, place: list[Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps([self._fingerprint(query, since), self.now, place]).encode()).decode()

    @staticmethod
    def _fingerprint(query: dict[str, str], since: str) -> str:
        asked = sorted((name, value) for name, value in query.items() if name not in ("page", "page_token"))
        return hashlib.sha256(json.dumps([asked, since]).encode()).hexdigest()[:16]

    @staticmethod
    def _shown(record: Object, fields: str | None) -> Object:
        if not fields:
            return record
        return {name: record.get(name) for name in fields.split(",")} | {"id": record["id"]}

    def _deleted(self, module: Module, query: dict[str, str], since: str) -> Object | None:
        rows = list(module.tombstones.values())
        if since:
            bound = self._since(since)
            rows = [row for row in rows if dt.datetime.fromisoformat(row["deleted_time"]) >= bound]
        return self._page("data", rows, query)

    def _related(self, module: Module, id_: str, related: str, query: dict[str, str]) -> Object | None:
        self._record(module, id_)
        table = RELATED[related]
        if OF_A_RECORD[table] != module.name:
            raise Refusal(400, "INVALID_DATA", "the related list is invalid", resource_path_index=2)
        if related == "Emails" and query.get("owner_id") not in self.world.lists["users"][""]:
            raise Refusal(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param="owner_id")
        if related not in ("Emails", "__timeline") and "fields" not in query:
            raise Refusal(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param="fields")
        rows = self.world.related[table][id_]
        if related == "Emails":
            start = int(query.get("index", "0"))
            more = start + 10 < len(rows)
            info = {"count": len(rows[start : start + 10]), "per_page": 10, "more_records": more, "prev_index": None}
            return {"Emails": rows[start : start + 10], "info": {**info, "next_index": str(start + 10) if more else None}}
        return self._page("__timeline" if related == "__timeline" else "data", rows, query)

    def _page(self, records: str, rows: list[Object], query: dict[str, str]) -> Object | None:
        """A page by number, as settings and lists that hang on records have it."""
        size, page = self._size(query), int(query.get("page", "1"))
        chosen = rows[(page - 1) * size : page * size]
        if not chosen:
            return None
        info = {"per_page": size, "count": len(chosen), "page": page, "more_records": page * size < len(rows)}
        return {records: [self._shown(row, query.get("fields")) for row in chosen], "info": info}

    def _of_module(self, what: str, query: dict[str, str]) -> Object | None:
        """Settings of one module."""
        module = self.world.modules.get(query["module"])
        if module is None:
            raise Refusal(400, "INVALID_MODULE", "the module name given seems to be invalid")
        rows = module.fields if what == "fields" else list(self.world.lists[what][module.name].values())
        if what in ("custom_views", "tags"):
            return self._page(what, rows, query)
        return {what: rows} if rows else None

    # Exports

    def _bulk(self, parts: list[str], body: Object | None) -> Object | Response:
        match parts:
            case []:
                return self._start((body or {})["query"])
            case [id_] if id_ in self.jobs:
                job = self.jobs[id_]
                job["looks"] = min(job["looks"] + 1, 2)
                shown = {name: value for name, value in job.items() if name not in ("looks", "file", "result")}
                shown["state"] = STATES[job["looks"]]
                return {"data": [shown | ({"result": job["result"]} if job["looks"] == 2 else {})]}
            case [id_, "result"] if id_ in self.jobs and self.jobs[id_]["looks"] == 2:
                return Response(self.jobs[id_]["file"], 200, {"Content-Type": "application/x-download"})
        raise Refusal(404, "RESOURCE_NOT_FOUND", "The requested resource doesn't exist.", resource="job")

    def _start(self, query: Object) -> Object:
        module = self._module(query["module"]["api_name"])
        if module.name in ("Notes", "Attachments"):
            raise Refusal(400, "MODULE_NOT_SUPPORTED", "The module is not supported by bulk read")
        asked = ["id", *query["fields"]]
        known = {field["api_name"]: field for field in module.fields}
        if unknown := [name for name in query["fields"] if name.partition(".")[0] not in known]:
            raise Refusal(400, "INVALID_REQUEST", "invalid field", fields=unknown)
        rows = [row for row in module.records.values() if not row.get("Converted__s")]
        start = int(query.get("page_token") or 0)
        chosen = rows[start : start + self.export_page]
        more = start + self.export_page < len(rows)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(asked)
        writer.writerows([[self._cell(row, name, known) for name in asked] for row in chosen])
        file = io.BytesIO()
        id_ = self.world.id()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{id_}.csv", text.getvalue())
        user = next(iter(self.world.lists["users"][""].values()))
        by = {"id": user["id"], "name": user["full_name"]}
        created = dt.datetime.fromtimestamp(self.now, dt.UTC).isoformat()
        result: Object = {"page": 1, "count": len(chosen), "per_page": self.export_page, "more_records": more}
        result |= {"download_url": f"/crm/bulk/v8/read/{id_}/result"}
        result |= {"next_page_token": str(start + self.export_page) if more else None}
        made = {"id": id_, "operation": "read", "created_by": by, "created_time": created}
        self.jobs[id_] = {**made, "query": query, "file_type": "csv", "result": result, "looks": -1, "file": file.getvalue()}
        details = {**made, "state": "ADDED"}
        return {
            "data": [{"status": "success", "code": "ADDED_SUCCESSFULLY", "message": "Added successfully.", "details": details}],
            "info": {},
        }

    def _cell(self, row: Object, name: str, known: dict[str, Object]) -> str:
        """A value as an export shows it: of a record that is pointed at its id, or the field that was asked for by a dot."""
        field, _, beside = name.partition(".")
        value = row.get(field)
        if value is None:
            return ""
        if beside:
            target = self.world.modules[known[field]["lookup"]["module"]["api_name"]]
            found = target.records.get(value["id"], {}).get(beside) if isinstance(value, dict) else None
            return str(found or "")
        if isinstance(value, dict):
            return str(value["id"]) if "id" in value else json.dumps(value)
        if isinstance(value, list):
            if all(isinstance(item, str) for item in value):
                return ";".join(value)
            return ";".join(item["name"] for item in value) if field == "Tag" else json.dumps(value)
        return str(value).lower() if isinstance(value, bool) else str(value)


def build(*, seed: int, scale: float, now: int, limits: bool) -> Zoho:
    """The stand-in as `datalake.sandbox` runs it."""
    return Zoho(World(seed, scale, now), limits=limits)
