"""The stand-in for GitHub over HTTP: proof of identity, limits, paging, REST and GraphQL answers. The data lives in its world.

What tests may change by `POST /_sandbox/control` (any of): `rate_limit` {"limit", "window" (seconds), "resource" ("core" or
"graphql")}, `app` {"id", "public_key" (PEM)} registers a GitHub App, `token_uses` (calls an installation token lives),
`revoke` (true: no personal token is good any more), `graphql_most` (nodes a query may ask for before it times out),
`stars` {"repository", "count"}, `react` (a repository whose newest issue gets a reaction without a trace), `rename`
{"repository", "to"}, `no_issues` (a repository that turns its issues off), `partial` (true: SSO leaves rows out).
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from datalake.sandbox.base import Row, StandIn, answer
from datalake.sandbox.github_answers import DOCS, Refused, paged, whole
from datalake.sandbox.github_graphql import Graph
from datalake.sandbox.github_more import More
from datalake.sandbox.github_more_routes import MoreRoutes
from datalake.sandbox.github_records import API, Owner, Record, Repository, Thing, account, iso, organization, repository_record
from datalake.sandbox.github_world import World

_VERSIONS = ("2022-11-28", "2026-03-10")
_MOST_FILTERED = 1_000
_DEEPEST_PAGE = 400
_WHOLE = {"issues": "issues", "issues/comments": "issue_comments", "pulls/comments": "pull_request_review_comments"}
"""Lists whose missing rows are noticed only by reading all of them, and their tables."""


@dataclass
class Token:
    """A credential: whose it is, which owners' repositories it sees, and until when (the stand-in's clock)."""

    login: str
    sees: tuple[str, ...]
    member: bool = True
    expires: int | None = None
    uses: int | None = None
    core: Rate = field(default_factory=lambda: Rate())
    graphql: Rate = field(default_factory=lambda: Rate())


@dataclass
class Rate:
    """A primary limit: so many in a window of real seconds. `reset` is told on the stand-in's clock."""

    limit: int = 5_000
    window: float = 3_600.0
    used: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, points: int = 1) -> bool:
        if time.monotonic() - self.began >= self.window:
            self.used, self.began = 0, time.monotonic()
        if self.used + points > self.limit:
            return False
        self.used += points
        return True

    def reset(self, now: int) -> int:
        return now + max(0, math.ceil(self.began + self.window - time.monotonic()))


class GitHub:
    """The system: a world, the credentials that open it, and its answers."""

    def __init__(self, world: World, *, limits: bool) -> None:
        self.world = world
        self.more = More(world)
        self.more_routes = MoreRoutes(self.more)
        self.graph = Graph(world, self.more)
        self.limits = limits
        self.limit = Rate().limit if limits else 10**9
        person = world.people[0]["login"]
        self.tokens = {
            "ghp_sandbox": Token(person, ("acme", "acme-labs")),
            "ghp_solo": Token("solo", ("solo",), member=False),
        }
        self.app: Record | None = None
        self.token_uses: int | None = None
        self.graphql_most: int | None = None
        self.partial = False
        for token in self.tokens.values():
            token.core.limit = token.graphql.limit = self.limit

    @property
    def now(self) -> int:
        return self.world.now

    @now.setter
    def now(self, value: int) -> None:
        self.world.now = value

    def advance(self, seconds: int) -> dict[str, Any]:
        return self.world.advance(seconds)

    def ledger(self, table: str) -> Iterable[Row]:
        seen = ("acme", "acme-labs")
        if table in self.more.kinds:
            return self.more.ledger(table, [self.world.owners[login] for login in seen])
        return self.world.ledger(table, seen)

    def environment(self, url: str) -> dict[str, str]:
        return {"GITHUB_BASE_URL": url, "GITHUB_TOKEN": "ghp_sandbox"}

    def control(self, change: dict[str, Any]) -> None:
        for name, value in change.items():
            match name:
                case "rate_limit":
                    for token in self.tokens.values():
                        rate = token.graphql if value.get("resource") == "graphql" else token.core
                        rate.limit, rate.window, rate.used, rate.began = value["limit"], value["window"], 0, time.monotonic()
                case "app":
                    self.app = value
                case "token_uses":
                    self.token_uses = value
                case "revoke":
                    self.tokens = {key: token for key, token in self.tokens.items() if not key.startswith("ghp_")}
                case "graphql_most":
                    self.graphql_most = value
                case "stars":
                    self.world.give_stars(self.world.names[value["repository"].lower()], value["count"])
                case "react":
                    self.world.react(self.world.names[value.lower()])
                case "rename":
                    self.world.rename(self.world.names[value["repository"].lower()], value["to"])
                case "no_issues":
                    self.world.names[value.lower()].traits |= {"no_issues"}
                case "partial":
                    self.partial = value
                case _:
                    raise ValueError(f"'{name}' is nothing that can be changed here")

    # -- routes ----------------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[BaseRoute]:
        def get(path: str, handler: Callable[[Request, Token], Response]) -> Route:
            return Route(path, self._guarded(handler))

        return [
            Route("/app/installations", self._as_app(self._installations)),
            Route("/orgs/{org}/installation", self._as_app(self._installation_of)),
            Route("/app/installations/{id:int}/access_tokens", self._as_app(self._new_token), methods=["POST"]),
            Route("/graphql", self._graphql, methods=["POST"]),
            get("/rate_limit", self._rate_limit),
            get("/user", self._user),
            get("/user/orgs", self._user_orgs),
            get("/user/repos", self._user_repositories),
            get("/users/{login}", self._account),
            get("/users/{login}/repos", self._user_repositories),
            get("/installation/repositories", self._installation_repositories),
            get("/orgs/{org}", self._organization),
            get("/orgs/{org}/repos", self._organization_repositories),
            get("/orgs/{org}/members", self._members),
            get("/orgs/{org}/teams", self._teams),
            get("/orgs/{org}/teams/{slug}/members", self._team_members),
            get("/orgs/{org}/{rest:path}", self._of_organization),
            get("/organizations/{id:int}/{rest:path}", self._of_organization_by_id),
            get("/organizations/{org}/{rest:path}", self._of_organization),
            get("/user/{id:int}", self._account_by_id),
            get("/repos/{owner}/{repo}", self._by_name),
            get("/repos/{owner}/{repo}/{rest:path}", self._by_name),
            get("/repositories/{id:int}", self._by_id),
            get("/repositories/{id:int}/{rest:path}", self._by_id),
            get("/{path:path}", self._nowhere),
        ]

    def _guarded(self, handler: Callable[[Request, Token], Response]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            try:
                token = self._token(request)
            except Refused as refused:
                return answer(refused.body, refused.status, refused.headers)
            free = request.url.path == "/rate_limit"
            if not free and not token.core.take():
                message = (
                    f"API rate limit exceeded for user ID {len(token.login)}. If you reach out to GitHub Support, tell it."
                )
                return answer({"message": message, "documentation_url": DOCS}, 403, self._headers(token.core))
            try:
                reply = handler(request, token)
            except Refused as refused:
                reply = answer(refused.body, refused.status, refused.headers)
            tag = f'W/"{hashlib.sha256(request.headers["authorization"].encode() + reply.body).hexdigest()}"'
            if reply.status_code == 200 and request.headers.get("if-none-match") == tag:
                token.core.used -= 1
                reply = Response(status_code=304)
            reply.headers["etag"] = tag
            reply.headers.update(self._headers(token.core))
            return reply

        return guarded

    def _headers(self, rate: Rate, resource: str = "core") -> dict[str, str]:
        return {
            "x-ratelimit-limit": str(rate.limit),
            "x-ratelimit-remaining": str(max(0, rate.limit - rate.used)),
            "x-ratelimit-used": str(rate.used),
            "x-ratelimit-reset": str(rate.reset(self.now)),
            "x-ratelimit-resource": resource,
            "x-github-request-id": secrets.token_hex(8).upper(),
            "x-github-api-version-selected": _VERSIONS[-1],
            **({"x-github-sso": "partial-results; organizations=21955855"} if self.partial else {}),
        }

    def _token(self, request: Request) -> Token:
        """Who asks. Raises Refused as GitHub does: no User-Agent 403, a bad or expired token 401."""
        if not request.headers.get("user-agent"):
            raise Refused(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            )
        version = request.headers.get("x-github-api-version", _VERSIONS[0])
        if version not in _VERSIONS:
            raise Refused(400, f'The requested API version "{version}" is not supported.')
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        token = self.tokens.get(value) if kind.lower() in ("bearer", "token") else None
        if token is None or (token.expires is not None and token.expires <= self.now) or token.uses == 0:
            raise Refused(401, "Bad credentials" if value else "Requires authentication")
        if token.uses is not None:
            token.uses -= 1
        return token

    def _nowhere(self, _request: Request, _token: Token) -> Response:
        raise Refused(404, "Not Found")

    # -- the App ---------------------------------------------------------------------------------------------------

    def _as_app(self, handler: Callable[[Request, Record], Response]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            try:
                return handler(request, self._proven_app(request))
            except Refused as refused:
                return answer(refused.body, refused.status, refused.headers)

        return guarded

    def _proven_app(self, request: Request) -> Record:
        """Check the App's JWT: RS256, `iss`, `iat` not in the future, `exp` at most ten minutes away."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.app is None:
            raise Refused(401, "A JSON web token could not be decoded")
        try:
            claims = jwt.decode(
                token,
                self.app["public_key"],
                algorithms=["RS256"],
                options={"require": ["iat", "exp", "iss"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(401, f"A JSON web token could not be decoded: {error}") from error
        if str(claims["iss"]) != str(self.app["id"]):
            raise Refused(401, "'Issuer' claim ('iss') must be an Integer or the client id of the App")
        # The claims are on the asker's clock, which is the machine's.
        present = time.time()
        if claims["exp"] <= present or claims["exp"] > present + 600:
            raise Refused(401, "'Expiration time' claim ('exp') must be in the future and at most 10 minutes away")
        if claims["iat"] > present:
            raise Refused(
                401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            )
        return self.app

    def _installation(self, owner: Owner) -> Record:
        if self.app is None:
            raise Refused(404, "Not Found")
        id_ = owner.id + 1
        return {
            "id": id_,
            "account": account(owner.login, owner.id, owner.kind),
            "access_tokens_url": f"{API}/app/installations/{id_}/access_tokens",
            "repositories_url": f"{API}/installation/repositories",
            "html_url": f"https://github.com/organizations/{owner.login}/settings/installations/{id_}",
            "app_id": int(self.app["id"]),
            "app_slug": "datalake",
            "target_id": owner.id,
            "target_type": owner.kind,
            "permissions": {"metadata": "read", "issues": "read", "pull_requests": "read", "contents": "read"},
            "events": [],
            "created_at": iso(owner.created),
            "updated_at": iso(owner.updated),
            "single_file_name": None,
            "repository_selection": "all",
            "suspended_by": None,
            "suspended_at": None,
        }

    def _organizations(self) -> list[Owner]:
        return [owner for owner in self.world.owners.values() if owner.kind == "Organization"]

    def _installations(self, request: Request, _app: Record) -> Response:
        return paged(request, [self._installation(owner) for owner in self._organizations()])

    def _installation_of(self, request: Request, _app: Record) -> Response:
        owner = self.world.owners.get(request.path_params["org"])
        if owner is None:
            raise Refused(404, "Not Found")
        return answer(self._installation(owner))

    def _new_token(self, request: Request, _app: Record) -> Response:
        owner = next((o for o in self._organizations() if o.id + 1 == request.path_params["id"]), None)
        if owner is None:
            raise Refused(404, "Not Found")
        value = f"ghs_{secrets.token_urlsafe(180)}"
        token = Token(f"datalake[bot] of {owner.login}", (owner.login,), expires=self.now + 3_600, uses=self.token_uses)
        token.core.limit = token.graphql.limit = self.limit
        self.tokens[value] = token
        body = {"token": value, "expires_at": iso(self.now + 3_600), "permissions": {"metadata": "read"}}
        return answer({**body, "repository_selection": "all"}, 201)

    # -- lists -----------------------------------------------------------------------------------------------------

    def _rate_limit(self, _request: Request, token: Token) -> Response:
        def told(rate: Rate) -> Record:
            left = max(0, rate.limit - rate.used)
            return {"limit": rate.limit, "used": rate.used, "remaining": left, "reset": rate.reset(self.now)}

        search = {"limit": 30, "used": 0, "remaining": 30, "reset": self.now + 60}
        return answer({"resources": {"core": told(token.core), "graphql": told(token.graphql), "search": search}})

    def _user(self, request: Request, token: Token) -> Response:
        del request
        return answer(self.more.profile(self._who(token.login)))

    def _account(self, request: Request, _token: Token) -> Response:
        return answer(self._profile(self._who(request.path_params["login"])))

    def _account_by_id(self, request: Request, _token: Token) -> Response:
        return answer(self._profile(self._who(request.path_params["id"])))

    def _who(self, which: str | int) -> Record:
        """The person or organization of a login or id."""
        owners = self.world.owners.values()
        known = [account(owner.login, owner.id, owner.kind) for owner in owners]
        for person in [*known, *self.world.people, *(member for owner in owners for member in owner.members.values())]:
            if which in (person["login"], person["id"]):
                return person
        raise Refused(404, "Not Found")

    def _profile(self, person: Record) -> Record:
        """The profile, which takes note that it was shown where it is a member's."""
        for owner in self.world.owners.values():
            for row in self.more.told("users", owner) if person["id"] in owner.members else ():
                if row.record["id"] == person["id"]:
                    return row.show()
        return self.more.profile(person)

    def _user_orgs(self, request: Request, token: Token) -> Response:
        names = token.sees if token.member else ()
        addresses = [f"{what}_url" for what in ("repos", "events", "hooks", "issues", "members", "public_members", "avatar")]
        kept = ("login", "id", "node_id", "url", "description", *addresses)
        whole = [organization(self.world.owners[name], self.world.repositories.values()) for name in names]
        return paged(request, [{name: record[name] for name in kept} for record in whole])

    def _repositories(self, logins: Iterable[str], token: Token) -> list[Record]:
        owned = [r for r in self.world.repositories.values() if r.owner.login in logins and r.owner.login in token.sees]
        records = [repository_record(r) for r in sorted(owned, key=lambda r: r.full_name)]
        return [_with_clone_token(record) for record in records]

    def _user_repositories(self, request: Request, token: Token) -> Response:
        return paged(request, self._repositories([request.path_params.get("login", token.login)], token))

    def _installation_repositories(self, request: Request, token: Token) -> Response:
        if token.expires is None:
            raise Refused(403, "You must authenticate with an installation access token in order to list repositories")
        return paged(request, self._repositories(token.sees, token), wrap="repositories")

    def _owner(self, request: Request, token: Token) -> Owner:
        owner = self.world.owners.get(request.path_params["org"])
        if owner is None or owner.kind != "Organization" or owner.login not in token.sees:
            raise Refused(404, "Not Found")
        return owner

    def _of_organization(self, request: Request, token: Token) -> Response:
        return self.more_routes.of_organization(request, self._owner(request, token), request.path_params["rest"])

    def _of_organization_by_id(self, request: Request, token: Token) -> Response:
        for owner in self._organizations():
            if owner.id == request.path_params["id"] and owner.login in token.sees:
                return self.more_routes.of_organization(request, owner, request.path_params["rest"])
        raise Refused(404, "Not Found")

    def _organization(self, request: Request, token: Token) -> Response:
        return answer(organization(self._owner(request, token), self.world.repositories.values()))

    def _organization_repositories(self, request: Request, token: Token) -> Response:
        return paged(request, self._repositories([self._owner(request, token).login], token))

    def _members(self, request: Request, token: Token) -> Response:
        return paged(request, list(self._owner(request, token).members.values()))

    def _teams(self, request: Request, token: Token) -> Response:
        return paged(request, list(self._owner(request, token).teams.values()))

    def _team_members(self, request: Request, token: Token) -> Response:
        owner = self._owner(request, token)
        for team in owner.teams.values():
            if team.record["slug"] == request.path_params["slug"]:
                path = f"/organizations/{owner.id}/team/{team.id}/members"
                del path  # the list of a team's members keeps its path in the links
                return paged(request, self.world.team_members(owner, team))
        raise Refused(404, "Not Found")

    # -- repositories ----------------------------------------------------------------------------------------------

    def _by_name(self, request: Request, token: Token) -> Response:
        asked = f"{request.path_params['owner']}/{request.path_params['repo']}"
        repository = self.world.names.get(asked.lower())
        if repository is None or repository.owner.login not in token.sees:
            raise Refused(404, "Not Found")
        rest = request.path_params.get("rest", "")
        if repository.full_name.lower() != asked.lower():
            base = f"{request.url.scheme}://{request.url.netloc}"
            place = f"{base}/repositories/{repository.id}{'/' + rest if rest else ''}"
            place += f"?{request.url.query}" if request.url.query else ""
            raise Refused(301, "Moved Permanently", {"location": place}, url=place)
        return self._of_repository(request, repository, rest)

    def _by_id(self, request: Request, token: Token) -> Response:
        repository = self.world.repositories.get(request.path_params["id"])
        if repository is None or repository.owner.login not in token.sees:
            raise Refused(404, "Not Found")
        return self._of_repository(request, repository, request.path_params.get("rest", ""))

    def _of_repository(self, request: Request, repository: Repository, rest: str) -> Response:
        if not rest:
            record = self.more.told("repository_details", repository)[0].show()
            return answer(_with_clone_token(record))
        if "forbidden" in repository.traits:
            raise Refused(403, "Resource not accessible by personal access token")
        path = f"/repositories/{repository.id}/{rest}"
        query = request.query_params
        if rest.startswith("compare/"):
            return self._compare(request, repository, rest.removeprefix("compare/"), path)
        if rest.startswith("issues") and "no_issues" in repository.traits and rest != "issues/events":
            raise Refused(410, "Issues has been disabled in this repository.")
        if rest in _WHOLE and "since" not in query and query.get("page", "1") == "1":
            self.world.whole_list_read(repository, _WHOLE[rest])
        match rest:
            case "issues":
                state = query.get("state", "open")
                issues = [i for i in repository.issues.values() if state in ("all", i.data["state"])]
                return paged(request, _sorted(_since(issues, query), query, "desc"), path=path)
            case "issues/comments":
                return paged(request, _sorted(_since(repository.comments.values(), query), query, "asc"), path=path)
            case "pulls/comments":
                return paged(request, _sorted(_since(repository.review_comments.values(), query), query, "asc"), path=path)
            case "issues/events":
                return paged(request, repository.events[::-1], path=path)
            case "pulls":
                state = query.get("state", "open")
                pulls = [p for p in repository.pulls.values() if state in ("all", p.data["issue"].data["state"])]
                default = "desc" if query.get("sort", "created") == "created" else "asc"
                return paged(request, _sorted(pulls, query, default), path=path)
            case "labels":
                return paged(request, list(repository.labels.values()), path=path)
            case "milestones":
                return paged(request, list(repository.milestones.values()), path=path)
            case "releases":
                self.world.releases_read(repository)
                return paged(request, list(repository.releases.values())[::-1], path=path)
            case "commits":
                return self._commits(request, repository, path)
            case "contributors":
                people = self.world.contributors(repository)
                named = people if query.get("anon") in ("1", "true") else [p for p in people if "id" in p]
                return paged(request, named, path=path) if repository.head else Response(status_code=204)
            case "actions/workflows":
                return paged(request, list(repository.workflows.values()), "workflows", path)
            case "actions/runs":
                return self._runs(request, repository, path)
            case "stargazers":
                if whole(request, "page", 1, 10**9) > _DEEPEST_PAGE:
                    raise Refused(422, "In order to keep the API fast for everyone, pagination is limited for this resource.")
                dated = "star+json" in request.headers.get("accept", "")
                rows = [{"starred_at": iso(at), "user": user} if dated else user for at, user in repository.stars.values()]
                return paged(request, rows, path=path)
            case "traffic/views" | "traffic/clones":
                if repository.owner.login != "acme":
                    raise Refused(403, "Must have push access to repository")
                kind = rest.removeprefix("traffic/")
                days = self.world.traffic(repository, kind)
                return answer({"count": sum(d["count"] for d in days), "uniques": sum(d["uniques"] for d in days), kind: days})
        return self.more_routes.of_repository(request, repository, rest, path)

    def _commits(self, request: Request, repository: Repository, path: str) -> Response:
        if not repository.head:
            raise Refused(409, "Git Repository is empty.")
        query = request.query_params
        start = query.get("sha", "main")
        start = repository.head if start == "main" else start
        if start not in repository.commits:
            raise Refused(404, "Not Found")
        dates = query.get("since", ""), query.get("until", "9999")
        kept = [c for c in self.world.log(repository, start) if dates[0] <= iso(c.created) <= dates[1]]
        return paged(request, kept, path=path)

    def _compare(self, request: Request, repository: Repository, ends: str, path: str) -> Response:
        base, _, head = ends.partition("...")
        if base not in repository.commits or head not in repository.commits:
            raise Refused(404, "Not Found")
        ahead = self.world.ancestors(repository, head) - self.world.ancestors(repository, base)
        behind = self.world.ancestors(repository, base) - self.world.ancestors(repository, head)
        commits = sorted((repository.commits[sha] for sha in ahead), key=lambda c: (c.created, c.id))
        page = paged(request, commits, path=path)
        place = f"{repository.url}/compare/{ends}"
        html = f"{repository.html}/compare/{ends}"
        status = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
        body = {
            "url": place,
            "html_url": html,
            "permalink_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "base_commit": repository.commits[base].record,
            "merge_base_commit": repository.commits[base].record,
            "status": status,
            "ahead_by": len(ahead),
            "behind_by": len(behind),
            "total_commits": len(ahead),
            "commits": msgspec.json.decode(page.body),
        }
        return answer(body, headers={"link": page.headers["link"]} if "link" in page.headers else None)

    def _runs(self, request: Request, repository: Repository, path: str) -> Response:
        created = request.query_params.get("created", "")
        runs = sorted(repository.runs.values(), key=lambda r: (r.created, r.id), reverse=True)
        if created:
            low, high = _range(created)
            runs = [r for r in runs if low <= iso(r.created) <= high]
        return paged(request, runs, "workflow_runs", path, most=_MOST_FILTERED if created else None)

    # -- GraphQL ---------------------------------------------------------------------------------------------------

    async def _graphql(self, request: Request) -> Response:
        try:
            token = self._token(request)
        except Refused as refused:
            return answer(refused.body, refused.status, refused.headers)
        asked = await request.json()

        def rate(points: int) -> Record:
            exceeded = not token.graphql.take(points)
            left = max(0, token.graphql.limit - token.graphql.used)
            reset = iso(token.graphql.reset(self.now))
            used = {"used": token.graphql.used, "limit": token.graphql.limit, "remaining": left}
            return {"exceeded": exceeded, "resetAt": reset, **used}

        variables = asked.get("variables") or {}
        size = len(variables.get("ids") or ()) or variables.get("first") or 1
        if self.graphql_most is not None and size > self.graphql_most:
            message = "Something went wrong while executing your query. This may be the result of a timeout, or a bug."
            return answer({"data": None, "errors": [{"message": message}]}, headers=self._headers(token.graphql, "graphql"))
        body = self.graph.answer(asked["query"], variables, lambda r: r.owner.login in token.sees, rate)
        return answer(body, headers=self._headers(token.graphql, "graphql"))


def _with_clone_token(record: Record) -> Record:
    """A token to clone with, for private repositories only and new in every answer."""
    return {**record, "temp_clone_token": f"CLONE{secrets.token_hex(12)}"} if record["private"] else record


def _since(things: Iterable[Thing], query: Any) -> list[Thing]:
    return [thing for thing in things if iso(thing.updated) >= query.get("since", "")]


def _sorted(things: Sequence[Thing], query: Any, default: str) -> list[Thing]:
    when: Callable[[Thing], int] = lambda t: t.updated if query.get("sort") == "updated" else t.created  # noqa: E731 (a key)
    return sorted(things, key=lambda t: (when(t), t.id), reverse=query.get("direction", default) == "desc")


def _range(text: str) -> tuple[str, str]:
    """`A..B`, `>=A` or `<=B`, both ends inclusive."""
    if ".." in text:
        low, _, high = text.partition("..")
        return ("" if low == "*" else low), ("9999" if high == "*" else high)
    if text.startswith(">="):
        return text[2:], "9999"
    if text.startswith("<="):
        return "", text[2:]
    raise Refused(422, f"'{text}' is no range of dates")


def build(*, seed: int, scale: float, now: int, limits: bool) -> StandIn:
    return GitHub(World(seed=seed, scale=scale, now=now), limits=limits)
