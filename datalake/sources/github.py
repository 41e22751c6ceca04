"""How GitHub's tables are read: one function for each `rows:` of the contracts; here those that read lists.

Commits live in `github_commits.py`, what follows a parent in `github_children.py`, what is read person by person in
`github_people.py`, numbers in `github_numbers.py`; what tables share in `github_run.py`, who asks and within which limits in
`github_access.py`, GraphQL in `github_graphql.py`. Facts: https://docs.github.com/rest. The cursor of a table that is read
repository by repository is {"repositories": {"<id>": state}}: names change, ids do not.

With a window (`--since`, `--until`) tables that know dates are read for that stretch; the others are read whole, as always.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from datalake.lake.raw import now
from datalake.model import Source
from datalake.settings import Settings
from datalake.sources import github_graphql as graphql
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent
from datalake.sources.frontier import Frontier, earlier, text
from datalake.sources.github_access import Access, Client, Owner
from datalake.sources.github_children import children_of_changed, from_parent
from datalake.sources.github_commits import commits
from datalake.sources.github_numbers import custom_properties, daily_numbers, languages, month_windows, statistics
from datalake.sources.github_people import lists_of_projects, lists_of_teams, profiles
from datalake.sources.github_run import (
    GitHubRun,
    Missing,
    Pages,
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
from datalake.sources.paging import Walk
from datalake.sources.progress import Progress
from datalake.sources.records import Record, digest, pick, single, split

OVERLAP = dt.timedelta(hours=1)
"""What is newer than the frontier minus this is read again: a date can be given before its row can be seen."""
RUNS_LOOKBACK = dt.timedelta(days=35)
"""A run can run again for 30 days and then changes in place."""
SWEEP_AFTER = dt.timedelta(days=7)
"""Lists whose deletions leave no trace are read whole this often."""
SWEEP_AT_ONCE = 5_000
"""Lists up to this length are read whole as soon as their count says that something is gone."""
OVERLAPS = {
    "deployments": dt.timedelta(days=30),
    "repository_events": dt.timedelta(hours=12),
    "organization_events": dt.timedelta(hours=12),
}
"""Lists whose rows change, or come, long after the date they are sorted by, and how far behind the frontier they are read."""
SWEPT = ("artifacts", "forks")
"""Lists sorted by birth whose rows change and go without a trace: read whole once a week, as those of `since`."""
STILL_MOVING = (
    "forks",
    "subscribers",
    "repository_events",
    "security_advisories",
    "dependency_packages",
    "collaborators",
    "assignees",
)
"""What moves in archived repositories, too."""
PACKAGE_TYPES = ("npm", "maven", "rubygems", "docker", "nuget", "container")
MOST_RUNS = 1_000
"""A filtered list of runs ends there, whatever there is."""


def open_run(settings: Settings, source: Source, progress: Progress) -> GitHubRun:
    """A run with the credentials of the settings. Nothing is asked before the first table. Raises SettingError."""
    lists = (single_object, full_list, since, newest_first, commits, created_windows, packages)
    by_graphql_or_parent = (graphql_newest_first, graphql_full_list, children_of_changed, from_parent, profiles)
    numbers = (daily_numbers, statistics, languages, custom_properties, month_windows)
    named = {function.__name__: function for function in (*lists, *by_graphql_or_parent, *numbers)}
    return GitHubRun(settings, source, Access(settings, source, progress), named)


# -- one function for each `rows:` of the contracts --------------------------------------------------------------------


def single_object(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """One record an organization or a repository, told when it changed."""
    if ask.table.path.startswith("/repos/"):
        return _single_of_repository(run, ask)

    def read(owner: Owner, state: State) -> Reading:
        answer = run.get(ask, owner.client, ask.table.path.format(org=owner.login))
        record = single(answer)
        found = digest([record])
        if found != state.get("digest") or ask.window:
            yield Page([record], answer.at)
        return {"digest": found}

    return side_by_side(run, ask, "organizations", run.organizations(ask), read)


def _single_of_repository(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    def read(repository: Repository, state: State) -> Reading:
        facts, scope = repository.facts, {"repository_id": repository.id}
        try:
            answer = run.get(ask, repository.owner.client, path_of(ask, repository), ask.table.params)
        except Missing:
            if ask.table.name != "readmes":
                raise
            # The repository was listed, so what is missing is the file.
            return (yield from changed_list(run, ask, [], state, scope, now()))
        pages = [Page([single(answer)] if answer.status == 200 else [], answer.at, facts)]
        return (yield from changed_list(run, ask, pages, state, scope, answer.at))

    return each_repository(run, ask, read)


def full_list(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Lists that are read whole each time and told when they changed; what left them is gone."""
    if "{team_slug}" in ask.table.path:
        return lists_of_teams(run, ask)
    if "{project_number}" in ask.table.path:
        return lists_of_projects(run, ask)
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
            case "organization_members":
                kept = run.members_of(ask, owner).pages
            case "projects_v2":
                kept = run.projects_of(ask, owner).pages
            case _:
                path = ask.table.path.format(org=owner.login)
                listed = run.pages(ask, owner.client, path, ask.table.params, ask.table.records)
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
        if table.name == "rulesets":
            listed = ((answer, list(_each(run, ask, repository, found))) for answer, found in listed)
        pages = (page for answer, found in listed for page in _with_facts(run, ask, repository, answer, found))
        state = yield from changed_list(run, ask, pages, state, {"repository_id": repository.id}, now())
        return {**state, "pushed": repository.pushed, "read": run.today.isoformat()} if table.name == "contributors" else state

    return each_repository(run, ask, read, still_moving=table.name in STILL_MOVING)


def _each(run: GitHubRun, ask: Ask, repository: Repository, found: Sequence[Record]) -> Iterator[Record]:
    """The whole of each record that the list tells in short."""
    for record in found:
        (id_,) = pick(record, "id")
        yield single(run.get(ask, repository.owner.client, f"{path_of(ask, repository)}/{id_}"))


def packages(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Packages of an organization: GitHub lists one type at a time."""

    def read(owner: Owner, state: State) -> Reading:
        facts = {"organization": owner.login}
        path = ask.table.path.format(org=owner.login)
        pages = (
            Page(found, answer.at, facts)
            for type_ in PACKAGE_TYPES
            for answer, found in run.pages(ask, owner.client, path, [*ask.table.params, ("package_type", type_)], cursor=type_)
        )
        return (yield from changed_list(run, ask, pages, state, facts, now()))

    return side_by_side(run, ask, "organizations", run.organizations(ask), read)


def graphql_full_list(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Categories of discussions, where a repository has discussions."""

    def read(repository: Repository, state: State) -> Reading:
        if not repository.discussions:
            return state
        query = graphql.DISCUSSION_CATEGORIES
        listed = graphql.connection(repository.owner.client, ask.table.id, query, repository.node)
        pages = (Page(list(page.rows), answer.at, repository.facts) for answer, page in listed)
        return (yield from changed_list(run, ask, pages, state, {"repository_id": repository.id}, now()))

    return each_repository(run, ask, read)


def since(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """What changed since the frontier, oldest change first; once a week the whole list, as deletions leave no trace.

    The first reading of a long list may end in its middle (the state then holds when it `began`); the next one goes on there.
    """

    def read(repository: Repository, state: State) -> Reading:
        frontier = Frontier(state, OVERLAP)
        scope = {"repository_id": repository.id}
        first = not state or "began" in state
        if not first and run.since is None and _due(run, state):

            def everything() -> Iterator[Page]:
                for answer, found in _ascending(run, ask, repository, ""):
                    frontier.fresh(found, times_of(found, "updated_at"))
                    yield from _with_facts(run, ask, repository, answer, found)

            state = yield from changed_list(run, ask, everything(), state, scope, now())
            return {**state, **frontier.state(), "swept": run.today.isoformat()}
        began, found_digest = state.get("began", now()), digest(())
        for answer, found in _ascending(run, ask, repository, frontier.start or text(run.since)):
            fresh = [record for record, _ in frontier.fresh(found, times_of(found, "updated_at"))]
            found_digest = digest(fresh, found_digest)
            yield from _with_facts(run, ask, repository, answer, fresh)
            if first:
                yield Checkpoint({**frontier.state(), "began": began})
        if not first:
            return {**state, **frontier.state()}
        if run.since:
            return frontier.state()
        yield Complete(scope, began)
        whole = {} if state else {"digest": found_digest}
        return {**frontier.state(), "swept": run.today.isoformat(), **whole}

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
    """Lists that cannot be asked for by date: newest first, until a whole page is older or known.

    The first reading of a long list may end in its middle: the state then says `at` which page. The next one takes what came
    meanwhile and goes on there. Lists whose rows go without a trace are read whole once a week.
    """
    table, when = ask.table, ask.table.cursor or "updated_at"
    overlap = OVERLAPS.get(table.name, OVERLAP)

    def listed(scope: Repository | Owner, page: str = "") -> Pages:
        client, path, _ = _place(ask, scope)
        return run.pages(ask, client, page or path, () if page else table.params, table.records)

    def read(scope: Repository | Owner, state: State) -> Reading:
        _, _, facts = _place(ask, scope)
        swept = {"swept": run.today.isoformat()} if table.name in SWEPT else {}
        if ask.window:
            for answer, fresh in _until_known(run, ask, Frontier({}, overlap), listed(scope), when):
                yield Page(fresh, answer.at, facts)
            return state
        if state and "at" not in state and swept and run.since is None and _due(run, state):
            return {**(yield from whole(scope, state)), **swept}
        frontier = Frontier(state, overlap)
        if state:
            for answer, fresh in _until_known(run, ask, frontier, listed(scope), when):
                yield Page(fresh, answer.at, facts)
            if "at" not in state:
                return {**state, **frontier.state()}
        # What was not read yet stands on the page that was read last, or behind it: new rows only push it down.
        rest = Frontier({}, overlap) if state else frontier
        for answer, fresh in _until_known(run, ask, rest, listed(scope, state.get("at", "")), when):
            yield Page(fresh, answer.at, facts)
            if answer.link("next"):
                yield Checkpoint({**frontier.state(), "at": run.relative(answer.asked)})
        return {**frontier.state(), **swept}

    def whole(scope: Repository | Owner, state: State) -> Reading:
        frontier = Frontier(state, overlap)
        _, _, facts = _place(ask, scope)

        def pages() -> Iterator[Page]:
            for answer, found in listed(scope):
                frontier.fresh(found, times_of(found, when))
                yield Page(found, answer.at, facts)

        columns = {name: value for name, value in facts.items() if name != "repository"}
        told = yield from changed_list(run, ask, pages(), state, columns, now())
        return {**state, **told, **frontier.state()}

    if table.path.startswith("/orgs/"):
        return side_by_side(run, ask, "organizations", run.organizations(ask), read)
    return each_repository(run, ask, read, still_moving=table.name in STILL_MOVING)


def _place(ask: Ask, scope: Repository | Owner) -> tuple[Client, str, dict[str, Any]]:
    """Who asks for the list of a scope, where, and the facts of its rows."""
    if isinstance(scope, Owner):
        return scope.client, ask.table.path.format(org=scope.login), {"organization": scope.login}
    facts = {"parent_repository_id": scope.id} if ask.table.name == "forks" else scope.facts
    return scope.owner.client, path_of(ask, scope), facts


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
            if not state and created and answer.link("next") is None:
                # A piece is done, and pieces come oldest first. What its runs tell of changes says nothing of later pieces.
                yield Checkpoint({"created": created})
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
        if frontier.start and not fresh and ask.table.name not in OVERLAPS:
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
