"""The stand-in for 360dialog: partner hub, Messaging API and Meta's Graph API under one address; it posts webhooks to another.

The hosts are told apart by the beginning of the path (`/hub.360dialog.io/api/v2/…`). Keys: `hub-sandbox-key`, or the login
`partner` / `hub-sandbox-password`; `key-<channel>` for each number; `meta-sandbox-token`. Tests may send to
`/_sandbox/control`: {"webhook": "http://…"} names the receiver and posts what waits, {"refuse": ["key-…"]} makes keys wrong,
{"token_seconds": 1} sets how long a login lasts, {"limits": {"balance": [5, 30]}} sets calls and seconds, {"unstable": 1} lets
that many clients come in while their list is walked, {"pages": 20} sets the longest page.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import random
import re
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from datalake import contracts
from datalake.model import Column
from datalake.sandbox.base import Row, answer
from datalake.sandbox.dialog_360_webhooks import DAY, SECRET, TOKEN, Number, Record, Traffic
from datalake.sandbox.fill import Filler, company, phone

PARTNER = "SANDBOXPA"
HUB_KEY, USERNAME, PASSWORD, META_TOKEN = "hub-sandbox-key", "partner", "hub-sandbox-password", "meta-sandbox-token"
LEAVES = 1900
"""Number of the client that leaves on the first day that passes."""
HISTORY = 4
"""Days of business before the stand-in's clock starts."""
WEBHOOK_TABLES = frozenset(
    {
        "account_alerts",
        "account_updates",
        "calls",
        "contacts",
        "message_echoes",
        "message_statuses",
        "messages",
        "partner_events",
        "phone_number_name_updates",
        "phone_number_quality_updates",
        "template_category_updates",
        "template_components_updates",
        "template_quality_updates",
        "template_status_updates",
        "user_preferences",
        "webhook_errors",
        "webhook_events_raw",
    }
)


class Refusal(Exception):
    """An error answer, in the form of the host that gives it."""

    def __init__(self, status: int, body: Record, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(status))
        self.status, self.body, self.headers = status, body, headers or {}


def hub_refusal(status: int, why: str, headers: dict[str, str] | None = None) -> Refusal:
    """The hub's and the Messaging API's error body."""
    return Refusal(status, {"meta": {"success": False, "http_code": status, "developer_message": why}}, headers)


def meta_refusal(status: int, code: int, why: str) -> Refusal:
    """Meta's error body."""
    return Refusal(status, {"error": {"message": why, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}})


class Dialog360:
    """One partner, its clients, their numbers, and what happens on them."""

    def __init__(self, seed: int, scale: float, now: int, *, limits: bool) -> None:
        self.source = contracts.load_source("dialog_360")
        self.seed, self.scale, self.now = seed, scale, now
        self.began = now - HISTORY * DAY
        self.first_day = _midnight(self.began)
        self.filler = Filler(self.source, seed, now, _moment)
        self.clients: dict[str, Record] = {}
        self.channels: dict[str, Record] = {}
        self.templates: dict[str, dict[str, Record]] = {}
        self.flows: dict[str, dict[str, Record]] = {}
        self.gone: dict[str, list[Row]] = defaultdict(list)
        self.library: list[Record] = []
        self.served: dict[str, dict[tuple[str, ...], Row]] = defaultdict(dict)
        self.refused: set[str] = set()
        self.tokens: dict[str, float] = {}
        self.token_seconds = 3600.0
        self.page = 1000
        self.unstable = 0
        self.limits: dict[str, tuple[int, float]] = {"balance": (5, 30.0), "hub": (20, 1.0)} if limits else {}
        self._calls: dict[str, deque[float]] = defaultdict(deque)
        self._found(max(2, round(3 * scale)))
        self.keyed = list(self.channels)[:-1][:4]
        self.traffic = Traffic(seed, scale, [self._number(channel) for channel in self.keyed], self._template_names())
        self.days = 0
        self._live()

    # What `base` asks of a stand-in

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/{host}/{path:path}", self.handle, methods=["GET", "POST"])]

    def advance(self, seconds: int) -> dict[str, Any]:
        happened: dict[str, int] = defaultdict(int)
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + DAY)
            for name, count in self._live().items():
                happened[name] += count
        return dict(happened)

    def control(self, change: dict[str, Any]) -> None:
        for what, value in change.items():
            match what:
                case "webhook":
                    self.traffic.address = value
                    self.traffic.deliver(self.now)
                case "refuse":
                    self.refused = set(value)
                case "token_seconds":
                    self.token_seconds = float(value)
                case "limits":
                    self.limits = {name: (calls, float(seconds)) for name, (calls, seconds) in value.items()}
                case "unstable":
                    self.unstable = int(value)
                case "pages":
                    self.page = int(value)
                case _:
                    raise ValueError(
                        f"no '{what}' can be changed; there are webhook, refuse, token_seconds, limits, unstable, pages"
                    )

    def environment(self, url: str) -> dict[str, str]:
        return {
            "DIALOG_360_BASE_URL": url,
            "DIALOG_360_API_KEY": HUB_KEY,
            "DIALOG_360_PARTNER_ID": PARTNER,
            "DIALOG_360_CHANNEL_KEYS": ",".join(f"{channel}=key-{channel}" for channel in self.keyed),
            "DIALOG_360_META_TOKEN": META_TOKEN,
            "DIALOG_360_WEBHOOK_SECRET": SECRET,
            "DIALOG_360_WEBHOOK_TOKEN": TOKEN,
        }

    # The business

    def _found(self, clients: int) -> None:
        for number in range(clients):
            self._client(number)
            for which in range(2 if number == 0 else 1):
                self._channel(f"{1000 + number}CL", 10 * (number + 1) + which)
        self._client(LEAVES - 1000)
        self._channel(f"{LEAVES}CL", LEAVES)
        for number in range(8):
            self.library.append(self._ready_made(number))

    def _client(self, number: int) -> None:
        id_ = f"{1000 + number}CL"
        firm = company(number)
        self.clients[id_] = self._record("clients", number, id=id_, name=firm.name, status="active", partner_id=None)

    def _channel(self, client: str, number: int) -> None:
        """Numbers of one client share an account and a project."""
        id_, waba = f"{number}0CH" if number % 2 else f"{number}1CH", f"{client[:-2]}WA"
        account = self._record(
            "waba_accounts", int(client[:-2]), id=waba, external_id=f"{10**14 + int(client[:-2])}", client_id=client
        )
        project = self._record("projects", int(client[:-2]), id=f"{client[:-2]}PJ", client_id=client, name=f"Projeto {client}")
        self.channels[id_] = self._record(
            "channels",
            number,
            id=id_,
            client_id=client,
            status="running",
            external_id=str(10**14 + number * 7),
            current_quality_rating="GREEN",
            waba_account=account,
            project=project,
            modified_at=_iso(self.began),
        )
        if waba not in self.templates:
            self.templates[waba], self.flows[waba] = {}, {}
            for which in range(max(3, round(6 * self.scale))):
                self._template(waba, int(client[:-2]) * 100 + which)
            for which in range(2):
                id_ = str(10**9 + int(client[:-2]) * 10 + which)
                known = {"id": id_, "status": "PUBLISHED", "validation_errors": []}
                self.flows[waba][id_] = _without_nothing(self._record("flows", int(id_[-5:]), **known))

    def _template(self, waba: str, number: int) -> None:
        id_ = f"{number}WT"
        known = {"id": id_, "external_id": str(10**15 + number), "name": f"aviso_{number}", "language": "pt_BR"}
        components = [{"type": "BODY", "text": "Olá {{1}}, seu pedido {{2}} saiu."}]
        self.templates[waba][id_] = self._record(
            "waba_templates", number, **known, components=components, status="approved", waba_account_id=None, partner_id=None
        )

    def _ready_made(self, number: int) -> Record:
        return self._record("template_library", number, name=f"library_{number}", language="pt_BR", channel_id=None)

    def _record(self, table: str, number: int, **known: Any) -> Record:
        return self.filler.record(self.source.tables[table], number, **known)

    def _live(self) -> dict[str, int]:
        """The days that have passed since: their traffic, and at the hub what a new day changes."""
        happened: dict[str, int] = defaultdict(int)
        while self.began + (self.days + 1) * DAY <= self.now:
            start = self.began + self.days * DAY
            for name, count in self.traffic.day(start, self.days).items():
                happened[name] += count
            self.days += 1
            if self.days > HISTORY:
                self._change(self.days, start)
                happened["changes at the hub"] += 1
        for name, count in self.traffic.deliver(self.now).items():
            happened[name] += count
        return happened

    def _change(self, day: int, at: int) -> None:
        """Something new, something changed, something gone."""
        first = next(iter(self.channels.values()))
        first |= {"current_quality_rating": ("YELLOW", "GREEN")[day % 2], "modified_at": _iso(at)}
        client = self.clients[first["client_id"]]
        client |= {"max_channels": day, "modified_at": _iso(at)}
        waba = first["waba_account"]["id"]
        first["waba_account"] = {**first["waba_account"], "name": f"Conta {day}"}
        first["project"] = {**first["project"], "name": f"Projeto do dia {day}"}
        old = next(iter(self.templates[waba]))
        record = self.templates[waba].pop(old)
        self.gone["waba_templates"].append(Row(record, {"waba_account_id": waba, "partner_id": PARTNER}, True))
        for channel in self._keyed_of(waba):
            self.gone["message_templates"].append(Row(_template_form(record), {"channel_id": channel}, True))
        changed = next(iter(self.templates[waba].values()))
        changed |= {"quality_score": {"score": f"YELLOW {day}"}, "modified_at": _iso(at)}
        self._template(waba, 900_000 + day)
        self.library[1] = {**self.library[1], "topic": f"tópico {day}"}
        for channel in self.keyed:
            self.gone["template_library"].append(Row(self.library[0], {"channel_id": channel}, True))
        del self.library[0]
        self.library.append(self._ready_made(100 + day))
        flow = next(iter(self.flows[waba].values()))
        flow["status"] = f"DEPRECATED {day}"
        if day == HISTORY + 1:
            self._leave(f"{LEAVES}CL")
        if day == HISTORY + 2:
            self._client(500)
            self._channel("1500CL", 77)

    def _leave(self, client: str) -> None:
        """A client goes, with all that was theirs."""
        facts = {"partner_id": PARTNER}
        self.gone["clients"].append(Row(self.clients.pop(client), facts, True))
        for id_ in [id_ for id_, record in self.channels.items() if record["client_id"] == client]:
            record = self.channels.pop(id_)
            waba = record["waba_account"]["id"]
            self.gone["channels"].append(Row(record, facts, True))
            self.gone["waba_accounts"].append(Row(record["waba_account"], {}, True))
            self.gone["projects"].append(Row(record["project"], {}, True))
            for table, of in (("waba_templates", self.templates), ("flows", self.flows)):
                for each in of.pop(waba).values():
                    self.gone[table].append(Row(each, {"waba_account_id": waba, **facts}, True))
            for number in self._phone_numbers_of([record]):
                self.gone["meta_phone_numbers"].append(Row(number, {"waba_id": record["waba_account"]["external_id"]}, True))

    def _keyed_of(self, waba: str) -> list[str]:
        return [channel for channel in self.keyed if self.channels[channel]["waba_account"]["id"] == waba]

    def _number(self, channel: str) -> Number:
        record = self.channels[channel]
        return Number(channel, record["external_id"], phone(int(channel[:-2])), record["waba_account"]["external_id"])

    def _template_names(self) -> list[tuple[int, str, str]]:
        return [
            (int(record["external_id"]), record["name"], record["language"])
            for of in self.templates.values()
            for record in of.values()
        ]

    # Figures: what was on a day, as it looks now. The last three days still move.

    def _figure(self, what: str, day: int, most: int) -> int:
        final = random.Random(f"{self.seed}/{what}/{day}").randrange(1, most)
        age = (self.now - day) // DAY
        return final if age >= 3 else final * (age + 1) // 4

    def _days(self, start: int, end: int) -> list[int]:
        return [day for day in range(self.first_day, self.now, DAY) if start <= day < end]

    def _usage(self, client: str, day: int) -> Record:
        number = int(client[:-2]) * 1000 + (day - self.first_day) // DAY
        known = {"quantity": self._figure(f"usage/{client}", day, 500), "period_date": _iso(day), "currency": "BRL"}
        return self._record("client_usage", number, **known)

    def _client_balance(self, client: str, start: int, end: int) -> Record:
        known = {"balance": self._figure(f"balance/{client}", _midnight(self.now), 9000) / 100, "granularity": "day"}
        record = self._record("client_balance", int(client[:-2]), **known, currency="BRL")
        usage = [self._usage(client, day) for day in self._days(start, end)]
        for row in usage:
            self._remember("client_usage", row, client_id=client, granularity="day")
        return {**record, "usage": usage}

    def _channel_usage(self, channel: str, day: int) -> list[Record]:
        points = []
        for category in ("UTILITY", "SERVICE"):
            point = {"start": day, "end": day + DAY, "country": "BR", "pricing_category": category, "pricing_type": "REGULAR"}
            if category == "UTILITY":
                point["tier"] = "0:MAX"
            volume = self._figure(f"{channel}/{category}", day, 900)
            points.append({**point, "volume": volume, "cost": round(volume * 0.0068, 4)})
        return points

    def _analytics(self, template: str, day: int) -> Record:
        sent = self._figure(f"analytics/{template}", day, 300)
        cost = [{"type": "amount_spent", "value": round(sent * 0.01, 2)}]
        point = {"template_id": template, "start": day, "end": day + DAY, "sent": sent, "delivered": sent, "read": sent // 2}
        return {**point, "clicked": [{"type": "url_button", "count": sent // 9}], "cost": cost}

    def _meta_points(self, waba: str, day: int, kind: str) -> list[Record]:
        base: Record = {"start": day, "end": day + DAY}
        volume = self._figure(f"{kind}/{waba}", day, 700)
        if kind == "analytics":
            return [{**base, "sent": volume, "delivered": volume - 1}]
        base |= {"phone_number": phone(int(waba[-4:])), "country": "BR"}
        if kind == "pricing_analytics":
            base |= {"pricing_category": "UTILITY", "pricing_type": "REGULAR", "volume": volume, "cost": volume / 100}
            return [{**base, "tier": "0:MAX"}, {**base, "pricing_category": "SERVICE", "cost": 0}]
        base |= {"conversation_category": "UTILITY", "conversation_direction": "BUSINESS_INITIATED"}
        return [{**base, "conversation_type": "REGULAR", "conversation": volume, "cost": volume / 50}]

    # Answers

    async def handle(self, request: Request) -> Response:
        host, path = request.path_params["host"], "/" + request.path_params["path"]
        try:
            if host == "hub.360dialog.io":
                return await self._hub(request, path)
            if host == "waba-v2.360dialog.io":
                return self._messaging(request, path)
            if host == "graph.facebook.com":
                return self._graph(request, path)
            raise hub_refusal(404, "no such host")
        except Refusal as refusal:
            return answer(refusal.body, refusal.status, refusal.headers)

    def _limit(self, name: str) -> None:
        if name not in self.limits:
            return
        most, seconds = self.limits[name]
        now, calls = time.monotonic(), self._calls[name]
        while calls and calls[0] <= now - seconds:
            calls.popleft()
        if len(calls) >= most:
            wait = max(1, round(calls[0] + seconds - now + 0.5))
            raise hub_refusal(429, "Too many requests", {"Retry-After": str(wait)})
        calls.append(now)

    # The hub

    async def _hub(self, request: Request, path: str) -> Response:
        if path == "/api/v2/token":
            return self._login(await request.json())
        self._authenticate(request)
        prefix = f"/api/v2/partners/{PARTNER}"
        if not path.startswith(prefix):
            raise hub_refusal(403, "This partner is not yours")
        query = request.query_params
        match path.removeprefix(prefix).strip("/").split("/"):
            case [""]:
                self._limit("hub")
                return answer(self._partner())
            case ["clients"]:
                return self._page(request, "clients", list(self.clients.values()))
            case ["channels"]:
                self._snapshot_channels()
                return self._page(request, "partner_channels", list(self.channels.values()))
            case ["info", "balance"]:
                self._limit("hub")
                balances: list[Record] = [{"currency": each, "total": self._total(each)} for each in ("BRL", "EUR")]
                for balance in balances:
                    self._serve("partner_balance", balance, partner_id=PARTNER, currency=balance["currency"])
                return answer(balances)
            case ["webhook_url"]:
                self._limit("hub")
                return answer({"webhook_url": f"https://{HOOKS}"})
            case ["clients", client, "info", "balance"] if client in self.clients:
                self._limit("balance")
                record = self._client_balance(client, int(query["start_date"]), int(query["end_date"]))
                self._serve("client_balance", record, client_id=client)
                return answer(record)
            case ["clients", client, "channels", channel, "info", what] if channel in self.channels:
                self._limit("hub")
                if self.channels[channel]["client_id"] != client:
                    raise hub_refusal(404, "This client has no such channel")
                return self._of_channel(channel, what, query)
            case ["waba_accounts", waba, "waba_templates"] if waba in self.templates:
                return self._page(request, "waba_templates", list(self.templates[waba].values()))
            case ["waba_accounts", waba, "flows"] if waba in self.flows:
                self._limit("hub")
                return answer({"data": list(self.flows[waba].values()), "paging": {"cursors": {"before": "a", "after": "b"}}})
        raise hub_refusal(404, "Not found")

    def _login(self, body: Record) -> Response:
        if (body.get("username"), body.get("password")) != (USERNAME, PASSWORD):
            raise hub_refusal(401, "Wrong username or password")
        token = secrets.token_urlsafe(16)
        self.tokens[token] = time.monotonic() + self.token_seconds
        told = {"access_token": token, "refresh_token": secrets.token_urlsafe(16), "token_type": "Bearer"}
        return answer({**told, "expires_in": self.token_seconds})

    def _authenticate(self, request: Request) -> None:
        key = request.headers.get("x-api-key", "")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key == HUB_KEY and key not in self.refused:
            return
        if not key and self.tokens.get(token, 0.0) > time.monotonic():
            return
        raise hub_refusal(401, "Unauthorized: the key or token is missing, wrong or expired")

    def _page(self, request: Request, name: str, records: list[Record]) -> Response:
        """A page by offset. Without `sort` the order is another one each time."""
        self._limit("hub")
        query = request.query_params
        limit, offset = min(int(query.get("limit", 20)), self.page), int(query.get("offset", 0))
        if self.unstable and offset and name == "clients":
            self.unstable -= 1
            self._client(600 + self.unstable)
            records = list(self.clients.values())
        sort = json.loads(query["sort"]) if "sort" in query else []
        if sort:
            records.sort(key=lambda record: str(record[sort[0].lstrip("-")]), reverse=sort[0].startswith("-"))
        else:
            random.shuffle(records)
        shown = records[offset : offset + limit]
        facts: Record = {
            "count": len(shown),
            "total": len(records),
            "limit": limit,
            "offset": offset,
            "sort": sort,
            "filters": {},
        }
        return answer({**facts, name: shown})

    def _of_channel(self, channel: str, what: str, query: Any) -> Response:
        if what == "balance":
            known = {"balance": self._figure(f"balance/{channel}", _midnight(self.now), 5000) / 100, "currency": "BRL"}
            record = self._record("channel_balance", int(channel[:-2]), **known)
            self._serve("channel_balance", record, channel_id=channel, client_id=self.channels[channel]["client_id"])
            return answer(record)
        days = self._days(int(query["start_date"]), int(query["end_date"]))
        points = [point for day in days for point in self._channel_usage(channel, day)]
        for point in points:
            self._remember("channel_usage", point, channel_id=channel, granularity="day", **_dimensions(point))
        return answer({"usage": points})

    def _partner(self) -> Record:
        return self._record("partner", 1, id=PARTNER, brand_name="Sandbox", country="BR")

    def _total(self, currency: str) -> float:
        return self._figure(f"partner/{currency}", _midnight(self.now), 90_000) / 100

    def _serve(self, table: str, record: Record, **facts: str) -> None:
        """Remember a snapshot that was asked for: the last one of a day is the one that counts."""
        facts["snapshot_date"] = _iso(self.now)[:10]
        self.served[table][tuple(facts.values())] = Row(json.loads(json.dumps(record)), facts)

    def _remember(self, table: str, record: Record, **facts: str) -> None:
        """Remember a figure that was asked for: of whoever is gone later, the last that was told counts."""
        self.served[table][(str(record.get("start", record.get("period_date"))), *facts.values())] = Row(record, facts)

    def _snapshot_channels(self) -> None:
        for record in self.channels.values():
            self._serve("channel_daily", record, id=record["id"])

    # The Messaging API

    def _messaging(self, request: Request, path: str) -> Response:
        key = request.headers.get("d360-api-key", "")
        channel = key.removeprefix("key-")
        if channel not in self.keyed or key in self.refused:
            raise hub_refusal(401, "Invalid api key")
        query = request.query_params
        match path.strip("/").split("/"):
            case ["health_status"]:
                return answer(self._health(channel, "fields" in query))
            case ["whatsapp_business_profile"]:
                return answer({"data": [{"business_profile": self._profile(channel)}]})
            case ["v1", "configs", "webhook"]:
                if channel == self.keyed[-1]:
                    raise hub_refusal(404, "No webhook set")
                headers = {"Authorization": f"Bearer {TOKEN}"}
                return answer({"url": f"https://{HOOKS}/{channel}/{TOKEN}", "headers": headers})
            case ["v1", "configs", "templates"]:
                waba = self.channels[channel]["waba_account"]["id"]
                return self._page(request, "waba_templates", [_template_form(one) for one in self.templates[waba].values()])
            case ["message_template_library"]:
                return self._cursor_page(query, self.library)
            case ["marketing", "template_analytics"]:
                return self._template_analytics(channel, query)
            case ["whatsapp_business", "attachments", id_] if id_ in self.traffic.media:
                return Response(self.traffic.media[id_], 200, media_type="application/octet-stream")
            case [id_] if id_ in self.traffic.media:
                return answer(self._media(id_))
        raise hub_refusal(404, "Not found")

    def _health(self, channel: str, fields: bool) -> Record:
        number = self._number(channel)
        state = ("AVAILABLE", "LIMITED")[self.days % 2]
        entities: list[Record] = [
            {
                "entity_type": "PHONE_NUMBER",
                "id": number.id,
                "can_send_message": state,
                "additional_info": ["Display name pending"],
            },
            {"entity_type": "WABA", "id": number.waba, "can_send_message": "AVAILABLE"},
            {"entity_type": "BUSINESS", "id": "1", "can_send_message": "AVAILABLE", "errors": []},
            {"entity_type": "APP", "id": "2", "can_send_message": "AVAILABLE"},
        ]
        if not fields:
            hour = _iso(self.now - self.now % 3600)
            facts = {"channel_id": channel, "snapshot_at": hour, "overall_can_send_message": state}
            for entity in entities:
                self.served["channel_health"][(channel, hour, entity["entity_type"])] = Row(entity, facts)
        health = {"can_send_message": state, "entities": entities}
        shown = (
            {}
            if not fields
            else {"display_phone_number": number.display, "verified_name": "Padaria", "name_status": "APPROVED"}
        )
        rating = {} if not fields else {"quality_rating": ("GREEN", "YELLOW")[self.days % 2]}
        return {"id": number.id, "health_status": health, **shown, **rating}

    def _profile(self, channel: str) -> Record:
        known = {"about": f"Dia {self.days}", "messaging_product": "whatsapp", "vertical": "RETAIL"}
        return _without_nothing(self._record("business_profiles", int(channel[:-2]), **known))

    def _template_analytics(self, channel: str, query: Any) -> Response:
        ids = json.loads(query["template_ids"])
        if len(ids) > 10:
            raise meta_refusal(400, 100, "At most 10 templates")
        days = self._days(int(query["start"]), int(query["end"]))
        waba = self.channels[channel]["waba_account"]["id"]
        known = {record["external_id"] for record in self.templates[waba].values()}
        points = [self._analytics(id_, day) for id_ in ids if id_ in known for day in days]
        for point in points:
            self._remember("template_analytics", point, template_id=point["template_id"])
        return answer({"data": [{"granularity": "DAILY", "product_type": "cloud_api", "data_points": points}]})

    def _media(self, id_: str) -> Record:
        content = self.traffic.media[id_]
        url = f"https://lookaside.fbsbx.com/whatsapp_business/attachments/{id_}?ext=1797000000&hash={secrets.token_hex(8)}"
        told = {
            "messaging_product": "whatsapp",
            "url": url,
            "mime_type": "image/jpeg",
            "id": id_,
            "file_size": str(len(content)),
        }
        return {**told, "sha256": base64.b64encode(hashlib.sha256(content).digest()).decode()}

    # Meta's Graph API

    def _graph(self, request: Request, path: str) -> Response:
        if request.headers.get("authorization") != f"Bearer {META_TOKEN}" or META_TOKEN in self.refused:
            raise meta_refusal(401, 190, "Invalid OAuth access token")
        query = request.query_params
        wabas = {record["waba_account"]["external_id"] for record in self.channels.values()}
        match path.strip("/").split("/"):
            case ["v23.0", waba, "phone_numbers"] if waba in wabas:
                return self._cursor_page(query, self._phone_numbers(waba))
            case ["v23.0", waba] if waba in wabas:
                return answer(self._meta_analytics(waba, query["fields"]))
        raise meta_refusal(400, 100, "Unsupported get request")

    def _meta_analytics(self, waba: str, fields: str) -> Record:
        match = re.match(r"(\w+)\.start\((\d+)\)\.end\((\d+)\)\.granularity\((\w+)\)", fields)
        if match is None:
            raise meta_refusal(400, 100, "Syntax error in fields")
        kind, granularity = match[1], match[4]
        if granularity != ("DAY" if kind == "analytics" else "DAILY"):
            raise meta_refusal(400, 100, f"{granularity} is no granularity")
        points = [point for day in self._days(int(match[2]), int(match[3])) for point in self._meta_points(waba, day, kind)]
        for point in points:
            self._remember(META_TABLES[kind], point, waba_id=waba, granularity=granularity, **_dimensions(point))
        if not points:
            return {"id": waba}
        if kind == "analytics":
            return {kind: {"granularity": granularity, "phone_numbers": [], "data_points": points}, "id": waba}
        return {kind: {"data": [{"data_points": points}]}, "id": waba}

    def _phone_numbers(self, waba: str) -> list[Record]:
        return self._phone_numbers_of(
            record for record in self.channels.values() if record["waba_account"]["external_id"] == waba
        )

    def _phone_numbers_of(self, channels: Iterable[Record]) -> list[Record]:
        return [
            _without_nothing(
                self._record(
                    "meta_phone_numbers",
                    int(record["id"][:-2]),
                    id=record["external_id"],
                    display_phone_number=phone(int(record["id"][:-2])),
                    status="LINKED",
                    quality_rating=record["current_quality_rating"],
                    code_verification_status="VERIFIED",
                    unified_cert_status="APPROVED",
                    account_mode="LIVE",
                    host_platform="CLOUD_API",
                    messaging_limit_tier="TIER_1K",
                )
            )
            for record in channels
        ]

    def _cursor_page(self, query: Any, records: list[Record]) -> Response:
        limit, first = min(int(query.get("limit", 25)), 5), int(query.get("after") or 0)
        shown, last = records[first : first + limit], first + limit
        more = {"next": f"https://graph.facebook.com/next?after={last}"} if last < len(records) else {}
        return answer({"data": shown, "paging": {"cursors": {"before": str(first), "after": str(last)}, **more}})

    # The truth

    def ledger(self, table: str) -> Iterable[Row]:
        if table in WEBHOOK_TABLES:
            return self.traffic.rows(table)
        if table in SNAPSHOTS:
            return self.served[table].values()
        if table in FIGURES:
            return self._figures(table)
        living: dict[str, Callable[[], Iterable[Row]]] = {
            "business_profiles": lambda: [Row(self._profile(channel), {"channel_id": channel}) for channel in self.keyed],
            "channel_phone_info": lambda: [Row(self._health(channel, True), {"channel_id": channel}) for channel in self.keyed],
            "channel_webhook_config": lambda: [
                Row({}, {"channel_id": channel, "url": f"https://{HOOKS}/{channel}/***", "header_names": ["Authorization"]})
                for channel in self.keyed[:-1]
            ],
            "channels": lambda: [Row(record, {"partner_id": PARTNER}) for record in self.channels.values()],
            "clients": lambda: [Row(record, {"partner_id": PARTNER}) for record in self.clients.values()],
            "flows": lambda: self._of_accounts(self.flows),
            "media_files": self._files,
            "message_latest_status": self.traffic.latest,
            "message_templates": lambda: [
                Row(_template_form(one), {"channel_id": channel})
                for channel in self.keyed
                for one in self.templates[self.channels[channel]["waba_account"]["id"]].values()
            ],
            "meta_phone_numbers": lambda: [
                Row(number, {"waba_id": waba}) for waba in self._accounts() for number in self._phone_numbers(waba)
            ],
            "partner": lambda: [Row(self._partner())],
            "partner_webhook_config": lambda: [Row({"webhook_url": f"https://{HOOKS}"}, {"partner_id": PARTNER})],
            "projects": lambda: self._embedded("project"),
            "template_library": lambda: [
                Row(record, {"channel_id": channel}) for channel in self.keyed for record in self.library
            ],
            "waba_accounts": lambda: self._embedded("waba_account"),
            "waba_templates": lambda: self._of_accounts(self.templates),
        }
        return [*living[table](), *self.gone[table]]

    def _figures(self, table: str) -> list[Row]:
        """All days of whoever is here, as they look now; of whoever is gone, what was told last."""
        rows: list[Row] = []
        owner = FIGURES[table]
        days = self._days(0, self.now)
        if table == "client_usage":
            here = list(self.clients)
            rows += [Row(self._usage(one, day), {owner: one, "granularity": "day"}) for one in here for day in days]
        elif table == "channel_usage":
            here = list(self.channels)
            points = [(one, point) for one in here for day in days for point in self._channel_usage(one, day)]
            rows += [Row(point, {owner: one, "granularity": "day", **_dimensions(point)}) for one, point in points]
        elif table == "template_analytics":
            wabas = {self.channels[channel]["waba_account"]["id"] for channel in self.keyed}
            here = [record["external_id"] for waba in wabas for record in self.templates[waba].values()]
            rows += [Row(self._analytics(one, day), {owner: one}) for one in here for day in days]
        else:
            [(kind, _)] = [(kind, name) for kind, name in META_TABLES.items() if name == table]
            here = self._accounts()
            granularity = "DAY" if kind == "analytics" else "DAILY"
            points = [(one, point) for one in here for day in days for point in self._meta_points(one, day, kind)]
            rows += [Row(point, {owner: one, "granularity": granularity, **_dimensions(point)}) for one, point in points]
        return rows + [row for row in self.served[table].values() if row.add[owner] not in here]

    def _accounts(self) -> list[str]:
        """Meta's ids of the accounts."""
        return sorted({record["waba_account"]["external_id"] for record in self.channels.values()})

    def _embedded(self, member: str) -> list[Row]:
        """What several channels have in common, as the last one in the hub's list shows it."""
        in_order = sorted(self.channels.values(), key=lambda record: str(record["id"]))
        return [Row(record) for record in {each[member]["id"]: each[member] for each in in_order}.values()]

    def _of_accounts(self, of: dict[str, dict[str, Record]]) -> list[Row]:
        facts = {"partner_id": PARTNER}
        return [Row(record, {"waba_account_id": waba, **facts}) for waba, records in of.items() for record in records.values()]

    def _files(self) -> list[Row]:
        rows = []
        for message in self.traffic.rows("messages"):
            file = message.record.get("image") or message.record.get("audio")
            if file is None:
                continue
            facts: Record = {"message_id": message.record["id"], "object_key": None}
            if file["id"] in self.traffic.media:
                facts["object_key"] = f"media/dialog_360/{message.add['phone_number_id']}/{file['id']}"
                file = {name: value for name, value in self._media(file["id"]).items() if name != "url"}
            rows.append(Row(file, facts))
        return rows


HOOKS = "hooks.example.com/dialog_360"
SNAPSHOTS = frozenset({"channel_balance", "channel_daily", "channel_health", "client_balance", "partner_balance"})
FIGURES = {
    "channel_usage": "channel_id",
    "client_usage": "client_id",
    "meta_conversation_analytics": "waba_id",
    "meta_messaging_analytics": "waba_id",
    "meta_pricing_analytics": "waba_id",
    "template_analytics": "template_id",
}
"""Tables of figures by day, and whose they are."""
META_TABLES = {
    "analytics": "meta_messaging_analytics",
    "conversation_analytics": "meta_conversation_analytics",
    "pricing_analytics": "meta_pricing_analytics",
}


def _dimensions(point: Record) -> dict[str, str]:
    """What tells points of one day apart; empty where it does not apply."""
    if "sent" in point:
        return {}
    names = ["country"]
    names += ["phone_number"] if "phone_number" in point else []
    if "conversation" in point:
        names += ["conversation_category", "conversation_type", "conversation_direction"]
    else:
        names += ["pricing_category", "pricing_type", "tier"]
    return {name: point.get(name, "") for name in names}


def _without_nothing(record: Record) -> Record:
    """Meta leaves out what has no value."""
    return {name: value for name, value in record.items() if value is not None}


def _template_form(record: Record) -> Record:
    """A template of the hub as the Messaging API shows it."""
    names = ("name", "namespace", "language", "category", "status", "rejected_reason", "components", "quality_score")
    return {"id": record["external_id"], **{name: record[name] for name in names}}


def _midnight(seconds: int) -> int:
    return seconds - seconds % DAY


def _iso(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(column: Column, seconds: int) -> Any:
    return _iso(seconds) if column.type.kind != "date" else _iso(seconds)[:10]


def build(*, seed: int, scale: float, now: int, limits: bool) -> Dialog360:
    """The stand-in with its first days of business behind it."""
    return Dialog360(seed, scale, now, limits=limits)
