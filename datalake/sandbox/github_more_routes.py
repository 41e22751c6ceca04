"""REST paths of the stand-in for GitHub beyond the core tables. What there is to tell lives in `github_more.py`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from datalake.sandbox import github_more_records as records
from datalake.sandbox.base import answer
from datalake.sandbox.github_answers import Refused, cursored, page_of, paged, shown, whole
from datalake.sandbox.github_more import More, has_graph
from datalake.sandbox.github_records import Owner, Record, Repository, Thing, Told

_LISTS = {
    "assignees": "assignees",
    "branches": "branches",
    "comments": "commit_comments",
    "deployments": "deployments",
    "events": "repository_events",
    "subscribers": "subscribers",
    "tags": "tags",
}
"""Paths of plain lists of a repository, and their tables."""
_STATISTICS = {"code_frequency": "code_frequency", "commit_activity": "commit_activity", "contributors": "contributor_stats"}
_ALERTS = {
    "code-scanning/alerts": ("code_scanning_alerts", 403, "Code Security must be enabled for this organization."),
    "dependabot/alerts": ("dependabot_alerts", 403, "Dependabot alerts are disabled for this organization."),
    "secret-scanning/alerts": ("secret_scanning_alerts", 404, "Secret scanning is disabled on this organization."),
}
_PACKAGE_TYPES = ("npm", "maven", "rubygems", "docker", "nuget", "container")
_LATEST = 1_000_000_000_000


class MoreRoutes:
    """Answers what the core does not. Raises Refused as GitHub does."""

    def __init__(self, more: More) -> None:
        self.more = more
        self._computed: set[tuple[str, int, str]] = set()

    # -- repositories --------------------------------------------------------------------------------------------------

    def of_repository(self, request: Request, repository: Repository, rest: str, path: str) -> Response:
        if rest in _LISTS:
            return paged(request, self.more.told(_LISTS[rest], repository), path=path)
        match rest.split("/"):
            case ["actions", "artifacts"]:
                return self._late(request, "artifacts", repository, "artifacts", path)
            case ["forks"]:
                if request.query_params.get("sort", "newest") != "newest":
                    raise Refused(400, "This stand-in knows the newest first only")
                return self._late(request, "forks", repository, "", path)
            case ["actions", "runs", number, "jobs"]:
                return self._jobs(request, _one(repository.runs, number), path)
            case ["actions", "runs", number, "attempts", attempt]:
                return self._attempt(_one(repository.runs, number), attempt)
            case ["activity"]:
                return cursored(request, self.more.told("repository_activity", repository), path)
            case ["security-advisories"]:
                if "private" in repository.traits:
                    raise Refused(404, "Not Found")
                return cursored(request, self.more.told("security_advisories", repository), path)
            case ["collaborators"]:
                _only_acme(repository.owner, "Must have push access to view repository collaborators.")
                return paged(request, self.more.told("collaborators", repository), path=path)
            case ["comments", number, "reactions"]:
                scope = self._found("commit_comments", repository, number)
                return paged(request, self.more.told("commit_comment_reactions", scope), path=path)
            case ["commits", sha, what] if what in ("check-runs", "check-suites", "statuses"):
                return self._checks(request, repository, sha, what, path)
            case ["commits", sha]:
                return self._commit(request, repository, sha, path)
            case ["community", "profile"]:
                if "private" in repository.traits:
                    raise Refused(404, "Not Found")
                return answer(shown(self.more.told("community_profiles", repository))[0])
            case ["dependency-graph", "sbom"]:
                return self._sbom(repository)
            case ["deployments", number, "statuses"]:
                scope = self._found("deployments", repository, number)
                return paged(request, self.more.told("deployment_statuses", scope), path=path)
            case ["environments"]:
                return paged(request, self.more.told("environments", repository), "environments", path)
            case ["issues", *hanging]:
                return self._of_issue(request, repository, hanging, path)
            case ["languages"]:
                told = shown(self.more.told("repository_languages", repository))
                return answer({row["language"]: row["bytes"] for row in told})
            case ["pulls", "comments", number, "reactions"]:
                comment = _one(repository.review_comments, number)
                return paged(request, self.more.told("review_comment_reactions", comment), path=path)
            case ["pulls", number, what] if what in ("commits", "files"):
                pull = _numbered(list(repository.pulls.values()), number)
                return paged(request, self.more.told(f"pull_request_{what}", pull), path=path)
            case ["readme"]:
                if told := shown(self.more.told("readmes", repository)):
                    return answer(told[0])
            case ["releases", number, "reactions"]:
                return paged(request, self.more.told("release_reactions", _one(repository.releases, number)), path=path)
            case ["rulesets"]:
                rows = self.more.told("rulesets", repository)
                return paged(request, [Told(records.short_ruleset(row.record), row.seen) for row in rows], path=path)
            case ["rulesets", number]:
                for row in self.more.told("rulesets", repository):
                    if str(row.record["id"]) == number:
                        return answer(row.show())
            case ["stats", kind] if kind in _STATISTICS:
                return self._statistics(repository, kind)
            case ["traffic", "popular", kind] if kind in ("paths", "referrers"):
                _only_acme(repository.owner, "Must have push access to repository")
                return answer(shown(self.more.told(f"traffic_{kind}", repository)))
        raise Refused(404, "Not Found")

    def _late(self, request: Request, table: str, repository: Repository, wrap: str, path: str) -> Response:
        """A list whose changes are found by reading all of it."""
        rows = self.more.told(table, repository)
        page = paged(request, rows, wrap, path)
        start, _ = page_of(request, len(rows))
        if start + whole(request, "per_page", 30, 100) >= len(rows):
            self.more.read_to_the_end(table, repository)
        return page

    def _jobs(self, request: Request, run: Thing, path: str) -> Response:
        """Of all attempts with `filter=all`, else of the latest."""
        jobs = self.more.told("workflow_jobs", run) if run.data["status"] == "completed" else []
        if request.query_params.get("filter", "latest") == "latest":
            jobs = [job for job in jobs if job.record["run_attempt"] == run.data["attempt"]]
        return paged(request, jobs, "jobs", path)

    def _attempt(self, run: Thing, attempt: str) -> Response:
        for row in self.more.told("workflow_run_attempts", run):
            if str(row.record["run_attempt"]) == attempt:
                return answer(row.show())
        raise Refused(404, "Not Found")

    def _checks(self, request: Request, repository: Repository, sha: str, what: str, path: str) -> Response:
        for pull in repository.pulls.values():
            heads = {**pull.data["former_heads"], pull.data["head_sha"]: pull.updated}
            if sha in heads:
                scope = (repository, sha, heads[sha])
                if what == "statuses":
                    return paged(request, self.more.told("commit_statuses", scope), path=path)
                table = what.replace("-", "_")
                return paged(request, self.more.told(table, scope), table, path)
        if sha in repository.commits:
            return paged(request, [], "" if what == "statuses" else what.replace("-", "_"), path)
        raise Refused(422, f"No commit found for SHA: {sha}")

    def _commit(self, request: Request, repository: Repository, sha: str, path: str) -> Response:
        """One commit; its files come page by page."""
        if sha not in repository.commits:
            raise Refused(422, f"No commit found for SHA: {sha}")
        record = self.more.told("commit_details", repository.commits[sha])[0].show()
        start, headers = page_of(request, len(record["files"]), path)
        files = record["files"][start : start + whole(request, "per_page", 30, 100)]
        return answer({**record, "files": files}, headers=headers)

    def _sbom(self, repository: Repository) -> Response:
        if not has_graph(repository):
            raise Refused(403, "The dependency graph is not enabled for this repository.")
        packages = shown(self.more.told("dependency_packages", repository))
        return answer(records.sbom(repository, packages, self.more.now))

    def _of_issue(self, request: Request, repository: Repository, hanging: Sequence[str], path: str) -> Response:
        match hanging:
            case ["comments", number, "reactions"]:
                comment = _one(repository.comments, number)
                return paged(request, self.more.told("issue_comment_reactions", comment), path=path)
            case [number, what] if what in ("reactions", "timeline", "sub_issues"):
                issue = _numbered(list(repository.issues.values()), number)
                table = {"reactions": "issue_reactions", "timeline": "issue_timeline_events", "sub_issues": "sub_issues"}[what]
                return paged(request, self.more.told(table, issue), path=path)
        raise Refused(404, "Not Found")

    def _statistics(self, repository: Repository, kind: str) -> Response:
        """202 as long as they are being computed: at the first call after each push. 204 for an empty repository."""
        if not repository.head:
            return Response(status_code=204)
        mark = (kind, repository.id, repository.head)
        if mark not in self._computed:
            self._computed.add(mark)
            return answer({}, 202)
        told = shown(self.more.told(_STATISTICS[kind], repository))
        match kind:
            case "code_frequency":
                return answer([[row["week"], row["additions"], row["deletions"]] for row in told])
            case "contributors":
                return answer(self.more.contributors(repository))
        return answer(told)

    def _found(self, table: str, repository: Repository, number: str) -> tuple[Repository, Record]:
        for row in self.more.told(table, repository):
            if str(row.record["id"]) == number:
                return repository, row.record
        raise Refused(404, "Not Found")

    # -- organizations -------------------------------------------------------------------------------------------------

    def of_organization(self, request: Request, owner: Owner, rest: str) -> Response:
        path = f"/organizations/{owner.id}/{rest}"
        if rest in _ALERTS:
            table, status, message = _ALERTS[rest]
            if owner.login != "acme":
                raise Refused(status, message)
            rows = self.more.told(table, owner)
            if table == "secret_scanning_alerts":
                hidden = request.query_params.get("hide_secret") == "true"
                rows = [_with_secret(row, hidden) for row in rows]
            return cursored(request, rows, path)
        match rest.split("/"):
            case ["events"]:
                return paged(request, self.more.told("organization_events", owner), path=path)
            case ["issue-types"]:
                return answer(shown(self.more.told("issue_types", owner)))
            case ["outside_collaborators"]:
                return paged(request, self.more.told("outside_collaborators", owner), path=path)
            case ["packages"]:
                return self._packages(request, owner, path)
            case ["projectsV2"]:
                return cursored(request, self.more.told("projects_v2", owner), path)
            case ["projectsV2", number, what] if what in ("fields", "items"):
                return self._of_project(request, owner, number, what, path)
            case ["properties", "values"]:
                shown(self.more.told("repository_custom_properties", owner))
                told = [{**names, "properties": properties} for names, properties in self.more.custom_properties(owner)]
                return paged(request, told, path=path)
            case ["copilot", "billing", "seats"]:
                _only_acme(owner, "Not Found", 404)
                page = paged(request, self.more.told("copilot_seats", owner), "seats", path)
                return _renamed(page, b'"total_count"', b'"total_seats"')
            case ["teams", slug, "repos"]:
                rows = self.more.told("team_repositories", _team(owner, slug))
                # A token to clone with, for private repositories only and new in every answer.
                return paged(request, [_with_clone_token(row) for row in rows], path=path)
            case ["teams", slug, "memberships", login]:
                for row in self.more.told("team_memberships", _team(owner, slug)):
                    if row.record["url"].endswith(f"/{login}"):
                        return answer(row.show())
            case ["settings", "billing", "usage"]:
                return self._usage(request, owner)
        raise Refused(404, "Not Found")

    def _packages(self, request: Request, owner: Owner, path: str) -> Response:
        kind = request.query_params.get("package_type", "")
        if kind not in _PACKAGE_TYPES:
            raise Refused(400, "Invalid argument: package_type is required")
        rows = [row for row in self.more.told("packages", owner) if row.record["package_type"] == kind]
        return paged(request, rows, path=path)

    def _of_project(self, request: Request, owner: Owner, number: str, what: str, path: str) -> Response:
        for row in self.more.told("projects_v2", owner):
            if str(row.record["number"]) == number:
                rows = self.more.told(f"project_v2_{what}", (owner, row.record))
                if what == "items":
                    asked = set(request.query_params.get("fields", "").split(","))
                    rows = [_with_fields(item, asked) for item in rows]
                return cursored(request, rows, path)
        raise Refused(404, "Not Found")

    def _usage(self, request: Request, owner: Owner) -> Response:
        _only_acme(owner, "You must be an admin of the organization to see its usage.")
        year, month = whole(request, "year", 0, _LATEST), whole(request, "month", 0, _LATEST)
        if not 1 <= month <= 12:
            raise Refused(400, "The month is missing or none")
        rows = [row for row in self.more.told("billing_usage", owner) if row.record["date"].startswith(f"{year}-{month:02d}")]
        return answer({"usageItems": shown(rows)})


def _only_acme(owner: Owner, message: str, status: int = 403) -> None:
    """The token may do more in one organization than in the others."""
    if owner.login != "acme":
        raise Refused(status, message)


def _one(things: dict[int, Thing], number: str) -> Thing:
    if number.isdigit() and int(number) in things:
        return things[int(number)]
    raise Refused(404, "Not Found")


def _numbered(things: Sequence[Thing], number: str) -> Thing:
    """The issue or pull request of that number."""
    number_of_thing: Callable[[Thing], Any] = lambda t: t.data.get("number") or t.data["issue"].data["number"]  # noqa: E731 (a key)
    for thing in things:
        if str(number_of_thing(thing)) == number:
            return thing
    raise Refused(404, "Not Found")


def _team(owner: Owner, slug: str) -> Thing:
    for team in owner.teams.values():
        if team.record["slug"] == slug:
            return team
    raise Refused(404, "Not Found")


def _with_clone_token(row: Told) -> Told:
    if not row.record["private"]:
        return row
    return Told({**row.record, "temp_clone_token": f"CLONE{secrets.token_hex(12)}"}, row.seen)


def _with_secret(row: Told, hidden: bool) -> Told:
    """An alert with the secret that leaked, or without its value."""
    return Told({**row.record, "secret": "" if hidden else f"AKIALEAKED{row.record['number']:010d}"}, row.seen)


def _with_fields(row: Told, asked: set[str]) -> Told:
    """An item with the fields that were asked for; only its title where none was."""
    fields = row.record["fields"]
    kept = [field for field in fields if str(field["id"]) in asked] or [field for field in fields if field["name"] == "Title"]
    return Told({**row.record, "fields": kept}, row.seen)


def _renamed(page: Response, before: bytes, after: bytes) -> Response:
    headers = {"link": page.headers["link"]} if "link" in page.headers else None
    return Response(bytes(page.body).replace(before, after, 1), page.status_code, headers, "application/json")
