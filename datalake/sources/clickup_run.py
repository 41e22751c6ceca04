"""One run of ClickUp: who asks, what its error answers mean, its ways of paging. Which table asks what lives in `clickup`."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from datalake.model import Column, Source, Table
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Auth, Request
from datalake.sources.base import Ask, AuthenticationFailed, Item, Page, Permanent, Skipped
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http
from datalake.sources.paging import Walk
from datalake.sources.records import Record, elements, inner, pick, split

DAY = 86_400_000
"""Milliseconds, as ClickUp counts time."""
COMMENTS_A_PAGE = 25

BAD_TOKEN = frozenset({"OAUTH_007", "OAUTH_010", "OAUTH_017", "OAUTH_018", "OAUTH_019", "OAUTH_021", "OAUTH_025", "OAUTH_077"})
"""The token is missing, unknown, revoked, or of an app that is not set up. Other OAUTH_ codes are about one workspace."""
NOT_IN_PLAN = ("TIMEENTRY_", "TEAM_", "PLAN_", "CLICKAPP_")
"""Beginnings of codes which say that the workspace's plan or ClickApps lack a feature."""


class Token(Auth):
    """A personal token (`pk_…`) is sent bare, an OAuth access token as Bearer. Neither expires."""

    def __init__(self, token: str) -> None:
        self._header = token if token.startswith("pk_") else f"Bearer {token}"

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        request.headers["Authorization"] = self._header
        yield request


class NoAccess(Skipped):
    """This token may not see one object (any more). It is no proof that the object is gone."""


@dataclass(frozen=True, slots=True)
class Workspace:
    id: str
    name: str
    members: tuple[int, ...]
    """Ids of the people in it, as far as the token may see them."""


class ClickUpRun(HttpRun):
    """One run of one token: the workspaces it may read, and the clock."""

    def __init__(
        self,
        source: Source,
        http: Http,
        functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]],
        settings: Settings,
    ) -> None:
        super().__init__(source, http, functions)
        self.settings = settings
        self.since = _since(settings)
        """First moment of facts to load, milliseconds; 0: everything."""
        self._only = frozenset(settings.names("CLICKUP_WORKSPACES"))
        self._lock = threading.RLock()
        self._teams: Answer | None = None
        self._shared: dict[tuple[str, ...], Answer] = {}

    def teams(self) -> Answer:
        """The answer that lists the workspaces, asked once a run for all tables."""
        with self._lock:
            if self._teams is None:
                self._teams = self.get(self.source.tables["workspaces"], "/api/v2/team")
            return self._teams

    @property
    def now(self) -> int:
        """The moment up to which this run reads, by ClickUp's clock, milliseconds: fixed once, so that windows stand still."""
        date = email.utils.parsedate_tz(self.teams().headers.get("Date", ""))
        return int(email.utils.mktime_tz(date) if date else time.time()) * 1000

    def workspaces(self) -> dict[str, Workspace]:
        """By id. Raises SettingError for one in CLICKUP_WORKSPACES that the token cannot see."""
        found = {}
        for record in split(self.teams(), "teams").records:
            told = msgspec.json.decode(record, type=_Team)
            if not self._only or told.id in self._only:
                members = tuple(member.user.id for member in told.members if member.user is not None)
                found[told.id] = Workspace(told.id, told.name, members)
        if unseen := self._only - found.keys():
            raise SettingError(f"CLICKUP_WORKSPACES names {', '.join(sorted(unseen))}, which this token cannot see")
        return found

    def get(self, table: Table, path: str, params: Iterable[tuple[str, str]] = (), *, cursor: object = "") -> Answer:
        """One good answer, or one with status 404 in ClickUp's own form: the object is gone.

        Raises AuthenticationFailed for a token that is no good, NoAccess for an object or a workspace that it may not see,
        Skipped for a feature that the plan lacks.
        """
        answer = self.http.get(table.id, path, list(params), cursor=cursor, accept=(400, 401, 403, 404))
        return answer if answer.status < 400 else self._refusal(answer)

    def post(self, table: Table, path: str, body: object, *, cursor: object = "") -> Answer:
        """As `get`, for a question that needs a body."""
        answer = self.http.post(table.id, path, json=body, cursor=cursor, accept=(400, 401, 403, 404))
        return answer if answer.status < 400 else self._refusal(answer)

    def shared(self, table: Table, path: str, params: Sequence[tuple[str, str]]) -> Answer:
        """As `get`, kept for the run: several tables read the same answer."""
        with self._lock:
            known = (path, *map(str, params))
            if known not in self._shared:
                self._shared[known] = self.get(table, path, params)
            return self._shared[known]

    def exists(self, table: Table, path: str) -> tuple[bool | None, Answer | None]:
        """Whether an object still is there; None where the token may not see it, which proves nothing. With the answer."""
        try:
            answer = self.get(table, path)
        except NoAccess:
            return None, None
        return answer.status != 404, answer

    def pages(
        self, table: Table, path: str, params: Sequence[tuple[str, str]] = (), add: Mapping[str, Any] | None = None
    ) -> list[Page]:
        """A whole list. `{page}` among the parameters counts pages, `limit` means a v3 list with its cursor.

        An object that is gone has no rows: one empty page.
        """
        facts = dict(add or {})
        numbered = dict(params).get("page") == "{page}"
        found: list[Page] = []
        walk, cursor = Walk(), ""
        while True:
            asked = [(name, str(len(found)) if value == "{page}" else value) for name, value in params]
            answer = self.get(table, path, [*asked, *([("cursor", cursor)] if cursor else [])], cursor=cursor or len(found))
            if answer.status == 404:
                return [Page([], answer.at, facts)]
            if not table.records:
                page, next_ = split(answer).records, None
            else:
                told = split(answer, table.records, ["next_cursor"])
                page, next_ = told.records, told.facts["next_cursor"] or None
            if numbered:
                next_ = len(found) + 1 if page else None
            walk.step(answer, page, next_)
            found.append(Page(page, answer.at, facts))
            if next_ is None:
                return found
            cursor = "" if numbered else str(next_)

    def comments(self, table: Table, path: str, add: Mapping[str, Any]) -> list[Page]:
        """All comments, newest first: the next page is named by date and id of the last comment of the one before."""
        found: list[Page] = []
        walk, params = Walk(), list[tuple[str, str]]()
        while True:
            answer = self.get(table, path, params, cursor=dict(params).get("start_id", ""))
            if answer.status == 404:
                return [Page([], answer.at, dict(add))]
            records = split(answer, table.records).records
            more = len(records) >= COMMENTS_A_PAGE
            if more:
                date, id_ = pick(records[-1], "date", "id")
                params = [("start", str(date)), ("start_id", str(id_))]
            walk.step(answer, records, params[1][1] if more else None)
            found.append(Page(records, answer.at, dict(add)))
            if not more:
                return found

    def _refusal(self, answer: Answer) -> Answer:
        """What an error answer means: the answer itself where the object is gone. Raises the errors of `get`."""
        try:
            told = msgspec.json.decode(answer.body, type=_Refused)
        except msgspec.DecodeError:
            if answer.status == 401:
                raise answer.fault("the token is missing or wrong; check CLICKUP_TOKEN", AuthenticationFailed) from None
            raise answer.fault(f"status {answer.status}, and not ClickUp's form of an error") from None
        code = told.code.upper()
        what = self.http.redaction(f"{told.err or told.message} {told.code}").strip()
        if code in BAD_TOKEN:
            raise answer.fault(f"{what}: the token is missing, wrong or revoked; check CLICKUP_TOKEN", AuthenticationFailed)
        if answer.status == 404:
            return answer
        if answer.status in (401, 403):
            raise answer.fault(f"{what}: this token may not see it", NoAccess)
        if code.startswith(NOT_IN_PLAN):
            raise answer.fault(f"{what}: the workspace's plan or ClickApps lack this; leave the table out", Skipped)
        if code.startswith(("ITEM_", "FIELD_", "ACCESS_")):
            raise answer.fault(f"{what}: this object cannot be read", NoAccess)
        raise answer.fault(what or f"status {answer.status}")


def each_workspace(run: ClickUpRun, ask: Ask, read: Callable[[Workspace], Iterator[Item]]) -> Iterator[Item]:
    """Read one workspace after the other. One that refuses is told and left out; if all do, the first refusal is raised."""
    refusals: list[Skipped] = []
    workspaces = run.workspaces()
    for workspace in workspaces.values():
        try:
            yield from read(workspace)
        except Skipped as refusal:
            refusals.append(refusal)
            ask.note(f"workspace {workspace.id} is left out: {str(refusal).removeprefix(f'{ask.table.id}: ')}")
    if refusals and len(refusals) == len(workspaces):
        raise refusals[0]


class _User(msgspec.Struct):
    id: int


class _Member(msgspec.Struct):
    user: _User | None = None


class _Team(msgspec.Struct):
    id: str
    name: str = ""
    members: list[_Member] = []


class _Refused(msgspec.Struct):
    """`{"err", "ECODE"}` of v2 or `{"status", "message", "trace_id"}` of v3."""

    err: str = ""
    code: str = msgspec.field(default="", name="ECODE")
    message: str = ""


def _since(settings: Settings) -> int:
    """CLICKUP_SINCE in milliseconds; 0 where it is empty. Raises SettingError."""
    text = settings["CLICKUP_SINCE"]
    if not text:
        return 0
    try:
        return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1000
    except ValueError:
        raise SettingError(f"CLICKUP_SINCE is '{text}': write the first day to load as YYYY-MM-DD") from None


def path_of(table: Table, *ids: object) -> str:
    """The table's path with these ids in place of its `{…}`, in their order.

    An empty id would make the address of something else, which ClickUp answers with 500: it is refused here.
    """
    rest = list(map(str, ids))

    def fill(match: re.Match[str]) -> str:
        if not rest or not rest[0]:
            raise Permanent(f"{table.id}: no id for {match[0]} in {table.path}; a row of {table.parent} came without one")
        return quote(rest.pop(0), safe="")

    return re.sub(r"\{\w+\}", fill, table.path)


def params_of(table: Table, **values: str) -> list[tuple[str, str]]:
    """The contract's parameters; one written `{name}` takes its value from here."""
    return [(name, values.get(value.strip("{}"), value) if value.startswith("{") else value) for name, value in table.params]


def inside(record: Record, path: str) -> list[Record]:
    """The elements of the array at a dotted path inside a record; none where there is no array."""
    value: Record | None = record
    for step in path.split("."):
        value = inner(value, step) if value is not None and bytes(memoryview(value)[:1]) == b"{" else None
    return elements(value) if value is not None and bytes(memoryview(value)[:1]) == b"[" else []


def flat(records: Iterable[Record], field: str) -> Iterator[Record]:
    """The records and, after each, those nested in it at `field`, however deep."""
    for record in records:
        yield record
        yield from flat(inside(record, field), field)


def owner_of(table: Table) -> Column:
    """The column that holds the id of the parent's row."""
    for column in table.columns:
        if column.refers == (table.source, table.parent, "id"):
            return column
    raise Permanent(f"{table.id}: no column refers to {table.parent}.id; name it in the contract")
