"""Tables of GitHub that follow their parent's raw log: what sits in its records, and what is asked for each changed row.

How lists are read lives in `github.py`, GraphQL in `github_graphql.py`. The cursor is {"parent_sequence": commit of the parent
that was worked through, "rows": rows of the next commit that were, too}: the log never changes, so that a run that dies inside
a large commit goes on at the same row.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from datalake.lake.raw import now
from datalake.sources import github_graphql as graphql
from datalake.sources import paging
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Skipped
from datalake.sources.github_run import GitHubRun, Missing, Repository, TurnedOff, path_of, window_of
from datalake.sources.http import Answer
from datalake.sources.paging import ParentRow
from datalake.sources.records import Record, digest, elements, inner, pick, single

PIECE = 400
"""Changed parents after which what hangs on them may be published."""
NO_SUCH = (404, 422)
"""Statuses for a parent that is gone, and for a commit that git no longer has."""
CHECKS_SETTLE = dt.timedelta(days=1)
"""Checks of a commit are read again in each run until this long after its pull request changed …"""
CHECKS_AT_MOST = dt.timedelta(days=7)
"""… and while some are not finished, this long."""


# -- what sits in the parent's records -----------------------------------------------------------------------------------


def from_parent(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Rows that sit in the records of the parent; each parent that is told anew tells all of them."""
    del run
    first, last = window_of(ask) if ask.window else ("", "9")
    read = _release_assets if ask.table.name == "release_assets" else _embedded
    for commit, rows in paging.by_commit(_from_start(ask), "id", "updated_at"):
        for row in rows:
            if not row.deleted:
                yield from read(ask, row, first, last)
        yield Checkpoint({"parent_sequence": commit.sequence})


def _release_assets(_ask: Ask, row: ParentRow, first: str, last: str) -> Iterator[Item]:
    """Files of releases as they stood each day that a release was read: their counters of downloads only ever grow."""
    day = str(row.add.get("snapshot_date", row.at[:10]))
    release = msgspec.json.decode(row.record, type=_Release)
    if release.assets and first[:10] <= day < last[:10]:
        facts = {name: row.add[name] for name in ("repository_id", "repository")}
        yield Page(release.assets, row.at, {**facts, "release_id": release.id, "snapshot_date": day})


def _embedded(ask: Ask, row: ParentRow, first: str, last: str) -> Iterator[Item]:
    id_, updated = row.fields
    if not first <= str(updated or "") < last:
        return
    match ask.table.name:
        case "repository_topics":
            scope = {"repository_id": id_}
            topics = [b'{"topic":' + bytes(topic) + b"}" for topic in _list(row.record, "topics")]
            yield Page(topics, row.at, scope)
        case "requested_reviewers":
            scope = {"pull_request_id": id_}
            for kind, field in (("User", "requested_reviewers"), ("Team", "requested_teams")):
                yield Page(_list(row.record, field), row.at, {**scope, "reviewer_type": kind})
        case _:
            scope = {"issue_id": id_}
            yield Page(_list(row.record, ask.table.records), row.at, scope)
    yield Complete(scope, row.at)


def _list(record: Record, field: str) -> list[Record]:
    found = inner(record, field)
    return elements(found) if found is not None else []


# -- what is asked for each changed parent -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hanging:
    """A list that hangs on a row of the parent.

    `facts` names the parent's fields that fill the path and tell the rows apart; `whole` the columns of which the list holds
    all rows (empty: rows that leave the list are kept); `counted` where the parent says how many there are.
    """

    facts: dict[str, str]
    whole: tuple[str, ...] = ()
    counted: tuple[str, str] | None = None


_REACTIONS = ("reactions", "total_count")
_OF_COMMENT = Hanging({"comment_id": "id"}, ("comment_id",), _REACTIONS)
_OF_PULL = Hanging({"pull_number": "number"}, ("repository_id", "pull_number"))
HANGING = {
    "commit_comment_reactions": _OF_COMMENT,
    "issue_comment_reactions": _OF_COMMENT,
    "review_comment_reactions": _OF_COMMENT,
    "release_reactions": Hanging({"release_id": "id"}, ("release_id",), _REACTIONS),
    "issue_reactions": Hanging({"issue_number": "number"}, ("repository_id", "issue_number"), _REACTIONS),
    "issue_timeline_events": Hanging({"issue_number": "number"}, ("repository_id", "issue_number")),
    "sub_issues": Hanging(
        {"issue_number": "number", "parent_issue_id": "id"}, ("parent_issue_id",), ("sub_issues_summary", "total")
    ),
    "pull_request_commits": _OF_PULL,
    "pull_request_files": _OF_PULL,
    "deployment_statuses": Hanging({"deployment_id": "id"}),
    "workflow_jobs": Hanging({"run_id": "id"}),
    "workflow_run_attempts": Hanging({"run_id": "id"}),
    "commit_details": Hanging({"sha": "sha"}),
}


def children_of_changed(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """What hangs on rows of the parent, read again for those that changed."""
    match ask.table.name:
        case "pull_request_details":
            return _by_graphql(run, ask, _details, 50)
        case "pull_request_reviews":
            return _by_graphql(run, ask, _reviews, 25)
        case "discussion_comments":
            return _by_graphql(run, ask, _discussion_comments, 5)
        case "check_runs" | "check_suites" | "commit_statuses":
            return _checks(run, ask)
    return _hanging(run, ask, HANGING[ask.table.name])


def _hanging(run: GitHubRun, ask: Ask, hanging: Hanging) -> Iterator[Item]:
    """One call (or as many as there are pages) for each changed parent, side by side."""
    counted = hanging.counted
    fields = tuple(dict.fromkeys([*hanging.facts.values(), "status", "run_attempt", *([counted[0]] if counted else [])]))
    anew = bool(ask.cursor) or ask.full or ask.window is not None
    asked: Callable[..., Iterator[Item]] = {
        "commit_details": _commit_details,
        "workflow_run_attempts": _attempts,
    }.get(ask.table.name, _listed)

    def read(repository: Repository, row: ParentRow) -> Iterator[Item]:
        values = dict(zip(fields, row.fields, strict=True))
        facts = {fact: values[field] for fact, field in hanging.facts.items()}
        scope = {name: {**repository.facts, **facts}[name] for name in hanging.whole}
        if counted and not (values[counted[0]] or {}).get(counted[1]):
            if anew:
                yield Complete(scope, row.at)
            return
        if ask.table.name == "workflow_jobs" and values["status"] != "completed":
            return  # told again when it is
        began = now()
        yield from asked(run, ask, repository, facts, values)
        if scope:
            yield Complete(scope, began)

    parents = _Parents(run, ask, read)
    for piece, cursor in _pieces(ask, *fields):
        newest = {(row.add["repository_id"], *(row.fields[: len(hanging.facts)])): row for row in piece}
        yield from parents.each([(row.add["repository_id"], row) for row in newest.values()])
        if cursor is not None and parents.may_go_on:
            yield Checkpoint(cursor)
    parents.end()


def _listed(run: GitHubRun, ask: Ask, repository: Repository, facts: dict[str, Any], _values: dict[str, Any]) -> Iterator[Item]:
    path, add = path_of(ask, repository, **facts), {**repository.facts, **facts}
    for answer, found in run.pages(ask, repository.owner.client, path, ask.table.params, ask.table.records, missing=NO_SUCH):
        if ask.table.name == "issue_timeline_events":
            yield from (Page([record], answer.at, {**add, "event_key": _event_key(record)}) for record in found)
        else:
            yield Page(found, answer.at, add)


def _event_key(record: Record) -> str:
    """What tells an event from the others of its issue: most have a node id, a cross reference has what it comes from."""
    node, sha, kind, created, actor, source = pick(record, "node_id", "sha", "event", "created_at", "actor", "source")
    if node or sha:
        return str(node or sha)
    origin = ((source or {}).get("issue") or {}).get("id")
    told = msgspec.json.encode([kind, created, (actor or {}).get("id"), origin])
    return hashlib.sha256(told).hexdigest()[:40]


def _commit_details(
    run: GitHubRun, ask: Ask, repository: Repository, facts: dict[str, Any], _values: dict[str, Any]
) -> Iterator[Item]:
    """A commit as one record: where its files fill several pages, they are put together."""
    client, path = repository.owner.client, path_of(ask, repository, ref=facts["sha"])
    first = answer = run.get(ask, client, path, ask.table.params, missing=NO_SUCH)
    record = single(answer)
    files: list[Record] = []
    while True:
        files += _list(single(answer), "files")
        next_ = answer.link("next")
        if next_ is None:
            break
        answer = run.get(ask, client, next_)
    if answer is not first:
        members = msgspec.json.decode(record, type=dict[str, Raw])
        record = msgspec.json.encode({**members, "files": [Raw(bytes(file)) for file in files]})
    yield Page([record], first.at, repository.facts)


def _attempts(
    run: GitHubRun, ask: Ask, repository: Repository, facts: dict[str, Any], values: dict[str, Any]
) -> Iterator[Item]:
    """The attempts before the latest, which the list of runs does not show any more."""
    for number in range(1, values["run_attempt"] or 1):
        path = path_of(ask, repository, **facts, attempt_number=number)
        try:
            answer = run.get(ask, repository.owner.client, path, ask.table.params)
        except Missing:
            continue  # GitHub keeps attempts for a limited time
        yield Page([single(answer)], answer.at, repository.facts)


class _Parents:
    """Reads what hangs on parents, several side by side, and keeps what was refused until the end.

    `read` gets a repository and what is asked for in it. A repository that refuses is not asked again.
    """

    def __init__(self, run: GitHubRun, ask: Ask, read: Callable[[Repository, Any], Iterator[Item]]) -> None:
        self._run = run
        self._ask = ask
        self._read = read
        self._repositories = {repository.id: repository for repository in run.repositories(ask)}
        self._read_any = False
        self._refusing: dict[int, Skipped] = {}
        self._gone: list[Skipped] = []
        self._unseen: Counter[int] = Counter()

    @property
    def may_go_on(self) -> bool:
        """Whether the cursor may move: not as long as all was refused, so that nothing is passed over for good."""
        return self._read_any or not self._refusing

    def sees(self, id_: int) -> bool:
        return id_ in self._repositories

    def each(self, parents: Sequence[tuple[int, Any]]) -> Iterator[Item]:
        """What hangs on `parents`, each with the id of its repository."""
        self._unseen.update(id_ for id_, _ in parents if not self.sees(id_))
        for told in self._run.workers.each([parent for parent in parents if self.sees(parent[0])], self._fetch):
            if isinstance(told, list):
                self._read_any = True
                yield from told
            elif isinstance(told, Missing):
                self._gone.append(told)

    def end(self) -> None:
        """Tell what was left out. Raises Skipped where all was refused."""
        if self._refusing and not self._read_any:
            raise next(iter(self._refusing.values()))
        table, parents = self._ask.table.id, self._ask.table.parent
        for id_, skipped in self._refusing.items():
            name = self._repositories[id_].name
            if self._run.refusals.tell(table, name):
                self._ask.note(f"{name} is left out: {str(skipped).removeprefix(f'{table}: ')}")
        for id_, number in self._unseen.items():
            self._ask.note(f"the repository {id_} is no longer to be seen: {number} of its {parents} are left out")
        if self._gone:
            self._ask.note(f"{len(self._gone)} {parents} left out, which are gone: {self._gone[0]}")

    def _fetch(self, parent: tuple[int, Any]) -> list[Item] | Skipped:
        id_, what = parent
        if id_ in self._refusing:
            return self._refusing[id_]
        try:
            return list(self._read(self._repositories[id_], what))
        except Skipped as skipped:
            if not isinstance(skipped, Missing | TurnedOff):
                self._refusing.setdefault(id_, skipped)
            return skipped


def _pieces(ask: Ask, *fields: str) -> Iterator[tuple[list[ParentRow], dict[str, Any] | None]]:
    """Rows of the parent that changed, in pieces, each with the cursor that stands behind it.

    With a window: the rows that changed in it, in one piece without a cursor, as the log holds several versions of a row.
    """
    if ask.window:
        first, last = window_of(ask)
        rows = itertools.chain.from_iterable(of_commit for _, of_commit in paging.by_commit(_from_start(ask), *fields))
        yield [row for row in rows if not row.deleted and first <= _moment(ask, row) < last], None
        return
    done = ask.cursor.get("rows", 0)
    for commit, of_commit in paging.by_commit(ask, *fields):
        piece: list[ParentRow] = []
        for number, row in enumerate(of_commit, 1):
            if number <= done:
                continue
            piece += [] if row.deleted else [row]
            if len(piece) == PIECE:
                yield piece, {"parent_sequence": commit.sequence - 1, "rows": number}
                piece = []
        done = 0
        yield piece, {"parent_sequence": commit.sequence}


def _moment(ask: Ask, row: ParentRow) -> str:
    """When a row of the parent changed last."""
    if ask.table.parent == "commits":
        (commit,) = pick(row.record, "commit")
        return str(commit["committer"]["date"])
    return str(pick(row.record, "updated_at")[0] or "")


def _from_start(ask: Ask) -> Ask:
    """For a window, the parent's whole log is looked through, not only what is new in it."""
    return dataclasses.replace(ask, cursor={}) if ask.window else ask


# -- checks of commits ---------------------------------------------------------------------------------------------------


def _checks(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Checks of the heads of changed pull requests. Checks come and end without a trace in the pull request, so heads are
    read again in later runs until they have settled: the cursor's `open` names them, each with the day its pull request
    changed and the digest of what was read.
    """
    open_: dict[str, dict[str, list[str]]] = {id_: dict(heads) for id_, heads in ask.cursor.get("open", {}).items()}

    def read(repository: Repository, head: tuple[str, str]) -> Iterator[Item]:
        sha, day = head
        of_repository = open_.get(repository.key, {})
        known = of_repository.get(sha, ["", ""])[1] if ask.window is None else ""
        path, facts = path_of(ask, repository, ref=sha), {**repository.facts, "sha": sha}
        pages: list[tuple[Answer, list[Record]]] = []
        pages += run.pages(ask, repository.owner.client, path, ask.table.params, ask.table.records, missing=NO_SUCH)
        found = digest(record for _, records in pages for record in records)
        if found != known:
            yield from (Page(records, answer.at, facts) for answer, records in pages)
        age = run.today - dt.date.fromisoformat(day)
        settled = _settled(ask.table.name, [record for _, records in pages for record in records])
        if age > CHECKS_AT_MOST or (settled and age > CHECKS_SETTLE):
            of_repository.pop(sha, None)
        elif ask.window is None:
            open_.setdefault(repository.key, {})[sha] = [day, found]

    def cursor_with(cursor: dict[str, Any]) -> dict[str, Any]:
        return {**cursor, "open": {id_: dict(heads) for id_, heads in sorted(open_.items()) if heads}}

    parents = _Parents(run, ask, read)
    if ask.window is None and open_:
        open_ = {id_: heads for id_, heads in open_.items() if parents.sees(int(id_))}
        yield from parents.each([(int(id_), (sha, day)) for id_, heads in open_.items() for sha, (day, _) in heads.items()])
        if parents.may_go_on:
            yield Checkpoint(cursor_with({name: value for name, value in ask.cursor.items() if name != "open"}))
    for piece, cursor in _pieces(ask, "updated_at", "head"):
        heads = {(row.add["repository_id"], row.fields[1]["sha"]): str(row.fields[0])[:10] for row in piece}
        yield from parents.each([(id_, (sha, day)) for (id_, sha), day in heads.items()])
        if cursor is not None and parents.may_go_on:
            yield Checkpoint(cursor_with(cursor))
    parents.end()


def _settled(table: str, records: Iterable[Record]) -> bool:
    """Whether none of the checks is still to end. Statuses are only added, newest first: the newest of each context counts."""
    if table == "commit_statuses":
        newest: dict[str, str] = {}
        for record in records:
            context, state = pick(record, "context", "state")
            newest.setdefault(context, state)
        return "pending" not in newest.values()
    for record in records:
        status, checks = pick(record, "status", "latest_check_runs_count")
        if status != "completed" and checks != 0:
            return False
    return True


# -- by GraphQL ----------------------------------------------------------------------------------------------------------


def _by_graphql(run: GitHubRun, ask: Ask, read: Callable[..., Iterator[Item]], size: int) -> Iterator[Item]:
    """What hangs on pull requests or discussions, many in one query."""
    batch = graphql.Batch(size)
    node = "id" if ask.table.parent == "discussions" else "node_id"
    for piece, cursor in _pieces(ask, node, "number"):
        changed: dict[int, dict[str, int]] = defaultdict(dict)
        for row in piece:
            id_, number = row.fields
            changed[row.add["repository_id"]][id_] = number
        yield from _children(run, ask, changed, read, batch)
        if cursor is not None:
            yield Checkpoint(cursor)


def _children(
    run: GitHubRun, ask: Ask, changed: dict[int, dict[str, int]], read: Callable[..., Iterator[Item]], batch: graphql.Batch
) -> Iterator[Item]:
    """`changed`: by repository, the nodes of its parents and their numbers."""
    repositories = {repository.id: repository for repository in run.repositories(ask)} if changed else {}
    for id_, numbers in changed.items():
        if id_ in repositories:
            yield from read(run, ask, repositories[id_], numbers, batch)
        else:
            ask.note(f"the repository {id_} is no longer to be seen: {len(numbers)} of its {ask.table.parent} are left out")


def _details(run: GitHubRun, ask: Ask, repository: Repository, numbers: dict[str, int], batch: graphql.Batch) -> Iterator[Item]:
    for found in _nodes(run, ask, repository, graphql.PULL_REQUEST_DETAILS, list(numbers), batch):
        if found.node is not None:
            yield Page([found.node], found.answer.at, repository.facts)


def _reviews(run: GitHubRun, ask: Ask, repository: Repository, numbers: dict[str, int], batch: graphql.Batch) -> Iterator[Item]:
    for found in _nodes(run, ask, repository, graphql.PULL_REQUEST_REVIEWS, list(numbers), batch):
        if found.node is not None:
            facts = {**repository.facts, "pull_number": numbers[found.id]}
            for answer, rows in _connection(ask, repository, found, graphql.MORE_REVIEWS):
                yield Page(rows, answer.at, facts)


def _discussion_comments(
    run: GitHubRun, ask: Ask, repository: Repository, numbers: dict[str, int], batch: graphql.Batch
) -> Iterator[Item]:
    """Comments and their replies, which have the same shape. A comment that is gone leaves no trace but its absence."""
    began = now()
    for found in _nodes(run, ask, repository, graphql.DISCUSSION_COMMENTS, list(numbers), batch):
        if found.node is None:
            continue
        facts = {**repository.facts, "discussion_id": found.id}
        for answer, rows in _connection(ask, repository, found, graphql.MORE_DISCUSSION_COMMENTS):
            yield Page([_without_replies(row) for row in rows], answer.at, facts)
            for row in rows:
                (id_,) = pick(row, "id")
                replies = inner(row, "list")
                if replies is None:
                    raise answer.fault("a comment of a discussion came without its replies")
                holder = graphql.Found(id_, answer, Raw(b'{"list":' + bytes(replies) + b"}"))
                for told, more in _connection(ask, repository, holder, graphql.MORE_REPLIES):
                    yield Page(more, told.at, facts)
        yield Complete({"discussion_id": found.id}, began)


def _without_replies(comment: Record) -> bytes:
    members = msgspec.json.decode(comment, type=dict[str, Raw])
    del members["list"]
    return msgspec.json.encode(members)


def _connection(ask: Ask, repository: Repository, found: graphql.Found, more: str) -> Iterator[tuple[Answer, list[Record]]]:
    """The pages of a node's `list`: the one that came with it, and those that `more` asks for."""
    page = msgspec.json.decode(found.node or b"null", type=graphql.Holder).list
    if page is None:
        raise found.answer.fault("a node came without its list")
    yield found.answer, list(page.rows)
    if page.page.next:
        client, table = repository.owner.client, ask.table.id
        for answer, rest in graphql.connection(client, table, more, found.id, after=page.page.end):
            yield answer, list(rest.rows)


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
        ask.note(f"{repository.name}: {len(refused)} {ask.table.parent} are left out: {refused[0].refused}")


class _Release(msgspec.Struct):
    id: int
    assets: list[Raw] = []
