"""The objects behind the stand-in for GitHub and their records, in the official shapes. What happens lives in its world."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from datalake.sandbox.base import Row

Record = dict[str, Any]

API = "https://api.github.com"
WEB = "https://github.com"
REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
DEFAULT_LABELS = (
    ("bug", "d73a4a"),
    ("enhancement", "a2eeef"),
    ("docs", "0075ca"),
    ("question", "d876e3"),
    ("wontfix", "ffffff"),
)


def iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def optional_iso(seconds: int | None) -> str | None:
    return iso(seconds) if seconds is not None else None


@dataclass(eq=False)
class Thing:
    """One object: when it came, when it last changed, and what it says.

    The record is made when it is first asked for after a change and served unchanged until the next one, so that what a
    reader received at that time can be told from `record` alone.
    """

    id: int
    node: str
    created: int
    updated: int
    data: Record
    render: Callable[[Thing], Record]
    shown: Record | None = None
    """What a reader received last; None as long as nobody did."""
    _record: Record | None = None

    @property
    def record(self) -> Record:
        if self._record is None:
            self._record = self.render(self)
        return self._record

    def show(self) -> Record:
        self.shown = self.record
        return self.record

    def touch(self, at: int, **changes: Any) -> None:
        self.data.update(changes)
        self.updated = at
        self._record = None


@dataclass(frozen=True, slots=True)
class Told:
    """A record that is worked out when it is asked for; `seen` takes note that somebody was shown it."""

    record: Record
    seen: Callable[[], None]

    def show(self) -> Record:
        self.seen()
        return self.record


@dataclass(eq=False)
class Owner:
    """An organization, or a person with repositories of their own."""

    login: str
    id: int
    kind: str
    created: int
    updated: int
    members: dict[int, Record] = field(default_factory=dict)
    teams: dict[int, Thing] = field(default_factory=dict)
    description: str = "Makes things that talk to each other."


@dataclass(eq=False)
class Repository:
    """One repository and all that belongs to it."""

    id: int
    name: str
    owner: Owner
    traits: frozenset[str]
    rate: float
    created: int
    pushed: int
    updated: int
    number: int = 0
    former_names: list[str] = field(default_factory=list)
    labels: dict[int, Thing] = field(default_factory=dict)
    milestones: dict[int, Thing] = field(default_factory=dict)
    issues: dict[int, Thing] = field(default_factory=dict)
    pulls: dict[int, Thing] = field(default_factory=dict)
    comments: dict[int, Thing] = field(default_factory=dict)
    events: list[Thing] = field(default_factory=list)
    reviews: dict[int, Thing] = field(default_factory=dict)
    review_comments: dict[int, Thing] = field(default_factory=dict)
    commits: dict[str, Thing] = field(default_factory=dict)
    head: str = ""
    releases: dict[int, Thing] = field(default_factory=dict)
    workflows: dict[int, Thing] = field(default_factory=dict)
    runs: dict[int, Thing] = field(default_factory=dict)
    stars: dict[int, tuple[int, Record]] = field(default_factory=dict)
    stars_newest_first: list[tuple[str, int]] | None = None
    """Position and account of each star, sorted when asked for; None after a change."""
    discussions: dict[int, Thing] = field(default_factory=dict)
    lost_issues: list[Thing] = field(default_factory=list)
    lost_events: list[Thing] = field(default_factory=list)
    """Events of deleted issues: no list shows them any more, a lake keeps them."""
    unnoticed: dict[str, list[Row]] = field(default_factory=dict)
    """By table: rows that are deleted without a trace, until somebody reads the whole list."""
    days: dict[tuple[str, str], Record] = field(default_factory=dict)
    """Traffic that was shown, by kind and day: the list forgets it after two weeks, a lake does not."""
    snapshots: dict[tuple[int, str], Row] = field(default_factory=dict)
    """Files of releases as they were shown, by id and day on which the list was not as before."""
    releases_shown: str = ""
    topics: dict[str, int] = field(default_factory=dict)
    """Topics, and when each was set."""

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"

    @property
    def url(self) -> str:
        return f"{API}/repos/{self.full_name}"

    @property
    def html(self) -> str:
        return f"{WEB}/{self.full_name}"

    @property
    def node(self) -> str:
        return f"R_kgDO{self.id:x}"


def account(login: str, id_: int, kind: str = "User") -> Record:
    """A person, bot or organization as every record embeds it (`simple-user`)."""
    url = f"{API}/users/{login}"
    return {
        "login": login,
        "id": id_,
        "node_id": f"U_kgDO{id_:x}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{id_}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{login}",
        "followers_url": f"{url}/followers",
        "following_url": url + "/following{/other_user}",
        "gists_url": url + "/gists{/gist_id}",
        "starred_url": url + "/starred{/owner}{/repo}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": url + "/events{/privacy}",
        "received_events_url": f"{url}/received_events",
        "type": kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def number_of(*parts: object) -> int:
    """A number that stands for the parts, the same for the same ones and without a pattern."""
    text = "-".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def reactions_to(id_: int, changed: int, more: int = 0) -> list[str]:
    """What people answered with, as of the last change; nothing in most cases. `more` came without a trace."""
    dice = number_of("reactions", id_, changed)
    count = (0 if dice % 4 else 1 + dice // 4 % 3) + more
    return [REACTIONS[(id_ + number) % len(REACTIONS)] for number in range(count)]


def rollup(url: str, contents: list[str]) -> Record:
    """How often each reaction was given."""
    return {"url": f"{url}/reactions", "total_count": len(contents), **{name: contents.count(name) for name in REACTIONS}}


def reactions_of(thing: Thing) -> list[str]:
    return reactions_to(thing.id, thing.updated, thing.data.get("silent_reactions", 0))


def brief_organization(owner: Owner) -> Record:
    """An organization as it stands inside other objects."""
    url = f"{API}/orgs/{owner.login}"
    return {
        "login": owner.login,
        "id": owner.id,
        "node_id": f"O_kgDO{owner.id:x}",
        "url": url,
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events",
        "hooks_url": f"{url}/hooks",
        "issues_url": f"{url}/issues",
        "members_url": url + "/members{/member}",
        "public_members_url": url + "/public_members{/member}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{owner.id}?v=4",
        "description": owner.description,
    }


def organization(owner: Owner, everything: Iterable[Repository]) -> Record:
    repositories = [r for r in everything if r.owner is owner]
    private = sum("private" in r.traits for r in repositories)
    return {
        **brief_organization(owner),
        "name": owner.login.title(),
        "company": "Acme",
        "blog": "https://acme.example",
        "location": "Porto Alegre",
        "email": "hello@acme.example",
        "is_verified": True,
        "has_organization_projects": True,
        "has_repository_projects": True,
        "public_repos": len(repositories) - private,
        "public_gists": 0,
        "followers": 17,
        "following": 0,
        "html_url": f"{WEB}/{owner.login}",
        "created_at": iso(owner.created),
        "updated_at": iso(owner.updated),
        "archived_at": None,
        "type": "Organization",
        "total_private_repos": private,
        "owned_private_repos": private,
        "billing_email": "billing@acme.example",
        "plan": {
            "name": "team",
            "space": 976_562_499,
            "private_repos": 999_999,
            "filled_seats": len(owner.members),
            "seats": 50,
        },
        "default_repository_permission": "read",
        "members_can_create_repositories": True,
        "two_factor_requirement_enabled": True,
    }


def repository_record(repository: Repository) -> Record:
    """A repository with its counters of this moment: good for lists, for one object and for embedding."""
    url, html = repository.url, repository.html
    traits = repository.traits
    git = f"git://github.com/{repository.full_name}.git"
    open_issues = sum(i.data["state"] == "open" for i in repository.issues.values())
    paths = {
        "archive_url": "/{archive_format}{/ref}",
        "assignees_url": "/assignees{/user}",
        "blobs_url": "/git/blobs{/sha}",
        "branches_url": "/branches{/branch}",
        "collaborators_url": "/collaborators{/collaborator}",
        "comments_url": "/comments{/number}",
        "commits_url": "/commits{/sha}",
        "compare_url": "/compare/{base}...{head}",
        "contents_url": "/contents/{+path}",
        "contributors_url": "/contributors",
        "deployments_url": "/deployments",
        "downloads_url": "/downloads",
        "events_url": "/events",
        "forks_url": "/forks",
        "git_commits_url": "/git/commits{/sha}",
        "git_refs_url": "/git/refs{/sha}",
        "git_tags_url": "/git/tags{/sha}",
        "hooks_url": "/hooks",
        "issue_comment_url": "/issues/comments{/number}",
        "issue_events_url": "/issues/events{/number}",
        "issues_url": "/issues{/number}",
        "keys_url": "/keys{/key_id}",
        "labels_url": "/labels{/name}",
        "languages_url": "/languages",
        "merges_url": "/merges",
        "milestones_url": "/milestones{/number}",
        "notifications_url": "/notifications{?since,all,participating}",
        "pulls_url": "/pulls{/number}",
        "releases_url": "/releases{/id}",
        "stargazers_url": "/stargazers",
        "statuses_url": "/statuses/{sha}",
        "subscribers_url": "/subscribers",
        "subscription_url": "/subscription",
        "tags_url": "/tags",
        "teams_url": "/teams",
        "trees_url": "/git/trees{/sha}",
    }
    return {
        "id": repository.id,
        "node_id": repository.node,
        "name": repository.name,
        "full_name": repository.full_name,
        "private": "private" in traits,
        "owner": account(repository.owner.login, repository.owner.id, repository.owner.kind),
        "html_url": html,
        "description": f"The {repository.name} of {repository.owner.login}",
        "fork": False,
        "url": url,
        **{name: url + path for name, path in paths.items()},
        "created_at": iso(repository.created),
        "updated_at": iso(repository.updated),
        "pushed_at": iso(repository.pushed),
        "git_url": git,
        "ssh_url": f"git@github.com:{repository.full_name}.git",
        "clone_url": f"{html}.git",
        "svn_url": html,
        "mirror_url": None,
        "homepage": None,
        "size": len(repository.commits),
        "stargazers_count": len(repository.stars),
        "watchers_count": len(repository.stars),
        "language": None if "empty" in traits else "Python",
        "has_issues": "no_issues" not in traits,
        "has_projects": True,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": "discussions" in traits,
        "has_pull_requests": True,
        "pull_request_creation_policy": "all",
        "forks_count": 0,
        "archived": "archived" in traits,
        "disabled": False,
        "open_issues_count": open_issues,
        "license": {
            "key": "mit",
            "name": "MIT License",
            "spdx_id": "MIT",
            "url": f"{API}/licenses/mit",
            "node_id": "MDc6TGljZW5zZTEz",
        },
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": list(repository.topics),
        "visibility": "private" if "private" in traits else "public",
        "forks": 0,
        "open_issues": open_issues,
        "watchers": len(repository.stars),
        "default_branch": "main",
        "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
    }


def small_repository(repository: Repository) -> Record:
    """The repository inside a workflow run: addresses, no counters and no dates."""
    whole = repository_record(repository)
    kept = ("id", "node_id", "name", "full_name", "private", "owner", "html_url", "description", "fork", "url")
    return {k: v for k, v in whole.items() if k in kept or (k.endswith("_url") and k not in ("git_url", "ssh_url", "svn_url"))}


def team_record(team: Thing) -> Record:
    owner, data = team.data["owner"], team.data
    url = f"{API}/organizations/{owner.id}/team/{team.id}"
    simple = {
        "id": team.id,
        "node_id": team.node,
        "url": url,
        "html_url": f"{WEB}/orgs/{owner.login}/teams/{data['slug']}",
        "members_url": url + "/members{/member}",
        "repositories_url": f"{url}/repos",
        "name": data["name"],
        "slug": data["slug"].replace(" ", "-"),
        "description": None,
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
        "permission": "pull",
        "type": "organization",
        "organization_id": owner.id,
    }
    parent = data["parent"]
    return {**simple, "parent": {k: v for k, v in parent.record.items() if k != "parent"} if parent else None}


def label_record(label: Thing) -> Record:
    return {
        "id": label.id,
        "node_id": label.node,
        "url": f"{label.data['repository'].url}/labels/{label.data['name']}",
        "name": label.data["name"],
        "color": label.data["color"],
        "default": label.data["name"] in dict(DEFAULT_LABELS),
        "description": label.data["about"],
    }


def milestone_record(milestone: Thing) -> Record:
    data = milestone.data
    url = f"{data['repository'].url}/milestones/{data['number']}"
    return {
        "url": url,
        "html_url": f"{data['repository'].html}/milestone/{data['number']}",
        "labels_url": f"{url}/labels",
        "id": milestone.id,
        "node_id": milestone.node,
        "number": data["number"],
        "title": data["title"],
        "description": None,
        "creator": data["creator"],
        "open_issues": 0,
        "closed_issues": 0,
        "state": "open",
        "created_at": iso(milestone.created),
        "updated_at": iso(milestone.updated),
        "due_on": iso(data["due"]),
        "closed_at": None,
    }


def issue_record(issue: Thing) -> Record:
    data = issue.data
    repository: Repository = data["repository"]
    url = f"{repository.url}/issues/{data['number']}"
    record = {
        "url": url,
        "repository_url": repository.url,
        "labels_url": url + "/labels{/name}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "timeline_url": f"{url}/timeline",
        "html_url": f"{repository.html}/{'pull' if data['pull'] else 'issues'}/{data['number']}",
        "id": issue.id,
        "node_id": issue.node,
        "number": data["number"],
        "title": data["title"],
        "user": data["user"],
        "labels": [label.record for label in data["labels"]],
        "state": data["state"],
        "state_reason": data["state_reason"],
        "locked": False,
        "active_lock_reason": None,
        "assignees": data["assignees"],
        "milestone": data["milestone"].record if data["milestone"] else None,
        "comments": data["comments"],
        "created_at": iso(issue.created),
        "updated_at": iso(issue.updated),
        "closed_at": optional_iso(data["closed"]),
        "closed_by": data["closed_by"],
        "author_association": "MEMBER",
        "type": None,
        "body": data["body"],
        "reactions": rollup(url, reactions_of(issue)),
        "performed_via_github_app": None,
        "sub_issues_summary": _sub_issues(data["below"]),
    }
    if pull := data["pull"]:
        html = record["html_url"]
        links = {"url": url.replace("/issues/", "/pulls/"), "html_url": html, "diff_url": f"{html}.diff"}
        merged = pull.data["merged"]
        record["pull_request"] = {**links, "patch_url": f"{html}.patch"} | ({"merged_at": iso(merged)} if merged else {})
        record["draft"] = pull.data["draft"]
    return record


def _sub_issues(below: list[Thing]) -> Record:
    closed = sum(issue.data["state"] == "closed" for issue in below)
    return {"total": len(below), "completed": closed, "percent_completed": 100 * closed // max(1, len(below))}


def issue_comment_record(comment: Thing) -> Record:
    data = comment.data
    issue, repository = data["issue"], data["repository"]
    url = f"{repository.url}/issues/comments/{comment.id}"
    return {
        "url": url,
        "html_url": f"{repository.html}/issues/{issue.data['number']}#issuecomment-{comment.id}",
        "issue_url": f"{repository.url}/issues/{issue.data['number']}",
        "id": comment.id,
        "node_id": comment.node,
        "user": data["user"],
        "created_at": iso(comment.created),
        "updated_at": iso(comment.updated),
        "author_association": "MEMBER",
        "body": data["body"],
        "reactions": rollup(url, reactions_of(comment)),
        "performed_via_github_app": None,
    }


def event_record(event: Thing) -> Record:
    data = event.data
    return {
        "id": event.id,
        "node_id": event.node,
        "url": f"{data['repository'].url}/issues/events/{event.id}",
        "actor": data["actor"],
        "event": data["event"],
        "commit_id": None,
        "commit_url": None,
        "created_at": iso(event.created),
        **data["more"],
        "issue": data["issue"].record,
        "performed_via_github_app": None,
    }


def pull_record(pull: Thing) -> Record:
    data, issue = pull.data, pull.data["issue"].data
    repository: Repository = data["repository"]
    number = issue["number"]
    url, html = f"{repository.url}/pulls/{number}", f"{repository.html}/pull/{number}"
    issue_url = f"{repository.url}/issues/{number}"
    statuses = f"{repository.url}/statuses/{data['head_sha']}"
    whole = repository_record(repository)
    owner = whole["owner"]
    links = {
        "self": url,
        "html": html,
        "issue": issue_url,
        "comments": f"{issue_url}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{repository.url}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": statuses,
    }
    side = {"user": owner, "repo": whole}
    base_sha = (repository.commits[repository.head].data["parents"] or [repository.head])[0]
    labels = [{**label.record, "description": label.data["about"] or ""} for label in issue["labels"]]
    return {
        "url": url,
        "id": pull.id,
        "node_id": pull.node,
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "issue_url": issue_url,
        "number": number,
        "state": issue["state"],
        "locked": False,
        "title": issue["title"],
        "user": issue["user"],
        "body": issue["body"],
        "created_at": iso(pull.created),
        "updated_at": iso(pull.updated),
        "closed_at": optional_iso(issue["closed"]),
        "merged_at": optional_iso(data["merged"]),
        "assignees": issue["assignees"],
        "requested_reviewers": data["reviewers"],
        "requested_teams": [team.record for team in data["teams"]],
        "labels": labels,
        "milestone": issue["milestone"].record if issue["milestone"] else None,
        "draft": data["draft"],
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": statuses,
        "head": {"label": f"{owner['login']}:{data['branch']}", "ref": data["branch"], "sha": data["head_sha"], **side},
        "base": {"label": f"{owner['login']}:main", "ref": "main", "sha": base_sha, **side},
        "_links": {name: {"href": href} for name, href in links.items()},
        "author_association": "MEMBER",
        "auto_merge": None,
        "active_lock_reason": None,
    }


def actor(user: Record | None) -> Record | None:
    """An account as GraphQL tells it under the names that the tables use."""
    if user is None:
        return None
    shown = {"login": user["login"], "type": user["type"], "id": user["id"], "node_id": user["node_id"]}
    return shown | ({"site_admin": False} if user["type"] == "User" else {})


def _typed(user: Record) -> Record | None:
    told = actor(user)
    return {"__typename": user["type"], **told} if told else None


def pull_details(pull: Thing) -> Record:
    """The row of `pull_request_details`: facts that only GraphQL or the single object tell."""
    data, issue, repository = pull.data, pull.data["issue"].data, pull.data["repository"]
    return {
        "id": str(pull.id),
        "node_id": pull.node,
        "number": issue["number"],
        "state": "MERGED" if data["merged"] else issue["state"].upper(),
        "merged": data["merged"] is not None,
        "merged_at": optional_iso(data["merged"]),
        "merged_by": actor(data["merged_by"]),
        "merge_commit": {"oid": data["merge_sha"]} if data["merge_sha"] else None,
        "comments": {"totalCount": issue["comments"]},
        "review_threads": {"totalCount": sum(c.data["pull"] is pull for c in repository.review_comments.values())},
        "commits": {"totalCount": data["commits"]},
        "additions": data["additions"],
        "deletions": data["deletions"],
        "changed_files": data["changed_files"],
        "maintainer_can_modify": False,
        "created_at": iso(pull.created),
        "updated_at": iso(pull.updated),
        "closed_at": optional_iso(issue["closed"]),
    }


def review_record(review: Thing) -> Record:
    """The row of `pull_request_reviews`, as GraphQL tells it under the names that the table uses."""
    data, pull = review.data, review.data["pull"]
    number = pull.data["issue"].data["number"]
    return {
        "id": str(review.id),
        "node_id": review.node,
        "user": actor(data["user"]),
        "body": data["body"],
        "state": data["state"],
        "html_url": f"{data['repository'].html}/pull/{number}#pullrequestreview-{review.id}",
        "submitted_at": iso(review.created),
        "commit": {"oid": pull.data["head_sha"]},
        "author_association": "MEMBER",
    }


def review_comment_record(comment: Thing) -> Record:
    data = comment.data
    repository, pull = data["repository"], data["pull"]
    number, sha = pull.data["issue"].data["number"], pull.data["head_sha"]
    url = f"{repository.url}/pulls/comments/{comment.id}"
    pull_url, html = f"{repository.url}/pulls/{number}", f"{repository.html}/pull/{number}#discussion_r{comment.id}"
    return {
        "url": url,
        "pull_request_review_id": data["review"].id,
        "id": comment.id,
        "node_id": comment.node,
        "diff_hunk": "@@ -1,2 +1,3 @@\n-old\n+new",
        "path": "src/main.py",
        "commit_id": sha,
        "original_commit_id": sha,
        "user": data["user"],
        "body": data["body"],
        "created_at": iso(comment.created),
        "updated_at": iso(comment.updated),
        "html_url": html,
        "pull_request_url": pull_url,
        "author_association": "MEMBER",
        "_links": {"self": {"href": url}, "html": {"href": html}, "pull_request": {"href": pull_url}},
        "reactions": rollup(url, reactions_of(comment)),
        "start_line": None,
        "original_start_line": None,
        "start_side": None,
        "line": data["line"],
        "original_line": data["line"],
        "side": "RIGHT",
        "position": 1,
        "original_position": 1,
        "subject_type": "line",
    }


def commit_record(commit: Thing) -> Record:
    data = commit.data
    repository, sha = data["repository"], data["sha"]
    url = f"{repository.url}/commits/{sha}"
    written = {"name": data["name"], "email": data["email"], "date": iso(commit.created)}
    return {
        "sha": sha,
        "node_id": commit.node,
        "commit": {
            "author": written,
            "committer": written,
            "message": data["message"],
            "tree": {"sha": sha[::-1], "url": f"{repository.url}/git/trees/{sha[::-1]}"},
            "url": f"{repository.url}/git/commits/{sha}",
            "comment_count": 0,
            "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None},
        },
        "url": url,
        "html_url": f"{repository.html}/commit/{sha}",
        "comments_url": f"{url}/comments",
        "author": data["author"],
        "committer": data["author"],
        "parents": [
            {"sha": p, "url": f"{repository.url}/commits/{p}", "html_url": f"{repository.html}/commit/{p}"}
            for p in data["parents"]
        ],
    }


def release_record(release: Thing) -> Record:
    data = release.data
    repository: Repository = data["repository"]
    url = f"{repository.url}/releases/{release.id}"
    # Releases without reactions do not speak of them.
    given = reactions_of(release)
    reactions = {"reactions": rollup(url, given)} if given else {}
    return {
        **reactions,
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"https://uploads.github.com/repos/{repository.full_name}/releases/{release.id}/assets{{?name,label}}",
        "html_url": f"{repository.html}/releases/tag/{data['tag']}",
        "id": release.id,
        "author": data["author"],
        "node_id": release.node,
        "tag_name": data["tag"],
        "target_commitish": "main",
        "name": data["tag"],
        "draft": False,
        "immutable": False,
        "prerelease": False,
        "created_at": iso(release.created - 600),
        "updated_at": iso(release.updated),
        "published_at": iso(release.created),
        "assets": [asset.record for asset in data["assets"]],
        "tarball_url": f"{repository.url}/tarball/{data['tag']}",
        "zipball_url": f"{repository.url}/zipball/{data['tag']}",
        "body": f"What is new in {data['tag']}.",
    }


def asset_record(asset: Thing) -> Record:
    data = asset.data
    release = data["release"]
    repository, tag = release.data["repository"], release.data["tag"]
    name = f"{data['system']}.tar.gz"
    return {
        "url": f"{repository.url}/releases/assets/{asset.id}",
        "id": asset.id,
        "node_id": asset.node,
        "name": name,
        "label": "",
        "uploader": data["uploader"],
        "content_type": "application/gzip",
        "state": "uploaded",
        "size": data["size"],
        "digest": f"sha256:{hashlib.sha256(str(asset.id).encode()).hexdigest()}",
        "download_count": data["downloads"],
        "created_at": iso(asset.created),
        "updated_at": iso(asset.updated),
        "browser_download_url": f"{repository.html}/releases/download/{tag}/{name}",
    }


def workflow_record(workflow: Thing) -> Record:
    data = workflow.data
    repository: Repository = data["repository"]
    return {
        "id": workflow.id,
        "node_id": workflow.node,
        "name": data["name"],
        "path": data["path"],
        "state": "active",
        "created_at": iso(workflow.created),
        "updated_at": iso(workflow.updated),
        "url": f"{repository.url}/actions/workflows/{workflow.id}",
        "html_url": f"{repository.html}/blob/main/{data['path']}",
        "badge_url": f"{repository.html}/workflows/{data['name']}/badge.svg",
    }


def run_record(run: Thing) -> Record:
    data = run.data
    repository: Repository = data["repository"]
    url = f"{repository.url}/actions/runs/{run.id}"
    head = repository.commits[data["sha"]]
    written = {"name": head.data["name"], "email": head.data["email"]}
    return {
        "id": run.id,
        "name": data["workflow"].data["name"],
        "node_id": run.node,
        "head_branch": "main",
        "head_sha": data["sha"],
        "path": data["workflow"].data["path"],
        "display_title": data["title"],
        "run_number": data["number"],
        "event": data["event"],
        "status": data["status"],
        "conclusion": data["conclusion"],
        "workflow_id": data["workflow"].id,
        "check_suite_id": run.id + 1,
        "check_suite_node_id": f"CS_kwDO{run.id + 1:x}",
        "url": url,
        "html_url": f"{repository.html}/actions/runs/{run.id}",
        "pull_requests": [],
        "created_at": iso(run.created),
        "updated_at": iso(run.updated),
        "actor": data["actor"],
        "run_attempt": data["attempt"],
        "referenced_workflows": [],
        "run_started_at": iso(data["started"]),
        "triggering_actor": data["actor"],
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{repository.url}/check-suites/{run.id + 1}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "previous_attempt_url": f"{url}/attempts/{data['attempt'] - 1}" if data["attempt"] > 1 else None,
        "workflow_url": f"{repository.url}/actions/workflows/{data['workflow'].id}",
        "head_commit": {
            "id": data["sha"],
            "tree_id": data["sha"][::-1],
            "message": head.data["message"],
            "timestamp": iso(head.created),
            "author": written,
            "committer": written,
        },
        "repository": small_repository(repository),
        "head_repository": small_repository(repository),
        "head_repository_id": repository.id,
    }


def star(starred: int, user: Record) -> Record:
    """The row of `stargazers`, as GraphQL tells it under the names that the table uses."""
    return {"starred_at": iso(starred), "user": {k: user[k] for k in ("login", "type", "id", "node_id", "site_admin")}}


def discussion(asked: Thing) -> Record:
    """The row of `discussions`, as GraphQL tells it under the names that the table uses."""
    data = asked.data
    answered = data["answered"]
    category = f"DIC_kwDO{data['repository'].id:x}{data['category']}"
    return {
        "id": asked.node,
        "database_id": asked.id,
        "number": data["number"],
        "title": data["title"],
        "body": data["body"],
        "author": _typed(data["user"]),
        "author_association": "MEMBER",
        "category": {"id": category, "name": data["category"], "slug": data["category"].lower(), "is_answerable": True},
        "answer": {"id": data["answer"]} if data["answer"] else None,
        "answer_chosen_at": iso(answered[0]) if answered else None,
        "answer_chosen_by": _typed(answered[1]) if answered else None,
        "is_answered": answered is not None,
        "closed": False,
        "closed_at": None,
        "state_reason": None,
        "locked": False,
        "upvote_count": data["upvotes"],
        "url": f"{data['repository'].html}/discussions/{data['number']}",
        "created_at": iso(asked.created),
        "updated_at": iso(asked.updated),
        "last_edited_at": None,
        "published_at": iso(asked.created),
    }
