"""The stand-in for GitHub against the official descriptions: its answers, its GraphQL schema, the queries that are sent."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from graphql import GraphQLObjectType, build_schema, parse, validate
from graphql.type import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType
from jsonschema import Draft202012Validator

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.github_graphql import SCHEMA, cost
from datalake.sandbox.github_more import More
from datalake.sandbox.github_world import World
from datalake.sources import github_graphql

SPECS = Path(__file__).parents[1] / "specs" / "github"
OPENAPI = json.loads((SPECS / "openapi.json").read_text())
OFFICIAL = build_schema((SPECS / "schema.graphql").read_text())
QUERIES = [name for name, value in vars(github_graphql).items() if isinstance(value, str) and value.startswith("query(")]
NOW = 1_795_000_000
TOKEN = {"Authorization": "Bearer ghp_sandbox"}
USUAL = {"User-Agent": "test", "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2026-03-10", **TOKEN}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("github", seed=11, scale=0.3, now=NOW) as server:
        server.advance(1)
        yield server


class Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(Unfollowed)


def ask(
    server: Server, path: str, headers: dict[str, str] | None = None, body: Any = None, method: str | None = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers (lower case) and decoded body."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(server.url + path, data, USUAL if headers is None else headers, method=method)
    try:
        with OPENER.open(request, timeout=20) as reply:
            status, told, content = reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            status, told, content = error.code, error.headers, error.read()
    return status, {k.lower(): v for k, v in told.items()}, json.loads(content) if content else None


def wrong(schema: dict[str, Any], body: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "schemas": OPENAPI["schemas"]})
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(body)]


def app_key() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


def compared(server: Server) -> str:
    commits = ask(server, "/repos/acme/platform/commits?per_page=40")[2]
    return f"{commits[-1]['sha']}...{commits[0]['sha']}"


ADDRESSES: dict[str, list[str]] = {
    "org": ["acme", "acme-labs"],
    "username": ["acme", "dev-00", "solo"],
    "team_slug": ["web", "storage", "platform"],
    "owner": ["acme"],
    "repo": ["platform", "api", "site", "handbook", "ideas", "legacy"],
}
PARENTS = {
    "{issue_number}": ("/repos/acme/platform/issues?state=all&per_page=60", "number"),
    "{pull_number}": ("/repos/acme/platform/pulls?state=all&per_page=30", "number"),
    "/comments/{comment_id}": ("/repos/acme/platform/comments?per_page=20", "id"),
    "/issues/comments/{comment_id}": ("/repos/acme/platform/issues/comments?per_page=20", "id"),
    "/pulls/comments/{comment_id}": ("/repos/acme/platform/pulls/comments?per_page=20", "id"),
    "{release_id}": ("/repos/acme/platform/releases?per_page=20", "id"),
    "{deployment_id}": ("/repos/acme/platform/deployments?per_page=10", "id"),
    "{ruleset_id}": ("/repos/acme/platform/rulesets", "id"),
    "{run_id}/attempts": ("/repos/acme/platform/actions/runs?per_page=100&page=2", "id"),
    "{run_id}": ("/repos/acme/platform/actions/runs?per_page=60", "id"),
    "{project_number}": ("/orgs/acme/projectsV2", "number"),
    "{account_id}": ("/orgs/acme/members", "id"),
    "/commits/{ref}/": ("/repos/acme/platform/pulls?state=all&per_page=10", "head.sha"),
    "/commits/{ref}": ("/repos/acme/platform/commits?per_page=60", "sha"),
}
"""For paths of what hangs on something: the list of those things, and the field that goes into the path."""
QUERY = {
    "/actions/runs/{run_id}/jobs": ["?filter=all&per_page=3"],
    "/packages": ["?package_type=npm", "?package_type=container&per_page=2"],
    "/settings/billing/usage": ["?year=2026&month=11", "?year=2026&month=2"],
    "/secret-scanning/alerts": ["?hide_secret=true", ""],
}


def addresses(path: str) -> Iterator[str]:
    """The path with its parameters filled in, in all ways."""
    for name, values in ADDRESSES.items():
        if f"{{{name}}}" in path:
            for value in values:
                yield from addresses(path.replace(f"{{{name}}}", value))
            return
    yield path


def below(server: Server, path: str) -> list[str]:
    """Addresses of what hangs on things of the largest repository or organization."""
    ending = max((ending for ending in PARENTS if ending in path), key=len)
    parents, field = PARENTS[ending]
    records = ask(server, parents)[2]
    records = records["workflow_runs"] if isinstance(records, dict) else records
    place = path.replace("{owner}", "acme").replace("{repo}", "platform").replace("{org}", "acme")
    name = ending[ending.index("{") : ending.index("}") + 1]
    found = []
    for record in records:
        value: Any = record
        for step in field.split("."):
            value = value[step]
        address = place.replace(name, str(value))
        attempts = range(1, record.get("run_attempt", 1)) if "{attempt_number}" in place else [0]
        found += [address.replace("{attempt_number}", str(attempt)) for attempt in attempts]
    assert found, f"the stand-in has nothing at {parents}"
    return found


@pytest.mark.parametrize("operation", [name for name in OPENAPI["paths"] if "/app" not in name and "installation" not in name])
def test_every_answer_is_one_that_github_would_give(server: Server, operation: str) -> None:
    described = OPENAPI["paths"][operation]
    path = operation.removeprefix("GET ")
    path = path.replace("{basehead}", compared(server)) if "basehead" in path else path
    usual = "?per_page=15" if "per_page" in described["query"] else ""
    usual += "&state=all" if path.endswith(("/issues", "/pulls", "/milestones")) else ""
    usual += "&anon=1" if path.endswith("{repo}/contributors") else ""
    queries = next((queries for ending, queries in QUERY.items() if path.endswith(ending)), [usual])
    hanging = any(ending in path for ending in PARENTS)
    served: list[Any] = []
    for address in below(server, path) if hanging else addresses(path):
        for query in queries:
            status, headers, body = ask(server, address + query)
            if status == 202:
                status, headers, body = ask(server, address + query)
            if status == 200:
                served.append(body)
            elif status == 204:
                assert str(status) in described["statuses"], address
            else:
                # The description leaves out statuses that every endpoint has.
                assert status in (403, 404, 409, 410), address
                assert wrong({"$ref": "#/schemas/basic-error"}, body) == [], address
            assert headers["x-ratelimit-resource"] == "core"
    something = any(rows(body) for body in served) or path == "/user/repos"  # the token's user owns none
    assert something, f"nothing was served for {operation}: the test would prove nothing"
    # In one go: to look each address up by itself costs ten times as much.
    assert wrong({"type": "array", "items": described["answer"]}, served) == []


def rows(body: Any) -> Any:
    """The records of an answer, whatever is around them."""
    lists = [value for value in body.values() if isinstance(value, list)] if isinstance(body, dict) else []
    return lists[0] if len(lists) == 1 and "total_count" in body else body


def test_answers_to_an_app_are_as_described(server: Server) -> None:
    private, public = app_key()
    server.control(app={"id": 99, "public_key": public})
    claims = {"iss": "99", "iat": int(time.time()) - 60, "exp": int(time.time()) + 500}
    proof = {"User-Agent": "test", "Authorization": f"Bearer {jwt.encode(claims, private, 'RS256')}"}
    status, _, installations = ask(server, "/app/installations", proof)
    assert status == 200
    # The description of this list wants an account to be a user and an enterprise at once; that of one installation does not.
    assert wrong({"type": "array", "items": {"$ref": "#/schemas/installation"}}, installations) == []
    _, _, installation = ask(server, "/orgs/acme/installation", proof)
    assert wrong(OPENAPI["paths"]["GET /orgs/{org}/installation"]["answer"], installation) == []
    path = "/app/installations/{installation_id}/access_tokens"
    status, _, token = ask(server, path.format(installation_id=installation["id"]), proof, {}, "POST")
    assert status == 201
    assert wrong(OPENAPI["paths"][f"POST {path}"]["answer"], token) == []
    seen = {"User-Agent": "test", "Authorization": f"Bearer {token['token']}"}
    _, _, repositories = ask(server, "/installation/repositories?per_page=20", seen)
    assert wrong(OPENAPI["paths"]["GET /installation/repositories"]["answer"], repositories) == []
    assert ask(server, "/orgs/acme-labs/repos", seen)[0] == 404, "a token opens one installation"
    assert ask(server, "/installation/repositories")[0] == 403, "a personal token is no installation's"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"exp": 1_000}, "at most 10 minutes away"),
        ({"exp": -5}, "must be in the future"),
        ({"iat": 300}, "Issued at"),
        ({"iss": "100"}, "Issuer"),
        ({"key": "other"}, "Signature verification failed"),
        ({"algorithm": "HS256"}, "could not be decoded"),
    ],
)
def test_an_app_must_prove_itself(server: Server, change: dict[str, Any], message: str) -> None:
    private, public = app_key()
    server.control(app={"id": 99, "public_key": public})
    present = int(time.time())
    claims = {"iss": change.get("iss", "99"), "iat": present + change.get("iat", -60), "exp": present + change.get("exp", 500)}
    key = app_key()[0] if "key" in change else "k" * 32 if "algorithm" in change else private
    proof = jwt.encode(claims, key, change.get("algorithm", "RS256"))
    status, _, body = ask(server, "/app/installations", {"User-Agent": "test", "Authorization": f"Bearer {proof}"})
    assert status == 401
    assert message in body["message"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"User-Agent": "", **TOKEN}, 403),
        ({"User-Agent": "test"}, 401),
        ({"User-Agent": "test", "Authorization": "Bearer ghp_wrong"}, 401),
        ({**USUAL, "X-GitHub-Api-Version": "1999-01-01"}, 400),
        ({**USUAL, "Authorization": "token ghp_sandbox"}, 200),
    ],
)
def test_who_may_ask(server: Server, headers: dict[str, str], status: int) -> None:
    assert ask(server, "/user", headers)[0] == status


def test_paging_follows_github(server: Server) -> None:
    _, headers, page = ask(server, "/repos/acme/platform/issues?state=all&per_page=500")
    assert len(page) == 100, "at most 100 a page"
    assert "/repositories/" in headers["link"], "links name the repository by its id"
    assert 'rel="next"' in headers["link"]
    assert 'rel="last"' in headers["link"]
    assert 'rel="prev"' not in headers["link"]
    assert len(ask(server, "/repos/acme/platform/issues?state=all")[2]) == 30
    assert ask(server, "/repos/acme/platform/issues?state=all&page=9999")[2] == []
    status, _, body = ask(server, "/repos/acme/platform/stargazers?page=401")
    assert (status, "pagination is limited" in body["message"]) == (422, True)


def test_a_renamed_repository_points_to_its_id(server: Server) -> None:
    status, headers, body = ask(server, "/repos/acme/web/labels?per_page=5")
    assert status == 301
    assert headers["location"].startswith(f"{server.url}/repositories/")
    assert body["message"] == "Moved Permanently"
    assert ask(server, headers["location"].removeprefix(server.url))[0] == 200


def test_an_etag_belongs_to_a_token_and_spares_the_limit(server: Server) -> None:
    _, headers, _ = ask(server, "/orgs/acme/teams")
    status, again, _ = ask(server, "/orgs/acme/teams", {**USUAL, "If-None-Match": headers["etag"]})
    assert (status, again["x-ratelimit-used"]) == (304, headers["x-ratelimit-used"])


def test_lists_with_a_cursor_know_no_page_numbers(server: Server) -> None:
    path = "/orgs/acme/dependabot/alerts?per_page=40"
    _, headers, page = ask(server, path)
    assert ask(server, f"{path}&page=2")[2] == page
    assert "after=" in headers["link"]
    assert "page=2" not in headers["link"]
    following = headers["link"].partition("<")[2].partition(">")[0].removeprefix(server.url)
    assert {alert["number"] for alert in ask(server, following)[2]}.isdisjoint(alert["number"] for alert in page)
    assert ask(server, f"{path}&after=nonsense")[0] == 422


def test_statistics_are_computed_when_they_are_asked_for(server: Server) -> None:
    path = "/repos/acme/mobile/stats/code_frequency"
    assert [ask(server, path)[0] for _ in range(3)] == [202, 200, 200]
    assert ask(server, "/repos/acme/ideas/stats/code_frequency")[0] == 204


def test_features_that_are_off_are_refused_as_github_does(server: Server) -> None:
    assert ask(server, "/orgs/acme-labs/code-scanning/alerts")[0] == 403
    assert ask(server, "/orgs/acme-labs/secret-scanning/alerts")[0] == 404
    assert ask(server, "/orgs/acme-labs/copilot/billing/seats")[0] == 404
    assert ask(server, "/repos/acme/docs/dependency-graph/sbom")[0] == 403
    assert ask(server, "/repos/acme/api/community/profile")[0] == 404
    assert ask(server, "/repos/acme/design/readme")[0] == 404
    assert ask(server, "/repos/acme/handbook/issues/1/timeline")[0] == 410
    assert ask(server, "/repos/acme/platform/commits/" + "0" * 40)[0] == 422
    assert ask(server, "/orgs/acme/packages")[0] == 400


def test_a_leaked_secret_is_hidden_where_that_is_asked(server: Server) -> None:
    open_ = ask(server, "/orgs/acme/secret-scanning/alerts")[2]
    assert all(alert["secret"].startswith("AKIALEAKED") for alert in open_)
    hidden = ask(server, "/orgs/acme/secret-scanning/alerts?hide_secret=true")[2]
    assert not any(alert["secret"] for alert in hidden)


def test_cards_come_with_their_title_only_unless_fields_are_named(server: Server) -> None:
    number = ask(server, "/orgs/acme/projectsV2")[2][0]["number"]
    place = f"/orgs/acme/projectsV2/{number}"
    fields = [field["id"] for field in ask(server, f"{place}/fields")[2]]
    assert {field["name"] for card in ask(server, f"{place}/items")[2] for field in card["fields"]} == {"Title"}
    named = ask(server, f"{place}/items?fields={','.join(map(str, fields))}")[2]
    assert all(len(card["fields"]) == len(fields) > 1 for card in named)


def test_runs_that_are_filtered_end_at_a_thousand() -> None:
    with running("github", seed=11, scale=0.5, now=NOW) as server:
        path = "/repos/acme/platform/actions/runs?per_page=100"
        _, headers, body = ask(server, f"{path}&created=%3E%3D2026-01-01T00:00:00Z")
        assert body["total_count"] > 1_000
        assert "page=10>" in headers["link"].replace("&created=%3E%3D2026-01-01T00%3A00%3A00Z", "")
        assert ask(server, f"{path}&created=%3E%3D2026-01-01T00:00:00Z&page=11")[2]["workflow_runs"] == []
        assert len(ask(server, f"{path}&page=11")[2]["workflow_runs"]) == 100


def test_the_same_seed_gives_the_same_world() -> None:
    def told(seed: int) -> str:
        world = World(seed=seed, scale=0.1, now=NOW)
        world.advance(3 * 86_400)
        more = More(world)
        told = [row.record for table in ("issues", "commits", "stargazers") for row in world.ledger(table, ["acme"])]
        told += [row.record for table in more.kinds for row in more.ledger(table, [world.owners["acme"]])]
        return json.dumps(told)

    assert told(1) == told(1)
    assert told(1) != told(2)


# -- GraphQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
def test_the_queries_that_are_sent_are_valid_at_github(name: str) -> None:
    assert validate(OFFICIAL, parse(getattr(github_graphql, name))) == []


def test_all_queries_are_found() -> None:
    of_pulls = {"PULL_REQUEST_DETAILS", "PULL_REQUEST_REVIEWS", "MORE_REVIEWS"}
    of_comments = {"DISCUSSION_COMMENTS", "MORE_DISCUSSION_COMMENTS", "MORE_REPLIES"}
    assert {"STARGAZERS", "DISCUSSIONS", "DISCUSSION_CATEGORIES"} | of_pulls | of_comments == set(QUERIES)


@pytest.mark.parametrize(
    "name, query",
    [
        ("stargazers", "STARGAZERS"),
        ("discussions", "DISCUSSIONS"),
        ("pull_request_details", "PULL_REQUEST_DETAILS"),
        ("pull_request_reviews", "PULL_REQUEST_REVIEWS"),
        ("discussion_categories", "DISCUSSION_CATEGORIES"),
        ("discussion_comments", "DISCUSSION_COMMENTS"),
        ("discussion_comments", "MORE_DISCUSSION_COMMENTS"),
        ("discussion_comments", "MORE_REPLIES"),
    ],
)
def test_the_queries_bring_every_column_of_their_table(name: str, query: str) -> None:
    table = contracts.load_source("github").tables[name]
    sent = getattr(github_graphql, query)
    for column in table.columns:
        if not column.from_request:
            assert all(f"{step}" in sent for step in column.field), column.name


def test_the_schema_is_an_excerpt_of_the_official_one() -> None:
    ours = build_schema(SCHEMA)
    for name, type_ in ours.type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Boolean", "ID", "Float"):
            continue
        official = OFFICIAL.type_map[name]
        assert type(official) is type(type_), name
        if isinstance(type_, GraphQLEnumType) and isinstance(official, GraphQLEnumType):
            assert set(type_.values) <= set(official.values), name
        if isinstance(type_, GraphQLObjectType) and isinstance(official, GraphQLObjectType):
            assert {i.name for i in type_.interfaces} <= {i.name for i in official.interfaces}, name
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field, told in type_.fields.items():
                assert str(told.type) == str(official.fields[field].type), f"{name}.{field}"
                for argument, said in getattr(told, "args", {}).items():
                    assert str(said.type) == str(official.fields[field].args[argument].type), f"{name}.{field}({argument})"


def graph(server: Server, query: str, **variables: Any) -> dict[str, Any]:
    body: dict[str, Any] = ask(server, "/graphql", USUAL, {"query": query, "variables": variables})[2]
    return body


def test_graphql_tells_its_errors_with_status_200(server: Server) -> None:
    assert "Cannot query field" in graph(server, "{ nothing }")["errors"][0]["message"]
    gone = graph(server, '{ node(id: "R_none") { id } }')
    assert (gone["data"], gone["errors"][0]["type"], gone["errors"][0]["path"]) == ({"node": None}, "NOT_FOUND", ["node"])
    refused = graph(server, '{ repository(owner: "acme", name: "vault") { id } }')
    assert refused["errors"][0]["type"] == "FORBIDDEN"
    too_many = '{ repository(owner: "acme", name: "tools") { stargazers(first: 101) { totalCount } } }'
    assert graph(server, too_many)["errors"][0]["type"] == "EXCESSIVE_PAGINATION"


def test_graphql_pages_hold_every_row_once(server: Server) -> None:
    query = """query($after: String) { repository(owner: "acme", name: "platform") { stargazers(
        first: 7, after: $after, orderBy: {field: STARRED_AT, direction: DESC}) {
        totalCount pageInfo { hasNextPage endCursor } edges { starredAt node { login } } } } }"""
    seen, after = [], None
    while True:
        page = graph(server, query, after=after)["data"]["repository"]["stargazers"]
        seen += [(edge["starredAt"], edge["node"]["login"]) for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
        assert base64.b64decode(after)
    assert len(set(seen)) == len(seen) == page["totalCount"]
    assert [at for at, _ in seen] == sorted((at for at, _ in seen), reverse=True)


def test_the_cost_of_a_query_follows_the_published_rule() -> None:
    """The example of the documentation on rate limits: 5,101 requests are 51 points."""
    query = """query { viewer { repositories(first: 100) { nodes { issues(first: 50) { nodes { labels(first: 60) {
        nodes { id } } } } } } } }"""
    assert cost(parse(query), {}) == (51, 100 + 100 * 50 + 100 * 50 * 60)
