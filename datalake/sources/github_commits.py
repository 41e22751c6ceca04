"""How GitHub's commits are read: the history of the default branch, and what a merge brings in behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec

from datalake.sources.base import Ask, Checkpoint, Item, Page, Skipped
from datalake.sources.frontier import MOST_SEEN, earlier, text
from datalake.sources.github_access import server_time
from datalake.sources.github_run import GitHubRun, Pages, Reading, Repository, State, each_repository, path_of, window_of
from datalake.sources.paging import Walk
from datalake.sources.records import split

COMMITS_LOOKBACK = dt.timedelta(days=7)
SHORT = 12
"""Characters of a commit's hash that tell it from the others in a state."""


def commits(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Commits of the default branch, newest first, until a week before the newest known: committers' dates are what their
    clocks said. A branch that lived longer brings older ones when it is merged: they are behind parents that nobody has
    read, and are asked for by comparing those with the head of the reading before.

    The first reading of a long history may end in its middle. What is behind its first commit never changes, so the state
    then says by which commit (`tip`) and at which `page` it goes on.
    """
    since = [("since", text(run.since))] if run.since else []

    def read(repository: Repository, state: State) -> Reading:
        state = state if state.get("branch") == repository.branch else {}
        if state and state["pushed"] == repository.pushed and "tip" not in state:
            return state
        start = earlier(state.get("newest", ""), COMMITS_LOOKBACK)
        params = [*ask.table.params, ("sha", repository.branch), *([] if state else since)]
        facts = {**repository.facts, "branch": repository.branch}
        known = set(state.get("seen", ()))
        shas: list[str] = []
        newest, parents = state.get("newest", ""), set()

        def so_far() -> State:
            head = shas[0] if shas else state.get("head", "")
            seen = sorted(sha[:SHORT] for sha in shas[:MOST_SEEN])
            return {"branch": repository.branch, "pushed": repository.pushed, "head": head, "newest": newest, "seen": seen}

        listed = run.pages(ask, repository.owner.client, path_of(ask, repository), params, cursor=start)
        for page, (answer, found) in enumerate(listed, 1):
            told = [msgspec.json.decode(record, type=_Commit) for record in found]
            fresh = [commit.sha[:SHORT] not in known and commit.date >= text(run.since) for commit in told]
            if any(fresh):
                yield Page([record for record, new in zip(found, fresh, strict=True) if new], answer.at, facts)
            parents |= {parent.sha for commit, new in zip(told, fresh, strict=True) if new for parent in commit.parents}
            shas += [commit.sha for commit in told]
            newest = max([newest, *(min(commit.date, text(server_time(answer))) for commit in told)])
            if not state and answer.link("next"):
                yield Checkpoint({**so_far(), "tip": shas[0], "page": page + 1})
            if state and told and told[-1].date < start:
                break
        if state.get("head"):
            for parent in sorted(parents - set(shas) - {state["head"]}):
                yield from _unread_history(run, ask, repository, facts, state["head"], parent)
        if "tip" in state:
            params = [*ask.table.params, ("sha", state["tip"]), *since, ("page", str(state["page"]))]
            rest = run.pages(ask, repository.owner.client, path_of(ask, repository), params)
            for page, (answer, found) in enumerate(rest, state["page"]):
                yield Page(found, answer.at, facts)
                if answer.link("next"):
                    yield Checkpoint({**so_far(), "tip": state["tip"], "page": page + 1})
        return so_far()

    def read_again(repository: Repository, state: State) -> Reading:
        first, last = window_of(ask)
        until = earlier(last, dt.timedelta(seconds=1))
        params = [*ask.table.params, ("sha", repository.branch), ("since", first), ("until", until)]
        for answer, found in run.pages(ask, repository.owner.client, path_of(ask, repository), params, cursor=first):
            yield Page(found, answer.at, {**repository.facts, "branch": repository.branch})
        return state

    return each_repository(run, ask, read_again if ask.window else read)


def _unread_history(
    run: GitHubRun, ask: Ask, repository: Repository, facts: dict[str, Any], known: str, tip: str
) -> Iterator[Item]:
    """Commits behind `tip` that are not behind `known`. Where `known` is gone (a forced push), all behind `tip`."""
    try:
        pages = iter(list(_compared(run, ask, repository, known, tip)))
    except Skipped:
        ask.note(f"{repository.name}: the commit {known} is gone, history was rewritten; reading all behind {tip}")
        params = [*ask.table.params, ("sha", tip)]
        pages = run.pages(ask, repository.owner.client, path_of(ask, repository), params)
    oldest = text(run.since)
    for answer, found in pages:
        told = [record for record in found if msgspec.json.decode(record, type=_Commit).date >= oldest]
        if told:
            yield Page(told, answer.at, facts)


def _compared(run: GitHubRun, ask: Ask, repository: Repository, base: str, head: str) -> Pages:
    client = repository.owner.client
    walk = Walk()
    answer = run.get(ask, client, f"/repos/{repository.name}/compare/{base}...{head}", ask.table.params)
    while True:
        found = split(answer, "commits").records
        if not found:
            # The answer still holds the commits that were compared: it is long, and nothing is behind it.
            return
        next_ = answer.link("next")
        walk.step(answer, found, next_)
        yield answer, found
        if next_ is None:
            return
        answer = run.get(ask, client, next_)


class _Who(msgspec.Struct):
    date: str


class _Message(msgspec.Struct):
    committer: _Who


class _Parent(msgspec.Struct):
    sha: str


class _Commit(msgspec.Struct):
    sha: str
    commit: _Message
    parents: list[_Parent] = []

    @property
    def date(self) -> str:
        return self.commit.committer.date
