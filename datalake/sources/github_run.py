"""One run of GitHub: the lists that several tables need, and the ways of reading that they share.

Scopes (repositories, organizations, teams) are read side by side, each with a state of its own. What is asked for each table
lives in `github.py`, who asks in `github_access.py`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import msgspec

from datalake.model import Source
from datalake.settings import SettingError, Settings
from datalake.sources import paging
from datalake.sources.base import (
    Ask,
    AuthenticationFailed,
    Checkpoint,
    Complete,
    Item,
    Page,
    QuotaSpent,
    Skipped,
    SourceError,
)
from datalake.sources.engine import HttpRun
from datalake.sources.frontier import text
from datalake.sources.github_access import Access, Client, Owner, server_time
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.records import Drop, Record, pick, split

BATCH_BYTES = 512 * 1024
"""Records that one scope's reading brings together before they are handed on."""

State = dict[str, Any]
Reading = Generator[Item, None, State]
"""The items of one scope; returns its new state."""
Pages = Iterator[tuple[Answer, list[Record]]]


class Scope(Protocol):
    """What is read by itself and has a state by itself: an organization, a team, a repository."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=Scope)


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository as the list told it. `name` is owner/name."""

    id: int
    node: str
    name: str
    owner: Owner
    branch: str
    created: str
    pushed: str
    archived: bool
    discussions: bool

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def facts(self) -> dict[str, Any]:
        return {"repository_id": self.id, "repository": self.name}


@dataclass(frozen=True, slots=True)
class Team:
    id: int
    slug: str
    owner: Owner

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        return f"{self.owner.login}/{self.slug}"


@dataclass(frozen=True, slots=True)
class Account:
    """A person, as a list of members tells them."""

    id: int
    login: str
    owner: Owner

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        return self.login


@dataclass(frozen=True, slots=True)
class Project:
    """A project of an organization (the new kind)."""

    id: int
    number: int
    owner: Owner

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        return f"{self.owner.login}/projects/{self.number}"


@dataclass
class Listing:
    """A list that several tables need: its pages, for its own table, and what it names."""

    pages: list[Page] = field(default_factory=list)
    names: list[Any] = field(default_factory=list)


class TurnedOff(Skipped):
    """The repository has this feature switched off: there is nothing to read, and what was read before is not gone."""


class Missing(Skipped):
    """What was asked for does not exist, or the token has no right to know of it."""


class Refusals:
    """Scopes that refused tables in this run: the first refusal of each is worth a line, the others one line at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, list[str]] = {}

    def tell(self, table: str, scope: str) -> bool:
        """Whether this is the first refusal of the scope, to be told with its reason."""
        with self._lock:
            first = scope not in self._tables
            self._tables.setdefault(scope, []).extend([] if first else [table])
            return first

    def others(self) -> Iterator[str]:
        """A line for each scope that refused more tables than the first."""
        for scope, tables in self._tables.items():
            if tables:
                yield f"{scope} is left out, as it refused them too, of: {', '.join(sorted(tables))}"


class GitHubRun(HttpRun):
    """One run: the credentials, and the lists of repositories and teams, read once for all tables."""

    def __init__(
        self, settings: Settings, source: Source, access: Access, functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]]
    ) -> None:
        super().__init__(source, access.first.http, functions)
        self.access = access
        self.patterns = tuple(pattern.lower() for pattern in settings.names("GITHUB_REPOSITORIES"))
        self.since = _first_day(settings["GITHUB_SINCE"])
        self.today = dt.date.min
        """The day at the source, as its answers tell it."""
        self.partial: set[str] = set()
        """Tables from which GitHub left out rows: what is missing there is not gone."""
        self.refusals = Refusals()
        self._lock = threading.Lock()
        self._list_locks: dict[tuple[str, ...], threading.Lock] = {}
        self._lists: dict[tuple[str, ...], Listing | SourceError] = {}

    def calls(self, table_id: str) -> dict[str, float]:
        total: dict[str, float] = defaultdict(float)
        for session in self.access.sessions():
            for name, value in session.calls(table_id).items():
                total[name] += value
        return dict(total)

    def close(self) -> None:
        for line in self.refusals.others():
            self.access.note(self.source.name, line)
        self.workers.close()
        self.access.close()

    def owners(self, ask: Ask) -> list[Owner]:
        return self.access.owners(ask.table.id, ask.note)

    def organizations(self, ask: Ask) -> list[Owner]:
        return [owner for owner in self.owners(ask) if owner.organization]

    def repositories_of(self, ask: Ask, owner: Owner) -> Listing:
        """All repositories of the owner, read once a run."""
        return self._listing(ask, owner, "repositories", owner.repositories, owner.records, owner.params, _repository)

    def teams_of(self, ask: Ask, owner: Owner) -> Listing:
        return self._listing(ask, owner, "teams", f"/orgs/{owner.login}/teams", "", None, _team)

    def members_of(self, ask: Ask, owner: Owner) -> Listing:
        return self._listing(ask, owner, "organization_members", f"/orgs/{owner.login}/members", "", None, _member)

    def projects_of(self, ask: Ask, owner: Owner) -> Listing:
        return self._listing(ask, owner, "projects_v2", f"/orgs/{owner.login}/projectsV2", "", None, _project)

    def members_of_team(self, ask: Ask, team: Team) -> Listing:
        path = f"/orgs/{team.owner.login}/teams/{team.slug}/members"
        return self._listing(
            ask, team.owner, "team_members", path, "", None, _member, {"team_id": team.id, "team_slug": team.slug}
        )

    def repositories(self, ask: Ask) -> list[Repository]:
        """The repositories that the settings choose."""
        found, _ = self.listed(ask, self.owners(ask), self.repositories_of)
        return [r for r in found if not self.patterns or any(fnmatchcase(r.name.lower(), p) for p in self.patterns)]

    def listed(
        self, ask: Ask, owners: Sequence[Owner], list_of: Callable[[Ask, Owner], Listing]
    ) -> tuple[list[Any], list[Skipped]]:
        """What the owners' lists name, and the refusals. Owners that refuse are told; if all do, the first is raised."""
        found: list[Any] = []
        refused: list[Skipped] = []
        for owner in owners:
            try:
                found += list_of(ask, owner).names
            except Skipped as skipped:
                refused.append(skipped)
                ask.note(f"{owner.login} is left out: {skipped}")
        if refused and len(refused) == len(owners):
            raise refused[0]
        return found, refused

    def get(
        self,
        ask: Ask,
        client: Client,
        path: str,
        params: Iterable[tuple[str, str]] = (),
        cursor: object = "",
        missing: tuple[int, ...] = (404,),
    ) -> Answer:
        """One answer of REST: 200, 202 (being computed), or 204 and 409 (an empty repository), which mean no rows.

        Raises Missing for the statuses in `missing`, Skipped for what the token may not see (403, 451), TurnedOff for 410.
        """
        answer = client.http.get(ask.table.id, path, list(params), cursor=cursor, accept=(409, 410, 451, *missing))
        if answer.status in missing:
            raise answer.fault("not found, or the token has no right to know of it", Missing)
        if answer.status == 410:
            raise answer.fault("the feature is turned off", TurnedOff)
        if answer.status == 451:
            raise answer.fault("blocked for legal reasons", Skipped)
        if "partial-results" in answer.headers.get("X-GitHub-SSO", "") and ask.table.name not in self.partial:
            self.partial.add(ask.table.name)
            ask.note("GitHub left out rows of organizations with single sign-on: authorize the token for them")
        self.today = max(self.today, server_time(answer).date())
        return answer

    def pages(
        self,
        ask: Ask,
        client: Client,
        path: str,
        params: Iterable[tuple[str, str]],
        records: str = "",
        cursor: object = "",
        missing: tuple[int, ...] = (404,),
    ) -> Pages:
        """A list page by page: `next` links are followed as they are given, and nothing else.

        Secrets are dropped here already: one that is new in every answer must not make lists look changed.
        """
        walk = Walk()
        drop = Drop(ask.table.secrets) if ask.table.secrets else None
        answer = self.get(ask, client, path, params, cursor, missing)
        while True:
            found = split(answer, records).records if answer.status == 200 else []
            next_ = answer.link("next")
            walk.step(answer, found, next_)
            yield answer, [drop(record) for record in found] if drop else found
            if next_ is None:
                return
            answer = self.get(ask, client, next_, cursor=cursor, missing=missing)

    def relative(self, address: str) -> str:
        """An address of the API as it can be kept in a cursor: without the host, which a setting may move."""
        return address.removeprefix(self.http.base_url)

    def _listing(
        self,
        ask: Ask,
        owner: Owner,
        table: str,
        path: str,
        records: str,
        params: tuple[tuple[str, str], ...] | None,
        name: Callable[[Owner, Record], Any],
        facts: dict[str, Any] | None = None,
    ) -> Listing:
        """A list that is kept for the run; so is the error where it could not be read."""
        with self._lock:
            lock = self._list_locks.setdefault((table, owner.login, path), threading.Lock())
        with lock:
            known = self._lists.get((table, owner.login, path))
            if known is None:
                contract = self.source.tables[table]
                ask = dataclasses.replace(ask, table=contract)
                facts = facts or {"organization": owner.login}
                try:
                    known = Listing()
                    for answer, found in self.pages(ask, owner.client, path, params or contract.params, records):
                        known.pages.append(Page(found, answer.at, facts))
                        known.names += [name(owner, record) for record in found]
                except SourceError as error:
                    known = error
                self._lists[table, owner.login, path] = known
        if isinstance(known, SourceError):
            raise known
        return known


@dataclass
class _Slice:
    """The reading of one scope while it goes on: what it brought last, and how it ended."""

    scope: Scope
    reading: Reading
    items: list[Item] = field(default_factory=list)
    so_far: State | None = None
    """The state that the reading last said to stand behind all it brought: a run that dies goes on from there."""
    state: State | None = None
    error: SourceError | None = None

    def go_on(self) -> _Slice:
        """Read on until enough came together or the end."""
        size = 0
        try:
            while size < BATCH_BYTES:
                item = next(self.reading)
                if isinstance(item, Checkpoint):
                    self.so_far = item.cursor
                    continue
                self.items.append(item)
                size += sum(memoryview(record).nbytes for record in item.records) if isinstance(item, Page) else 0
        except StopIteration as stop:
            self.state = stop.value
        except SourceError as error:
            self.error = error
        return self


def side_by_side(
    run: GitHubRun, ask: Ask, what: str, scopes: Sequence[S], read: Callable[[S, State], Reading]
) -> Iterator[Item]:
    """Read all scopes, several at once. `cursor[what]` holds their states; each that ends sets a checkpoint.

    The reading of a large scope may yield a Checkpoint with its own state so far.
    Scopes that are refused are told and left out, unless all are: then Skipped is raised. One that fails does not hold the
    others back; its error is raised at the end. A key that is no longer good, or a spent quota, ends it all at once.
    """
    states: dict[str, State] = dict(ask.cursor.get(what, {}))
    going = [_Slice(scope, read(scope, states.get(scope.key, {}))) for scope in scopes]
    refused: list[_Slice] = []
    failed: list[_Slice] = []
    while going:
        unfinished = []
        for slice_ in run.workers.each(going, _Slice.go_on):
            yield from slice_.items
            slice_.items.clear()
            if slice_.so_far is not None and slice_.state is None:
                states[slice_.scope.key], slice_.so_far = slice_.so_far, None
                yield Checkpoint({**ask.cursor, what: dict(states)})
            if isinstance(slice_.error, AuthenticationFailed | QuotaSpent):
                raise slice_.error
            if isinstance(slice_.error, TurnedOff):
                continue
            if slice_.error is not None:
                (refused if isinstance(slice_.error, Skipped) else failed).append(slice_)
            elif slice_.state is None:
                unfinished.append(slice_)
            else:
                states[slice_.scope.key] = slice_.state
                yield Checkpoint({**ask.cursor, what: dict(states)})
        going = unfinished
    if told := [slice_ for slice_ in refused if run.refusals.tell(ask.table.id, slice_.scope.name)]:
        names = ", ".join(slice_.scope.name for slice_ in told[:5]) + (" …" if len(told) > 5 else "")
        why = str(told[0].error).removeprefix(f"{ask.table.id}: ")
        ask.note(f"{len(told)} of {len(scopes)} {what} left out ({names}): {why}")
    if failed and failed[0].error:
        raise failed[0].error
    if refused and len(refused) == len(scopes) and refused[0].error:
        raise refused[0].error


def each_repository(
    run: GitHubRun, ask: Ask, read: Callable[[Repository, State], Reading], *, still_moving: bool = False
) -> Iterator[Item]:
    """`read` for every repository. Nothing moves in an archived one, once it was read as such, unless `still_moving`."""

    def careful(repository: Repository, state: State) -> Reading:
        if repository.archived and state.get("archived") and not still_moving and not ask.window:
            return state
        state = yield from read(repository, {name: value for name, value in state.items() if name != "archived"})
        return {**state, "archived": True} if repository.archived else state

    return side_by_side(run, ask, "repositories", run.repositories(ask), careful)


def changed_list(run: GitHubRun, ask: Ask, pages: Iterable[Page], state: State, scope: dict[str, Any], began: str) -> Reading:
    """A whole list, told if it changed; what is missing is gone, unless GitHub said that it left rows out."""
    items = paging.full_list(pages, None if ask.window else state.get("digest"), scope, began)
    while True:
        try:
            item = next(items)
        except StopIteration as stop:
            return {"digest": stop.value}
        if not (isinstance(item, Complete) and ask.table.name in run.partial):
            yield item


def path_of(ask: Ask, repository: Repository, **parts: Any) -> str:
    """The table's path in the repository; `parts` fill in what else stands in braces."""
    owner, _, repo = repository.name.partition("/")
    return ask.table.path.format(owner=owner, repo=repo, **parts)


def times_of(records: Iterable[Record], field_: str) -> list[str]:
    return [str(pick(record, field_)[0] or "") for record in records]


def window_of(ask: Ask) -> tuple[str, str]:
    if ask.window is None:
        raise ValueError("no window was asked for")
    return text(ask.window.since), text(ask.window.until)


class _Listed(msgspec.Struct):
    """What the list of repositories must tell of each."""

    id: int
    node_id: str
    full_name: str
    default_branch: str | None = None
    created_at: str | None = None
    pushed_at: str | None = None
    archived: bool = False
    has_discussions: bool = False


def _repository(owner: Owner, record: Record) -> Repository:
    told = msgspec.json.decode(record, type=_Listed)
    return Repository(
        told.id,
        told.node_id,
        told.full_name,
        owner,
        told.default_branch or "HEAD",
        told.created_at or "2008-01-01T00:00:00Z",
        told.pushed_at or "",
        told.archived,
        told.has_discussions,
    )


def _team(owner: Owner, record: Record) -> Team:
    id_, slug = pick(record, "id", "slug")
    return Team(id_, slug, owner)


def _member(owner: Owner, record: Record) -> Account:
    id_, login = pick(record, "id", "login")
    return Account(id_, login, owner)


def _project(owner: Owner, record: Record) -> Project:
    id_, number = pick(record, "id", "number")
    return Project(id_, number, owner)


def _first_day(value: str) -> dt.datetime | None:
    if not value:
        return None
    try:
        return dt.datetime.combine(dt.date.fromisoformat(value), dt.time(), dt.UTC)
    except ValueError:
        raise SettingError(f"GITHUB_SINCE is '{value}'; write a day as YYYY-MM-DD") from None
