"""How ClickUp is asked: what each table's rows function does. Tasks and what sits in them live in `clickup_tasks`.

A workspace is `team` in the older API (v2) and `workspace` in the newer (v3). Only tasks know "changed since". Lists of all
else are read whole, compared with what the table holds (`clickup_known`), and told where they differ. What takes a call a
row is read for changed rows, or once a day.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.settings import Settings
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent, Skipped
from datalake.sources.budget import Budget
from datalake.sources.clickup_known import compared, known_of, living, state_of, vanished
from datalake.sources.clickup_run import (
    DAY,
    ClickUpRun,
    NoAccess,
    Token,
    flat,
    inside,
    owner_of,
    params_of,
    path_of,
)
from datalake.sources.clickup_tasks import from_parent, modified_window
from datalake.sources.clickup_webhooks import webhook_events
from datalake.sources.frontier import Frontier
from datalake.sources.http import Answer, Http, Patience
from datalake.sources.paging import ParentRow, Walk, by_commit, lines_of
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Record, digest, inner, pick, single, split

T = TypeVar("T")

BEGINNING = 1_483_228_800_000
"""2017-01-01, when ClickUp opened: no time entry is older."""
WINDOW = 30 * DAY
"""Start times that one question for time entries spans: its answer has no pages."""
TRAILING = 60 * DAY
"""Start times of time entries that every run reads again, because no filter tells which were changed."""
READ_ALL_AGAIN = 30 * DAY
"""How often time entries are read again from the first one on."""
MEMBERS_AT_ONCE = 50
"""Members named in one question for time entries."""
AUDIT_OVERLAP = dt.timedelta(hours=1)
AUDIT_PAGE = 100
WEEK = 7 * DAY
SCOPES_BETWEEN_CHECKPOINTS = 50
BATCH = 100
"""Changed rows of a parent between two checkpoints; also the most tasks that one question for time in status takes."""
ARCHIVED_OR_NOT: tuple[dict[str, str], ...] = ({"archived": "false"}, {"archived": "true"})
"""`archived` is a switch, not an addition: both must be asked."""

PASSES: dict[str, tuple[dict[str, str], ...]] = {
    "spaces": ARCHIVED_OR_NOT,
    "folders": ARCHIVED_OR_NOT,
    "docs": ({}, {"archived": "true"}, {"deleted": "true"}),
}
"""Lists that take more than one question."""
ONCE_A_DAY = frozenset({"chat_channel_members", "chat_view_comments", "goal_key_results", "list_comments", "list_members"}) | {
    "workspace_user_details"
}
"""Tables that take a call for each row of a parent that says nothing about them."""
ASKED_FOR_BY_ID = {"spaces": "/api/v2/space/", "folders": "/api/v2/folder/", "lists": "/api/v2/list/"}
"""Where a row that is not listed any more is looked for: a lost permission looks the same as a deletion."""
WANTED_VIEWS = "conversation"
"""The type of views that have comments of their own."""


def open_run(settings: Settings, source: Source, progress: Progress) -> ClickUpRun:
    """A run with the token of CLICKUP_TOKEN. Raises SettingError where there is none."""
    token = settings.require("CLICKUP_TOKEN").strip().removeprefix("Bearer ")
    base_url, moved = settings.base_url("clickup", source.base_url)
    functions: dict[str, Callable[[Any, Ask], Iterator[Item]]] = {
        "audit_log": audit_log,
        "children_of_changed": children_of_changed,
        "daily_snapshot": daily_snapshot,
        "date_window": date_window,
        "every_level": every_level,
        "from_parent": from_parent,
        "full_list": full_list,
        "lists": lists,
        "modified_window": modified_window,
        "newest_first": newest_first,
        "single_object": single_object,
        "view_comments": view_comments,
        "webhook_events": webhook_events,
        "workspaces": workspaces,
    }
    http = Http(
        "clickup",
        base_url,
        moved=moved,
        auth=Token(token),
        # 100, 1,000 or 10,000 calls a minute, by the workspace's plan: every answer tells.
        budget=Budget(waiting=lambda seconds, why: progress.waiting("clickup", seconds, why)),
        secrets=settings.secrets(),
        # ClickUp also answers 500 to what it cannot understand: that gets no better with more patience.
        patience=Patience(tries=5),
        note=progress.note,
    )
    return ClickUpRun(source, http, functions, settings)


def identify(run: ClickUpRun) -> str:
    """Whose token it is and the workspaces it sees, with what its role hides. Raises AuthenticationFailed."""
    user = single(run.get(run.source.tables["authorized_user"], "/api/v2/user"), "user")
    name, id_ = pick(user, "username", "id")
    told = []
    for record in split(run.teams(), "teams").records:
        workspace, title = pick(record, "id", "name")
        members = [pick(inner(member, "user") or b"{}", "id", "role") for member in inside(record, "members")]
        role = next((role for member, role in members if member == id_), None)
        limited = "" if role in (1, 2) else " (neither owner nor admin: private spaces and others' time entries stay hidden)"
        told.append(f"{title} [{workspace}]{limited}")
    return f"user {name}; workspaces: {', '.join(told) or 'none'}"


# Functions that the contracts name in `rows:`


def single_object(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """One object, told when it changed."""
    answer = run.get(ask.table, ask.table.path)
    record = single(answer, ask.table.records)
    found = digest([record])
    if found != ask.cursor.get("digest"):
        yield Page([record], answer.at)
        yield Checkpoint({"digest": found})


def workspaces(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """The workspaces that the token sees. One that is not seen any more stays: that is no proof of its end."""
    chosen = run.workspaces()
    records = [record for record in split(run.teams(), "teams").records if pick(record, "id")[0] in chosen]
    pages = [Page(records, run.teams().at)]
    items = told_if_changed(pages, None if ask.window else ask.cursor.get("digest"), {}, run.teams().at)
    yield from (item for item in items if isinstance(item, Page))
    if lost := set(ask.cursor.get("ids", ())) - chosen.keys():
        ask.note(f"not read any more: workspaces {', '.join(sorted(lost))}; what was read of them stays as it is")
    yield Checkpoint({"digest": digest(records), "ids": sorted({*chosen, *ask.cursor.get("ids", ())})})


def full_list(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """One list for each row of the parent, read whole and compared. Cursor: `known`, and `read` where once a day is enough."""
    yield from _scopes(run, ask, _parents(run, ask), lambda ids: _read_list(run, ask.table, ids))


def lists(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Lists of the folders, and those of a space that lie in none. A folder's record shows its lists, so folders are asked
    when they changed, and once a day, because archived lists are not shown."""
    changed, sequence = set[str](), ask.cursor.get("parent_sequence", 0)
    for commit, rows in by_commit(ask, "id"):
        changed.update(f"folder/{row.fields[0]}" for row in rows)
        sequence = commit.sequence
    scopes = {f"space/{key[0]}": ("space", key[0]) for _, key in _living_in(run, ask, "spaces")}
    scopes |= {f"folder/{key[0]}": ("folder", key[0]) for _, key in living(ask.parent)}

    def read(ids: tuple[Any, ...]) -> list[Page]:
        params = params_of(ask.table)
        passes = [run.pages(ask.table, f"/api/v2/{ids[0]}/{ids[1]}/list", [*params, *each.items()]) for each in ARCHIVED_OR_NOT]
        return [page for pages in passes for page in pages]

    def is_due(scope: str, read_at: int) -> bool:
        return scope.startswith("space/") or scope in changed or run.now - read_at >= DAY

    yield from _scopes(run, ask, scopes, read, is_due, {"parent_sequence": sequence})


def every_level(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Fields or views of every workspace, space, folder and list: a call each, so once a day.

    A list shows the fields of the levels above it, too: each counts where it was made.
    """
    what = ask.table.path.rpartition("/")[2]
    known, read = known_of(ask), dict(state_of(ask).get("read", {}))
    for workspace in run.workspaces():
        if run.now - read.get(workspace, 0) < DAY and not (ask.full or ask.window):
            continue
        spaces = [key[0] for scope, key in _living_in(run, ask, "spaces") if scope == workspace]
        folders = [key[0] for scope, key in _living_in(run, ask, "folders") if scope in spaces]
        above = {*(f"space/{each}" for each in spaces), *(f"folder/{each}" for each in folders)}
        inside_them = [key[0] for scope, key in _living_in(run, ask, "lists") if scope in above]
        places = [("team", workspace), *(("space", each) for each in spaces)]
        places += [*(("folder", each) for each in folders), *(("list", each) for each in inside_them)]
        began, told, whole = utc_now(), set[Any](), True
        for _, pages in _each(run, ask, places, lambda place: _of_level(run, ask.table, place, what)):
            whole = whole and pages is not None
            for page in pages or ():
                new = [record for record in page.records if pick(record, "id")[0] not in told]
                told.update(pick(record, "id")[0] for record in new)
                yield from compared(known, workspace, [Page(new, page.at, {"team_id": workspace, **page.add})])
        if whole:
            yield from vanished(known, {workspace}, began)
        read[workspace] = run.now
        yield Checkpoint({"known": known.pack(), "read": dict(read)})


def view_comments(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Comments of the views that have comments of their own. Cursor: `views` are those, by the log of the views."""
    chats, sequence = set(ask.cursor.get("views", ())), ask.cursor.get("parent_sequence", 0)
    for commit, rows in by_commit(ask, "id", "type"):
        for row in rows:
            (chats.add if row.fields[1] == WANTED_VIEWS and not row.deleted else chats.discard)(row.fields[0])
        sequence = commit.sequence
    scopes = {view: (view,) for view in sorted(chats)}
    keep = {"views": sorted(chats), "parent_sequence": sequence}
    yield from _scopes(run, ask, scopes, lambda ids: _read_list(run, ask.table, ids), more=keep)


def daily_snapshot(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """One row a workspace and day."""
    days = dict(ask.cursor.get("days", {}))
    today = dt.datetime.fromtimestamp(run.now / 1000, dt.UTC).date().isoformat()
    for workspace in run.workspaces():
        if days.get(workspace) != today or ask.window:
            answer = run.get(ask.table, path_of(ask.table, workspace))
            if answer.status == 404:
                raise answer.fault("not found: the workspace's plan lacks it", Skipped)
            yield Page([single(answer)], answer.at, {"team_id": workspace, "snapshot_date": today})
            days[workspace] = today
            yield Checkpoint({"days": dict(days)})


def children_of_changed(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Rows of every parent that changed, from their own path; all rows of a parent that was deleted are gone."""
    child = CHILDREN[ask.table.name]
    known = ask.cursor.get("parent_sequence", 0)
    skip = ask.cursor.get("rows", 0)
    for commit, rows in by_commit(ask, *child.fields):
        newest: dict[tuple[Any, ...], ParentRow] = {}
        for row in rows:
            if not row.add.get("silent"):
                newest.pop(row.fields[:1], None)
                newest[row.fields[:1]] = row
        parents = list(newest.values())
        for start in range(0, len(parents), BATCH):
            if start + BATCH <= skip:
                continue
            yield from child.read(run, ask, parents[start : start + BATCH])
            yield Checkpoint({"parent_sequence": known, "rows": start + BATCH})
        if child.forwards and ask.parent is not None:
            scopes = (line.lake for line in lines_of(ask.parent, commit) if line.lake.op == "complete")
            yield from (Complete(lake.scope, lake.at) for lake in scopes)
        known, skip = commit.sequence, 0
        yield Checkpoint({"parent_sequence": known})


def newest_first(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Messages of every channel that changed, from the newest back to those known; once a week all of them, for edits and
    deletions, which leave no trace."""
    state = state_of(ask)
    newest, whole = dict(state.get("newest", {})), dict(state.get("whole", {}))
    for commit, rows in by_commit(ask, "id", "workspace_id"):
        for row in {row.fields[0]: row for row in rows}.values():
            channel, workspace = row.fields
            owner = {owner_of(ask.table).name: channel}
            if row.deleted:
                newest.pop(channel, None)
                whole.pop(channel, None)
                yield Complete(owner, row.at)
                continue
            everything = ask.full or ask.window is not None or run.now - whole.get(channel, 0) >= WEEK
            began = utc_now()
            for page in _messages(run, ask.table, workspace, channel, 0 if everything else newest[channel] - DAY):
                newest[channel] = max([newest.get(channel, 0), *(int(pick(record, "date")[0]) for record in page.records)])
                yield page
            if everything:
                yield Complete(owner, began)
                whole[channel] = run.now
        yield Checkpoint({"newest": dict(newest), "whole": dict(whole), "parent_sequence": commit.sequence})


def date_window(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Time entries of all members by the day on which they began; days whose entries changed are told whole.

    Nothing tells which entries changed: the last `TRAILING` days are read again on every run, everything once a month.
    Cursor: `days` holds a fingerprint of each day by workspace, `read` up to when it was read, `whole` when it all was.
    """
    if ask.window:
        low, high = (int(each.timestamp() * 1000) for each in (ask.window.since, ask.window.until))
        for workspace in run.workspaces():
            for start in range(low, high, WINDOW):
                for entries in _entries(run, ask, workspace, start, min(start + WINDOW, high)).values():
                    yield from entries
        return
    state = state_of(ask)
    days: dict[str, dict[str, str]] = {name: dict(value) for name, value in state.get("days", {}).items()}
    read, whole = dict(state.get("read", {})), dict(state.get("whole", {}))
    first = (run.since or BEGINNING) // DAY * DAY
    for workspace in run.workspaces():
        mine = days.setdefault(workspace, {})
        everything = ask.full or run.now - whole.get(workspace, run.now) >= READ_ALL_AGAIN
        start = first if everything else max(first, read.get(workspace, first) - TRAILING) // DAY * DAY
        while start <= run.now:
            # A timer may run ahead of the clock: the last window is open at its end.
            end = start + WINDOW
            began = utc_now()
            pages = _entries(run, ask, workspace, start, end)
            found = {day: digest(record for page in those for record in page.records)[:12] for day, those in pages.items()}
            for day in sorted(_days(start, end)):
                if found.get(day) != mine.get(day) or ask.full:
                    yield from pages.get(day, ())
                    # Whoever left cannot be asked for: that entries of theirs do not come says nothing.
                    people = run.workspaces()[workspace].members if day in mine or ask.full else ()
                    yield from (Complete({"team_id": workspace, "day": day, "user_id": user}, began) for user in people)
                if day in found:
                    mine[day] = found[day]
                else:
                    mine.pop(day, None)
            start = end
            read[workspace] = max(read.get(workspace, 0), min(end, run.now))
            if start > run.now and (everything or workspace not in whole):
                whole[workspace] = run.now
            yield Checkpoint({"days": {name: dict(value) for name, value in days.items()}, "read": dict(read), "whole": whole})


def audit_log(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """The audit log, newest first back to what is known; each page is asked for by the time of the last row before it.

    The form of the answer is not published: rows are taken from where clients have seen them.
    """
    states = {} if ask.window else dict(ask.cursor)
    for workspace in run.workspaces():
        frontier = Frontier(states.get(workspace, {}), AUDIT_OVERLAP)
        low, high = run.since, run.now
        if ask.window:
            low, high = (_milliseconds(each.isoformat()) for each in (ask.window.since, ask.window.until))
        elif frontier.start:
            low = _milliseconds(frontier.start)
        walk, before, seen = Walk(), high, set[str]()
        while True:
            paging = {"pageRows": AUDIT_PAGE, "pageTimestamp": before, "pageDirection": "before"}
            body = {"filter": {"startTime": low, "endTime": high}, "pagination": paging}
            answer = run.post(ask.table, path_of(ask.table, workspace), body, cursor=before)
            if answer.status == 404:
                raise answer.fault("no audit log: it needs the Enterprise plan and the workspace owner's token", Skipped)
            rows = [(*pick(record, "id", "eventTime"), record) for record in _audited(answer)]
            new = [(_milliseconds(time), record) for id_, time, record in rows if id_ not in seen]
            seen.update(id_ for id_, _, _ in rows)
            oldest = min((time for time, _ in new), default=before)
            ended = len(rows) < AUDIT_PAGE or oldest <= low
            # Rows of one moment may lie on both sides of a seam, so its moment is asked again, if that is no standstill.
            next_ = None if ended else oldest + 1 if oldest + 1 < before else oldest
            walk.step(answer, [record for _, record in new], next_)
            texts = [dt.datetime.fromtimestamp(time / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for time, _ in new]
            fresh = [record for record, _ in frontier.fresh([record for _, record in new], texts)]
            yield Page(fresh, answer.at, {"workspace_id": workspace})
            if next_ is None:
                break
            if next_ >= before:
                raise answer.fault(f"more than {AUDIT_PAGE} rows of one moment: the pages cannot go on from it")
            before = next_
        states[workspace] = frontier.state()
        yield Checkpoint(dict(states))


def _milliseconds(time: Any) -> int:
    """A moment that is milliseconds, perhaps as text, or ISO 8601. Raises Permanent for anything else."""
    text = str(time)
    if text.isdigit():
        return int(text)
    try:
        return int(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise Permanent(f"clickup.audit_logs: a row's eventTime is no point in time: {text[:60]!r}") from None


def _audited(answer: Answer) -> list[Record]:
    """The rows of the audit log's answer: a bare array, or in one of the fields that clients have seen."""
    if answer.body.lstrip()[:1] == b"[":
        return split(answer).records
    body = single(answer)
    for field in ("data", "audit_logs", "events"):
        if inner(body, field) is not None:
            return inside(body, field)
    raise answer.fault("no rows of an audit log were found in the answer, whose form is not published")


# Lists by scope


def _parents(run: ClickUpRun, ask: Ask) -> dict[str, tuple[Any, ...]]:
    """What lists are asked for: by scope, the ids that their path takes."""
    match ask.table.parent:
        case "workspaces":
            return {workspace: (workspace,) for workspace in run.workspaces()}
        case "workspace_members":
            return {f"{each.id}/{user}": (each.id, user) for each in run.workspaces().values() for user in each.members}
        case "chat_channels":
            return {key[0]: (workspace, key[0]) for workspace, key in living(ask.parent)}
        case _:
            return {key[0]: (key[0],) for _, key in living(ask.parent)}


def _living_in(run: ClickUpRun, ask: Ask, table: str) -> list[tuple[str, list[Any]]]:
    assert ask.parent is not None
    return living(RawLog(ask.parent.objects, run.source.tables[table]))


def _scopes(
    run: ClickUpRun,
    ask: Ask,
    scopes: Mapping[str, tuple[Any, ...]],
    read: Callable[[tuple[Any, ...]], list[Page]],
    is_due: Callable[[str, int], bool] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Item]:
    """Read the scopes that are due side by side and tell what changed in them; what none holds any more is gone.

    `is_due(scope, when it was read last)`; without it every scope is, or once a day for tables of `ONCE_A_DAY`. `more` goes
    into the cursor at the end.
    """
    state, known = state_of(ask), known_of(ask)
    read_at = dict(state.get("read", {}))
    if is_due is None and ask.table.name in ONCE_A_DAY:

        def is_due(_scope: str, at: int) -> bool:
            return run.now - at >= DAY

    anew = ask.full or ask.window is not None
    due = [scope for scope in scopes if anew or is_due is None or is_due(scope, read_at.get(scope, 0))]
    began, whole = utc_now(), set()
    for done, (scope, pages) in enumerate(_each(run, ask, due, lambda scope: read(scopes[scope])), 1):
        if pages is not None:
            yield from compared(known, scope, pages)
            whole.add(scope)
        if is_due is not None and pages is not None:
            read_at[scope] = run.now
        if done % SCOPES_BETWEEN_CHECKPOINTS == 0:
            yield Checkpoint({**state, "known": known.pack()})
    left = known.scopes() - scopes.keys()
    ended = {scope for scope in left if _ended(run, ask.table, scope)}
    if left - ended:
        ask.note(f"not read any more: {', '.join(sorted(left - ended))}; what was read of them stays as it is")
    path = ASKED_FOR_BY_ID.get(ask.table.name)
    yield from vanished(known, whole | ended, began, (lambda key: _is_gone(run, ask, path, key)) if path else None)
    read_at = {scope: at for scope, at in read_at.items() if scope in scopes}
    yield Checkpoint({"known": known.pack(), **({"read": read_at} if is_due is not None else {}), **(more or {})})


def _ended(run: ClickUpRun, table: Table, scope: str) -> bool:
    """Whether what a scope that is not there any more held is gone with it. A workspace is only out of sight."""
    if table.parent == "workspace_members":
        return scope.partition("/")[0] in run.workspaces()
    return table.parent != "workspaces"


def _is_gone(run: ClickUpRun, ask: Ask, path: str, key: str) -> bool:
    """Whether a row that is not listed any more was deleted, rather than hidden from the token."""
    (id_,) = msgspec.json.decode(key)
    there, _ = run.exists(ask.table, f"{path}{id_}")
    if there is not False:
        ask.note(f"{ask.table.name} {id_} is not listed any more, but not deleted either: it stays as it is")
    return there is False


def _each(
    run: ClickUpRun, ask: Ask, items: Sequence[T], read: Callable[[T], list[Page]]
) -> Iterator[tuple[T, list[Page] | None]]:
    """Each item with its pages, None where the token may not read it. If it may read none of them, that is raised."""
    refusals: list[Skipped] = []

    def careful(item: T) -> list[Page] | None:
        try:
            return read(item)
        except Skipped as refusal:
            refusals.append(refusal)
            return None

    yield from zip(items, run.workers.each(items, careful), strict=True)
    if refusals and len(refusals) == len(items):
        raise refusals[0]
    if refusals:
        why = str(refusals[0]).removeprefix(f"{ask.table.id}: ")
        ask.note(f"{len(refusals)} of {len(items)} lists were left out, their rows stay as they are: {why}")


# How one list is read


def _read_list(run: ClickUpRun, table: Table, ids: tuple[Any, ...]) -> list[Page]:
    """The whole list of one parent."""
    special = READERS.get(table.name)
    if special is not None:
        return special(run, table, ids)
    params, facts = params_of(table, team_id=ids[0]), _facts(table, ids)
    passes = [run.pages(table, path_of(table, *ids), [*params, *each.items()], facts) for each in PASSES.get(table.name, ({},))]
    return [page for pages in passes for page in pages]


def _facts(table: Table, ids: tuple[Any, ...]) -> dict[str, Any]:
    """The ids that the records do not hold themselves: the workspace's comes first, the parent's last."""
    wanted = {column.field[0] for column in table.columns if column.from_request}
    owner = owner_of(table)
    facts: dict[str, Any] = {name: ids[0] for name in ("team_id", "workspace_id") if name in wanted}
    return {**facts, **({owner.field[0]: ids[-1]} if owner.from_request else {})}


def _goals(run: ClickUpRun, table: Table, ids: tuple[Any, ...]) -> list[Page]:
    """Goals, and those inside folders; or the folders: one answer has both."""
    goals = run.source.tables["goals"]
    answer = run.shared(table, path_of(goals, *ids), params_of(goals))
    if answer.status == 404:
        return [Page([], answer.at)]
    body = single(answer)
    folders = inside(body, "folders")
    if table.name == "goal_folders":
        return [Page(folders, answer.at)]
    return [Page(inside(body, "goals"), answer.at), *(Page(inside(folder, "goals"), answer.at) for folder in folders)]


def _shared_hierarchy(run: ClickUpRun, table: Table, ids: tuple[Any, ...]) -> list[Page]:
    answer = run.get(table, path_of(table, *ids))
    if answer.status == 404:
        return [Page([], answer.at)]
    kinds = {"task": "shared.tasks", "list": "shared.lists", "folder": "shared.folders"}
    body = single(answer)
    return [Page(inside(body, path), answer.at, {**_facts(table, ids), "object_type": kind}) for kind, path in kinds.items()]


def _user_details(run: ClickUpRun, table: Table, ids: tuple[Any, ...]) -> list[Page]:
    answer = run.get(table, path_of(table, *ids), params_of(table))
    records = [single(answer, table.records)] if answer.status != 404 else []
    return [Page(records, answer.at, _facts(table, ids))]


def _comments(run: ClickUpRun, table: Table, ids: tuple[Any, ...]) -> list[Page]:
    return run.comments(table, path_of(table, *ids), _facts(table, ids))


READERS: dict[str, Callable[[ClickUpRun, Table, tuple[Any, ...]], list[Page]]] = {
    "chat_view_comments": _comments,
    "goal_folders": _goals,
    "goals": _goals,
    "list_comments": _comments,
    "shared_hierarchy": _shared_hierarchy,
    "workspace_user_details": _user_details,
}
"""Lists whose answers have a form of their own."""


def _of_level(run: ClickUpRun, table: Table, place: tuple[str, str], what: str) -> list[Page]:
    """Fields or views of one place. A list's `required_views` are an object by kind, with views that were never saved in it."""
    level, id_ = place
    answer = run.get(table, f"/api/v2/{level}/{id_}/{what}", params_of(table))
    if answer.status == 404:
        return [Page([], answer.at)]
    records = split(answer, table.records).records
    required = inner(single(answer), "required_views") if what == "view" and level == "list" else None
    for kind in msgspec.json.decode(required, type=dict[str, Any]) if required is not None else ():
        view = inner(required or b"", kind)
        if view is not None and bytes(memoryview(view)[:1]) == b"{" and pick(view, "id")[0]:
            records.append(view)
    return [Page(records, answer.at, {"level": "workspace" if level == "team" else level, "level_id": id_})]


def _messages(run: ClickUpRun, table: Table, workspace: str, channel: str, low: int) -> Iterator[Page]:
    """Messages of a channel. That the newest come first is not documented: only where they do does a walk end at `low`."""
    walk, cursor = Walk(), ""
    while True:
        params = [*params_of(table), *([("cursor", cursor)] if cursor else [])]
        answer = run.get(table, path_of(table, workspace, channel), params, cursor=cursor)
        if answer.status == 404:
            yield Page([], answer.at)
            return
        told = split(answer, table.records, ["next_cursor"])
        cursor = told.facts["next_cursor"] or ""
        walk.step(answer, told.records, cursor or None)
        yield Page(told.records, answer.at, {"workspace_id": workspace})
        dates = [int(pick(record, "date")[0]) for record in told.records]
        if not cursor or (dates and dates == sorted(dates, reverse=True) and dates[-1] < low):
            return


def _entries(run: ClickUpRun, ask: Ask, workspace: str, start: int, end: int) -> dict[str, list[Page]]:
    """Time entries of all members that began in [start, end), by day. Without names only the token owner's would come, without
    dates only the last thirty days'."""
    members = run.workspaces()[workspace].members
    some = [members[first : first + MEMBERS_AT_ONCE] for first in range(0, len(members), MEMBERS_AT_ONCE)]
    window = [*params_of(ask.table), ("start_date", str(start)), ("end_date", str(end))]
    path = path_of(ask.table, workspace)

    def asked(names: Sequence[int]) -> Answer:
        return run.get(ask.table, path, [*window, ("assignee", ",".join(map(str, names)))], cursor=start)

    try:
        answers = list(run.workers.each(some, asked))
    except NoAccess as refusal:
        ask.note(f"only the token owner's own time entries are read: naming others takes an owner or admin ({refusal})")
        answers = [run.get(ask.table, path, window, cursor=start)]
    by_day: dict[str, list[Page]] = {}
    for answer in answers:
        for record in split(answer, ask.table.records).records:
            began, task = pick(record, "start", "task")
            began = int(began or start)
            if start <= began < end:  # one that only reaches into the window belongs to an earlier day
                facts = {
                    "team_id": workspace,
                    "day": _day(began),
                    "task_id": task.get("id") if isinstance(task, dict) else None,
                }
                by_day.setdefault(_day(began), []).append(Page([record], answer.at, facts))
    return by_day


def _day(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment / 1000, dt.UTC).date().isoformat()


def _days(start: int, end: int) -> list[str]:
    return [_day(moment) for moment in range(start, end, DAY)]


# Children of changed rows


@dataclasses.dataclass(frozen=True)
class Child:
    """How rows of changed parents are read: the parent's `fields` it takes (the id first), and what to do with a batch."""

    fields: tuple[str, ...]
    read: Callable[[ClickUpRun, Ask, Sequence[ParentRow]], Iterator[Item]]
    forwards: bool = False
    """Scopes that the parent read whole were then read whole here as well."""


def _one_by_one(
    path: Callable[[ParentRow], tuple[Any, ...]],
    *,
    comments: bool = False,
    add: Callable[[ParentRow], dict[str, Any]] = lambda _row: {},
    wanted: Callable[[ParentRow], bool] = lambda _row: True,
    nested: str = "",
    replaces: bool = True,
) -> Callable[[ClickUpRun, Ask, Sequence[ParentRow]], Iterator[Item]]:
    """A call a parent. `path` gives the ids of its path; rows nested in rows lie at `nested`; with `replaces` what the answer
    does not hold any more is gone."""

    def read(run: ClickUpRun, ask: Ask, parents: Sequence[ParentRow]) -> Iterator[Item]:
        owner = owner_of(ask.table)

        def one(row: ParentRow) -> list[Page] | None:
            facts = {**({owner.field[0]: row.fields[0]} if owner.from_request else {}), **add(row)}
            where = path_of(ask.table, *path(row))
            try:
                if comments:
                    return run.comments(ask.table, where, facts)
                return run.pages(ask.table, where, params_of(ask.table), facts)
            except NoAccess as refusal:
                ask.note(f"left out, its rows stay as they are: {str(refusal).removeprefix(f'{ask.table.id}: ')}")
                return None

        alive = [row for row in parents if not row.deleted and wanted(row)]
        for row in parents:
            if row.deleted and replaces:
                yield Complete({owner.name: row.fields[0]}, row.at)
        for row, pages in zip(alive, run.workers.each(alive, one), strict=True):
            for page in pages or ():
                yield dataclasses.replace(page, records=list(flat(page.records, nested))) if nested else page
            if pages and replaces:
                yield Complete({owner.name: row.fields[0]}, pages[0].at)

    return read


def _time_in_status(run: ClickUpRun, ask: Ask, parents: Sequence[ParentRow]) -> Iterator[Item]:
    """Time in status of many tasks by one call."""
    yield from (Complete({"task_id": row.fields[0]}, row.at) for row in parents if row.deleted)
    yield from _times(run, ask, [row.fields[0] for row in parents if not row.deleted])


def _times(run: ClickUpRun, ask: Ask, tasks: Sequence[str]) -> Iterator[Item]:
    if not tasks:
        return
    answer = run.get(ask.table, ask.table.path, [("task_ids", task) for task in tasks], cursor=tasks[0])
    if answer.status == 404 and len(tasks) > 1:
        # One of them is gone, and nothing says which.
        yield from _times(run, ask, tasks[: len(tasks) // 2])
        yield from _times(run, ask, tasks[len(tasks) // 2 :])
        return
    found = msgspec.json.decode(single(answer), type=dict[str, msgspec.Raw]) if answer.status != 404 else {}
    for task in tasks:
        told = found.get(task)
        current = inner(told, "current_status") if told is not None else None
        now_in = pick(current, "status")[0] if current is not None else None
        history = inside(told, "status_history") if told is not None else []
        for record in history:
            status = pick(record, "status")[0]
            yield Page([record], answer.at, {"task_id": task, "is_current": status == now_in})
        if current is not None and now_in not in [pick(record, "status")[0] for record in history]:
            yield Page([current], answer.at, {"task_id": task, "is_current": True})
        yield Complete({"task_id": task}, answer.at)


CHILDREN: dict[str, Child] = {
    "chat_message_replies": Child(
        ("id", "replies_count"),
        _one_by_one(
            lambda row: (row.add["workspace_id"], row.fields[0]), wanted=lambda row: bool(row.fields[1]), replaces=False
        ),
        forwards=True,
    ),
    "comment_replies": Child(
        ("id", "reply_count"),
        _one_by_one(
            lambda row: (row.fields[0],),
            add=lambda row: {"task_id": row.add["task_id"]},
            wanted=lambda row: bool(int(row.fields[1] or 0)),
            replaces=False,
        ),
        forwards=True,
    ),
    "doc_pages": Child(("id", "workspace_id"), _one_by_one(lambda row: (row.fields[1], row.fields[0]), nested="pages")),
    "task_attachments": Child(("id", "team_id"), _one_by_one(lambda row: (row.fields[1], row.fields[0]))),
    "task_comments": Child(("id",), _one_by_one(lambda row: (row.fields[0],), comments=True)),
    "task_members": Child(("id",), _one_by_one(lambda row: (row.fields[0],))),
    "task_time_in_status": Child(("id",), _time_in_status),
    "time_entry_history": Child(("id",), _one_by_one(lambda row: (row.add["team_id"], row.fields[0]), replaces=False)),
}
