"""How tasks are read: changed ones by a window that stands still, vanished ones by a daily comparison of all; and what
sits inside a task's record. Everything else about ClickUp lives in `clickup`.

Pages are offsets over a live set: a task that is edited while pages are read leaves its place, all behind it move up, and the
one at the seam is never shown. So pages are not counted: in ascending order of `date_updated`, each call asks for what
follows the last task read, in a window that ends at one fixed moment. A task edited meanwhile leaves the window and comes
with the next run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Item, Page
from datalake.sources.clickup_fields import read as field_value
from datalake.sources.clickup_known import Known, known_of, living, state_of
from datalake.sources.clickup_run import (
    DAY,
    ClickUpRun,
    NoAccess,
    Workspace,
    each_workspace,
    flat,
    inside,
    owner_of,
    params_of,
    path_of,
)
from datalake.sources.http import Answer
from datalake.sources.paging import ParentRow, by_commit
from datalake.sources.records import Record, inner, pick, split

PAGE = 100
OVERLAP = 600_000
"""Milliseconds of the last window that are read again: what is written late carries an older time."""
STEPS_BETWEEN_CHECKPOINTS = 10


def modified_window(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Tasks changed since the last run, archived ones in a pass of their own; once a day all, to find what vanished.

    Cursor: `read` holds per workspace and pass the moment up to which tasks were read, `whole` when all were last compared,
    `known` the living tasks.
    """
    if ask.window:
        low, high = (int(each.timestamp() * 1000) for each in (ask.window.since, ask.window.until))
        for workspace in run.workspaces().values():
            for archived in (False, True):
                for page, _ in _walk(run, ask, workspace, low, high, archived=archived, by_list=True):
                    yield page
        return
    state, known = state_of(ask), known_of(ask)
    read, whole, loading = dict(state.get("read", {})), dict(state.get("whole", {})), set(state.get("loading", ()))
    until = run.now

    def reached() -> Checkpoint:
        unfinished = {"loading": sorted(loading)} if loading else {}
        return Checkpoint({"read": dict(read), "whole": dict(whole), "known": known.pack(), **unfinished})

    def read_workspace(workspace: Workspace) -> Iterator[Item]:
        all_of_them = ask.full or (workspace.id in whole and until - whole[workspace.id] >= DAY)
        for archived in (False, True):
            name = f"{workspace.id}/{'archived' if archived else 'active'}"
            if name not in read:
                loading.add(name)
            low = run.since if ask.full or name not in read else max(run.since, 0 if all_of_them else read[name] - OVERLAP)
            by_list = all_of_them or name in loading
            settled = 0 if name in loading else read[name] - OVERLAP
            walk = _walk(run, ask, workspace, low, until, archived=archived, by_list=by_list)
            for step, (page, moment) in enumerate(walk, 1):
                yield from _news(known, workspace, page, settled)
                if name in loading:
                    read[name] = moment  # a first load that stops goes on from here
                if step % STEPS_BETWEEN_CHECKPOINTS == 0:
                    yield reached()
            read[name] = until
            loading.discard(name)
        if all_of_them:
            yield from _vanished(run, ask, workspace, known)
        if all_of_them or workspace.id not in whole:
            whole[workspace.id] = until
        yield reached()

    yield from each_workspace(run, ask, read_workspace)
    for lost in {scope.partition("/")[0] for scope in known.scopes()} - run.workspaces().keys():
        ask.note(f"workspace {lost} is not read any more: its tasks stay as they are")


def _news(known: Known, workspace: Workspace, page: Page, settled: int) -> Iterator[Page]:
    """Tasks that are new or differ. Those that differ although ClickUp dates no change (a tag or an option was renamed) come
    with the fact `silent`: what takes a call a task is not asked for again."""
    held = {
        pick(record, "id")[0]
        for record, is_held in zip(page.records, known.holds(page), strict=True)
        if is_held and int(pick(record, "date_updated")[0] or settled) < settled
    }
    news = known.news(lambda record: _scope(workspace, record), page)
    told = news.records if news else ()
    for silent in (False, True):
        records = [record for record in told if (pick(record, "id")[0] in held) is silent]
        if records:
            yield Page(records, page.at, {"silent": True} if silent else {})


def _scope(workspace: Workspace, record: Record) -> str:
    (list_,) = pick(record, "list")
    return f"{workspace.id}/{list_.get('id', '') if isinstance(list_, dict) else ''}"


def _walk(
    run: ClickUpRun, ask: Ask, workspace: Workspace, low: int, high: int, *, archived: bool, by_list: bool
) -> Iterator[tuple[Page, int]]:
    """Tasks of a workspace updated in [low, high), and after each page the moment reached.

    That the workspace's tasks can be filtered by `archived` is not documented. Where the filter is not kept to, each list is
    asked instead, which takes a call a list: with `by_list` only.
    """
    path = path_of(ask.table, workspace.id)
    for page, reached, _ in _ascending(run, ask, path, low, high, archived=archived):
        if archived and not all(pick(record, "archived")[0] is True for record in page.records):
            break
        yield page, reached
    else:
        return
    if not by_list:
        return
    ask.note(f"workspace {workspace.id}: all tasks cannot be filtered by archived; each list is asked for its own, once a day")
    lists = [key[0] for _, key in living(RawLog(ask.parent.objects, run.source.tables["lists"]) if ask.parent else None)]
    for list_ in lists:
        try:
            for page, _, answer in _ascending(run, ask, f"/api/v2/list/{list_}/task", low, high, archived=True):
                if not all(pick(record, "archived")[0] is True for record in page.records):
                    raise answer.fault("tasks that are not archived came where archived ones were asked for")
                # Lists come one after another, each from its beginning: none of them tells how far all have been read.
                yield page, low
        except NoAccess:
            ask.note(f"list {list_} cannot be seen: its archived tasks stay as they are")


def _ascending(
    run: ClickUpRun, ask: Ask, path: str, low: int, high: int, *, archived: bool
) -> Iterator[tuple[Page, int, Answer]]:
    """Pages of tasks in ascending order of `date_updated`, each asked from the last one's end on.

    More tasks of one millisecond than fit a page (a bulk edit) are read page by page, again until nothing new shows up.
    """
    start, number, found_here = low, 0, 0
    edge: dict[str, int] = {}
    while True:
        # `_gt` takes in its own bound; if that ever changes, one millisecond less still does.
        bounds = [("date_updated_gt", str(start - 1)), ("date_updated_lt", str(high)), ("page", str(number))]
        answer = run.get(ask.table, path, [*params_of(ask.table), ("archived", str(archived).lower()), *bounds], cursor=start)
        if answer.status == 404:
            return
        told = split(answer, ask.table.records, ["last_page"])
        rows = [(*pick(record, "id", "date_updated"), record) for record in told.records]
        times = [int(updated) for _, updated, _ in rows if updated]
        if any(not start - 1 <= time <= high for time in times):
            raise answer.fault("tasks outside of the window came: the filter by date_updated was not kept to")
        if times != sorted(times):
            raise answer.fault("tasks did not come in ascending order of date_updated")
        new = [(id_, updated, record) for id_, updated, record in rows if id_ not in edge]
        newest = max(times, default=start)
        ended = told.facts["last_page"] is True or not rows or (told.facts["last_page"] is None and len(rows) < PAGE)
        yield Page([record for _, _, record in new], answer.at), max(start, newest), answer
        found_here += len(new)
        edge |= {id_: int(updated or 0) for id_, updated, _ in rows}
        if (ended or newest > start) and number > 0 and found_here:
            number, found_here = 0, 0
        elif ended:
            return
        elif newest > start:
            start, number, found_here = newest, 0, 0
            edge = {id_: time for id_, time in edge.items() if time >= newest - 1}
        else:
            number += 1


def _vanished(run: ClickUpRun, ask: Ask, workspace: Workspace, known: Known) -> Iterator[Deleted]:
    """Tasks that a whole reading did not bring. A lost permission looks the same as a deletion: each is asked for by its id,
    those of one list together where the list itself is gone."""
    by_list: defaultdict[str, list[str]] = defaultdict(list)
    mine = {scope for scope in known.scopes() if scope.startswith(f"{workspace.id}/")}
    for key in known.missing(mine):
        by_list[known.scope(key).partition("/")[2]].append(key)

    def gone(key: str) -> bool | None:
        id_ = key[2:-2]
        there, _ = run.exists(ask.table, f"/api/v2/task/{id_}")
        return None if there is None else not there

    for list_, keys in by_list.items():
        there, _ = run.exists(ask.table, f"/api/v2/list/{list_}") if list_ else (True, None)
        if there is None:
            ask.note(f"{len(keys)} tasks of list {list_} cannot be seen any more, nor the list: access was lost, they stay")
            continue
        verdicts = [True for _ in keys] if not there else run.workers.each(keys, gone)
        kept = 0
        for key, verdict in zip(keys, verdicts, strict=True):
            if verdict:
                yield known.gone(key, utc_now())
            else:
                kept += 1
        if kept:
            ask.note(f"{kept} tasks of list {list_} are no longer listed, but not deleted: they stay as they are")


# What sits inside a task


def _fields(row: ParentRow) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in inside(row.record, "custom_fields"):
        if (facts := field_value(record)) is not None:
            yield record, {"task_id": row.fields[0], **facts}


def _assignees(row: ParentRow) -> Iterator[tuple[Record, dict[str, Any]]]:
    for field, kind in (("assignees", "user"), ("group_assignees", "group")):
        for record in inside(row.record, field):
            yield record, {"task_id": row.fields[0], "kind": kind}


def _checklist_items(row: ParentRow) -> Iterator[tuple[Record, dict[str, Any]]]:
    for checklist in inside(row.record, "checklists"):
        id_, name = pick(checklist, "id", "name")
        for record in flat(inside(checklist, "items"), "children"):
            yield record, {"task_id": row.fields[0], "checklist_id": id_, "checklist_name": name}


def _members(row: ParentRow) -> Iterator[tuple[Record, dict[str, Any]]]:
    for member in inside(row.record, "members"):
        if (user := inner(member, "user")) is not None:
            yield user, {"team_id": row.fields[0]}


SPECIAL: dict[str, Callable[[ParentRow], Iterator[tuple[Record, dict[str, Any]]]]] = {
    "task_assignees": _assignees,
    "task_checklist_items": _checklist_items,
    "task_custom_field_values": _fields,
    "workspace_members": _members,
}
"""Tables whose rows lie deeper in the parent's record than one list, or need facts of their own."""


def from_parent(run: ClickUpRun, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """Rows inside the records of changed parents; what a parent does not hold any more is gone, and all of a deleted one."""
    owner = owner_of(ask.table)
    special = SPECIAL.get(ask.table.name)
    for commit, rows in by_commit(ask, "id"):
        for row in rows:
            if not row.deleted:
                if special is not None:
                    for record, facts in special(row):
                        yield Page([record], row.at, facts)
                else:
                    add = {owner.field[0]: row.fields[0]} if owner.from_request else {}
                    yield Page(inside(row.record, ask.table.records), row.at, add)
            yield Complete({owner.name: row.fields[0]}, row.at)
        yield Checkpoint({"parent_sequence": commit.sequence})
