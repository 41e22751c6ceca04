"""Derives the excerpts of this folder from the official files: `python derive.py FOLDER`.

FOLDER holds `api.github.com.json` (npm @octokit/openapi), `schema.graphql` (@octokit/graphql-schema) and `recorded/`
(the scenarios of @octokit/fixtures). Run by hand when those are renewed; nothing else needs it.
"""

import copy
import json
import sys
from pathlib import Path

from graphql import build_schema, parse, print_ast, validate_schema
from graphql.language import ast

HERE = Path(__file__).parent
VERSION = "2026-03-10"
PATHS = """
/rate_limit
/user
/user/orgs
/user/repos
/users/{username}
/users/{username}/repos
/orgs/{org}
/orgs/{org}/repos
/orgs/{org}/members
/orgs/{org}/teams
/orgs/{org}/teams/{team_slug}/members
/repos/{owner}/{repo}
/repos/{owner}/{repo}/issues
/repos/{owner}/{repo}/issues/comments
/repos/{owner}/{repo}/issues/events
/repos/{owner}/{repo}/labels
/repos/{owner}/{repo}/milestones
/repos/{owner}/{repo}/pulls
/repos/{owner}/{repo}/pulls/comments
/repos/{owner}/{repo}/commits
/repos/{owner}/{repo}/compare/{basehead}
/repos/{owner}/{repo}/releases
/repos/{owner}/{repo}/actions/workflows
/repos/{owner}/{repo}/actions/runs
/repos/{owner}/{repo}/stargazers
/repos/{owner}/{repo}/contributors
/repos/{owner}/{repo}/traffic/views
/repos/{owner}/{repo}/traffic/clones
/organizations/{org}/settings/billing/usage
/orgs/{org}/code-scanning/alerts
/orgs/{org}/copilot/billing/seats
/orgs/{org}/dependabot/alerts
/orgs/{org}/events
/orgs/{org}/issue-types
/orgs/{org}/outside_collaborators
/orgs/{org}/packages
/orgs/{org}/projectsV2
/orgs/{org}/projectsV2/{project_number}/fields
/orgs/{org}/projectsV2/{project_number}/items
/orgs/{org}/properties/values
/orgs/{org}/secret-scanning/alerts
/orgs/{org}/teams/{team_slug}/memberships/{username}
/orgs/{org}/teams/{team_slug}/repos
/repos/{owner}/{repo}/actions/artifacts
/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}
/repos/{owner}/{repo}/actions/runs/{run_id}/jobs
/repos/{owner}/{repo}/activity
/repos/{owner}/{repo}/assignees
/repos/{owner}/{repo}/branches
/repos/{owner}/{repo}/collaborators
/repos/{owner}/{repo}/comments
/repos/{owner}/{repo}/comments/{comment_id}/reactions
/repos/{owner}/{repo}/commits/{ref}
/repos/{owner}/{repo}/commits/{ref}/check-runs
/repos/{owner}/{repo}/commits/{ref}/check-suites
/repos/{owner}/{repo}/commits/{ref}/statuses
/repos/{owner}/{repo}/community/profile
/repos/{owner}/{repo}/dependency-graph/sbom
/repos/{owner}/{repo}/deployments
/repos/{owner}/{repo}/deployments/{deployment_id}/statuses
/repos/{owner}/{repo}/environments
/repos/{owner}/{repo}/events
/repos/{owner}/{repo}/forks
/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions
/repos/{owner}/{repo}/issues/{issue_number}/reactions
/repos/{owner}/{repo}/issues/{issue_number}/sub_issues
/repos/{owner}/{repo}/issues/{issue_number}/timeline
/repos/{owner}/{repo}/languages
/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions
/repos/{owner}/{repo}/pulls/{pull_number}/commits
/repos/{owner}/{repo}/pulls/{pull_number}/files
/repos/{owner}/{repo}/readme
/repos/{owner}/{repo}/releases/{release_id}/reactions
/repos/{owner}/{repo}/rulesets
/repos/{owner}/{repo}/rulesets/{ruleset_id}
/repos/{owner}/{repo}/security-advisories
/repos/{owner}/{repo}/stats/code_frequency
/repos/{owner}/{repo}/stats/commit_activity
/repos/{owner}/{repo}/stats/contributors
/repos/{owner}/{repo}/subscribers
/repos/{owner}/{repo}/tags
/repos/{owner}/{repo}/traffic/popular/paths
/repos/{owner}/{repo}/traffic/popular/referrers
/user/{account_id}
/app/installations
/orgs/{org}/installation
/installation/repositories
/app/installations/{installation_id}/access_tokens
""".split()
KEPT_TYPES = set(
    """
Actor Bot Commit Discussion DiscussionCategory DiscussionCategoryConnection DiscussionComment DiscussionCommentConnection DiscussionConnection DiscussionOrder DiscussionOrderField EnterpriseUserAccount IssueCommentConnection IssueConnection Mannequin Node OrderDirection Organization PageInfo PullRequest PullRequestCommitConnection PullRequestConnection PullRequestReview PullRequestReviewConnection PullRequestReviewThreadConnection Query RateLimit Repository RepositoryOwner StarOrder StarOrderField StargazerConnection StargazerEdge User
""".split()
)
SCALARS = {"Int", "Float", "String", "Boolean", "ID"}
KEPT_HEADERS = """link location etag last-modified date content-type x-github-request-id x-ratelimit-limit x-ratelimit-remaining
x-ratelimit-reset x-ratelimit-used x-ratelimit-resource x-github-api-version-selected x-github-media-type""".split()


# -- REST --------------------------------------------------------------------------------------------------------------


def merged(target, patch):
    """`target` changed by a merge patch (null removes) or a list of JSON patch operations."""
    if isinstance(patch, list):
        for step in patch:
            *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
            place = target
            for part in parents:
                place = place[int(part)] if isinstance(place, list) else place[part]
            if step["op"] == "remove":
                del place[int(last) if isinstance(place, list) else last]
            elif isinstance(place, list):
                place.insert(int(last), step["value"])
            else:
                place[last] = step["value"]
        return
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merged(target[key], value)
        else:
            target[key] = value


def to_version(node):
    """Apply the breaking changes of the version, which sit beside what they change."""
    if isinstance(node, list):
        for item in node:
            to_version(item)
    elif isinstance(node, dict):
        changes = node.pop("x-github-breaking-changes", [])
        for value in list(node.values()):
            to_version(value)
        for change in changes:
            assert change["version"] == VERSION
            merged(node, copy.deepcopy(change["patch"]))
        if changes and isinstance(node.get("required"), list) and "properties" in node:
            node["required"] = [name for name in node["required"] if name in node["properties"]]


def schema(node):
    """OpenAPI 3.0 as JSON Schema, without prose and examples."""
    if isinstance(node, list):
        return [schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        prose = key in ("description", "title") and isinstance(value, str)
        example = key in ("example", "examples") and not (isinstance(value, dict) and "type" in value)
        if not prose and not example and key not in ("x-github", "externalDocs", "deprecated"):
            kept[key] = schema(value)
    if not kept.pop("nullable", False):
        return kept
    if not isinstance(kept.get("type"), str):
        return {"anyOf": [kept, {"type": "null"}]}
    kept["type"] = [kept["type"], "null"]
    if "enum" in kept and None not in kept["enum"]:
        kept["enum"] = [*kept["enum"], None]
    return kept


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def openapi(folder):
    whole = json.loads((folder / "api.github.com.json").read_text())
    to_version(whole)
    components = whole["components"]

    def resolved(node, kind):
        return components[kind][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    paths, schemas, todo = {}, {}, ["basic-error", "validation-error"]
    for path in PATHS:
        method = "post" if path.endswith("access_tokens") else "get"
        operation = whole["paths"][path][method]
        good = next(operation["responses"][status] for status in ("200", "201") if status in operation["responses"])
        answer = schema(resolved(good, "responses")["content"]["application/json"]["schema"])
        parameters = [resolved(parameter, "parameters") for parameter in operation.get("parameters", [])]
        query = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
        paths[f"{method.upper()} {path}"] = {"answer": answer, "statuses": sorted(operation["responses"]), "query": query}
        todo += references(answer)
    while todo:
        name = todo.pop()
        if name not in schemas:
            schemas[name] = schema(components["schemas"][name])
            todo += references(schemas[name])
    # Some payloads of events ask for no member, so that what fits any other one fits them, too: `oneOf` can never hold.
    payload = schemas["event"]["properties"]["payload"]
    payload["anyOf"] = payload.pop("oneOf")
    info = (
        "Excerpt of the official description of the REST API of github.com (npm @octokit/openapi 23.0.2): the answers of the "
        "endpoints that the connector reads, as JSON Schema, with the breaking changes of API version 2026-03-10 applied."
    )

    def one_a_line(entries):
        lines = (f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'), sort_keys=True)}" for k, v in sorted(entries.items()))
        return ",\n".join(lines)

    text = f'{{"info":{json.dumps(info)},\n"paths":{{\n{one_a_line(paths)}\n}},\n"schemas":{{\n{one_a_line(schemas)}\n}}}}\n'
    return text.replace("#/components/schemas/", "#/schemas/")


# -- GraphQL -----------------------------------------------------------------------------------------------------------


def named(type_):
    while hasattr(type_, "type"):
        type_ = type_.type
    return type_.name.value


def graphql(folder):
    document = parse((folder / "schema.graphql").read_text())
    types = {d.name.value: d for d in document.definitions if getattr(d, "name", None)}
    plain = {n for n, d in types.items() if isinstance(d, ast.ScalarTypeDefinitionNode | ast.EnumTypeDefinitionNode)}
    known = KEPT_TYPES | SCALARS | plain
    used = set()
    for name in KEPT_TYPES:
        kept = types[name]
        if isinstance(kept, ast.ObjectTypeDefinitionNode | ast.InterfaceTypeDefinitionNode):
            kept.interfaces = tuple(i for i in kept.interfaces if i.name.value in KEPT_TYPES)
            kept.fields = tuple(f for f in kept.fields if named(f.type) in known)
            for field in kept.fields:
                field.arguments = tuple(a for a in field.arguments if named(a.type) in known)
                field.directives = tuple(d for d in field.directives if d.name.value == "deprecated")
                used |= {named(field.type), *(named(a.type) for a in field.arguments)}
        elif isinstance(kept, ast.InputObjectTypeDefinitionNode):
            used |= {named(field.type) for field in kept.fields}
    shown = [types[name] for name in sorted(KEPT_TYPES)] + [types[name] for name in sorted(used - KEPT_TYPES - SCALARS)]
    for type_ in shown:
        type_.description, type_.directives = None, ()
        for part in [*(getattr(type_, "fields", None) or ()), *(getattr(type_, "values", None) or ())]:
            part.description = None
            if not isinstance(part, ast.FieldDefinitionNode):
                part.directives = ()
            for argument in getattr(part, "arguments", ()):
                argument.description, argument.directives = None, ()
    head = (
        "# Excerpt of the official GraphQL schema of github.com (npm @octokit/graphql-schema 15.26.1): the types around the\n"
        "# queries that the connector sends, with every field whose type is here too; descriptions left out.\n\n"
    )
    text = head + "\n\n".join(print_ast(type_) for type_ in shown) + "\n"
    assert validate_schema(build_schema(text)) == []
    return text


# -- recorded answers --------------------------------------------------------------------------------------------------


def recorded(folder):
    def read(answer):
        return answer["method"] == "get"

    def made(answer):
        return answer["method"] == "post" and answer["path"].endswith("-org/repos")

    wanted = {
        "get-organization": read,
        "get-repository": read,
        "paginate-issues": lambda a: read(a) or made(a),
        "labels": lambda a: made(a) or (read(a) and a["path"].endswith("/labels")),
        "release-assets": lambda a: made(a) or (read(a) and ("/tags/" in a["path"] or a["path"].endswith("/assets"))),
        "rename-repository": lambda a: read(a) or made(a),
        "errors": lambda a: a["status"] == 422,
    }
    lines = []
    for scenario, wants in wanted.items():
        for answer in json.loads((folder / "recorded" / scenario / "raw-fixture.json").read_text()):
            if wants(answer):
                headers = answer["rawHeaders"]
                headers = headers if isinstance(headers, dict) else dict(zip(headers[::2], headers[1::2], strict=True))
                kept = {
                    "scenario": scenario,
                    "method": answer["method"].upper(),
                    "path": answer["path"],
                    "status": answer["status"],
                    "headers": {k: v for k, v in headers.items() if k.lower() in KEPT_HEADERS},
                    "body": answer["response"],
                }
                lines.append(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    official = Path(sys.argv[1])
    (HERE / "openapi.json").write_text(openapi(official))
    (HERE / "schema.graphql").write_text(graphql(official))
    (HERE / "recorded.json").write_text(recorded(official))
