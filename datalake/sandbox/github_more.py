"""What the stand-in for GitHub holds beyond the core tables: which rows there are at a time, and which a lake must hold.

Nothing here is stored: lists are worked out when they are asked for, from the seed, the clock and the core's objects. Only what
readers were shown is kept, to tell what they must still hold. How it is asked for lives in `github_more_routes.py`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from datalake.sandbox import github_more_records as records
from datalake.sandbox.base import Row
from datalake.sandbox.github_records import (
    API,
    WEB,
    Owner,
    Record,
    Repository,
    Thing,
    Told,
    account,
    iso,
    number_of,
    reactions_of,
    reactions_to,
    repository_record,
)
from datalake.sandbox.github_world import DAY, HISTORY_DAYS, World

WEEK = 7 * DAY
GHOST = 10_137
CHECKS_TAKE = 6 * 3_600
ENVIRONMENTS = ("production", "staging")
LANGUAGES = ("Go", "Rust", "Shell", "HTML", "CSS", "Dockerfile", "Makefile")
PACKAGES = ("requests", "numpy", "attrs", "pyyaml", "click", "rich", "httpx", "pydantic", "jinja2", "lxml")
ROLES = ("read", "triage", "write", "maintain", "admin")
PROFILE_LASTS = 5 * DAY
ARTIFACTS_LAST, ARTIFACTS_EXPIRE = 60 * DAY, 30 * DAY


@dataclass(frozen=True, slots=True)
class Item:
    """One of a row of things that come, change and go by the clock."""

    number: int
    id: int
    born: int
    changed: int


@dataclass(frozen=True, slots=True)
class Kind:
    """How a table comes about: the scopes it is read by, and the rows of each.

    `key` names what tells rows apart ("+" marks facts of the request). Rows that leave a scope are gone, with `kept` they stay;
    with `together` they go with their scope. With `late` changes and deletions are found by a weekly reading of the whole list,
    with `as_shown` when a row is asked for.
    """

    scopes: Callable[[list[Owner]], Iterable[Any]]
    rows: Callable[[Any], list[Row]]
    key: tuple[str, ...]
    kept: bool = False
    together: bool = False
    late: bool = False
    as_shown: bool = False


class More:
    """The lists beside the core of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.began = world.now - HISTORY_DAYS * DAY
        self.opened = world.now
        """When the stand-in began: nothing moved since in archived repositories."""
        self._shown: defaultdict[str, dict[Hashable, tuple[Hashable, Row]]] = defaultdict(dict)
        self._swept: dict[tuple[str, Hashable], int] = {}
        self._references: dict[tuple[int, int], Record] = {}
        self._made: dict[tuple[str, Hashable], tuple[str, Row]] = {}
        repositories, organizations = self._repositories, self._organizations
        of_repository = partial(Kind, repositories)
        of_acme = partial(Kind, lambda owners: [owner for owner in owners if owner.login == "acme"])
        on_comment = ("id",)
        self.kinds: dict[str, Kind] = {
            "artifacts": of_repository(self.artifacts, ("id",), late=True),
            "assignees": of_repository(self.assignees, ("+repository_id", "id")),
            "branches": of_repository(self.branches, ("+repository_id", "name")),
            "code_frequency": of_repository(self.code_frequency, ("+repository_id", "week")),
            "collaborators": Kind(self._of_acme, self.collaborators, ("+repository_id", "id")),
            "commit_activity": of_repository(self.commit_activity, ("+repository_id", "week"), kept=True),
            "commit_comments": of_repository(self.commit_comments, ("id",)),
            "community_profiles": Kind(self._public, self.community_profiles, ("+repository_id",)),
            "contributor_stats": of_repository(self.contributor_stats, ("+repository_id", "+user_id", "w")),
            "dependency_packages": Kind(self._with_graph, self.dependency_packages, ("+repository_id", "SPDXID")),
            "deployments": of_repository(self.deployments, ("id",), kept=True),
            "discussion_categories": Kind(self._discussing, self.discussion_categories, ("id",)),
            "environments": of_repository(self.environments, ("id",)),
            "forks": of_repository(self.forks, ("id",), late=True),
            "readmes": of_repository(self.readmes, ("+repository_id",)),
            "repository_activity": of_repository(self.repository_activity, ("id",), kept=True),
            "repository_details": Kind(self._listed, self.repository_details, ("id", "+snapshot_date"), kept=True),
            "repository_events": of_repository(self.repository_events, ("id",), kept=True),
            "repository_languages": of_repository(self.repository_languages, ("+repository_id", "language")),
            "repository_topics": Kind(self._listed, self.repository_topics, ("+repository_id", "topic")),
            "rulesets": of_repository(self.rulesets, ("+repository_id", "id")),
            "security_advisories": Kind(self._public, self.security_advisories, ("ghsa_id",), kept=True),
            "subscribers": of_repository(self.subscribers, ("+repository_id", "id")),
            "tags": of_repository(self.tags, ("+repository_id", "name")),
            "traffic_paths": Kind(self._of_acme, self.traffic_paths, ("+repository_id", "+snapshot_date", "path"), kept=True),
            "traffic_referrers": Kind(
                self._of_acme, self.traffic_referrers, ("+repository_id", "+snapshot_date", "referrer"), kept=True
            ),
            # organizations, teams, projects
            "billing_usage": of_acme(
                self.billing_usage, ("+organization", "date", "product", "sku", "+repository_name"), kept=True
            ),
            "code_scanning_alerts": of_acme(self.code_scanning_alerts, ("repository.id", "number"), kept=True),
            "copilot_seats": of_acme(self.copilot_seats, ("+organization", "assignee.id")),
            "dependabot_alerts": of_acme(self.dependabot_alerts, ("repository.id", "number"), kept=True),
            "issue_types": Kind(organizations, self.issue_types, ("id",)),
            "organization_events": Kind(organizations, self.organization_events, ("id",), kept=True),
            "outside_collaborators": Kind(organizations, self.outside_collaborators, ("+organization", "id")),
            "packages": Kind(organizations, self.packages, ("id",)),
            "project_v2_fields": Kind(self._projects, self.project_v2_fields, ("+project_id", "id"), together=True),
            "project_v2_items": Kind(self._projects, self.project_v2_items, ("+project_id", "id"), together=True),
            "projects_v2": Kind(organizations, self.projects_v2, ("id",)),
            "repository_custom_properties": Kind(
                organizations, self.repository_custom_properties, ("repository_id", "property_name")
            ),
            "secret_scanning_alerts": of_acme(self.secret_scanning_alerts, ("repository.id", "number"), kept=True),
            "team_memberships": Kind(self._teams, self.team_memberships, ("+team_id", "+username"), together=True),
            "team_repositories": Kind(self._teams, self.team_repositories, ("+team_id", "id"), together=True),
            "users": Kind(organizations, self.users, ("id",), kept=True, as_shown=True),
            # what hangs on rows of other tables
            "check_runs": Kind(self._heads, self.check_runs, ("id",), kept=True),
            "check_suites": Kind(self._heads, self.check_suites, ("id",), kept=True),
            "commit_statuses": Kind(self._heads, self.commit_statuses, ("id",), kept=True),
            "commit_comment_reactions": Kind(self._commit_comments, self.commit_comment_reactions, on_comment),
            "commit_details": Kind(self._commits, self.commit_details, ("+repository_id", "sha"), kept=True),
            "deployment_statuses": Kind(self._deployments, self.deployment_statuses, ("id",), kept=True),
            "discussion_comments": Kind(partial(self._things, "discussions"), self.discussion_comments, ("id",)),
            "issue_assignee_links": Kind(self._issues, self.issue_assignee_links, ("+issue_id", "id")),
            "issue_comment_reactions": Kind(self._comments, self.reactions_to_comment, on_comment),
            "issue_label_links": Kind(self._issues, self.issue_label_links, ("+issue_id", "id")),
            "issue_reactions": Kind(self._issues, self.issue_reactions, ("id",)),
            "issue_timeline_events": Kind(
                self._issues, self.issue_timeline_events, ("+repository_id", "+issue_number", "+event_key")
            ),
            "pull_request_commits": Kind(
                partial(self._things, "pulls"), self.pull_request_commits, ("+repository_id", "+pull_number", "sha")
            ),
            "pull_request_files": Kind(
                partial(self._things, "pulls"), self.pull_request_files, ("+repository_id", "+pull_number", "filename")
            ),
            "release_reactions": Kind(partial(self._things, "releases"), self.release_reactions, ("id",)),
            "requested_reviewers": Kind(
                partial(self._things, "pulls"), self.requested_reviewers, ("+pull_request_id", "+reviewer_type", "id")
            ),
            "review_comment_reactions": Kind(partial(self._things, "review_comments"), self.reactions_to_comment, on_comment),
            "sub_issues": Kind(self._issues, self.sub_issues, ("+parent_issue_id", "id")),
            "workflow_jobs": Kind(self._completed_runs, self.workflow_jobs, ("id",), kept=True),
            "workflow_run_attempts": Kind(
                partial(self._things, "runs"), self.workflow_run_attempts, ("id", "run_attempt"), kept=True
            ),
        }

    @property
    def now(self) -> int:
        return self.world.now

    # -- what is asked for, and what a lake must hold ------------------------------------------------------------------

    def told(self, table: str, scope: Any) -> list[Told]:
        """The rows of a scope as they are now, each taking note when it is shown."""
        kind, place = self.kinds[table], _scope(scope)
        newest = ""
        if kind.late:
            newest = max((row.record["created_at"] for where, row in self._shown[table].values() if where == place), default="")
            # What is an hour older than the newest known row is looked at again.
            newest = newest and iso(_seconds(newest) - 3_600)
        return [Told(row.record, partial(self._show, table, place, row, newest)) for row in self._rows(table, scope)]

    def _rows(self, table: str, scope: Any) -> list[Row]:
        """The rows of a scope. A record keeps the names that its repository had when it was last changed."""
        kind = self.kinds[table]
        rows = kind.rows(scope)
        if table in ("repository_details", "repository_custom_properties"):
            return rows
        renamed = [repository for repository in self.world.repositories.values() if repository.former_names]
        steady = []
        for row in rows:
            text = json.dumps(row.record)
            for repository in renamed:
                now, before = repository.name, repository.former_names[0]
                for form in (f"{repository.owner.login}/{{}}", '"{}"', "The {} of"):
                    text = text.replace(form.format(now), form.format(before))
            made = self._made.get((table, _key(kind, row)))
            if made is None or made[0] != text:
                made = self._made[table, _key(kind, row)] = text, row
            steady.append(made[1])
        return steady

    def read_to_the_end(self, table: str, scope: Any) -> None:
        """Somebody read the last page of a list. If the last whole reading is a week ago, this one counts as whole."""
        kind, place = self.kinds[table], _scope(scope)
        last, today = self._swept.get((table, place)), self.now // DAY
        if last is not None and today < last + 7:
            return
        self._swept[table, place] = today
        present = {_key(kind, row): row for row in self._rows(table, scope)}
        for key, (where, row) in list(self._shown[table].items()):
            if where == place:
                self._shown[table][key] = place, present.get(key) or Row(row.record, row.add, deleted=True)

    def ledger(self, table: str, owners: list[Owner]) -> Iterator[Row]:
        """What a lake must hold of the owners after it read the table. Raises KeyError."""
        kind = self.kinds[table]
        shown = self._shown[table]
        living: set[Hashable] = set()
        present: dict[Hashable, Row] = {}
        for scope in kind.scopes(owners):
            living.add(_scope(scope))
            present |= {_key(kind, row): row for row in self._rows(table, scope)}
        for key, row in present.items():
            yield shown[key][1] if (kind.late or kind.as_shown) and key in shown else row
        for key, (place, row) in shown.items():
            if key not in present:
                gone = not (kind.kept or kind.late) and (kind.together or place in living)
                yield Row(row.record, row.add, deleted=gone or row.deleted)
        if table == "repository_topics":
            yield from self.world.gone.get(table, [])
        yield from self._taken_back(table, owners)

    def _show(self, table: str, place: Hashable, row: Row, newest: str) -> None:
        kind = self.kinds[table]
        key = _key(kind, row)
        if not kind.late or key not in self._shown[table] or row.record["created_at"] >= newest:
            self._shown[table][key] = place, row

    def _taken_back(self, table: str, owners: list[Owner]) -> Iterator[Row]:
        """Links that sit in the records of issues and pull requests: taken back, or of an issue that is gone."""
        fields = {"issue_label_links": "labels", "issue_assignee_links": "assignees", "requested_reviewers": "reviewers"}
        field = fields.get(table)
        if field is None:
            return
        where = "pulls" if field == "reviewers" else "issues"
        for thing in self._things(where, owners) if where == "pulls" else self._issues(owners):
            held = {_id(one) for one in thing.data[field]}
            for former in thing.data["former"].get(field, []):
                if _id(former) not in held:
                    yield Row({"id": _id(former)}, _link(table, thing), deleted=True)
        for repository in self._repositories(owners) if where == "issues" else ():
            for issue in repository.lost_issues:
                if issue.shown and "no_issues" not in repository.traits:
                    yield from (Row(one, _link(table, issue)) for one in issue.shown[field])

    # -- scopes --------------------------------------------------------------------------------------------------------

    def _listed(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self.world.repositories.values() if repository.owner in owners]

    def _repositories(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self._listed(owners) if "forbidden" not in repository.traits]

    def _public(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self._repositories(owners) if "private" not in repository.traits]

    def _of_acme(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self._repositories(owners) if repository.owner.login == "acme"]

    def _with_graph(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self._repositories(owners) if has_graph(repository)]

    def _discussing(self, owners: list[Owner]) -> list[Repository]:
        return [repository for repository in self._repositories(owners) if "discussions" in repository.traits]

    def _organizations(self, owners: list[Owner]) -> list[Owner]:
        return [owner for owner in owners if owner.kind == "Organization"]

    def _teams(self, owners: list[Owner]) -> list[Thing]:
        return [team for owner in self._organizations(owners) for team in owner.teams.values()]

    def _projects(self, owners: list[Owner]) -> list[tuple[Owner, Record]]:
        return [(owner, row.record) for owner in self._organizations(owners) for row in self.projects_v2(owner)]

    def _things(self, where: str, owners: list[Owner]) -> list[Thing]:
        return [thing for repository in self._repositories(owners) for thing in getattr(repository, where).values()]

    def _issues(self, owners: list[Owner]) -> list[Thing]:
        return [issue for issue in self._things("issues", owners) if "no_issues" not in issue.data["repository"].traits]

    def _comments(self, owners: list[Owner]) -> list[Thing]:
        return [comment for comment in self._things("comments", owners) if "no_issues" not in comment.data["repository"].traits]

    def _completed_runs(self, owners: list[Owner]) -> list[Thing]:
        return [run for run in self._things("runs", owners) if run.data["status"] == "completed"]

    def _commits(self, owners: list[Owner]) -> Iterator[Thing]:
        for repository in self._repositories(owners):
            for sha in self.world.ancestors(repository, repository.head) if repository.head else ():
                yield repository.commits[sha]

    def _heads(self, owners: list[Owner]) -> list[tuple[Repository, str, int]]:
        return [(p.data["repository"], p.data["head_sha"], p.updated) for p in self._things("pulls", owners)]

    def _deployments(self, owners: list[Owner]) -> list[tuple[Repository, Record]]:
        return [(r, row.record) for r in self._repositories(owners) for row in self.deployments(r)]

    def _commit_comments(self, owners: list[Owner]) -> list[tuple[Repository, Record]]:
        return [(r, row.record) for r in self._repositories(owners) for row in self.commit_comments(r)]

    # -- things that come and go by the clock --------------------------------------------------------------------------

    def rolling(
        self,
        name: str,
        scope: Repository | str | int,
        *,
        every: float,
        life: float | None = None,
        changes: float | None = None,
        most: int = 10**9,
    ) -> list[Item]:
        """Things of which one comes `every` so many days, lives `life` days and changes every `changes` days, `most` times."""
        pace = round(every * DAY)
        now, of = (self._clock(scope), scope.id) if isinstance(scope, Repository) else (self.now, scope)
        first = max(0, int((now - self.began - life * DAY) // pace) - 1) if life else 0
        found = []
        for number in range(first, (now - self.began) // pace + 1):
            dice = number_of(self.world.seed, name, of, number)
            born = self.began + number * pace + dice % round(pace * 0.9)
            if born > now or (life and now >= born + life * DAY):
                continue
            steps = min(most, (now - born) // round(changes * DAY)) if changes else 0
            found.append(Item(number, dice, born, born + steps * round((changes or 0) * DAY)))
        return found

    def _clock(self, repository: Repository) -> int:
        """The present; in an archived repository the time from which on nothing moved."""
        return self.opened if "archived" in repository.traits else self.now

    def person(self, dice: int) -> Record:
        return self.world.people[dice % len(self.world.people)]

    # -- repositories --------------------------------------------------------------------------------------------------

    def artifacts(self, repository: Repository) -> list[Row]:
        """Of some runs, newest first; they expire after a month and go after two."""
        rows = []
        now = self._clock(repository)
        for run in sorted(repository.runs.values(), key=lambda run: (run.created, run.id), reverse=True):
            at = run.created + 3_600
            if run.id % 4 == 0 and at <= now < at + ARTIFACTS_LAST:
                expired = now >= at + ARTIFACTS_EXPIRE
                rows.append(Row(records.artifact(run, at, expired), {"repository_id": repository.id}))
        return rows

    def assignees(self, repository: Repository) -> list[Row]:
        owner = repository.owner
        people = list(owner.members.values()) or [account(owner.login, owner.id, owner.kind)]
        return [Row(person, {"repository_id": repository.id}) for person in people]

    def collaborators(self, repository: Repository) -> list[Row]:
        outside = self.rolling("collaborator", repository, every=4, life=30)
        people = [*list(repository.owner.members.values())[:5], *(account(f"guest-{g.id % 10**6}", g.id) for g in outside)]
        rows = []
        for person in people:
            role = number_of(person["id"], repository.id, self.now // (3 * DAY)) % len(ROLES)
            names = ("pull", "triage", "push", "maintain", "admin")
            permissions = {name: number <= role for number, name in enumerate(names)}
            rows.append(Row({**person, "permissions": permissions, "role_name": ROLES[role]}, {"repository_id": repository.id}))
        return rows

    def branches(self, repository: Repository) -> list[Row]:
        """The main branch, and one for each open pull request."""
        heads = {"main": repository.head} if repository.head else {}
        heads |= {p.data["branch"]: p.data["head_sha"] for p in repository.pulls.values() if not p.data["issue"].data["closed"]}
        return [Row(records.branch(repository, name, sha), {"repository_id": repository.id}) for name, sha in heads.items()]

    def tags(self, repository: Repository) -> list[Row]:
        """One for each release, and one that moves with the main branch."""
        heads = {release.data["tag"]: records.sha_of("tag", release.id) for release in repository.releases.values()}
        heads |= {"nightly": repository.head} if repository.head else {}
        return [Row(records.tag(repository, name, sha), {"repository_id": repository.id}) for name, sha in heads.items()]

    def subscribers(self, repository: Repository) -> list[Row]:
        every = 0.4 if "busy" in repository.traits else 4
        watching = self.rolling("watcher", repository, every=every, life=60)
        return [Row(account(f"watcher-{w.id % 10**6}", w.id), {"repository_id": repository.id}) for w in watching]

    def commit_comments(self, repository: Repository) -> list[Row]:
        if not repository.head:
            return []
        commit = next(iter(repository.commits))
        facts = {"repository_id": repository.id}
        every = 1 if "busy" in repository.traits else 8
        return [
            Row(records.commit_comment(repository, c.id, commit, c.born, c.changed, self.person(c.id)), facts)
            for c in self.rolling("commit comment", repository, every=every, life=110, changes=5)
        ]

    def community_profiles(self, repository: Repository) -> list[Row]:
        changed = self._period(repository, 2 * DAY)
        return [Row(records.community_profile(repository, changed), {"repository_id": repository.id})]

    def readmes(self, repository: Repository) -> list[Row]:
        """None in some repositories; that of one comes and goes."""
        changed = self._period(repository, 2 * DAY)
        if "empty" in repository.traits or repository.name == "design":
            return []
        if repository.name == "tools" and self.now // (2 * DAY) % 2:
            return []
        return [Row(records.readme(repository, changed), {"repository_id": repository.id})]

    def _period(self, of: Repository | int, length: int) -> int:
        """The last time that something changed which does so every `length` seconds."""
        now, dice = (self._clock(of), of.id) if isinstance(of, Repository) else (self.now, of)
        return now - (now + dice * 3_600) % length

    def dependency_packages(self, repository: Repository) -> list[Row]:
        rows = []
        for item in self.rolling("dependency", repository, every=5, life=45, changes=3):
            name = f"{PACKAGES[item.number % len(PACKAGES)]}-{item.number}"
            version = f"1.{(item.changed - item.born) // DAY}.0"
            rows.append(Row(records.package_of_sbom(name, version), {"repository_id": repository.id}))
        return rows

    def deployments(self, repository: Repository) -> list[Row]:
        """Newest first."""
        if not repository.head:
            return []
        every = 1 if "busy" in repository.traits else 6
        rows = []
        for item in self.rolling("deployment", repository, every=every, changes=1.5, most=3):
            where = ENVIRONMENTS[item.number % 2]
            who = self.person(item.id)
            sha = records.sha_of("deployment", item.id)
            record = records.deployment(repository, item.id, sha, where, item.born, item.changed, who)
            rows.append(Row(record, {"repository_id": repository.id}))
        return rows[::-1]

    def environments(self, repository: Repository) -> list[Row]:
        facts = {"repository_id": repository.id}
        changed = self._period(repository, 4 * DAY)
        rows = [Row(records.environment(repository, name, self.began, changed), facts) for name in ENVIRONMENTS]
        passing = self.rolling("environment", repository, every=2, life=9, changes=2)
        return rows + [Row(records.environment(repository, f"review-{p.number}", p.born, p.changed), facts) for p in passing]

    def forks(self, repository: Repository) -> list[Row]:
        every = 0.7 if "busy" in repository.traits else 7
        items = self.rolling("fork", repository, every=every, life=100, changes=4)
        return [
            Row(records.fork(repository, f.id, f.born, f.changed), {"parent_repository_id": repository.id}) for f in items[::-1]
        ]

    def repository_activity(self, repository: Repository) -> list[Row]:
        """Newest first."""
        every = 0.9 if "busy" in repository.traits else 5
        items = self.rolling("activity", repository, every=every) if repository.head else []
        facts = {"repository_id": repository.id}
        return [Row(records.activity(i.id, i.born, self.person(i.id)), facts) for i in items[::-1]]

    def repository_events(self, repository: Repository) -> list[Row]:
        every = 0.2 if "busy" in repository.traits else 3
        facts = {"repository_id": repository.id}
        return [Row(record, facts) for record in self._events(repository, every)]

    def _events(self, repository: Repository, every: float) -> list[Record]:
        """Newest first, of a month, at most 300; each shows up to six hours late."""
        items = self.rolling("event", repository, every=every, life=30) if repository.head else []
        shown = [i for i in items if i.born + i.id % (6 * 3_600) <= self.now]
        shown.sort(key=lambda i: (i.born, i.id), reverse=True)
        return [records.event(repository, i.id, i.born, self.person(i.id)) for i in shown[:300]]

    def repository_details(self, repository: Repository) -> list[Row]:
        record = {**repository_record(repository), "network_count": 0, "subscribers_count": len(self.subscribers(repository))}
        return [Row(record, {"snapshot_date": self._today})]

    @property
    def _today(self) -> str:
        return iso(self.now)[:10]

    def repository_languages(self, repository: Repository) -> list[Row]:
        if not repository.head:
            return []
        sizes = {"Python": 1_000 * len(repository.commits)}
        for item in self.rolling("language", repository, every=6, life=30, changes=2):
            sizes[LANGUAGES[item.number % len(LANGUAGES)]] = 100 + number_of(item.id, item.changed) % 90_000
        facts = {"repository_id": repository.id}
        return [Row({"language": name, "bytes": size}, facts) for name, size in sizes.items()]

    def repository_topics(self, repository: Repository) -> list[Row]:
        return [Row({"topic": topic}, {"repository_id": repository.id}) for topic in repository.topics]

    def rulesets(self, repository: Repository) -> list[Row]:
        """Those of the repository, and the one that its organization sets for all."""
        facts = {"repository_id": repository.id}
        rows = []
        for item in self.rolling("ruleset", repository, every=9, life=30, changes=2):
            place = (repository.url, repository.html, repository.full_name, "Repository")
            rows.append(Row(records.ruleset(*place, item.id, item.born, item.changed), facts))
        owner = repository.owner
        if owner.kind == "Organization":
            id_ = number_of("ruleset", owner.login)
            place = (f"{API}/orgs/{owner.login}", f"{WEB}/{owner.login}", owner.login, "Organization")
            rows.append(Row(records.ruleset(*place, id_, self.began, self._period(repository, 4 * DAY)), facts))
        return rows

    def security_advisories(self, repository: Repository) -> list[Row]:
        """Last changed first."""
        items = self.rolling("advisory", repository, every=9, changes=2, most=1)
        items.sort(key=lambda i: (i.changed, i.id), reverse=True)
        facts = {"repository_id": repository.id}
        return [Row(records.advisory(repository, i.number, i.born, i.changed, self.person(i.id)), facts) for i in items]

    def traffic_paths(self, repository: Repository) -> list[Row]:
        return self._popular(
            repository, "path", [f"/{repository.full_name}/{name}" for name in ("", "issues", "wiki", "pulls")]
        )

    def traffic_referrers(self, repository: Repository) -> list[Row]:
        return self._popular(repository, "referrer", ["Google", "github.com", "reddit.com", "news.ycombinator.com"])

    def _popular(self, repository: Repository, field: str, names: list[str]) -> list[Row]:
        facts = {"repository_id": repository.id, "snapshot_date": self._today}
        rows = []
        for name in names:
            dice = number_of(repository.id, name, self._today)
            if dice % 4:
                title = {"title": f"{name} at GitHub"} if field == "path" else {}
                rows.append(Row({field: name, **title, "count": 10 + dice % 900, "uniques": 1 + dice % 9}, facts))
        return rows

    # -- statistics of commits -----------------------------------------------------------------------------------------

    def _weeks(self, repository: Repository) -> dict[int, list[Thing]]:
        """Commits of the main branch by week, which begins on Sunday."""
        weeks: defaultdict[int, list[Thing]] = defaultdict(list)
        for sha in self.world.ancestors(repository, repository.head) if repository.head else ():
            commit = repository.commits[sha]
            weeks[_week(commit.created)].append(commit)
        return {week: weeks.get(week, []) for week in range(min(weeks), max(weeks) + 1, WEEK)} if weeks else {}

    def contributors(self, repository: Repository) -> list[Record]:
        """As GitHub tells them: a record a person, with all weeks."""
        weeks = self._weeks(repository)
        authors: dict[int, Record | None] = {}
        for commit in (commit for commits in weeks.values() for commit in commits):
            author = commit.data["author"]
            authors[author["id"] if author else GHOST] = author
        told = []
        for id_, author in sorted(authors.items()):
            rows = []
            for week, commits in weeks.items():
                own = [commit for commit in commits if (commit.data["author"] or {"id": GHOST})["id"] == id_]
                rows.append({"w": week, "a": sum(map(_added, own)), "d": sum(map(_gone, own)), "c": len(own)})
            told.append({"author": author, "total": sum(row["c"] for row in rows), "weeks": rows})
        return told

    def contributor_stats(self, repository: Repository) -> list[Row]:
        return [
            Row(week, {"repository_id": repository.id, "user_id": (person["author"] or {"id": GHOST})["id"]})
            for person in self.contributors(repository)
            for week in person["weeks"]
        ]

    def code_frequency(self, repository: Repository) -> list[Row]:
        facts = {"repository_id": repository.id}
        return [
            Row({"week": week, "additions": sum(map(_added, commits)), "deletions": -sum(map(_gone, commits))}, facts)
            for week, commits in self._weeks(repository).items()
        ]

    def commit_activity(self, repository: Repository) -> list[Row]:
        """The last 52 weeks."""
        weeks = self._weeks(repository)
        if not weeks:
            return []
        last = _week(self._clock(repository))
        rows = []
        for week in range(last - 51 * WEEK, last + 1, WEEK):
            days = [0] * 7
            for commit in weeks.get(week, []):
                days[(commit.created - week) // DAY] += 1
            rows.append(Row({"week": week, "total": sum(days), "days": days}, {"repository_id": repository.id}))
        return rows

    # -- organizations, teams, projects --------------------------------------------------------------------------------

    def _alerts(self, owner: Owner, name: str, every: float) -> Iterator[tuple[Repository, Item]]:
        """Last changed first."""
        repositories = self._repositories([owner])
        items = self.rolling(name, owner.login, every=every, changes=6, most=1)
        for item in sorted(items, key=lambda i: (i.changed, i.id), reverse=True):
            yield repositories[item.number % len(repositories)], item

    def code_scanning_alerts(self, owner: Owner) -> list[Row]:
        alerts = self._alerts(owner, "code scanning", 1)
        return [Row(records.code_scanning_alert(r, i.number + 1, i.born, i.changed)) for r, i in alerts]

    def dependabot_alerts(self, owner: Owner) -> list[Row]:
        alerts = self._alerts(owner, "dependabot", 1)
        return [Row(records.dependabot_alert(r, i.number + 1, i.born, i.changed)) for r, i in alerts]

    def secret_scanning_alerts(self, owner: Owner) -> list[Row]:
        alerts = self._alerts(owner, "secret scanning", 3)
        return [Row(records.secret_scanning_alert(r, i.number + 1, i.born, i.changed, self.person(i.id))) for r, i in alerts]

    def billing_usage(self, owner: Owner) -> list[Row]:
        """Lines of each day: today's still grow. Seats belong to no repository."""
        rows = []
        repositories = ("platform", "mobile")
        for day in range(self.began // DAY * DAY, self.now + 1, DAY):
            part = min(1.0, (self.now - day) / DAY)
            for repository in repositories:
                minutes = int((5 + number_of(day, repository) % 200) * part)
                line = records.usage(owner, iso(day)[:10], "Actions", "Actions Linux", minutes, "0.008", repository)
                rows.append(Row(line, {"organization": owner.login, "repository_name": repository}))
            if iso(day)[8:10] == "01":
                line = records.usage(owner, iso(day)[:10], "Copilot", "Copilot Business", 12, "19.0", "")
                rows.append(Row(line, {"organization": owner.login, "repository_name": ""}))
        return rows

    def copilot_seats(self, owner: Owner) -> list[Row]:
        facts = {"organization": owner.login}
        return [
            Row(records.seat(owner, person, self.began, self._period(person["id"], DAY)), facts)
            for person in owner.members.values()
        ]

    def issue_types(self, owner: Owner) -> list[Row]:
        facts = {"organization": owner.login}
        rows = []
        for name in ("Task", "Bug", "Feature"):
            id_ = number_of("issue type", owner.login, name)
            rows.append(Row(records.issue_type(id_, name, self.began, self._period(id_, 3 * DAY)), facts))
        passing = self.rolling("issue type", owner.login, every=2, life=8)
        return rows + [Row(records.issue_type(p.id, f"Trial {p.number}", p.born, p.changed), facts) for p in passing]

    def organization_events(self, owner: Owner) -> list[Row]:
        found = [event for r in self._public([owner]) for event in self._events(r, 1.5 if "busy" in r.traits else 6)]
        found.sort(key=lambda event: (event["created_at"], event["id"]), reverse=True)
        return [Row(event, {"organization": owner.login}) for event in found[:300]]

    def outside_collaborators(self, owner: Owner) -> list[Row]:
        guests = self.rolling("outside", owner.login, every=2, life=20)
        return [Row(account(f"outside-{g.id % 10**6}", g.id), {"organization": owner.login}) for g in guests]

    def packages(self, owner: Owner) -> list[Row]:
        repositories = self._repositories([owner])
        rows = []
        for kind in ("npm", "container"):
            for item in self.rolling(f"{kind} package", owner.login, every=8, life=60, changes=2):
                repository = repositories[item.number % len(repositories)]
                record = records.package(owner, repository, kind, item.id, item.born, item.changed)
                rows.append(Row(record, {"organization": owner.login}))
        return rows

    def projects_v2(self, owner: Owner) -> list[Row]:
        facts = {"organization": owner.login}
        return [
            Row(records.project(owner, i.number + 1, i.id, i.born, i.changed, self.person(i.id)), facts)
            for i in self.rolling("project", owner.login, every=15, life=80, changes=2)
        ]

    def project_v2_fields(self, scope: tuple[Owner, Record]) -> list[Row]:
        owner, project = scope
        facts = {"project_id": project["id"]}
        rows = []
        for name, kind in (("Title", "title"), ("Status", "single_select"), ("Due", "date")):
            id_ = number_of("field", project["id"], name)
            changed = self._period(id_, 4 * DAY)
            rows.append(Row(records.project_field(project, owner, id_, name, kind, self.began, changed), facts))
        passing = self.rolling("field", project["id"], every=10, life=40)
        return rows + [
            Row(records.project_field(project, owner, p.id, f"Field {p.number}", "text", p.born, p.changed), facts)
            for p in passing
        ]

    def project_v2_items(self, scope: tuple[Owner, Record]) -> list[Row]:
        owner, project = scope
        fields = [row.record for row in self.project_v2_fields(scope)]
        return [
            Row(
                records.project_item(project, owner, i.id, i.born, i.changed, self.person(i.id), fields),
                {"project_id": project["id"]},
            )
            for i in self.rolling("item", project["id"], every=1, life=30, changes=3)
        ]

    def repository_custom_properties(self, owner: Owner) -> list[Row]:
        return [
            Row({**whole, **property_}, {"organization": owner.login})
            for whole, properties in self.custom_properties(owner)
            for property_ in properties
        ]

    def custom_properties(self, owner: Owner) -> list[tuple[Record, list[Record]]]:
        """The repositories of the organization, each with the properties it gives them."""
        told = []
        for repository in self._repositories([owner]):
            period = (self.now + repository.id * 3_600) // (3 * DAY)
            properties: list[Record] = [{"property_name": "team", "value": f"team-{period % 5}"}]
            if repository.id % 2:
                properties.append({"property_name": "runs_on", "value": ["linux", "macos"]})
            if period % 2:
                properties.append({"property_name": "reviewed", "value": None})
            names = {"repository_id": repository.id, "repository_name": repository.name}
            told.append(({**names, "repository_full_name": repository.full_name}, properties))
        return told

    def team_memberships(self, team: Thing) -> list[Row]:
        owner = team.data["owner"]
        place = f"https://api.github.com/organizations/{owner.id}/team/{team.id}/memberships"
        return [
            Row(
                {"url": f"{place}/{member['login']}", "role": member["role"], "state": "active"},
                {"team_id": team.id, "username": member["login"]},
            )
            for member in self.world.team_members(owner, team)
        ]

    def team_repositories(self, team: Thing) -> list[Row]:
        rows = []
        for repository in self._listed([team.data["owner"]]):
            dice = number_of("team", team.id, repository.id, self.now // (3 * DAY))
            if dice % 3:
                role = ROLES[dice % len(ROLES)]
                rows.append(Row({**repository_record(repository), "role_name": role}, {"team_id": team.id}))
        return rows

    def users(self, owner: Owner) -> list[Row]:
        return [Row(self.profile(person)) for person in owner.members.values()]

    def profile(self, person: Record) -> Record:
        """What anybody sees of an account; it changes every few days."""
        changed = self._period(person["id"], PROFILE_LASTS)
        unknown = dict.fromkeys(("blog", "company", "hireable", "location", "twitter_username"))
        counts = dict.fromkeys(("following", "public_gists", "public_repos"), 0)
        return {
            **person,
            **unknown,
            **counts,
            "name": person["login"].title(),
            "email": f"{person['login']}@example.com" if person["id"] % 3 == 0 else None,
            "bio": f"As of {iso(changed)}",
            "followers": number_of(person["id"], changed) % 90,
            "created_at": iso(0),
            "updated_at": iso(changed),
        }

    # -- what hangs on rows of other tables ----------------------------------------------------------------------------

    def _checks(self, scope: tuple[Repository, str, int]) -> tuple[Repository, str, int, int | None]:
        """Checks begin when the pull request changes and end hours later, without a trace in it."""
        repository, sha, began = scope
        return repository, sha, began, began + CHECKS_TAKE if self.now >= began + CHECKS_TAKE else None

    def check_runs(self, scope: tuple[Repository, str, int]) -> list[Row]:
        repository, sha, began, ended = self._checks(scope)
        facts = {"repository_id": repository.id}
        return [Row(records.check_run(repository, sha, number, began, ended), facts) for number in range(2)]

    def check_suites(self, scope: tuple[Repository, str, int]) -> list[Row]:
        repository, sha, began, ended = self._checks(scope)
        return [Row(records.check_suite(repository, sha, "work", began, ended), {"repository_id": repository.id})]

    def commit_statuses(self, scope: tuple[Repository, str, int]) -> list[Row]:
        """Newest first: a status is never changed, another one is added."""
        repository, sha, began, ended = self._checks(scope)
        facts = {"repository_id": repository.id, "sha": sha}
        moments = [("pending", began), *([("success", ended)] if ended else [])]
        who = self.person(number_of(sha))
        return [Row(records.status(repository, sha, state, at, who), facts) for state, at in reversed(moments)]

    def commit_details(self, commit: Thing) -> list[Row]:
        return [Row(records.commit_details(commit), {"repository_id": commit.data["repository"].id})]

    def commit_comment_reactions(self, scope: tuple[Repository, Record]) -> list[Row]:
        repository, comment = scope
        contents = reactions_to(comment["id"], _seconds(comment["updated_at"]))
        return self._reactions(repository, comment["id"], contents, {"comment_id": comment["id"]})

    def reactions_to_comment(self, comment: Thing) -> list[Row]:
        return self._reactions(comment.data["repository"], comment.id, reactions_of(comment), {"comment_id": comment.id})

    def issue_reactions(self, issue: Thing) -> list[Row]:
        facts = {"issue_number": issue.data["number"]}
        return self._reactions(issue.data["repository"], issue.id, reactions_of(issue), facts)

    def release_reactions(self, release: Thing) -> list[Row]:
        return self._reactions(release.data["repository"], release.id, reactions_of(release), {"release_id": release.id})

    def _reactions(self, repository: Repository, parent: int, contents: list[str], facts: dict[str, Any]) -> list[Row]:
        return [
            Row(
                records.reaction(parent, number, content, self.began + number, self.person(parent + number)),
                {"repository_id": repository.id, **facts},
            )
            for number, content in enumerate(contents)
        ]

    def deployment_statuses(self, scope: tuple[Repository, Record]) -> list[Row]:
        """Newest first."""
        repository, deployment = scope
        born, changed = _seconds(deployment["created_at"]), _seconds(deployment["updated_at"])
        facts = {"repository_id": repository.id, "deployment_id": deployment["id"]}
        rows = []
        for number in range((changed - born) // round(1.5 * DAY) + 1):
            state = ("queued", "in_progress", "success", "inactive")[number]
            at = born + number * round(1.5 * DAY)
            rows.append(Row(records.deployment_status(repository, deployment, number, state, at), facts))
        return rows[::-1]

    def discussion_categories(self, repository: Repository) -> list[Row]:
        facts = {"repository_id": repository.id}
        rows = []
        for name in ("General", "Ideas", "Q&A"):
            changed = self._period(repository, 3 * DAY)
            rows.append(Row(records.discussion_category(repository, name, self.began, changed), facts))
        passing = self.rolling("category", repository, every=2, life=8)
        return rows + [
            Row(records.discussion_category(repository, f"Trial-{p.number}", p.born, p.born), facts) for p in passing
        ]

    def discussion_comments(self, asked: Thing) -> list[Row]:
        """Comments, each followed by its replies. Some discussions hold more of both than a page."""
        return [row for comment, replies in self.thread(asked) for row in (comment, *replies)]

    def thread(self, asked: Thing) -> list[tuple[Row, list[Row]]]:
        """Comments with their replies; some go when the discussion changes."""
        dice = number_of("thread", asked.id, asked.updated)
        many = asked.id % 5 == 0
        facts = {"repository_id": asked.data["repository"].id, "discussion_id": asked.node}
        told = []
        for number in range(60 if many else 1 + dice % 4):
            id_ = asked.data["answer"] if number == 0 and asked.data["answer"] else f"DC_kwDO{asked.id:x}x{number}"
            at = asked.created + 60 * number
            answer = number == 0 and asked.data["answer"] is not None
            record = records.discussion_comment(asked, id_, number, at, self.person(asked.id + number), None, answer)
            replies = []
            for reply in range(55 if many and number == 1 else (dice + number) % 3):
                under = f"{id_}y{reply}"
                who = self.person(number_of(under))
                replies.append(Row(records.discussion_comment(asked, under, reply, at + reply, who, id_, False), facts))
            told.append((Row(record, facts), replies))
        return told

    def issue_label_links(self, issue: Thing) -> list[Row]:
        return [Row(label.record, _link("issue_label_links", issue)) for label in issue.data["labels"]]

    def issue_assignee_links(self, issue: Thing) -> list[Row]:
        return [Row(person, _link("issue_assignee_links", issue)) for person in issue.data["assignees"]]

    def requested_reviewers(self, pull: Thing) -> list[Row]:
        people = [Row(person, _link("requested_reviewers", pull)) for person in pull.data["reviewers"]]
        teams = [Row(team.record, {"pull_request_id": pull.id, "reviewer_type": "Team"}) for team in pull.data["teams"]]
        return people + teams

    def issue_timeline_events(self, issue: Thing) -> list[Row]:
        repository: Repository = issue.data["repository"]
        told = [records.timeline_event(event) for event in repository.events if event.data["issue"] is issue]
        if pull := issue.data["pull"]:
            authors = [self.person(pull.id + number) for number in range(pull.data["commits"])]
            told += [records.timeline_commit(pull, number, author) for number, author in enumerate(authors)]
            told += [records.timeline_review(review) for review in repository.reviews.values() if review.data["pull"] is pull]
        if issue.id % 4 == 0:
            told.append(self._reference(repository, issue))
        return [
            Row(
                event,
                {"repository_id": repository.id, "issue_number": issue.data["number"], "event_key": _event_key(event)},
            )
            for event in told
        ]

    def _reference(self, repository: Repository, issue: Thing) -> Record:
        """Another issue speaks of this one. What stands here of the other is as it was when somebody first saw this version."""
        known = self._references.get((issue.id, issue.updated))
        if known is None:
            source = next(iter(repository.issues.values()))
            known = records.cross_reference(source, issue.created + 30, self.person(issue.id))
            self._references[issue.id, issue.updated] = known
        return known

    def sub_issues(self, issue: Thing) -> list[Row]:
        return [Row(below.record, {"parent_issue_id": issue.id}) for below in issue.data["below"]]

    def pull_request_commits(self, pull: Thing) -> list[Row]:
        """Forced pushes let the number rise and fall."""
        count = pull.data["commits"] + number_of(pull.id, pull.updated) % 2
        facts = {"repository_id": pull.data["repository"].id, "pull_number": pull.data["issue"].data["number"]}
        return [Row(records.pull_commit(pull, n, self.person(pull.id + n)), facts) for n in range(count)]

    def pull_request_files(self, pull: Thing) -> list[Row]:
        """Some touch more files than a page holds."""
        count = 120 if pull.id % 30 == 0 else 1 + number_of("files", pull.id, pull.updated) % 4
        repository = pull.data["repository"]
        facts = {"repository_id": repository.id, "pull_number": pull.data["issue"].data["number"]}
        return [Row(records.file_record(repository, pull.data["head_sha"], number), facts) for number in range(count)]

    def workflow_jobs(self, run: Thing) -> list[Row]:
        facts = {"repository_id": run.data["repository"].id}
        attempts = range(1, run.data["attempt"] + 1)
        return [Row(records.job(run, attempt, name), facts) for attempt in attempts for name in ("test", "lint")]

    def workflow_run_attempts(self, run: Thing) -> list[Row]:
        facts = {"repository_id": run.data["repository"].id}
        return [Row(records.attempt_record(run, attempt), facts) for attempt in range(1, run.data["attempt"])]


def has_graph(repository: Repository) -> bool:
    """Whether the repository has its dependency graph switched on."""
    return repository.name not in ("docs", "spikes")


def _scope(scope: Any) -> Hashable:
    """What tells a scope from the others of its table."""
    match scope:
        case Repository() | Thing():
            return scope.id
        case Owner():
            return scope.login
        case (Repository(), str() as sha, _):
            return sha
        case (_, dict() as record):
            return int(record["id"])
    raise TypeError(f"{scope!r} is no scope")


def _key(kind: Kind, row: Row) -> Hashable:
    values: list[Hashable] = []
    for name in kind.key:
        value: Any = row.add if name.startswith("+") else row.record
        for step in name.removeprefix("+").split("."):
            value = value[step]
        values.append(value)
    return tuple(values)


def _link(table: str, thing: Thing) -> dict[str, Any]:
    if table == "requested_reviewers":
        return {"pull_request_id": thing.id, "reviewer_type": "User"}
    return {"issue_id": thing.id}


def _id(one: Thing | Record) -> int:
    return one.id if isinstance(one, Thing) else int(one["id"])


def _event_key(event: Record) -> str:
    if key := event.get("node_id") or event.get("sha"):
        return str(key)
    told = [event["event"], event["created_at"], event["actor"]["id"], event["source"]["issue"]["id"]]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()[:40]


def _week(at: int) -> int:
    return at - (at + 4 * DAY) % WEEK


def _added(commit: Thing) -> int:
    return commit.id % 90


def _gone(commit: Thing) -> int:
    return commit.id % 40


def _seconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())
