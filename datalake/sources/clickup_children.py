"""How rows that belong to changed rows are read, a call or more for each: comments, attachments, replies, pages, messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from datalake.lake.raw import now as utc_now
from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, QuotaSpent, SourceError, Transient
from datalake.sources.clickup_known import state_of
from datalake.sources.clickup_run import DAY, ClickUpRun, NoAccess, flat, inside, owner_of, params_of, path_of
from datalake.sources.paging import ParentRow, Walk, by_commit, lines_of
from datalake.sources.records import inner, pick, single, split

WEEK = 7 * DAY
BATCH = 100
"""Changed rows of a parent between two checkpoints; also the most tasks that one question for time in status takes."""


def children_of_changed(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Rows of every parent that changed, from their own path, asked for once however often it changed. All rows of a parent
    that was deleted are gone."""
    child = CHILDREN[ask.table.name]
    state = _State(**ask.cursor)
    newest: dict[Any, ParentRow] = {}
    for fields, add in state.again:
        newest[fields[0]] = ParentRow(tuple(fields), b"", utc_now(), add, deleted=False, sequence=0)
    completes: list[Complete] = []
    last = state.parent_sequence
    for commit, rows in by_commit(ask, *child.fields):
        if state.through and commit.sequence > state.through:
            break
        for row in rows:
            if not row.add.get("silent"):
                newest.pop(row.fields[0], None)
                newest[row.fields[0]] = dataclasses.replace(row, record=b"")
        if child.forwards and ask.parent is not None:
            scopes = (line.lake for line in lines_of(ask.parent, commit) if line.lake.op == "complete")
            completes += [Complete(lake.scope, lake.at) for lake in scopes]
        last = commit.sequence
    parents = list(newest.values())
    failed, unread = list(state.failed), bool(state.failed)
    for start in range(state.rows, len(parents), BATCH):
        failures: Failures = []
        yield from child.read(run, ask, parents[start : start + BATCH], failures)
        passing = [row for row, error in failures if isinstance(error, Transient)]
        if len(passing) == len(parents[start : start + BATCH]):
            raise failures[0][1]
        failed += [[list(row.fields), row.add] for row in passing]
        unread = unread or bool(failures)
        done = dataclasses.replace(state, rows=start + BATCH, through=last, failed=failed)
        yield Checkpoint(dataclasses.asdict(done))
    if failed:
        ask.note(
            f"ClickUp failed at {len(failed)} of {len(parents)} {ask.table.parent} again and again; the next run asks again"
        )
    if not unread:
        yield from completes
    kept = {"again": failed} if failed else {}
    yield Checkpoint({"parent_sequence": last, **kept})
    if state.through and not failed:
        ask = dataclasses.replace(ask, cursor={"parent_sequence": last})
        yield from children_of_changed(run, ask)


@dataclasses.dataclass(frozen=True)
class _State:
    """How far children have been read. A run that died has gone through `rows` of the parents up to `through`, those of `again`
    first, in the order of their newest versions."""

    parent_sequence: int = 0
    rows: int = 0
    through: int = 0
    again: Sequence[Any] = ()
    """Fields and facts of parents that the run before could not read."""
    failed: Sequence[Any] = ()
    """Likewise, of this run so far."""


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


Failures = list[tuple[ParentRow, SourceError]]
"""Parents whose rows could not be read: the token may not see them, or ClickUp fails (it answers 500 to some for ever)."""
Reader = Callable[[ClickUpRun, Ask, Sequence[ParentRow], Failures], Iterator[Item]]


@dataclasses.dataclass(frozen=True)
class Child:
    """How rows of changed parents are read: the parent's `fields` it takes (the id first), and what to do with a batch."""

    fields: tuple[str, ...]
    read: Reader
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
) -> Reader:
    """A call a parent. `path` gives the ids of its path; rows nested in rows lie at `nested`; with `replaces` what the answer
    does not hold any more is gone."""

    def read(run: ClickUpRun, ask: Ask, parents: Sequence[ParentRow], failures: Failures) -> Iterator[Item]:
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
                failures.append((row, refusal))
                return None
            except QuotaSpent:
                raise
            except Transient as error:
                failures.append((row, error))
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


def _time_in_status(run: ClickUpRun, ask: Ask, parents: Sequence[ParentRow], _failures: Failures) -> Iterator[Item]:
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
