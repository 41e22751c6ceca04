"""ClickUp's API as a stand-in shows it: tokens, paging, filters, errors, limits. The agency behind it lives in `clickup_world`.

Tokens: `pk_183_SANDBOX` (the owner's, sent bare), `oauth_sandbox` (the same person's, as Bearer), `pk_186_MEMBER` (a member's:
no time entries of others). Tests may send to `/_sandbox/control`:

    {"limit": 100, "window": 60}      calls in a window of so many seconds; null for none
    {"revoke": true}                  no token is good any more
    {"archived_filter": false}        the workspace's tasks cannot be filtered by archived
    {"drop_filters": true}            filters by date are silently not kept to
    {"edit_while_paging": 3}          so many pages of tasks, each time after the first page, edit a task of the page before
    {"same_moment": 230}              give so many tasks one moment of change, as a bulk edit does
    {"hide": ["list", "124001"]}      the token loses sight of a place, which is not deleted
    {"off": ["task_time_in_status"]}  switch off a feature: task_time_in_status, time_entries, auditlogs
    {"delete": ["task", "86a1t0001"]} delete something now: a task, comment, entry, list, folder or space
    {"webhook": "http://…/clickup"}   post webhooks to this address, now what happened so far, later as it happens
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox import clickup_shapes as shape
from datalake.sandbox.base import Row, answer
from datalake.sandbox.clickup_shapes import Object
from datalake.sandbox.clickup_world import DAY, HISTORY, WEBHOOK_SECRET, World
from datalake.sources.clickup_fields import read as field_value

TOKENS = {"pk_183_SANDBOX": 183, "Bearer oauth_sandbox": 183, "pk_186_MEMBER": 186}
PAGE = 100
COMMENTS = 25
PLAN = 1_000
"""Calls a minute of Business Plus."""


class Refusal(Exception):
    """ClickUp's error answer."""

    def __init__(self, status: int, err: str, code: str) -> None:
        super().__init__(err)
        self.status, self.body = status, {"err": err, "ECODE": code}


def gone(what: str = "Task not found, deleted", code: str = "ITEM_013") -> Refusal:
    return Refusal(404, what, code)


class ClickUp:
    """The stand-in: one token's view of two workspaces."""

    def __init__(self, world: World, *, limits: bool) -> None:
        self.world = world
        self.limit: int | None = PLAN if limits else None
        self.window = 60.0
        self.revoked = False
        self.archived_filter = True
        self.drop_filters = False
        self.edits = 0
        self.hidden: set[tuple[str, str]] = set()
        self.off: set[str] = set()
        self.told: dict[tuple[str, str, str], Object] = {}
        """What was answered about seats and plan, by workspace and day: nobody can ask for a day that is over."""
        self.address = ""
        self.delivered: list[Object] = []
        self._opened, self._count = 0.0, 0

    # What `base` asks of a stand-in

    @property
    def now(self) -> int:
        return self.world.now

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/api/{path:path}", self.asked, methods=["GET", "POST"]), Route("/{path:path}", self.unknown)]

    def advance(self, seconds: int) -> dict[str, Any]:
        return {**self.world.advance(seconds), "webhooks delivered": self.deliver()}

    def deliver(self) -> int:
        """Post what has not been taken yet to the address, some of it twice. What is not answered with 200 comes again."""
        if not self.address:
            return 0
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        with contextlib.closing(connection):
            while len(self.delivered) < len(self.world.events):
                event = self.world.events[len(self.delivered)]
                body = msgspec.json.encode(event)
                signature = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
                for _ in range(2 if len(self.delivered) % 5 == 0 else 1):
                    connection.request("POST", parts.path, body, {"X-Signature": signature, "Content-Type": "application/json"})
                    reply = connection.getresponse()
                    reply.read()
                    if reply.status != 200:
                        return len(self.delivered)
                self.delivered.append(event)
        return len(self.delivered)

    def environment(self, url: str) -> dict[str, str]:
        since = shape.iso((self.world.started - (HISTORY + 40) * DAY) * 1000)[:10]
        token = {"CLICKUP_TOKEN": "pk_183_SANDBOX", "CLICKUP_WEBHOOK_SECRET": WEBHOOK_SECRET}
        return {"CLICKUP_BASE_URL": url, "CLICKUP_SINCE": since, **token}

    def control(self, change: dict[str, Any]) -> None:
        for what, value in change.items():
            match what:
                case "limit" | "window" | "revoke" | "archived_filter" | "drop_filters" | "edit_while_paging":
                    name = {"revoke": "revoked", "edit_while_paging": "edits"}.get(what, what)
                    setattr(self, name, value)
                    self._opened = 0.0
                case "same_moment":
                    at = self.world.moment()
                    for task in list(self.world.things["task"].values())[:value]:
                        task["date_updated"] = at
                case "hide":
                    self.hidden.add(tuple(value))
                case "off":
                    self.off = set(value)
                case "delete":
                    self._delete(*value)
                case "webhook":
                    self.address = value
                    self.deliver()
                case _:
                    raise ValueError(f"no '{what}' can be changed")

    def _delete(self, kind: str, id_: str) -> None:
        world = self.world
        if id_ not in world.things[kind]:
            raise ValueError(f"there is no {kind} {id_}")
        if kind == "task":
            world.delete_task(world.things["task"][id_])
        elif kind == "comment":
            (comment,) = world.drop("comment", lambda each: each["id"] == id_)
            world.drop("reply", lambda each: each["_comment"] == id_)
            world.touch(world.things["task"][comment["_task"]])
        elif kind == "entry":
            world.drop("entry", lambda each: each["id"] == id_)
        else:
            world.delete_place(kind, id_)

    # The truth

    def ledger(self, table: str) -> Iterable[Row]:
        return LEDGER[table](self)

    # Answers

    async def unknown(self, request: Request) -> Response:
        return Response(f"<!DOCTYPE html><title>Error</title><pre>Cannot {request.method}</pre>", 404, media_type="text/html")

    async def asked(self, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            user = self._authenticate(request.headers.get("authorization", ""))
            self._count_call(headers)
            body = json.loads(await request.body() or b"{}") if request.method == "POST" else {}
            query = dict(request.query_params.multi_items())
            found = self._find(request, query, request.path_params["path"].split("/"), user, body)
        except Refusal as refusal:
            return answer(refusal.body, refusal.status, headers)
        return answer(found, 200, headers) if found is not None else await self.unknown(request)

    def _authenticate(self, header: str) -> int:
        if not header:
            raise Refusal(401, "Authorization header required", "OAUTH_017")
        if self.revoked or header not in TOKENS:
            raise Refusal(401, "Token invalid", "OAUTH_025")
        return TOKENS[header]

    def _count_call(self, headers: dict[str, str]) -> None:
        if self.limit is None:
            return
        now = time.monotonic()
        if now >= self._opened + self.window:
            self._opened, self._count = now, 0
        self._count += 1
        left = self._opened + self.window - now
        headers["X-RateLimit-Limit"] = str(self.limit)
        headers["X-RateLimit-Remaining"] = str(max(0, self.limit - self._count))
        headers["X-RateLimit-Reset"] = str(self.now + math.ceil(left))
        if self._count > self.limit:
            raise Refusal(429, "Rate limit reached", "APP_002")

    def _find(self, request: Request, query: Object, parts: list[str], user: int, body: Object) -> Any:
        world = self.world
        match parts:
            case ["v2", "user"]:
                return {"user": _without(world.things["user"][str(user)], USER_ONLY)}
            case ["v2", "team"]:
                return {"teams": [self.team(each) for each in world.all("team")]}
            case ["v2", "group"]:
                self._place("team", query.get("team_id", ""))
                return {"groups": [self.group(each) for each in world.all("group", _is("team_id", query["team_id"]))]}
            case ["v2", "team", id_, *rest]:
                self._place("team", id_)
                return self._of_team(id_, rest, query, user)
            case ["v2", ("space" | "folder" | "list" | "view") as kind, id_, *rest]:
                self._place(kind, id_)
                return self._of_place(kind, id_, rest, query)
            case ["v2", "task", "bulk_time_in_status", "task_ids"]:
                return self._bulk_time(request.query_params.getlist("task_ids"))
            case ["v2", "task", id_, *rest]:
                return self._of_task(id_, rest, query)
            case ["v2", "comment", id_, "reply"]:
                if id_ not in world.things["comment"]:
                    raise gone("Comment not found", "COMMENT_014")
                return {"comments": [self.comment(each) for each in world.all("reply", _is("_comment", id_))]}
            case ["v2", "goal", id_]:
                goal = world.things["goal"].get(id_)
                if goal is None:
                    raise gone("Goal not found", "GOAL_002")
                results = [_shown(each) for each in world.all("result", _is("goal_id", id_))]
                more = {
                    "key_results": results,
                    "history": [],
                    "pretty_url": f"https://app.clickup.com/goals/{goal['pretty_id']}",
                }
                return {"goal": {**_without(_shown(goal), ("editor_token",)), **more}}
            case ["v3", "workspaces", id_, *rest]:
                self._place("team", id_)
                return self._of_workspace(id_, rest, query, request.method, body)
        return None

    def _place(self, kind: str, id_: str) -> None:
        if (kind, id_) in self.hidden:
            raise Refusal(401, "You do not have access to this", "OAUTH_027" if kind in ("team", "space") else "ACCESS_083")
        if id_ not in self.world.things[kind]:
            if kind == "team":
                raise Refusal(401, "Team not authorized", "OAUTH_027")
            raise gone(f"{kind.capitalize()} not found", f"{kind.upper()}_002")

    def _sees(self, kind: str, thing: Object) -> bool:
        return (kind, thing["id"]) not in self.hidden

    def _of_team(self, id_: str, rest: list[str], query: Object, user: int) -> Any:
        world = self.world
        match rest:
            case ["space"]:
                spaces = world.all("space", lambda each: each["_team"] == id_ and self._sees("space", each))
                return {"spaces": [self.space(each) for each in _archived(spaces, query)]}
            case ["task"]:
                return self._tasks(query, world.all("task", _is("_team", id_)), by_list=False)
            case ["goal"]:
                return self._goals(id_)
            case ["customroles"]:
                return {"custom_roles": [_shown(each) for each in world.all("role", _is("team_id", id_))]}
            case ["custom_item"]:
                return {"custom_items": [each["_shown"] for each in world.all("task_type", _is("_team", id_))]}
            case ["shared"]:
                found: dict[str, list[Object]] = {"tasks": [], "lists": [], "folders": []}
                for each in world.all("shared", _is("_team", id_)):
                    found[f"{each['_kind']}s"].append(each["_shown"])
                return {"shared": found}
            case ["taskTemplate"]:
                page = int(self._required(query, "page"))
                return {"templates": self._templates(id_, "task_templates")[page * PAGE :][:PAGE]}
            case ["list_template" | "folder_template" as kind]:
                return {"templates": self._templates(id_, f"{kind}s")}
            case ["seats" | "plan" as what]:
                told = self.seats(id_) if what == "seats" else {"plan_name": "Business Plus", "plan_id": 5}
                self.told[what, id_, shape.iso(self.now * 1000)[:10]] = told
                return told
            case ["webhook"]:
                return {"webhooks": [_shown(each) for each in world.all("webhook", _is("team_id", int(id_)))]}
            case ["user", member]:
                return {"member": self.details(id_, int(member))}
            case ["time_entries"]:
                return {"data": self._entries(id_, query, user)}
            case ["time_entries", "tags"]:
                return {"data": [each["_shown"] for each in world.all("time_tag", _is("_team", id_))]}
            case ["time_entries", entry, "history"]:
                if entry not in world.things["entry"]:
                    raise gone("Time entry not found", "TIMEENTRY_046")
                return {"data": [each["_shown"] for each in world.all("history", _is("_entry", entry))]}
            case ["field" | "view" as what]:
                return self._level(what, "workspace" if what == "field" else "team", id_)
        return None

    def _of_place(self, kind: str, id_: str, rest: list[str], query: Object) -> Any:
        world = self.world
        match kind, rest:
            case _, []:
                return {kind: {"id": id_}} if kind == "view" else getattr(self, kind)(world.things[kind][id_])
            case "space", ["folder"]:
                folders = world.all("folder", lambda each: each["_space"] == id_ and self._sees("folder", each))
                return {"folders": [self.folder(each) for each in _archived(folders, query)]}
            case "space" | "folder", ["list"]:
                owner = {"_space": id_, "_folder": None} if kind == "space" else {"_folder": id_}
                wanted = [each for each in world.all("list") if owner.items() <= each.items() and self._sees("list", each)]
                return {"lists": [self.list(each) for each in _archived(wanted, query)]}
            case "space", ["tag"]:
                return {"tags": [each["_shown"] for each in world.all("tag", _is("_space", id_))]}
            case "list", ["task"]:
                return self._tasks(query, world.all("task", _is("_list", id_)), by_list=True)
            case "list", ["member"]:
                return {"members": [self.explicit(each) for each in self._list_members(id_)]}
            case "list" | "view", ["comment"]:
                comments = world.all(f"{kind}_comment", _is(f"_{kind}", id_))
                return {"comments": [self.comment(each) for each in self._comments(comments, query)]}
            case _, ["field" | "view" as what]:
                return self._level(what, kind, id_)
        return None

    def _of_task(self, id_: str, rest: list[str], query: Object) -> Any:
        task = self.world.things["task"].get(id_)
        if task is None:
            raise gone()
        if not self._sees("list", self.world.things["list"][task["_list"]]):
            raise Refusal(401, "You do not have access to this task", "ACCESS_083")
        match rest:
            case []:
                return {**self.task(task), "attachments": []}
            case ["comment"]:
                comments = self.world.all("comment", _is("_task", id_))
                return {"comments": [self.comment(each) for each in self._comments(comments, query)]}
            case ["member"]:
                return {"members": [self.explicit(each) for each in task["_members"]]}
            case ["time_in_status"]:
                return self.times(task)
        return None

    def _of_workspace(self, id_: str, rest: list[str], query: Object, method: str, body: Object) -> Any:
        world = self.world
        match rest:
            case ["docs"]:
                wanted = {name: query.get(name) == "true" for name in ("deleted", "archived")}
                docs = [each for each in world.all("doc") if str(each["workspace_id"]) == id_]
                docs = [each for each in docs if all(each[name] == value for name, value in wanted.items())]
                return self._cursor("docs", [_shown(each) for each in docs], query)
            case ["docs", doc, "pages"]:
                if doc not in world.things["doc"]:
                    raise gone("Doc not found", "DOC_001")
                return [self.page(each) for each in self._pages_of(doc, None)]
            case ["chat", "channels"]:
                channels = [self.channel(each) for each in world.all("channel", _is("workspace_id", id_))]
                return self._cursor("data", channels, query)
            case ["chat", "channels", channel, what] if channel in world.things["channel"]:
                if what == "members":
                    members = world.things["channel"][channel]["_members"]
                    rows = [shape.member_of_channel(world.things["user"][str(each)]) for each in members]
                    return self._cursor("data", rows, query)
                messages = world.all("message", _is("parent_channel", channel))
                newest = sorted(messages, key=lambda each: (-each["date"], each["id"]))
                return self._cursor("data", [self.message(each) for each in newest], query)
            case ["chat", "messages", message, "replies"]:
                return self._cursor("data", [_shown(each) for each in self._replies(message)], query)
            case ["attachments", task, "attachments"]:
                if task not in world.things["task"]:
                    raise gone()
                files = [_shown(each) for each in world.all("attachment", _is("parent_id", task))]
                return self._cursor("data", files, query)
            case ["auditlogs"] if method == "POST":
                return self._audit(id_, body)
        return None

    # Lists

    @staticmethod
    def _required(query: Object, name: str) -> str:
        if name not in query:
            raise Refusal(400, f"{name} is required", "INPUT_001")
        return str(query[name])

    def _tasks(self, query: Object, tasks: list[Object], *, by_list: bool) -> Object:
        """Without `subtasks` and `include_closed` the rest is silently left out; the lists' filters are the only sure ones."""
        tasks = [each for each in tasks if self._sees("list", self.world.things["list"][each["_list"]])]
        if self.archived_filter or by_list:
            tasks = [each for each in tasks if each["archived"] == (query.get("archived") == "true")]
        else:
            tasks = [each for each in tasks if not each["archived"]]
        if query.get("subtasks") != "true":
            tasks = [each for each in tasks if each["parent"] is None]
        if query.get("include_closed") != "true":
            tasks = [each for each in tasks if each["_status"] != 2]
        if not self.drop_filters:
            low, high = int(query.get("date_updated_gt", 0)), int(query.get("date_updated_lt", 1 << 62))
            tasks = [each for each in tasks if low <= each["date_updated"] < high]
        by = "date_updated" if query.get("order_by") == "updated" else "date_created"
        tasks.sort(key=lambda each: (each[by], each["id"]), reverse=query.get("reverse") != "true")
        page = int(query.get("page", 0))
        shown = tasks[page * PAGE : (page + 1) * PAGE]
        found = {"tasks": [self.task(each) for each in shown], "last_page": (page + 1) * PAGE >= len(tasks)}
        if self.edits and shown and not found["last_page"]:
            self.edits -= 1
            # Somebody edits it while the next page is asked for: it leaves the window, and all behind it move up.
            shown[0]["date_updated"] = self.now * 1000 + 5_000 + self.edits
        return found

    def _comments(self, comments: list[Object], query: Object) -> list[Object]:
        newest = sorted(comments, key=lambda each: (int(each["date"]), each["id"]), reverse=True)
        if ("start" in query) != ("start_id" in query):
            raise Refusal(400, "start and start_id are both required", "INPUT_002")
        if "start" in query:
            after = (int(query["start"]), query["start_id"])
            newest = [each for each in newest if (int(each["date"]), each["id"]) < after]
        return newest[:COMMENTS]

    def _cursor(self, field: str, rows: list[Object], query: Object) -> Object:
        start = int(query.get("cursor", 0))
        end = start + int(query.get("limit", 50))
        return {field: rows[start:end], "next_cursor": str(end) if end < len(rows) else ""}

    def _entries(self, team: str, query: Object, user: int) -> list[Object]:
        """Without names only one's own, without dates only the last thirty days: silently."""
        if "time_entries" in self.off:
            raise Refusal(400, "Time tracking is not available", "TIMEENTRY_059")
        named = {int(each) for each in query["assignee"].split(",")} if "assignee" in query else {user}
        if named != {user} and self.world.things["user"][str(user)]["role"] > 2:
            raise Refusal(403, "Only owners and admins may see time entries of others", "TIMEENTRY_060")
        named &= set(self.world.things["team"][team]["_members"])
        low = int(query.get("start_date", (self.now - 30 * DAY) * 1000))
        high = int(query.get("end_date", self.now * 1000))
        mine = self.world.all("entry", lambda each: each["_team"] == team and each["_user"] in named)
        return [self.entry(each, query) for each in mine if low <= each["_start"] <= high]

    def _bulk_time(self, tasks: list[str]) -> Object:
        if "task_time_in_status" in self.off:
            raise Refusal(400, "Time in Status ClickApp is not enabled", "CLICKAPP_001")
        if len(tasks) > 100:
            raise Refusal(400, "At most 100 tasks", "INPUT_003")
        if any(id_ not in self.world.things["task"] for id_ in tasks):
            raise gone()
        return {id_: self.times(self.world.things["task"][id_]) for id_ in tasks}

    def _audit(self, team: str, body: Object) -> Object:
        if "auditlogs" in self.off:
            raise Refusal(403, "Audit logs need the Enterprise plan", "PLAN_001")
        paging, filter_ = body.get("pagination", {}), body.get("filter", {})
        low, high = filter_.get("startTime", 0), min(filter_.get("endTime", 1 << 62), paging.get("pageTimestamp", 1 << 62))
        rows = [each for each in self.world.all("audit", _is("_team", team)) if low <= each["eventTime"] < high]
        rows.sort(key=lambda each: (each["eventTime"], each["id"]), reverse=True)
        return {"data": [_shown(each) for each in rows[: paging.get("pageRows", 25)]]}

    def _level(self, what: str, level: str, id_: str) -> Object:
        """Fields or views of a place. A list shows the fields of the levels above it as well."""
        world = self.world
        if what == "field":
            mine = world.all("field", lambda each: (each["_level"], each["_level_id"]) == (level, id_))
            fields = world.fields_of(world.things["list"][id_]) if level == "list" else mine
            return {"fields": [_shown(each) for each in fields]}
        views = world.all("view", lambda each: (each["_level"], each["_level_id"]) == (level, id_))
        return {"views": [_shown(each) for each in views]} | ({"required_views": {"board": None}} if level == "list" else {})

    def _goals(self, team: str) -> Object:
        goals = [self.goal(each) for each in self.world.all("goal", _is("team_id", team))]
        folders = [self.goal_folder(each) for each in self.world.all("goal_folder", _is("team_id", team))]
        return {"goals": [each for each in goals if each["folder_id"] is None], "folders": folders}

    def _templates(self, team: str, kind: str) -> list[Object]:
        return [
            _shown(each) for each in self.world.all("template", lambda each: (each["_team"], each["_kind"]) == (team, kind))
        ]

    def _list_members(self, id_: str) -> list[int]:
        members: list[int] = self.world.things["team"][self.world.team_of("list", self.world.things["list"][id_])]["_members"]
        return members[: 1 + int(id_) % 3]

    def _pages_of(self, doc: str, parent: str | None) -> list[Object]:
        return self.world.all("page", lambda each: each["doc_id"] == doc and each["parent_page_id"] == parent)

    def _replies(self, message: str) -> list[Object]:
        return self.world.all("message_reply", _is("parent_message", message))

    # Objects as answers show them

    def person(self, id_: int) -> Object:
        return shape.short(self.world.things["user"][str(id_)])

    def team(self, team: Object) -> Object:
        members = [{"user": _without(self.world.things["user"][str(id_)], USER_ONLY_HERE)} for id_ in team["_members"]]
        return {**_shown(team), "members": members}

    def group(self, group: Object) -> Object:
        return {**_shown(group), "members": [self.person(id_) for id_ in group["_members"]]}

    def space(self, space: Object) -> Object:
        return {**_shown(space), "members": [{"user": self.person(id_)} for id_ in space["_members"][:3]]}

    def folder(self, folder: Object) -> Object:
        lists = [each for each in self.world.all("list", _is("_folder", folder["id"])) if not each["archived"]]
        space = self.world.things["space"][folder["_space"]]
        return {
            **_shown(folder),
            "space": {"id": space["id"], "name": space["name"], "access": True},
            "task_count": str(sum(self._tasks_in(each) for each in lists)),
            "lists": [_without(self.list(each), ("folder", "content")) for each in lists],
            "statuses": [],
        }

    def list(self, list_: Object) -> Object:
        space = self.world.things["space"][list_["_space"]]
        inside = self.world.things["folder"].get(list_["_folder"] or "")
        folder = {"id": f"9{list_['id']}", "name": "hidden", "hidden": True, "access": True}
        if inside:
            folder = {"id": inside["id"], "name": inside["name"], "hidden": False, "access": True}
        return {
            **_shown(list_),
            "task_count": str(self._tasks_in(list_)),
            "folder": folder,
            "space": {"id": space["id"], "name": space["name"], "access": True},
            "inbound_address": f"a.t.{list_['id']}.secret@tasks.clickup.com",
            "statuses": [],
        }

    def _tasks_in(self, list_: Object) -> int:
        return len(self.world.all("task", lambda each: each["_list"] == list_["id"] and not each["archived"]))

    def task(self, task: Object) -> Object:
        world = self.world
        place = world.things["list"][task["_list"]]
        space = world.things["space"][place["_space"]]
        folder = self.list(place)["folder"]
        dates = ("date_created", "date_updated", "date_closed", "date_done", "due_date", "start_date")
        ends = (("dependency", "depends_on"), ("link", "link_id"))
        edges = {kind: [e for e in world.all(kind) if task["id"] in (e["task_id"], e[end])] for kind, end in ends}
        values = [
            {**_shown(each), **({"value": task["_values"][each["id"]]} if each["id"] in task["_values"] else {})}
            for each in world.fields_of(place)
        ]
        spent = sum(each["_spent"] for each in self._spent(task))
        return {
            **_shown(task),
            **{name: str(task[name]) if task[name] is not None else shape.nothing(task) for name in dates},
            "status": space["statuses"][task["_status"]],
            "creator": _without(self.person(task["_creator"]), ("initials",)),
            "assignees": [self.person(id_) for id_ in task["_assignees"]],
            "watchers": [self.person(id_) for id_ in task["_watchers"]],
            "group_assignees": [self._group_of(id_) for id_ in task["_groups"] if id_ in world.things["group"]],
            "checklists": task["_checklists"],
            "tags": [
                _without(world.things["tag"][id_]["_shown"], ("project_id",))
                for id_ in task["_tags"]
                if id_ in world.things["tag"]
            ],
            "priority": shape.priority(task["_priority"]),
            **({"time_spent": spent} if spent else {}),
            "custom_fields": values,
            "dependencies": [_without(each, ("id",)) for each in edges["dependency"]],
            "linked_tasks": [_without(each, ("id",)) for each in edges["link"]],
            "locations": [{"id": id_, "name": world.things["list"][id_]["name"]} for id_ in task["_locations"]],
            "team_id": task["_team"],
            "url": f"https://app.clickup.com/t/{task['id']}",
            "sharing": {"public": False, "public_share_expires_on": None, "public_fields": [], "token": f"share-{task['id']}"},
            "permission_level": "create",
            "list": {"id": place["id"], "name": place["name"], "access": True},
            "project": folder,
            "folder": folder,
            "space": {"id": space["id"]},
        }

    @staticmethod
    def _spent(task: Object) -> Iterator[Object]:
        yield from ({"_spent": minutes * 60_000} for state, minutes in task["_minutes"].items() if state == 1)

    def _group_of(self, id_: str) -> Object:
        group = self.world.things["group"][id_]
        return {"id": id_, "name": group["name"], "handle": group["handle"]}

    def comment(self, comment: Object) -> Object:
        replies = len(self.world.all("reply", _is("_comment", comment["id"])))
        person = self.person(comment["_user"])
        asked = {"assignee": person, "assigned_by": person} if comment["resolved"] else {"assignee": None, "assigned_by": None}
        return {**_shown(comment), "user": person, **asked, "reply_count": replies}

    def explicit(self, id_: int) -> Object:
        names = ("display_profile", "verified_ambassador", "verified_consultant", "top_tier_user")
        more = ("viewed_verified_ambassador", "viewed_verified_consultant", "viewed_top_tier_user")
        return {**self.person(id_), "profileInfo": dict.fromkeys((*names, *more))}

    def times(self, task: Object) -> Object:
        states = self.world.things["space"][self.world.things["list"][task["_list"]]["_space"]]["statuses"]
        history = []
        for state, minutes in sorted(task["_minutes"].items()):
            shown = {name: states[state][name] for name in ("status", "color", "type", "orderindex")}
            history.append({**shown, "total_time": {"by_minute": minutes, "since": str(task["date_created"])}})
        now = states[task["_status"]]
        total = {"by_minute": task["_minutes"].get(task["_status"], 0), "since": str(task["date_created"])}
        current = {"status": now["status"], "color": now["color"], "total_time": total}
        return {"current_status": current, "status_history": history}

    def entry(self, entry: Object, query: Object) -> Object:
        task = self.world.things["task"].get(entry["_task"] or "")
        made = {**_shown(entry), "user": self.person(entry["_user"]), "task": "0"}
        location: Object = {}
        if task:
            place = self.list(self.world.things["list"][task["_list"]])
            state = self.task(task)["status"]
            made["task"] = {
                "id": task["id"],
                "custom_id": task["custom_id"],
                "name": task["name"],
                "status": {name: state[name] for name in ("status", "color", "type", "orderindex")},
                "custom_type": None,
            }
            location = {f"{kind}_id": int(place[kind]["id"]) for kind in ("folder", "space")} | {"list_id": int(place["id"])}
            if query.get("include_location_names") == "true":
                names = {f"{kind}_name": place[kind]["name"] for kind in ("folder", "space")}
                location |= {"list_name": place["name"], **names}
        made["task_location"] = location
        if query.get("include_task_tags") == "true":
            made["task_tags"] = self.task(task)["tags"] if task else []
        return made

    def goal(self, goal: Object) -> Object:
        return {**_shown(goal), "key_result_count": len(self.world.all("result", _is("goal_id", goal["id"])))}

    def goal_folder(self, folder: Object) -> Object:
        goals = [{**self.goal(each), "folder_access": True} for each in self.world.all("goal", _is("folder_id", folder["id"]))]
        return {**_shown(folder), "goal_count": len(goals), "goals": goals}

    def channel(self, channel: Object) -> Object:
        return _shown(channel)

    def message(self, message: Object) -> Object:
        return {**_shown(message), "replies_count": len(self._replies(message["id"]))}

    def page(self, page: Object) -> Object:
        inner = [self.page(each) for each in self._pages_of(page["doc_id"], page["id"])]
        shown = {name: value for name, value in _shown(page).items() if value is not None}
        return {**shown, **({"pages": inner} if inner else {})}

    def seats(self, team: str) -> Object:
        filled = len(self.world.things["team"][team]["_members"])
        return {
            "members": {"filled_members_seats": filled, "total_member_seats": 20, "empty_member_seats": 20 - filled},
            "guests": {"filled_guest_seats": 1, "total_guest_seats": "Infinity", "empty_guest_seats": "Infinity"},
        }

    def details(self, team: str, id_: int) -> Object:
        if id_ not in self.world.things["team"][team]["_members"]:
            raise gone("User not found", "USER_001")
        found = self.world.things["user"][str(id_)]
        owner = self.person(self.world.things["team"][team]["_members"][0])
        user = _without(found, ("week_start_day", "global_font_support", "timezone", "role_key"))
        return {"user": user, "invited_by": owner, "shared": {"tasks": [], "lists": [], "folders": []}}


USER_ONLY = ("role", "role_key", "custom_role", "last_active", "date_joined", "date_invited")
USER_ONLY_HERE = ("week_start_day", "global_font_support", "timezone")


def _shown(thing: Object) -> Object:
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _without(thing: Object, names: Iterable[str]) -> Object:
    return {name: value for name, value in thing.items() if name not in names}


def _is(name: str, value: object) -> Callable[[Object], bool]:
    return lambda thing: thing[name] == value


def _archived(things: list[Object], query: Object) -> list[Object]:
    """`archived=true` shows archived ones only."""
    return [each for each in things if each["archived"] == (query.get("archived") == "true")]


# What each table must hold


def _plain(kind: str, show: str = "", **add: str) -> Callable[[ClickUp], Iterator[Row]]:
    """All of a kind, shown by a method of the stand-in; `add` names kept fields by the facts that they are."""

    def rows(stand_in: ClickUp) -> Iterator[Row]:
        for thing in stand_in.world.all(kind):
            record = getattr(stand_in, show)(thing) if show else thing.get("_shown") or _shown(thing)
            yield Row(record, {name: thing[field] for name, field in add.items()})

    return rows


def _templates_of(kind: str) -> Callable[[ClickUp], Iterator[Row]]:
    def rows(stand_in: ClickUp) -> Iterator[Row]:
        for thing in stand_in.world.all("template", _is("_kind", kind)):
            yield Row(_shown(thing), {"team_id": thing["_team"]})

    return rows


def _of_tasks(pick: Callable[[Object], Iterable[tuple[Object, Object]]]) -> Callable[[ClickUp], Iterator[Row]]:
    """Rows inside tasks, with facts beside the task's id."""

    def rows(stand_in: ClickUp) -> Iterator[Row]:
        for task in stand_in.world.all("task"):
            shown = stand_in.task(task)
            yield from (Row(record, {"task_id": task["id"], **add}) for record, add in pick(shown))

    return rows


def _list_of(name: str) -> Callable[[Object], Iterable[tuple[Object, Object]]]:
    return lambda task: ((record, {}) for record in task[name])


def _assignees(task: Object) -> Iterator[tuple[Object, Object]]:
    yield from ((record, {"kind": "user"}) for record in task["assignees"])
    yield from ((record, {"kind": "group"}) for record in task["group_assignees"])


def _items(task: Object) -> Iterator[tuple[Object, Object]]:
    for checklist in task["checklists"]:
        for item in checklist["items"]:
            for each in (item, *item["children"]):
                yield each, {"checklist_id": checklist["id"], "checklist_name": checklist["name"]}


def _values(task: Object) -> Iterator[tuple[Object, Object]]:
    for field in task["custom_fields"]:
        if "value" in field:
            yield field, field_value(json.dumps(field).encode()) or {}


def _edges(kind: str) -> Callable[[ClickUp], Iterator[Row]]:
    return lambda stand_in: (Row(_without(each, ("id",))) for each in stand_in.world.all(kind))


def _members(stand_in: ClickUp) -> Iterator[Row]:
    for team in stand_in.world.all("team"):
        for member in stand_in.team(team)["members"]:
            yield Row(member["user"], {"team_id": team["id"]})


def _user_details(stand_in: ClickUp) -> Iterator[Row]:
    for team in stand_in.world.all("team"):
        for id_ in team["_members"]:
            yield Row(stand_in.details(team["id"], id_), {"team_id": team["id"]})


def _daily(what: str) -> Callable[[ClickUp], Iterator[Row]]:
    def rows(stand_in: ClickUp) -> Iterator[Row]:
        for (kind, team, day), record in stand_in.told.items():
            if kind == what:
                yield Row(record, {"team_id": team, "snapshot_date": day})

    return rows


def _by_level(kind: str) -> Callable[[ClickUp], Iterator[Row]]:
    def rows(stand_in: ClickUp) -> Iterator[Row]:
        for each in stand_in.world.all(kind):
            yield Row(_shown(each), {"level": each["_level"].replace("team", "workspace"), "level_id": each["_level_id"]})

    return rows


def _options(stand_in: ClickUp) -> Iterator[Row]:
    for field in stand_in.world.all("field"):
        for option in field["type_config"].get("options", ()):
            yield Row(option, {"field_id": field["id"]})


def _statuses(stand_in: ClickUp) -> Iterator[Row]:
    for space in stand_in.world.all("space"):
        yield from (Row(status, {"space_id": space["id"]}) for status in space["statuses"])


def _times(stand_in: ClickUp) -> Iterator[Row]:
    for task in stand_in.world.all("task"):
        told = stand_in.times(task)
        current, history = told["current_status"], told["status_history"]
        missing = [] if current["status"] in [each["status"] for each in history] else [current]
        for record in [*history, *missing]:
            yield Row(record, {"task_id": task["id"], "is_current": record["status"] == current["status"]})


def _list_members(stand_in: ClickUp) -> Iterator[Row]:
    for list_ in stand_in.world.all("list"):
        for id_ in stand_in._list_members(list_["id"]):
            yield Row(stand_in.explicit(id_), {"list_id": list_["id"]})


def _task_members(stand_in: ClickUp) -> Iterator[Row]:
    for task in stand_in.world.all("task"):
        yield from (Row(stand_in.explicit(id_), {"task_id": task["id"]}) for id_ in task["_members"])


def _channel_members(stand_in: ClickUp) -> Iterator[Row]:
    for channel in stand_in.world.all("channel"):
        for id_ in channel["_members"]:
            yield Row(shape.member_of_channel(stand_in.world.things["user"][str(id_)]), {"channel_id": channel["id"]})


def _entries(stand_in: ClickUp) -> Iterator[Row]:
    asked = {"include_task_tags": "true", "include_location_names": "true"}
    for entry in stand_in.world.all("entry"):
        record = stand_in.entry(entry, asked)
        task = record["task"]["id"] if isinstance(record["task"], dict) else None
        yield Row(record, {"team_id": entry["_team"], "day": shape.iso(entry["_start"])[:10], "task_id": task})


def _history(stand_in: ClickUp) -> Iterator[Row]:
    """Also of entries that were deleted: what happened stays."""
    for each in stand_in.world.all("history"):
        yield Row(each["_shown"], {"timer_id": each["_entry"]})


def _replies(stand_in: ClickUp) -> Iterator[Row]:
    for reply in stand_in.world.all("reply"):
        comment = stand_in.world.things["comment"][reply["_comment"]]
        yield Row(stand_in.comment(reply), {"comment_id": comment["id"], "task_id": comment["_task"]})


def _goals(stand_in: ClickUp) -> Iterator[Row]:
    for goal in stand_in.world.all("goal"):
        yield Row({**stand_in.goal(goal), **({"folder_access": True} if goal["folder_id"] else {})})


def _events(stand_in: ClickUp) -> Iterator[Row]:
    for event in stand_in.delivered:
        items = event.get("history_items") or [{"id": hashlib.sha256(msgspec.json.encode(event)).hexdigest()}]
        yield Row(event, {"event_key": items[0]["id"], "signature_valid": True})


LEDGER: dict[str, Callable[[ClickUp], Iterable[Row]]] = {
    "audit_logs": _plain("audit", workspace_id="_team"),
    "authorized_user": lambda stand_in: [Row(_without(stand_in.world.things["user"]["183"], USER_ONLY))],
    "chat_channel_members": _channel_members,
    "chat_channels": _plain("channel", "channel"),
    "chat_message_replies": _plain("message_reply"),
    "chat_messages": _plain("message", "message"),
    "chat_view_comments": _plain("view_comment", "comment", view_id="_view"),
    "comment_replies": _replies,
    "custom_field_options": _options,
    "custom_fields": _by_level("field"),
    "custom_roles": _plain("role"),
    "custom_task_types": _plain("task_type", team_id="_team"),
    "doc_pages": _plain("page", "page"),
    "docs": _plain("doc"),
    "folder_templates": _templates_of("folder_templates"),
    "folders": _plain("folder", "folder"),
    "goal_folders": _plain("goal_folder", "goal_folder"),
    "goal_key_results": _plain("result"),
    "goals": _goals,
    "list_comments": _plain("list_comment", "comment", list_id="_list"),
    "list_members": _list_members,
    "list_templates": _templates_of("list_templates"),
    "lists": _plain("list", "list"),
    "shared_hierarchy": _plain("shared", team_id="_team", object_type="_kind"),
    "space_statuses": _statuses,
    "space_tags": _plain("tag", space_id="_space"),
    "spaces": _plain("space", "space", team_id="_team"),
    "task_assignees": _of_tasks(_assignees),
    "task_attachments": _plain("attachment"),
    "task_checklist_items": _of_tasks(_items),
    "task_comments": _plain("comment", "comment", task_id="_task"),
    "task_custom_field_values": _of_tasks(_values),
    "task_dependencies": _edges("dependency"),
    "task_links": _edges("link"),
    "task_locations": _of_tasks(_list_of("locations")),
    "task_members": _task_members,
    "task_tags": _of_tasks(_list_of("tags")),
    "task_templates": _templates_of("task_templates"),
    "task_time_in_status": _times,
    "tasks": _plain("task", "task"),
    "time_entries": _entries,
    "time_entry_history": _history,
    "time_entry_tags": _plain("time_tag", team_id="_team"),
    "user_groups": _plain("group", "group"),
    "views": _by_level("view"),
    "webhook_events": _events,
    "webhooks": _plain("webhook"),
    "workspace_members": _members,
    "workspace_plan": _daily("plan"),
    "workspace_seats": _daily("seats"),
    "workspace_user_details": _user_details,
    "workspaces": _plain("team", "team"),
}


def build(*, seed: int, scale: float, now: int, limits: bool) -> ClickUp:
    """The stand-in as `datalake.sandbox` runs it."""
    return ClickUp(World(seed, scale, now), limits=limits)
