"""How 360dialog is asked: the partner hub, the Messaging API of each number, and Meta's Graph API. Webhooks live beside it.

Three hosts, three keys, each of which a company may lack: what needs a key that is not set is left out with a note. The hub's
key opens lists of clients and channels, balances and usage; a channel's key opens that number alone; Meta's token is one of our
own. Nothing tells what changed, so every list is read whole and told when it differs; balances and health are snapshots; usage
and analytics are read again for as long as they still move.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import itertools
import json
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from datalake.lake.inbox import open_inbox
from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.redaction import hide
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Auth, Bearer, RefreshingToken, Request, Token
from datalake.sources.base import Ask, AuthenticationFailed, Checkpoint, Complete, Item, Page, Skipped
from datalake.sources.budget import Budget, Limit
from datalake.sources.dialog_360_pages import MEDIA, Owner, read_analytics, read_file, read_list, read_once, read_points
from datalake.sources.dialog_360_webhooks import (
    latest_status,
    partner_events,
    webhook_changes,
    webhook_contacts,
    webhook_events,
)
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http, Verdict
from datalake.sources.paging import ParentRow, by_commit, rows_of
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Record, elements, inner, pick, single

HUB, MESSAGING, GRAPH = "hub.360dialog.io", "waba-v2.360dialog.io", "graph.facebook.com"
BALANCE = re.compile(r".*/clients/[^/]+/info/balance")
BALANCES = Limit(5, 30.0)
"""The hub's one endpoint with a limit of its own (documented)."""

REACH = {
    "client_balance": (365, 35),
    "channel_usage": (365, 35),
    "template_analytics": (89, 8),
    "meta_conversation_analytics": (365, 35),
    "meta_messaging_analytics": (365, 8),
    "meta_pricing_analytics": (365, 35),
}
"""Days back that a first load asks for, and that every later run reads again: figures are estimates until the invoice."""
OWNED_BY = {
    "clients": {"client_id": "id"},
    "channels": {"channel_id": "id", "client_id": "client_id"},
    "waba_accounts": {"waba_account_id": "id", "waba_id": "external_id"},
}
"""Parents whose rows have lists or figures of their own: the facts to ask by (the first tells whose they are), their fields."""
META_LIMITS = (4, 17, 32, 613, 80007, 130429)
"""Codes of Meta's "too many calls", told with status 400 or 403."""


class KeyHeader(Auth):
    """A key in a header of its own."""

    def __init__(self, name: str, key: str) -> None:
        self._name, self._key = name, key

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        request.headers[self._name] = self._key
        yield request


class HubLogin(RefreshingToken):
    """The hub's token for a user and a password; it expires, and is then fetched anew."""

    def __init__(self, url: str, username: str, password: str) -> None:
        super().__init__()
        self._url = url
        self._body = json.dumps({"username": username, "password": password}).encode()

    def token_request(self) -> Request:
        return Request("POST", self._url, {"Content-Type": "application/json"}, self._body)

    def read_token(self, answer: Answer) -> Token:
        if answer.status != 200:
            raise answer.fault("the hub refuses DIALOG_360_USERNAME or DIALOG_360_PASSWORD", AuthenticationFailed)
        token, lifetime = pick(single(answer), "access_token", "expires_in")
        if not token:
            raise answer.fault("the hub's login brought no access_token", AuthenticationFailed)
        return Token(token, lifetime)


class Dialog360Run(HttpRun):
    """One run: a session a host, the keys, and the day for which it takes snapshots."""

    def __init__(self, source: Source, settings: Settings, progress: Progress) -> None:
        self.partner_id = settings["DIALOG_360_PARTNER_ID"]
        self.channel_keys = _channel_keys(settings)
        self._moved = settings.base_url("dialog_360", "")[0]
        proof = self._hub_proof(settings)
        self.has_hub = proof is not None
        self.has_meta = bool(settings["DIALOG_360_META_TOKEN"])
        self._secrets = settings.secrets()
        hub = self._http(HUB, proof, [Limit(5, 1.0)], progress)
        super().__init__(
            source,
            hub,
            {
                "channel_lists": channel_lists,
                "channel_snapshots": channel_snapshots,
                "date_window": date_window,
                "from_parent": from_parent,
                "full_list": full_list,
                "latest_status": latest_status,
                "media": media,
                "parent_snapshots": parent_snapshots,
                "partner_events": partner_events,
                "snapshots": snapshots,
                "template_analytics": template_analytics,
                "usage_in_balance": usage_in_balance,
                "webhook_changes": webhook_changes,
                "webhook_contacts": webhook_contacts,
                "webhook_events": webhook_events,
            },
        )
        meta = Bearer(settings["DIALOG_360_META_TOKEN"]) if self.has_meta else None
        self._sessions = {
            HUB: hub,
            MESSAGING: self._http(MESSAGING, None, [Limit(5, 1.0)], progress),
            GRAPH: self._http(GRAPH, meta, [Limit(5, 1.0)], progress),
        }
        # One after another, and after a refusal not before the whole stretch is over: a run just before has used some of it.
        self._balances = self._http(HUB, proof, [BALANCES], progress, concurrency=1, classify=self._judge_balance)
        self.inbox = open_inbox(settings, "dialog_360")
        self.since = _since(settings)
        self._lock = threading.RLock()
        self._partner: Answer | None = None
        self._numbers: dict[str, Answer] = {}

    def get(self, table: Table, path: str, params: Any = None, *, channel: str = "", accept: tuple[int, ...] = ()) -> Answer:
        """One answer from the host that the address names, 2xx or one of `accept`. Raises Skipped where the key is refused."""
        parts = urlsplit(path)
        session = self._balances if BALANCE.fullmatch(parts.path) else self._sessions[parts.hostname or ""]
        auth = KeyHeader("D360-API-KEY", self.channel_keys[channel]) if channel else None
        answer = session.get(table.id, self._address(path), params, accept=(401, 403, *accept), auth=auth)
        if answer.status in (401, 403):
            whose = f"the key of channel {channel}" if channel else f"the key for {parts.hostname}"
            raise answer.fault(f"{whose} is refused here; check it in DIALOG_360_* and what it may read", Skipped)
        return answer

    def partner(self, table: Table) -> Answer:
        """Settings of the partner account, asked once."""
        with self._lock:
            if self._partner is None:
                self._partner = self.get(table, self.path(self.source.tables["partner"]))
            return self._partner

    def number(self, table: Table, channel: str) -> Answer:
        """Health of a channel's number, asked once: its id is what webhooks call the number by."""
        with self._lock:
            if channel not in self._numbers:
                self._numbers[channel] = self.get(table, self.source.tables["channel_health"].path, channel=channel)
            return self._numbers[channel]

    def now(self, table: Table) -> dt.datetime:
        """The present by 360dialog's clock; all snapshots of a run are taken at one moment."""
        with self._lock:
            answer = self.partner(table) if self.has_hub else self.number(table, next(iter(self.channel_keys)))
            date = email.utils.parsedate_to_datetime(answer.headers["Date"]) if "Date" in answer.headers else None
            return date.astimezone(dt.UTC) if date else dt.datetime.now(dt.UTC)

    def path(self, table: Table, **facts: str) -> str:
        """The contract's address, filled in."""
        return table.path.format_map({"partner_id": self.partner_id, **{name: quote(value) for name, value in facts.items()}})

    def calls(self, table_id: str) -> dict[str, float]:
        tallies = [session.calls(table_id) for session in (*self._sessions.values(), self._balances)]
        return {name: sum(tally[name] for tally in tallies) for name in tallies[0]}

    def close(self) -> None:
        self.workers.close()
        for session in (*self._sessions.values(), self._balances):
            session.close()

    def _http(
        self,
        host: str,
        auth: Auth | None,
        limits: list[Limit],
        progress: Progress,
        concurrency: int = 16,
        classify: Callable[[Answer], Verdict | None] | None = None,
    ) -> Http:
        return Http(
            "dialog_360",
            self._address(f"https://{host}"),
            moved=bool(self._moved),
            auth=auth,
            budget=Budget(
                limits,
                concurrency=concurrency,
                waiting=lambda seconds, why: progress.waiting("dialog_360", seconds, why),
            ),
            secrets=[*self._secrets, *self.channel_keys.values()],
            classify=classify or _classify,
            note=progress.note,
        )

    def _judge_balance(self, answer: Answer) -> Verdict | None:
        if answer.status == 429:
            self._balances.budget.pause(BALANCES.seconds, "the limit on balances")
        return _classify(answer)

    def _address(self, url: str) -> str:
        """Elsewhere, the hosts are told apart by the beginning of the path."""
        return f"{self._moved}/{url.removeprefix('https://')}" if self._moved else url

    def _hub_proof(self, settings: Settings) -> Auth | None:
        if key := settings["DIALOG_360_API_KEY"]:
            proof: Auth = KeyHeader("X-API-Key", key)
        elif username := settings["DIALOG_360_USERNAME"]:
            url = self._address(f"https://{HUB}/api/v2/token")
            proof = HubLogin(url, username, settings.require("DIALOG_360_PASSWORD"))
        else:
            return None
        settings.require("DIALOG_360_PARTNER_ID")
        return proof


def open_run(settings: Settings, source: Source, progress: Progress) -> Dialog360Run:
    """A run with whatever keys are set. Raises SettingError where there is none, nor anything that proves webhooks."""
    names = ("API_KEY", "USERNAME", "CHANNEL_KEYS", "WEBHOOK_SECRET", "WEBHOOK_TOKEN")
    if not any(settings[f"DIALOG_360_{name}"] for name in names):
        raise SettingError(
            "360dialog has no key: set DIALOG_360_API_KEY and DIALOG_360_PARTNER_ID (partner hub), or DIALOG_360_CHANNEL_KEYS "
            "(numbers), or DIALOG_360_WEBHOOK_SECRET or _TOKEN where only webhooks are read."
        )
    return Dialog360Run(source, settings, progress)


def identify(run: Dialog360Run) -> str:
    """The partner, numbers and halves that the keys open. Raises AuthenticationFailed for a key that is refused."""
    told = []
    try:
        if run.has_hub:
            told.append(f"partner {pick(single(run.partner(run.source.tables['partner'])), 'id')[0]}")
        for channel in run.channel_keys:
            answer = run.number(run.source.tables["channel_health"], channel)
            told.append(f"channel {channel} (number {pick(single(answer), 'id')[0]})")
    except Skipped as refused:
        raise AuthenticationFailed(str(refused)) from refused
    missing = [
        what
        for what, there in (
            ("partner hub", run.has_hub),
            ("channel keys", run.channel_keys),
            ("Meta token", run.has_meta),
        )
        if not there
    ]
    return ", ".join(told or ["webhooks only"]) + (f"; not set: {', '.join(missing)}" if missing else "")


def _channel_keys(settings: Settings) -> dict[str, str]:
    keys = {}
    for pair in settings.names("DIALOG_360_CHANNEL_KEYS"):
        channel, _, key = pair.partition("=")
        if not channel or not key:
            raise SettingError("DIALOG_360_CHANNEL_KEYS: write id=key for each channel, comma-separated")
        keys[channel.strip()] = key.strip()
        hide(key)
    return keys


def _since(settings: Settings) -> dt.date | None:
    try:
        return dt.date.fromisoformat(settings["DIALOG_360_SINCE"]) if settings["DIALOG_360_SINCE"] else None
    except ValueError:
        raise SettingError(f"DIALOG_360_SINCE is '{settings['DIALOG_360_SINCE']}': write a day as YYYY-MM-DD") from None


def _classify(answer: Answer) -> Verdict | None:
    """Meta tells "too many calls" by a code in the body."""
    if answer.status in (400, 403) and any(b'"code":%d' % code in answer.body.replace(b" ", b"") for code in META_LIMITS):
        error = inner(answer.body, "error") if answer.body.startswith(b"{") else None
        if error is not None and pick(error, "code")[0] in META_LIMITS:
            return Verdict.LIMITED
    return None


# Functions that the contracts name in `rows:`


def full_list(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """A whole list, or one for each row of the parent; each told when it changed."""
    owners = _owners(run, ask)
    if owners is not None:
        asked = run.workers.each(owners, lambda owner: read_list(run, ask.table, owner))
        yield from _told(ask, owners, asked, whole=True)


def channel_lists(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """The same of each channel that has a key."""
    yield from _each_channel(run, ask, lambda owner: read_list(run, ask.table, owner, owner["channel_id"]), whole=True)


def snapshots(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """What the hub says today, one row a day and owner."""
    owners = _owners(run, ask)
    if not owners:
        return
    now = run.now(ask.table)
    params = list(ask.table.params)
    window: dict[str, str] = {}
    if ask.table.name in REACH:
        start, end, window = _window(run, ask, now)
        params += [("start_date", start), ("end_date", end)]
    asked = run.workers.each(owners, lambda owner: read_once(run, ask.table, owner, params))
    yield from _told(ask, owners, asked, taken={"snapshot_date": f"{now:%Y-%m-%d}"}, more=window)


def parent_snapshots(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """The parent's rows as they are today, one row a day and parent row. Costs no call."""
    rows, _ = _newest(ask)
    if rows and run.has_hub:
        pages = [Page([row.record for row in rows], rows[0].at)]
        yield from _told(ask, [{}], [pages], taken={"snapshot_date": f"{run.now(ask.table):%Y-%m-%d}"})


def channel_snapshots(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """Health of each channel that has a key, one row an hour and entity."""

    def read(owner: Owner) -> list[Page]:
        answer = run.number(ask.table, owner["channel_id"])
        health = inner(answer.body, "health_status")
        if health is None:
            raise answer.fault("the answer tells no health_status")
        overall = {"overall_can_send_message": pick(health, "can_send_message")[0]}
        return [Page(elements(inner(health, "entities") or b"[]"), answer.at, overall)]

    if run.channel_keys:
        hour = f"{run.now(ask.table):%Y-%m-%dT%H:00:00Z}"
        yield from _each_channel(run, ask, read, taken={"snapshot_at": hour})
    else:
        _owners(run, ask)


def from_parent(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """Objects inside the parent's records, once each."""
    rows, sequence = _newest(ask)
    if sequence == ask.cursor.get("parent_sequence", 0):
        return
    found: dict[str, tuple[Record, str]] = {}
    for row in rows:
        record = inner(row.record, ask.table.records)
        if record is not None:
            found[str(pick(record, "id")[0])] = (record, row.at)
    for record, at in found.values():
        yield Page([record], at)
    yield Complete({}, min((row.at for row in rows), default=utc_now()))
    yield Checkpoint({"parent_sequence": sequence})


def usage_in_balance(run: Dialog360Run, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """The usage that each client's balance came with."""
    for commit, rows in by_commit(ask, "granularity"):
        for row in rows:
            usage = inner(row.record, ask.table.records)
            add = {"client_id": row.add["client_id"], "granularity": row.fields[0] or "day"}
            yield Page(elements(usage) if usage is not None else [], row.at, add)
        yield Checkpoint({"parent_sequence": commit.sequence})


def date_window(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """Figures by day of each owner, read again as far back as they still move."""
    owners = _owners(run, ask)
    if not owners:
        return
    now = run.now(ask.table)
    start, end, window = _window(run, ask, now)
    asked = run.workers.each(owners, lambda owner: read_points(run, ask.table, owner, start, end))
    yield from _told(ask, owners, asked, more=window)


def template_analytics(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """Figures by day of each channel's templates."""
    assert ask.parent is not None
    templates: dict[str, list[str]] = {}
    for commit in ask.parent.since(0):
        lists: dict[str, list[str]] = {}
        for row in rows_of(ask.parent, commit, ("id",)):
            lists.setdefault(row.add["channel_id"], []).append(str(row.fields[0]))
        templates |= lists  # a channel's list is told whole
    if not run.channel_keys:
        _owners(run, ask)
        return
    now = run.now(ask.table)
    start, end, window = _window(run, ask, now)

    def read(owner: Owner) -> list[Page]:
        channel = owner["channel_id"]
        return read_analytics(run, ask.table, channel, sorted(templates.get(channel, ())), start, end)

    yield from _each_channel(run, ask, read, more=window)


def media(run: Dialog360Run, ask: Ask) -> Iterator[Item]:
    """Files that came with messages: fetched with the key of their number and kept as objects, each once."""
    numbers = {
        str(pick(single(run.number(ask.table, owner["channel_id"])), "id")[0]): owner["channel_id"]
        for owner in _owners(run, ask) or ()
    }
    for commit, rows in by_commit(ask, "id", *MEDIA) if numbers else ():
        wanted = (
            (row, of) for row in rows if not row.deleted for of in row.fields[1:] if isinstance(of, dict) and of.get("id")
        )
        while some := list(itertools.islice(wanted, 64)):
            yield from run.workers.each(some, lambda each: read_file(run, ask.table, numbers, *each))
        yield Checkpoint({"parent_sequence": commit.sequence})


# Owners: whose lists and figures a table holds


def _owners(run: Dialog360Run, ask: Ask) -> list[Owner] | None:
    """The facts by which each list is asked for: the partner's, those of the parent's living rows, or of the channels' keys.

    None, and a note, where nothing can be asked: the table needs a key that is not set, or a parent that was never read.
    """
    host = urlsplit(ask.table.path).hostname
    needed = {
        HUB: (run.has_hub, "DIALOG_360_API_KEY"),
        MESSAGING: (bool(run.channel_keys), "DIALOG_360_CHANNEL_KEYS"),
        GRAPH: (run.has_meta, "DIALOG_360_META_TOKEN"),
    }
    there, setting = needed[host or ""]
    if not there:
        ask.note(f"left out: {setting} is not set")
        return None
    if host == MESSAGING:
        return [{"channel_id": channel} for channel in run.channel_keys]
    if ask.table.parent not in OWNED_BY:
        return [{"partner_id": run.partner_id}]
    facts = OWNED_BY[ask.table.parent]
    rows, sequence = _newest(ask, *facts.values())
    if sequence == 0:
        ask.note(f"nothing is asked for: {ask.table.parent} has not been read yet")
        return None
    own = [dict(zip(facts, map(str, row.fields), strict=True)) for row in rows if None not in row.fields]
    return [{**owner, "partner_id": run.partner_id} for owner in own]


def _newest(ask: Ask, *fields: str) -> tuple[list[ParentRow], int]:
    """Rows of the parent's newest commit, which holds its whole list, and its sequence; 0 where there is none."""
    assert ask.parent is not None
    head = ask.parent.head()
    return (list(rows_of(ask.parent, head, fields)), head.sequence) if head else ([], 0)


def _each_channel(
    run: Dialog360Run,
    ask: Ask,
    read: Callable[[Owner], list[Page]],
    *,
    whole: bool = False,
    taken: dict[str, str] | None = None,
    more: dict[str, str] | None = None,
) -> Iterator[Item]:
    """What each channel that has a key tells. One whose key is refused is an error after the others were read."""
    refused: list[Skipped] = []

    def guarded(owner: Owner) -> list[Page] | Skipped:
        try:
            return read(owner)
        except Skipped as error:
            return error

    owners = _owners(run, ask) or []
    answered: list[tuple[Owner, list[Page]]] = []
    for owner, pages in zip(owners, run.workers.each(owners, guarded), strict=True):
        if isinstance(pages, Skipped):
            refused.append(pages)
        else:
            answered.append((owner, pages))
    yield from _told(
        ask, [owner for owner, _ in answered], [pages for _, pages in answered], whole=whole, taken=taken, more=more
    )
    if refused:
        raise refused[0]


def _told(
    ask: Ask,
    owners: list[Owner],
    asked: Iterable[list[Page]],
    *,
    whole: bool = False,
    taken: dict[str, str] | None = None,
    more: dict[str, str] | None = None,
) -> Iterator[Item]:
    """The pages of each owner, if they differ from those told before (with `taken`: told for that same moment).

    `whole` says that the pages hold all that the owner has; then the rows of owners that are no more are gone as well.
    """
    wanted = {column.field[0] for column in ask.table.columns if column.from_request}
    known: dict[str, str] = ask.cursor.get("digests", {}) if ask.cursor.get("taken") == taken else {}
    of_parent = ask.table.parent in OWNED_BY
    owned_by = OWNED_BY.get(ask.table.parent or "", {"channel_id": "id"})
    column = next((name for name in owned_by if name in wanted), next(iter(owned_by)))
    digests = {}
    for owner, pages in zip(owners, asked, strict=True):
        name = owner.get(column, "")
        scope = {column: name} if name and column in wanted else {}
        facts = {key: value for key, value in {**owner, **(taken or {})}.items() if key in wanted}
        placed = [dataclasses.replace(page, add={**facts, **page.add}) for page in pages]
        told = told_if_changed(placed, known.get(name), scope, pages[0].at if pages else utc_now())
        digests[name] = yield from (told if whole else _without_complete(told))
    for name in sorted(known.keys() - digests.keys()):
        if of_parent:
            if whole:
                yield Complete({column: name}, utc_now())
        else:
            digests[name] = known[name]  # a channel that could not be asked
    if digests or more:
        yield Checkpoint({"digests": digests, **({"taken": taken} if taken else {}), **(more or {})})


def _without_complete(items: Generator[Page | Complete, None, str]) -> Generator[Page, None, str]:
    while True:
        try:
            item = next(items)
        except StopIteration as end:
            found: str = end.value
            return found
        if isinstance(item, Page):
            yield item


def _window(run: Dialog360Run, ask: Ask, now: dt.datetime) -> tuple[str, str, dict[str, str]]:
    """The stretch to ask figures for, in Unix seconds and whole days up to the end of today; and what the cursor keeps of it.

    All runs of a day ask for the same stretch, so that what they get is the same while nothing moves.
    """
    if ask.window:
        return str(int(ask.window.since.timestamp())), str(int(ask.window.until.timestamp())), {}
    first, again = REACH[ask.table.name]
    today = now.date()
    through = dt.date.fromisoformat(ask.cursor["through"]) if "through" in ask.cursor else None
    if through == today:
        start = dt.date.fromisoformat(ask.cursor["start"])
    else:
        start = today - dt.timedelta(first) if through is None else min(through, today) - dt.timedelta(again)
        start = max(start, run.since or start, today - dt.timedelta(first))
    return _seconds(start), _seconds(today + dt.timedelta(1)), {"through": f"{today}", "start": f"{start}"}


def _seconds(day: dt.date) -> str:
    return str(int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()))
