"""How ClickUp is asked, and how its lists are read. Tasks and what sits in them live in `clickup_tasks`, what hangs on changed
rows in `clickup_children`, what has a time of its own in `clickup_dated`.

A workspace is `team` in the older API (v2) and `workspace` in the newer (v3). Only tasks know "changed since". Lists of all
else are read whole, compared with what the table holds (`clickup_known`), and told where they differ. What takes a call a
row is read for changed rows, or once a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.settings import Settings
from datalake.sources.base import Ask, Checkpoint, Item, Page, QuotaSpent, Skipped, SourceError, Transient
from datalake.sources.budget import Budget
from datalake.sources.clickup_children import children_of_changed, newest_first
from datalake.sources.clickup_dated import audit_log, date_window
from datalake.sources.clickup_known import compared, known_of, living, state_of, vanished
from datalake.sources.clickup_run import DAY, ClickUpRun, Token, Workspace, each_workspace, inside, owner_of, params_of, path_of
from datalake.sources.clickup_tasks import from_parent, modified_window
from datalake.sources.clickup_webhooks import webhook_events
from datalake.sources.http import Http, Patience
from datalake.sources.paging import by_commit
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import digest, inner, pick, single, split

T = TypeVar("T")

SCOPES_BETWEEN_CHECKPOINTS = 50
ARCHIVED_OR_NOT: tuple[dict[str, str], ...] = ({"archived": "false"}, {"archived": "true"})
"""`archived` is a switch, not an addition: both must be asked."""

PASSES: dict[str, tuple[dict[str, str], ...]] = {
    "spaces": ARCHIVED_OR_NOT,
    "folders": ARCHIVED_OR_NOT,
    "docs": ({}, {"archived": "true"}, {"deleted": "true"}),
}
"""Lists that take more than one question."""
ONCE_A_DAY = frozenset(
    {
        "chat_channel_members",
        "chat_view_comments",
        "goal_key_results",
        "list_comments",
        "list_members",
        "workspace_user_details",
    }
)
"""Tables that take a call for each row of a parent that says nothing about them."""
ASKED_FOR_BY_ID = {"spaces": "/api/v2/space/", "folders": "/api/v2/folder/", "lists": "/api/v2/list/"}
"""Where a row that is not listed any more is looked for: a lost permission looks the same as a deletion."""
WITH_COMMENTS = "conversation"
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
        limited = (
            "" if role in (1, 2, None) else " (neither owner nor admin: private spaces and others' time entries stay hidden)"
        )
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

    def read_workspace(workspace: Workspace) -> Iterator[Item]:
        if run.now - read.get(workspace.id, 0) < DAY and not (ask.full or ask.window):
            return
        began, told, whole = utc_now(), set[Any](), True
        for _, pages in _each(run, ask, _places(run, ask, workspace.id), lambda place: _of_level(run, ask.table, place, what)):
            whole = whole and pages is not None
            for page in pages or ():
                new = [record for record in page.records if pick(record, "id")[0] not in told]
                told.update(pick(record, "id")[0] for record in new)
                yield from compared(known, workspace.id, [Page(new, page.at, {"team_id": workspace.id, **page.add})])
        if whole:
            yield from vanished(known, {workspace.id}, began)
        read[workspace.id] = run.now
        yield Checkpoint({"known": known.pack(), "read": dict(read)})

    yield from each_workspace(run, ask, read_workspace)


def _places(run: ClickUpRun, ask: Ask, workspace: str) -> list[tuple[str, str]]:
    """Level and id of the workspace and all living in it, from above."""
    spaces = [key[0] for scope, key in _living_in(run, ask, "spaces") if scope == workspace]
    folders = [key[0] for scope, key in _living_in(run, ask, "folders") if scope in spaces]
    above = {*(f"space/{each}" for each in spaces), *(f"folder/{each}" for each in folders)}
    lists_ = [key[0] for scope, key in _living_in(run, ask, "lists") if scope in above]
    below = (("space", spaces), ("folder", folders), ("list", lists_))
    return [("team", workspace), *((level, id_) for level, ids in below for id_ in ids)]


def view_comments(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Comments of the views that have comments of their own. Cursor: `views` are those, by the log of the views."""
    chats, sequence = set(ask.cursor.get("views", ())), ask.cursor.get("parent_sequence", 0)
    for commit, rows in by_commit(ask, "id", "type"):
        for row in rows:
            (chats.add if row.fields[1] == WITH_COMMENTS and not row.deleted else chats.discard)(row.fields[0])
        sequence = commit.sequence
    scopes = {view: (view,) for view in sorted(chats)}
    keep = {"views": sorted(chats), "parent_sequence": sequence}
    yield from _scopes(run, ask, scopes, lambda ids: _read_list(run, ask.table, ids), more=keep)


def daily_snapshot(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """One row a workspace and day."""
    days = dict(ask.cursor.get("days", {}))
    today = dt.datetime.fromtimestamp(run.now / 1000, dt.UTC).date().isoformat()

    def read_workspace(workspace: Workspace) -> Iterator[Item]:
        if days.get(workspace.id) == today and not ask.window:
            return
        answer = run.get(ask.table, path_of(ask.table, workspace.id))
        if answer.status == 404:
            raise answer.fault("not found: the workspace's plan lacks it", Skipped)
        yield Page([single(answer)], answer.at, {"team_id": workspace.id, "snapshot_date": today})
        days[workspace.id] = today
        yield Checkpoint({"days": dict(days)})

    yield from each_workspace(run, ask, read_workspace)


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
            read_at[scope] = run.now
        else:
            read_at.pop(scope, None)  # due again in the next run
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
    """Each item with its pages, None where the token may not read it or ClickUp fails at it again and again (it answers 500
    to some objects for ever). If none can be read, the first reason is raised."""
    refusals: list[SourceError] = []

    def careful(item: T) -> list[Page] | None:
        try:
            return read(item)
        except QuotaSpent:
            raise
        except (Skipped, Transient) as refusal:
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
