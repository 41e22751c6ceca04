"""How ClickUp is asked for what has a time of its own and no word of changes: time entries, and the audit log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from datalake.lake.raw import now as utc_now
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent, Skipped
from datalake.sources.clickup_known import state_of
from datalake.sources.clickup_run import DAY, ClickUpRun, NoAccess, Workspace, each_workspace, inside, params_of, path_of
from datalake.sources.frontier import Frontier
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.records import Record, digest, inner, pick, single, split

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


def date_window(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """Time entries of all members by the day on which they began; days whose entries changed are told whole.

    Nothing tells which entries changed: the last `TRAILING` days are read again on every run, everything once a month.
    Cursor: `days` holds a fingerprint of each day by workspace, `read` up to when it was read, `whole` when it all was.
    """
    if ask.window:
        low, high = (int(each.timestamp() * 1000) for each in (ask.window.since, ask.window.until))
        yield from each_workspace(run, ask, lambda workspace: _between(run, ask, workspace, low, high))
        return
    state = state_of(ask)
    days: dict[str, dict[str, str]] = {name: dict(value) for name, value in state.get("days", {}).items()}
    read, whole = dict(state.get("read", {})), dict(state.get("whole", {}))
    first = (run.since or BEGINNING) // DAY * DAY

    def read_workspace(workspace: Workspace) -> Iterator[Item]:
        mine = days.setdefault(workspace.id, {})
        everything = ask.full or run.now - whole.get(workspace.id, run.now) >= READ_ALL_AGAIN
        start = first if everything else max(first, read.get(workspace.id, first) - TRAILING) // DAY * DAY
        while start <= run.now:
            # A timer may run ahead of the clock: the last window is open at its end.
            end = start + WINDOW
            began = utc_now()
            pages = _entries(run, ask, workspace, start, end)
            found = {day: digest(record for page in those for record in page.records)[:12] for day, those in pages.items()}
            for day in _days(start, end):
                if found.get(day) != mine.get(day) or ask.full:
                    yield from pages.get(day, ())
                    # Whoever left cannot be asked for: that entries of theirs do not come says nothing.
                    people = workspace.members if day in mine or ask.full else ()
                    yield from (Complete({"team_id": workspace.id, "day": day, "user_id": user}, began) for user in people)
                if day in found:
                    mine[day] = found[day]
                else:
                    mine.pop(day, None)
            start = end
            read[workspace.id] = max(read.get(workspace.id, 0), min(end, run.now))
            if start > run.now and (everything or workspace.id not in whole):
                whole[workspace.id] = run.now
            copies = {"days": {name: dict(value) for name, value in days.items()}, "read": dict(read), "whole": dict(whole)}
            yield Checkpoint(copies)

    yield from each_workspace(run, ask, read_workspace)


def _between(run: ClickUpRun, ask: Ask, workspace: Workspace, low: int, high: int) -> Iterator[Page]:
    for start in range(low, high, WINDOW):
        for entries in _entries(run, ask, workspace, start, min(start + WINDOW, high)).values():
            yield from entries


def _entries(run: ClickUpRun, ask: Ask, workspace: Workspace, start: int, end: int) -> dict[str, list[Page]]:
    """Time entries of all members that began in [start, end), by day. Without names only the token owner's would come, without
    dates only the last thirty days'."""
    members = workspace.members
    some = [members[first : first + MEMBERS_AT_ONCE] for first in range(0, len(members), MEMBERS_AT_ONCE)]
    window = [*params_of(ask.table), ("start_date", str(start)), ("end_date", str(end))]
    path = path_of(ask.table, workspace.id)

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
                    "team_id": workspace.id,
                    "day": _day(began),
                    "task_id": task.get("id") if isinstance(task, dict) else None,
                }
                by_day.setdefault(_day(began), []).append(Page([record], answer.at, facts))
    return by_day


def _day(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment / 1000, dt.UTC).date().isoformat()


def _days(start: int, end: int) -> list[str]:
    return [_day(moment) for moment in range(start, end, DAY)]


def audit_log(run: ClickUpRun, ask: Ask) -> Iterator[Item]:
    """The audit log, newest first back to what is known; each page is asked for by the time of the last row before it.

    The form of the answer is not published: rows are taken from where clients have seen them.
    """
    states = {} if ask.window else dict(ask.cursor)

    def read_workspace(workspace: Workspace) -> Iterator[Item]:
        frontier = Frontier(states.get(workspace.id, {}), AUDIT_OVERLAP)
        low, high = run.since, run.now
        if ask.window:
            low, high = (_milliseconds(each.isoformat()) for each in (ask.window.since, ask.window.until))
        elif frontier.start:
            low = _milliseconds(frontier.start)
        walk, before, seen = Walk(), high, set[str]()
        while True:
            paging = {"pageRows": AUDIT_PAGE, "pageTimestamp": before, "pageDirection": "before"}
            body = {"filter": {"startTime": low, "endTime": high}, "pagination": paging}
            answer = run.post(ask.table, path_of(ask.table, workspace.id), body, cursor=before)
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
            yield Page(fresh, answer.at, {"workspace_id": workspace.id})
            if next_ is None:
                break
            if next_ >= before:
                raise answer.fault(f"more than {AUDIT_PAGE} rows of one moment: the pages cannot go on from it")
            before = next_
        states[workspace.id] = frontier.state()
        yield Checkpoint(dict(states))

    yield from each_workspace(run, ask, read_workspace)


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
