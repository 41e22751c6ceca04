"""Tables of GitHub that hold numbers: traffic and counters by day, statistics of commits, languages, usage that is billed.

GitHub tells some of them in arrays and maps of its own; they become one record a row here, each value with the digits it came
with. Lists of things live in `github.py`.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from datalake.lake.raw import now
from datalake.sources.base import Ask, Complete, Item, Page
from datalake.sources.github_access import Owner
from datalake.sources.github_run import (
    GitHubRun,
    Reading,
    Repository,
    State,
    changed_list,
    each_repository,
    path_of,
    side_by_side,
    times_of,
    window_of,
)
from datalake.sources.http import Answer
from datalake.sources.records import Drop, Record, digest, elements, inner, pick, single, split

STATISTICS_WAITS = (1.0, 3.0, 5.0)
"""Seconds between the calls for statistics that GitHub says it is computing."""
GHOST = 10_137
"""GitHub's account that stands for deleted ones: authors without an account are counted as it."""
BILLED_MONTHS = 24
"""How far back usage can be asked for."""
TOO_LARGE = (404, 422)
"""Statuses for a repository with too many commits for its statistics."""


def daily_numbers(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Numbers by day: those that GitHub keeps for two weeks, and snapshots of those that it only tells for the present."""
    read = _days if ask.table.records else _snapshot
    return each_repository(run, ask, lambda repository, state: read(run, ask, repository, state), still_moving=True)


def _days(run: GitHubRun, ask: Ask, repository: Repository, state: State) -> Reading:
    """Days whose numbers moved."""
    answer = run.get(ask, repository.owner.client, path_of(ask, repository), ask.table.params)
    found = split(answer, ask.table.records).records if answer.status == 200 else []
    days = {day: digest([record]) for day, record in zip(times_of(found, "timestamp"), found, strict=True)}
    known = {} if ask.window else state.get("days", {})
    moved = [record for (day, mark), record in zip(days.items(), found, strict=True) if known.get(day) != mark]
    if moved:
        yield Page(moved, answer.at, repository.facts)
    return {"days": days}


def _snapshot(run: GitHubRun, ask: Ask, repository: Repository, state: State) -> Reading:
    """What is told of the present, once a day, and again if it moved within the day."""
    answer = run.get(ask, repository.owner.client, path_of(ask, repository), ask.table.params)
    day = run.today.isoformat()
    if ask.table.name == "repository_details":
        drop = Drop(ask.table.secrets)
        found: list[Record] = [drop(single(answer))]
        scope = {"id": repository.id, "snapshot_date": day}
    else:
        found = split(answer).records if answer.status == 200 else []
        scope = {"repository_id": repository.id, "snapshot_date": day}
    state = state if state.get("day") == day else {}
    pages = [Page(found, answer.at, {**repository.facts, "snapshot_date": day})]
    return {**(yield from changed_list(run, ask, pages, state, scope, answer.at)), "day": day}


def statistics(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Statistics of a repository's commits, which GitHub computes when they are asked for: those that are not ready after a
    few seconds are left for the next run.
    """
    waiting: list[str] = []

    def read(repository: Repository, state: State) -> Reading:
        answer = _computed(run, ask, repository)
        if answer is None:
            waiting.append(repository.name)
            return state
        found = split(answer).records if answer.status == 200 else []
        scope = {"repository_id": repository.id}
        if ask.table.name == "contributor_stats":
            pages = [_weeks_of_person(record, answer, repository) for record in found]
        elif ask.table.name == "code_frequency":
            rows = [_record(week=week, additions=added, deletions=gone) for week, added, gone in map(elements, found)]
            pages = [Page(rows, answer.at, repository.facts)]
        else:
            pages = [Page(found, answer.at, repository.facts)]
        reading = changed_list(run, ask, pages, state, scope, answer.at)
        while True:
            try:
                item = next(reading)
            except StopIteration as stop:
                return dict(stop.value)
            # Weeks that are a year old leave the list of weekly activity, and stay true.
            if not (isinstance(item, Complete) and ask.table.name == "commit_activity"):
                yield item

    yield from each_repository(run, ask, read)
    if waiting:
        names = ", ".join(sorted(waiting)[:5]) + (" …" if len(waiting) > 5 else "")
        ask.note(f"GitHub is still computing the statistics of {len(waiting)} repositories ({names}): left for the next run")


def _computed(run: GitHubRun, ask: Ask, repository: Repository) -> Answer | None:
    """The statistics; None where they are still being computed after some waiting."""
    for wait in (*STATISTICS_WAITS, 0.0):
        answer = run.get(ask, repository.owner.client, path_of(ask, repository), missing=TOO_LARGE)
        if answer.status != 202:
            return answer
        time.sleep(wait)
    return None


def _weeks_of_person(record: Record, answer: Answer, repository: Repository) -> Page:
    """The weeks of one contributor."""
    (author,) = pick(record, "author")
    weeks = inner(record, "weeks")
    facts = {**repository.facts, "user_id": (author or {}).get("id", GHOST)}
    return Page(elements(weeks) if weeks is not None else [], answer.at, facts)


def languages(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Bytes by language: one object that becomes a record a language."""

    def read(repository: Repository, state: State) -> Reading:
        answer = run.get(ask, repository.owner.client, path_of(ask, repository))
        counts = msgspec.json.decode(single(answer), type=dict[str, Raw]) if answer.status == 200 else {}
        rows = [_record(language=Raw(msgspec.json.encode(name)), bytes=count) for name, count in counts.items()]
        pages = [Page(rows, answer.at, repository.facts)]
        return (yield from changed_list(run, ask, pages, state, {"repository_id": repository.id}, answer.at))

    return each_repository(run, ask, read)


def custom_properties(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Properties that the organization gives its repositories: a record a repository and property."""

    def rows(found: Sequence[Record]) -> list[Record]:
        made: list[Record] = []
        for record in found:
            repository = msgspec.json.decode(record, type=dict[str, Raw])
            for property_ in elements(repository.pop("properties")):
                told = msgspec.json.decode(property_, type=dict[str, Raw])
                made += [msgspec.json.encode({**repository, **told})]
        return made

    def read(owner: Owner, state: State) -> Reading:
        facts: dict[str, Any] = {"organization": owner.login}
        listed = run.pages(ask, owner.client, ask.table.path.format(org=owner.login), ask.table.params)
        pages = (Page(rows(found), answer.at, facts) for answer, found in listed)
        return (yield from changed_list(run, ask, pages, state, facts, now()))

    return side_by_side(run, ask, "organizations", run.organizations(ask), read)


def month_windows(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Usage month by month; the present month and the one before are read in each run, as their lines still change."""

    def read(owner: Owner, state: State) -> Reading:
        path = ask.table.path.format(org=owner.login)
        months: dict[str, str] = dict(state.get("months", {}))
        if run.today == dt.date.min:
            run.get(ask, owner.client, "/rate_limit")  # tells what day it is there, and costs nothing
        for year, month in _months(run, ask, max(months, default="")):
            name = f"{year}-{month:02d}"
            answer = run.get(ask, owner.client, path, [("year", str(year)), ("month", str(month))], cursor=name)
            found = split(answer, ask.table.records).records
            mark = digest(found)
            if months.get(name) != mark or ask.window:
                for record in found:
                    # Usage of no repository: a part of the key is never empty.
                    (repository,) = pick(record, "repositoryName")
                    yield Page([record], answer.at, {"organization": owner.login, "repository_name": repository or ""})
            months[name] = mark
        return {"months": dict(sorted(months.items())[-2:])} if not ask.window else state

    return side_by_side(run, ask, "organizations", run.organizations(ask), read)


def _months(run: GitHubRun, ask: Ask, known: str) -> list[tuple[int, int]]:
    """The months to read, oldest first. `known` is the last one that was read before."""
    last = run.today.year * 12 + run.today.month - 1
    first = last - BILLED_MONTHS + 1
    if run.since:
        first = max(first, run.since.year * 12 + run.since.month - 1)
    if known:
        first = max(first, int(known[:4]) * 12 + int(known[5:]) - 2)
    if ask.window:
        begin, end = (dt.date.fromisoformat(text[:10]) for text in window_of(ask))
        first, last = begin.year * 12 + begin.month - 1, min(last, end.year * 12 + end.month - 1)
    return [(number // 12, number % 12 + 1) for number in range(first, last + 1)]


def _record(**members: Record) -> bytes:
    """A record of values as they were received."""
    return msgspec.json.encode({name: Raw(bytes(value)) for name, value in members.items()})
