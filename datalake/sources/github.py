"""How GitHub's tables are read: one function for each `rows:` of the contracts.

What tables share lives in `github_run.py`, who asks and within which limits in `github_access.py`, GraphQL in
`github_graphql.py`. Facts: https://docs.github.com/rest. The cursor of a table that is read repository by repository is
{"repositories": {"<id>": state}}: names change, ids do not.

With a window (`--since`, `--until`) tables that know dates are read for that stretch; the others are read whole, as always.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from datalake.lake.raw import now
from datalake.model import Source
from datalake.settings import Settings
from datalake.sources import github_graphql as graphql
from datalake.sources import paging
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent, Skipped
from datalake.sources.frontier import MOST_SEEN, Frontier, earlier, text
from datalake.sources.github_access import Access, Owner, server_time
from datalake.sources.github_run import (
    GitHubRun,
    Pages,
    Reading,
    Repository,
    State,
    Team,
    changed_list,
    each_repository,
    path_of,
    side_by_side,
    times_of,
    window_of,
)
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.progress import Progress
from datalake.sources.records import Record, digest, pick, single, split

OVERLAP = dt.timedelta(hours=1)
"""What is newer than the frontier minus this is read again: a date can be given before its row can be seen."""
COMMITS_LOOKBACK = dt.timedelta(days=7)
SHORT = 12
"""Characters of a commit's hash that tell it from the others in a state."""
RUNS_LOOKBACK = dt.timedelta(days=35)
"""A run can run again for 30 days and then changes in place."""
SWEEP_AFTER = dt.timedelta(days=7)
"""Lists whose deletions leave no trace are read whole this often."""
SWEEP_AT_ONCE = 5_000
"""Lists up to this length are read whole as soon as their count says that something is gone."""
MOST_RUNS = 1_000
"""A filtered list of runs ends there, whatever there is."""


def open_run(settings: Settings, source: Source, progress: Progress) -> GitHubRun:
    """A run with the credentials of the settings. Nothing is asked before the first table. Raises SettingError."""
    functions = (single_object, full_list, since, newest_first, commits, created_windows)
    more = (children_of_changed, from_parent, graphql_newest_first, daily_numbers)
    named = {function.__name__: function for function in functions + more}
    return GitHubRun(settings, source, Access(settings, source, progress), named)


# -- one function for each `rows:` of the contracts --------------------------------------------------------------------


def single_object(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """One record an organization, told when it changed."""

    def read(owner: Owner, state: State) -> Reading:
        answer = run.get(ask, owner.client, ask.table.path.format(org=owner.login))
        record = single(answer)
        found = digest([record])
        if found != state.get("digest") or ask.window:
            yield Page([record], answer.at)
        return {"digest": found}

    return side_by_side(run, ask, "organizations", run.organizations(ask), read)


def full_list(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Lists that are read whole each time and told when they changed; what left them is gone."""
    if ask.table.name == "team_members":
        return _team_members(run, ask)
    if ask.table.path.startswith("/repos/"):
        return _full_list_of_repository(run, ask)

    def read(owner: Owner, state: State) -> Reading:
        facts = {"organization": owner.login}
        began = now()
        match ask.table.name:
            case "repositories":
                kept = run.repositories_of(ask, owner).pages
            case "teams":
                kept = run.teams_of(ask, owner).pages
            case _:
                listed = run.pages(ask, owner.client, ask.table.path.format(org=owner.login), ask.table.params)
                pages = (Page(found, answer.at, facts) for answer, found in listed)
                return (yield from changed_list(run, ask, pages, state, facts, began))
        # Another table may have asked for the list before this one began.
        return (yield from changed_list(run, ask, kept, state, facts, min([began, *(page.at for page in kept)])))

    owners = run.owners(ask) if ask.table.name == "repositories" else run.organizations(ask)
    return side_by_side(run, ask, "organizations", owners, read)


def _full_list_of_repository(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    table = ask.table

    def read(repository: Repository, state: State) -> Reading:
        if table.name == "contributors" and not ask.window and _quiet(repository, state):
            return state
        listed = run.pages(ask, repository.owner.client, path_of(ask, repository), table.params, table.records)
        pages = (page for answer, found in listed for page in _with_facts(run, ask, repository, answer, found))
        state = yield from changed_list(run, ask, pages, state, {"repository_id": repository.id}, now())
        return {**state, "pushed": repository.pushed, "read": run.today.isoformat()} if table.name == "contributors" else state

    return each_repository(run, ask, read)


def _team_members(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """The members of each team: they change without a trace in the team's own record. A team that is gone has none."""
    teams, refused = run.listed(ask, run.organizations(ask), run.teams_of)
    known: dict[str, State] = ask.cursor.get("teams", {})
    gone = known.keys() - {team.key for team in teams}
    if gone and not refused and "teams" not in run.partial:
        yield from (Complete({"team_id": int(key)}, now()) for key in sorted(gone))
        ask = dataclasses.replace(ask, cursor={"teams": {key: known[key] for key in known if key not in gone}})
        yield Checkpoint(ask.cursor)

    def read(team: Team, state: State) -> Reading:
        path = ask.table.path.format(org=team.owner.login, team_slug=team.slug)
        facts = {"team_id": team.id, "team_slug": team.slug}
        pages = (Page(found, a.at, facts) for a, found in run.pages(ask, team.owner.client, path, ask.table.params))
        return (yield from changed_list(run, ask, pages, state, {"team_id": team.id}, now()))

    yield from side_by_side(run, ask, "teams", teams, read)


def since(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """What changed since the frontier, oldest change first; once a week the whole list, as deletions leave no trace."""

    def read(repository: Repository, state: State) -> Reading:
        frontier = Frontier(state, OVERLAP)
        scope = {"repository_id": repository.id}
        if state and run.since is None and _due(run, state):

            def everything() -> Iterator[Page]:
                for answer, found in _ascending(run, ask, repository, ""):
                    frontier.fresh(found, times_of(found, "updated_at"))
                    yield from _with_facts(run, ask, repository, answer, found)

            state = yield from changed_list(run, ask, everything(), state, scope, now())
            return {**state, **frontier.state(), "swept": run.today.isoformat()}
        began, found_digest = now(), digest(())
        for answer, found in _ascending(run, ask, repository, frontier.start or text(run.since)):
            fresh = [record for record, _ in frontier.fresh(found, times_of(found, "updated_at"))]
            found_digest = digest(fresh, found_digest)
            yield from _with_facts(run, ask, repository, answer, fresh)
        if state or run.since:
            return {**state, **frontier.state()}
        yield Complete(scope, began)
        return {**frontier.state(), "swept": run.today.isoformat(), "digest": found_digest}

    def read_again(repository: Repository, state: State) -> Reading:
        """Rows that last changed in the window. Those that changed again since are newer than it and left alone."""
        first, last = window_of(ask)
        for answer, found in _ascending(run, ask, repository, first):
            inside = [record for record, time in zip(found, times_of(found, "updated_at"), strict=True) if time < last]
            yield from _with_facts(run, ask, repository, answer, inside)
            if len(inside) < len(found):
                break
        return state

    return each_repository(run, ask, read_again if ask.window else read)


def newest_first(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Lists that cannot be asked for by date: newest first, until a whole page is older or known."""
    when = ask.table.cursor or "updated_at"

    def read(repository: Repository, state: State) -> Reading:
        listed = run.pages(ask, repository.owner.client, path_of(ask, repository), ask.table.params, ask.table.records)
        frontier = Frontier({} if ask.window else state, OVERLAP)
        for answer, fresh in _until_known(run, ask, frontier, listed, when):
            yield Page(fresh, answer.at, repository.facts)
        return frontier.state()

    return each_repository(run, ask, read)


def commits(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Commits of the default branch, newest first, until a week before the newest known: committers' dates are what their
    clocks said. A branch that lived longer brings older ones when it is merged: they are behind parents that nobody has
    read, and are asked for by comparing those with the head of the reading before.
    """

    def read(repository: Repository, state: State) -> Reading:
        state = state if state.get("branch") == repository.branch else {}
        if state and state["pushed"] == repository.pushed:
            return state
        start = earlier(state.get("newest", ""), COMMITS_LOOKBACK)
        params = [*ask.table.params, ("sha", repository.branch)]
        params += [("since", text(run.since))] if run.since and not state else []
        facts = {**repository.facts, "branch": repository.branch}
        known = set(state.get("seen", ()))
        shas: list[str] = []
        newest, parents = state.get("newest", ""), set()
        for answer, found in run.pages(ask, repository.owner.client, path_of(ask, repository), params, cursor=start):
            told = [msgspec.json.decode(record, type=_Commit) for record in found]
            fresh = [commit.sha[:SHORT] not in known and commit.date >= text(run.since) for commit in told]
            if any(fresh):
                yield Page([record for record, new in zip(found, fresh, strict=True) if new], answer.at, facts)
            parents |= {parent.sha for commit, new in zip(told, fresh, strict=True) if new for parent in commit.parents}
            shas += [commit.sha for commit in told]
            newest = max([newest, *(min(commit.date, text(server_time(answer))) for commit in told)])
            if state and told and told[-1].date < start:
                break
        if state.get("head"):
            for parent in sorted(parents - set(shas) - {state["head"]}):
                yield from _unread_history(run, ask, repository, facts, state["head"], parent)
        head = shas[0] if shas else state.get("head", "")
        seen = sorted(sha[:SHORT] for sha in shas[:MOST_SEEN])
        return {"branch": repository.branch, "pushed": repository.pushed, "head": head, "newest": newest, "seen": seen}

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


def created_windows(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Runs of workflows by the time they were created, cut so that no piece holds more than GitHub lists; of those read
    again, because runs change for a month, only the ones that changed are told."""

    def read(repository: Repository, state: State) -> Reading:
        frontier = Frontier({} if ask.window else state, OVERLAP)
        created: str = state.get("created", "")
        first, last = earlier(created, RUNS_LOOKBACK) or text(run.since) or repository.created, ""
        if ask.window:
            first, last = window_of(ask)
            last = earlier(last, dt.timedelta(seconds=1))
        for answer, found in _runs(run, ask, repository, first, last):
            fresh = [record for record, time in frontier.fresh(found, times_of(found, "updated_at")) if time >= frontier.start]
            created = max([created, *times_of(found, "created_at")])
            if fresh:
                yield Page(fresh, answer.at, repository.facts)
        return {**frontier.state(), "created": created} if created else {}

    return each_repository(run, ask, read)


def _runs(run: GitHubRun, ask: Ask, repository: Repository, first: str, last: str) -> Pages:
    """Runs created from `first` to `last`, both inclusive; an empty `last` is open. Halved until each piece can be listed."""
    params = [*ask.table.params, ("created", f"{first}..{last}" if last else f">={first}")]
    pages = run.pages(ask, repository.owner.client, path_of(ask, repository), params, ask.table.records, cursor=first)
    for number, (answer, found) in enumerate(pages):
        total = pick(answer.body, "total_count")[0] if number == 0 and found else 0
        if total >= MOST_RUNS:
            newest = last or times_of(found, "created_at")[0]
            begin, end = dt.datetime.fromisoformat(first), dt.datetime.fromisoformat(newest)
            if end <= begin:
                raise answer.fault(f"{total} runs were created within one second, more than GitHub lists")
            middle = begin + (end - begin) // 2
            yield from _runs(run, ask, repository, first, text(middle))
            yield from _runs(run, ask, repository, text(middle + dt.timedelta(seconds=1)), last)
            return
        yield answer, found


def graphql_newest_first(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Lists that GraphQL gives newest first, with their count: where it says that something is gone, the whole list."""
    query, when, born = {
        "stargazers": (graphql.STARGAZERS, "starred_at", "starred_at"),
        "discussions": (graphql.DISCUSSIONS, "updated_at", "created_at"),
    }[ask.table.name]

    def listed(repository: Repository, totals: list[int]) -> Pages:
        for answer, page in graphql.connection(repository.owner.client, ask.table.id, query, repository.node):
            totals.append(page.total)
            yield answer, list(page.rows)

    def read(repository: Repository, state: State) -> Reading:
        if ask.table.name == "discussions" and not repository.discussions:
            return state
        frontier = Frontier({} if ask.window else state, OVERLAP)
        scope = {"repository_id": repository.id}
        began, totals, newborn = now(), [0], 0
        for answer, fresh in _until_known(run, ask, frontier, listed(repository, totals), when):
            newborn += sum(time >= state.get("newest", "") for time in times_of(fresh, born))
            yield Page(fresh, answer.at, repository.facts)
        if ask.window:
            return state
        if not state:
            if run.since is None:
                yield Complete(scope, began)
            return {**frontier.state(), "total": totals[-1], "swept": run.today.isoformat()}
        expected = state["total"] + newborn
        if expected != totals[-1] and run.since is None and (totals[-1] <= SWEEP_AT_ONCE or _due(run, state)):
            pages = (Page(found, answer.at, repository.facts) for answer, found in listed(repository, totals))
            yield from changed_list(run, ask, pages, {}, scope, now())
            return {**frontier.state(), "total": totals[-1], "swept": run.today.isoformat()}
        return {**state, **frontier.state(), "total": expected}

    return each_repository(run, ask, read, still_moving=True)


def daily_numbers(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Numbers by day, of which GitHub keeps two weeks; days whose numbers moved are told."""

    def read(repository: Repository, state: State) -> Reading:
        answer = run.get(ask, repository.owner.client, path_of(ask, repository), ask.table.params)
        found = split(answer, ask.table.records).records if answer.status == 200 else []
        days = {day: digest([record]) for day, record in zip(times_of(found, "timestamp"), found, strict=True)}
        known = {} if ask.window else state.get("days", {})
        moved = [record for (day, mark), record in zip(days.items(), found, strict=True) if known.get(day) != mark]
        if moved:
            yield Page(moved, answer.at, repository.facts)
        return {"days": days}

    return each_repository(run, ask, read, still_moving=True)


def from_parent(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Files of releases as they stood each day that a release was read: their counters of downloads only ever grow."""
    del run
    first, last = window_of(ask) if ask.window else ("", "9")
    for commit, rows in paging.by_commit(_from_start(ask), "id"):
        for row in rows:
            day = str(row.add.get("snapshot_date", row.at[:10]))
            if row.deleted or not first[:10] <= day < last[:10]:
                continue
            release = msgspec.json.decode(row.record, type=_Release)
            facts = {name: row.add[name] for name in ("repository_id", "repository")}
            if release.assets:
                yield Page(release.assets, row.at, {**facts, "release_id": release.id, "snapshot_date": day})
        yield Checkpoint({"parent_sequence": commit.sequence})


def children_of_changed(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """What hangs on pull requests, read again for those that changed, many in one query."""
    read, size = {"pull_request_details": (_details, 50), "pull_request_reviews": (_reviews, 25)}[ask.table.name]
    batch = graphql.Batch(size)
    first, last = window_of(ask) if ask.window else ("", "9")
    changed: dict[int, dict[str, int]] = defaultdict(dict)
    for commit, rows in paging.by_commit(_from_start(ask), "node_id", "number", "updated_at"):
        for row in rows:
            node, number, updated = row.fields
            if not row.deleted and first <= updated < last:
                changed[row.add["repository_id"]][node] = number
        if ask.window:
            # The log holds several versions of a row: what hangs on it is read once, at the end.
            continue
        yield from _children(run, ask, changed, read, batch)
        changed.clear()
        yield Checkpoint({"parent_sequence": commit.sequence})
    yield from _children(run, ask, changed, read, batch)


def _children(
    run: GitHubRun, ask: Ask, changed: dict[int, dict[str, int]], read: Callable[..., Iterator[Item]], batch: graphql.Batch
) -> Iterator[Item]:
    """`changed`: by repository, the nodes of its pull requests and their numbers."""
    repositories = {repository.id: repository for repository in run.repositories(ask)} if changed else {}
    for id_, numbers in changed.items():
        if id_ in repositories:
            yield from read(run, ask, repositories[id_], numbers, batch)
        else:
            ask.note(f"the repository {id_} is no longer to be seen: {len(numbers)} of its pull requests are left out")


def _details(run: GitHubRun, ask: Ask, repository: Repository, numbers: dict[str, int], batch: graphql.Batch) -> Iterator[Item]:
    query = graphql.PULL_REQUEST_DETAILS
    for found in _nodes(run, ask, repository, query, list(numbers), batch):
        if found.node is not None:
            yield Page([found.node], found.answer.at, repository.facts)


def _reviews(run: GitHubRun, ask: Ask, repository: Repository, numbers: dict[str, int], batch: graphql.Batch) -> Iterator[Item]:
    query = graphql.PULL_REQUEST_REVIEWS
    for found in _nodes(run, ask, repository, query, list(numbers), batch):
        if found.node is None:
            continue
        facts = {**repository.facts, "pull_number": numbers[found.id]}
        page = msgspec.json.decode(found.node, type=graphql.Holder).list
        if page is None:
            raise found.answer.fault("a pull request came without its reviews")
        yield Page(list(page.rows), found.answer.at, facts)
        if page.page.next:
            client, table = repository.owner.client, ask.table.id
            for answer, more in graphql.connection(client, table, graphql.MORE_REVIEWS, found.id, after=page.page.end):
                yield Page(list(more.rows), answer.at, facts)


def _nodes(
    run: GitHubRun, ask: Ask, repository: Repository, query: str, ids: list[str], batch: graphql.Batch
) -> Iterator[graphql.Found]:
    """The nodes side by side. Those that are gone or refused are told in one line."""
    client = repository.owner.client

    def fetch(piece: Sequence[str]) -> list[graphql.Found]:
        return list(graphql.nodes(client, ask.table.id, query, piece, batch))

    refused: list[graphql.Found] = []
    for found in run.workers.each(batch.of(ids), fetch):
        refused += [node for node in found if node.node is None]
        yield from found
    if refused:
        ask.note(f"{repository.name}: {len(refused)} pull requests are left out: {refused[0].refused}")


# -- what those functions share ----------------------------------------------------------------------------------------


def _ascending(run: GitHubRun, ask: Ask, repository: Repository, start: str) -> Pages:
    """A list sorted by `updated_at`, from `start` on: each page asks from the last time of the page before.

    Page numbers would lose rows: one that changes meanwhile goes to the end and moves all behind it up by one. They serve
    only inside one second.
    """
    client, path = repository.owner.client, path_of(ask, repository)
    walk = Walk()
    read: dict[int, str] = {}

    def asked() -> Answer:
        return run.get(ask, client, path, [*ask.table.params, *([("since", start)] if start else [])], cursor=start)

    answer = asked()
    while True:
        found = split(answer, ask.table.records).records if answer.status == 200 else []
        times = times_of(found, "updated_at")
        next_ = answer.link("next")
        moved = bool(next_ and times and times[-1] > times[0])
        walk.step(answer, found, f"since {times[-1]}" if moved else next_)
        marks = [hash(bytes(record)) for record in found]
        yield answer, [record for record, mark in zip(found, marks, strict=True) if mark not in read]
        if next_ is None:
            return
        if moved:
            start = times[-1]
        read = {mark: time for mark, time in {**read, **dict(zip(marks, times, strict=True))}.items() if time >= start}
        answer = asked() if moved else run.get(ask, client, next_, cursor=start)


def _until_known(
    run: GitHubRun, ask: Ask, frontier: Frontier, pages: Pages, when: str
) -> Iterator[tuple[Answer, list[Record]]]:
    """What is new in a list that comes newest first. Ends after a page that is wholly older, or brings nothing new.

    With a window: what lies in it. A whole page, because rows move down while people work.
    """
    first, last = window_of(ask) if ask.window else (frontier.start or text(run.since), "9")
    for answer, found in pages:
        times = times_of(found, when)
        fresh = [record for record, time in frontier.fresh(found, times) if first <= time < last]
        if fresh:
            yield answer, fresh
        if first and all(time < first for time in times):
            return
        if frontier.start and not fresh:
            return


def _with_facts(run: GitHubRun, ask: Ask, repository: Repository, answer: Answer, found: Sequence[Record]) -> Iterator[Page]:
    """A page with the facts of its request; records that need a fact of their own become a page each."""
    match ask.table.name:
        case "issue_comments":
            own: list[dict[str, Any]] = [{"issue_number": _tail(record, "issue_url")} for record in found]
        case "pull_request_review_comments":
            own = [{"pull_number": _tail(record, "pull_request_url")} for record in found]
        case "contributors":
            own = [{"contributor_key": str(id_ or email)} for id_, email in (pick(record, "id", "email") for record in found)]
        case "releases":
            # The day at the source: counters of a release's files are kept day by day.
            yield Page(found, answer.at, {**repository.facts, "snapshot_date": run.today.isoformat()})
            return
        case _:
            yield Page(found, answer.at, repository.facts)
            return
    for record, fact in zip(found, own, strict=True):
        yield Page([record], answer.at, {**repository.facts, **fact})


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


class _Release(msgspec.Struct):
    id: int
    assets: list[msgspec.Raw] = []


def _tail(record: Record, field_: str) -> int:
    """The number at the end of an address, such as that of a comment's issue."""
    (url,) = pick(record, field_)
    number = str(url).rpartition("/")[2]
    if not number.isdigit():
        raise Permanent(f"github: {field_} '{url}' does not end in a number")
    return int(number)


def _due(run: GitHubRun, state: State) -> bool:
    """Whether the list is to be read whole again."""
    swept = state.get("swept")
    return swept is None or dt.date.fromisoformat(swept) + SWEEP_AFTER <= run.today


def _quiet(repository: Repository, state: State) -> bool:
    """Nobody pushed since the last reading, which came late enough for numbers that GitHub keeps for hours."""
    if not repository.pushed or state.get("pushed") != repository.pushed:
        return False
    return dt.date.fromisoformat(state["read"]) > dt.datetime.fromisoformat(repository.pushed).date() + dt.timedelta(days=1)


def _from_start(ask: Ask) -> Ask:
    """For a window, the parent's whole log is looked through, not only what is new in it."""
    return dataclasses.replace(ask, cursor={}) if ask.window else ask
