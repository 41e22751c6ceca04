"""Tables of GitHub that are read team by team, person by person or project by project. Other lists live in `github.py`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from datalake.lake.raw import now
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page
from datalake.sources.github_run import (
    Account,
    GitHubRun,
    Missing,
    Project,
    Reading,
    Scope,
    State,
    Team,
    changed_list,
    side_by_side,
)
from datalake.sources.records import digest, pick, single

READ_AGAIN = dt.timedelta(days=7)
"""What changes without a trace, and costs a call a person, is read again this often."""


def lists_of_teams(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Lists of each team: its members change without a trace in the team's own record. A team that is gone has none."""
    teams, refused = run.listed(ask, run.organizations(ask), run.teams_of)
    if not refused and "teams" not in run.partial:
        ask = yield from _told_gone(ask, "teams", teams, "team_id")
    read: Callable[[GitHubRun, Ask, Team, State], Reading] = {
        "team_members": _members,
        "team_repositories": _repositories,
        "team_memberships": _memberships,
    }[ask.table.name]
    yield from side_by_side(run, ask, "teams", teams, lambda team, state: read(run, ask, team, state))


def _told_gone(ask: Ask, what: str, living: Sequence[Scope], column: str) -> Generator[Item, None, Ask]:
    """Tell that scopes which were known before have no rows any more. Returns the ask without their states."""
    known: dict[str, State] = ask.cursor.get(what, {})
    gone = known.keys() - {scope.key for scope in living}
    if gone:
        yield from (Complete({column: int(key)}, now()) for key in sorted(gone))
        ask = dataclasses.replace(ask, cursor={what: {key: known[key] for key in known if key not in gone}})
        yield Checkpoint(ask.cursor)
    return ask


def _members(run: GitHubRun, ask: Ask, team: Team, state: State) -> Reading:
    began = now()
    kept = run.members_of_team(ask, team).pages
    # Another table may have asked for the list before this one began.
    return (yield from changed_list(run, ask, kept, state, {"team_id": team.id}, min([began, *(page.at for page in kept)])))


def _repositories(run: GitHubRun, ask: Ask, team: Team, state: State) -> Reading:
    path = ask.table.path.format(org=team.owner.login, team_slug=team.slug)
    scope: dict[str, Any] = {"team_id": team.id}
    pages = (Page(found, answer.at, scope) for answer, found in run.pages(ask, team.owner.client, path, ask.table.params))
    return (yield from changed_list(run, ask, pages, state, scope, now()))


def _memberships(run: GitHubRun, ask: Ask, team: Team, state: State) -> Reading:
    """One call a member: made when the list of members changed, or was last gone through a week ago."""
    listing = run.members_of_team(ask, team)
    members = digest(record for page in listing.pages for record in page.records)
    if state.get("members") == members and not ask.window and not _due(run, state):
        return state
    began = now()

    def pages() -> Iterator[Page]:
        for member in listing.names:
            path = ask.table.path.format(org=team.owner.login, team_slug=team.slug, username=member.login)
            try:
                answer = run.get(ask, team.owner.client, path)
            except Missing:
                continue  # left since the list was read
            yield Page([single(answer)], answer.at, {"team_id": team.id, "username": member.login})

    told = yield from changed_list(run, ask, pages(), state, {"team_id": team.id}, began)
    return {**told, "members": members, "read": run.today.isoformat()}


def profiles(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """The profile of each member: when they are new, and once a week, as profiles change without a trace."""
    members, _ = run.listed(ask, run.organizations(ask), run.members_of)
    accounts: dict[str, Account] = {account.key: account for account in members}

    def read(account: Account, state: State) -> Reading:
        if state and not ask.window and not _due(run, state):
            return state
        client = account.owner.client
        try:
            answer = run.get(ask, client, ask.table.path.format(username=account.login))
        except Missing:
            # Renamed since the list was read, or deleted.
            answer = run.get(ask, client, f"/user/{account.id}")
        record = single(answer)
        found = digest([record])
        if found != state.get("digest") or ask.window:
            yield Page([record], answer.at)
        return {"digest": found, "read": run.today.isoformat()}

    yield from side_by_side(run, ask, "users", list(accounts.values()), read)


def lists_of_projects(run: GitHubRun, ask: Ask) -> Iterator[Item]:
    """Fields and items of each project. Whether a project's own date moves with them is nowhere promised, so all are read."""
    projects, refused = run.listed(ask, run.organizations(ask), run.projects_of)
    if not refused and "projects_v2" not in run.partial:
        ask = yield from _told_gone(ask, "projects", projects, "project_id")

    def read(project: Project, state: State) -> Reading:
        client = project.owner.client
        path = ask.table.path.format(org=project.owner.login, project_number=project.number)
        params = list(ask.table.params)
        if ask.table.name == "project_v2_items":
            # Without the ids of fields only titles come.
            fields = run.pages(ask, client, path.removesuffix("items") + "fields", ask.table.params)
            ids = [str(pick(record, "id")[0]) for _, found in fields for record in found]
            params.append(("fields", ",".join(ids)))
        scope: dict[str, Any] = {"project_id": project.id}
        pages = (Page(found, answer.at, scope) for answer, found in run.pages(ask, client, path, params))
        return (yield from changed_list(run, ask, pages, state, scope, now()))

    yield from side_by_side(run, ask, "projects", projects, read)


def _due(run: GitHubRun, state: State) -> bool:
    return dt.date.fromisoformat(state["read"]) + READ_AGAIN <= run.today
