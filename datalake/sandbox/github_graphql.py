"""GraphQL of the stand-in for GitHub: an excerpt of the official schema over the same world. HTTP lives in `github.py`."""

from __future__ import annotations

import base64
import bisect
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo, build_schema, execute_sync, parse, validate
from graphql.language import ast

from datalake.sandbox.base import Row
from datalake.sandbox.github_more import More
from datalake.sandbox.github_records import Record, Repository, Thing, Told, iso, pull_details, star
from datalake.sandbox.github_world import World

SCHEMA = """
type Query {
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]!
  rateLimit(dryRun: Boolean = false): RateLimit
  repository(followRenames: Boolean = true, name: String!, owner: String!): Repository
}
interface Node { id: ID! }
interface Actor { avatarUrl(size: Int): URI!  login: String!  resourcePath: URI!  url: URI! }
scalar URI
scalar DateTime
scalar BigInt
scalar GitObjectID
type RateLimit { cost: Int!  limit: Int!  nodeCount: Int!  remaining: Int!  resetAt: DateTime!  used: Int! }
type PageInfo { endCursor: String  hasNextPage: Boolean! }
type User implements Actor & Node {
  avatarUrl(size: Int): URI!  databaseId: Int  id: ID!  isSiteAdmin: Boolean!  login: String!  resourcePath: URI!  url: URI!
}
type Bot implements Actor & Node {
  avatarUrl(size: Int): URI!  databaseId: Int  id: ID!  login: String!  resourcePath: URI!  url: URI!
}
type Mannequin implements Actor & Node {
  avatarUrl(size: Int): URI!  databaseId: Int  id: ID!  login: String!  resourcePath: URI!  url: URI!
}
type EnterpriseUserAccount implements Actor & Node {
  avatarUrl(size: Int): URI!  id: ID!  login: String!  resourcePath: URI!  url: URI!
}
type Organization implements Actor & Node {
  avatarUrl(size: Int): URI!  databaseId: Int  id: ID!  login: String!  resourcePath: URI!  url: URI!
}
type Repository implements Node {
  databaseId: Int
  discussionCategories(after: String, first: Int): DiscussionCategoryConnection!
  discussions(after: String, first: Int, orderBy: DiscussionOrder = {field: UPDATED_AT, direction: DESC}): DiscussionConnection!
  id: ID!
  nameWithOwner: String!
  stargazers(after: String, first: Int, orderBy: StarOrder): StargazerConnection!
}
enum OrderDirection { ASC DESC }
enum StarOrderField { STARRED_AT }
input StarOrder { direction: OrderDirection!  field: StarOrderField! }
enum DiscussionOrderField { CREATED_AT UPDATED_AT }
input DiscussionOrder { direction: OrderDirection!  field: DiscussionOrderField! }
type StargazerConnection { edges: [StargazerEdge]  pageInfo: PageInfo!  totalCount: Int! }
type StargazerEdge { cursor: String!  node: User!  starredAt: DateTime! }
type DiscussionConnection { nodes: [Discussion]  pageInfo: PageInfo!  totalCount: Int! }
type DiscussionCategoryConnection { nodes: [DiscussionCategory]  pageInfo: PageInfo!  totalCount: Int! }
type DiscussionCategory implements Node {
  createdAt: DateTime!
  description: String
  emoji: String!
  id: ID!
  isAnswerable: Boolean!
  name: String!
  slug: String!
  updatedAt: DateTime!
}
type DiscussionCommentConnection { nodes: [DiscussionComment]  pageInfo: PageInfo!  totalCount: Int! }
type DiscussionComment implements Node {
  author: Actor
  authorAssociation: CommentAuthorAssociation!
  body: String!
  createdAt: DateTime!
  databaseId: Int
  deletedAt: DateTime
  id: ID!
  isAnswer: Boolean!
  replies(after: String, first: Int): DiscussionCommentConnection!
  replyTo: DiscussionComment
  updatedAt: DateTime!
  upvoteCount: Int!
  url: URI!
}
enum DiscussionStateReason { DUPLICATE OUTDATED REOPENED RESOLVED }
enum CommentAuthorAssociation {
  COLLABORATOR CONTRIBUTOR FIRST_TIMER FIRST_TIME_CONTRIBUTOR MANNEQUIN MEMBER NONE OWNER
}
type Discussion implements Node {
  answer: DiscussionComment
  answerChosenAt: DateTime
  answerChosenBy: Actor
  author: Actor
  authorAssociation: CommentAuthorAssociation!
  body: String!
  category: DiscussionCategory!
  closed: Boolean!
  closedAt: DateTime
  comments(after: String, first: Int): DiscussionCommentConnection!
  createdAt: DateTime!
  databaseId: Int
  id: ID!
  isAnswered: Boolean
  lastEditedAt: DateTime
  locked: Boolean!
  number: Int!
  publishedAt: DateTime
  stateReason: DiscussionStateReason
  title: String!
  updatedAt: DateTime!
  upvoteCount: Int!
  url: URI!
}
enum PullRequestState { CLOSED MERGED OPEN }
type Commit implements Node { id: ID!  oid: GitObjectID! }
type IssueCommentConnection { totalCount: Int! }
type PullRequestCommitConnection { totalCount: Int! }
type PullRequestReviewThreadConnection { totalCount: Int! }
type PullRequest implements Node {
  additions: Int!
  changedFiles: Int!
  closedAt: DateTime
  comments(first: Int): IssueCommentConnection!
  commits(first: Int): PullRequestCommitConnection!
  createdAt: DateTime!
  deletions: Int!
  fullDatabaseId: BigInt
  id: ID!
  maintainerCanModify: Boolean!
  mergeCommit: Commit
  merged: Boolean!
  mergedAt: DateTime
  mergedBy: Actor
  number: Int!
  reviewThreads(first: Int): PullRequestReviewThreadConnection!
  reviews(after: String, first: Int): PullRequestReviewConnection
  state: PullRequestState!
  updatedAt: DateTime!
  url: URI!
}
type PullRequestReviewConnection { nodes: [PullRequestReview]  pageInfo: PageInfo!  totalCount: Int! }
enum PullRequestReviewState { APPROVED CHANGES_REQUESTED COMMENTED DISMISSED PENDING }
type PullRequestReview implements Node {
  author: Actor
  authorAssociation: CommentAuthorAssociation!
  body: String!
  commit: Commit
  fullDatabaseId: BigInt
  id: ID!
  state: PullRequestReviewState!
  submittedAt: DateTime
  url: URI!
}
"""

_SCHEMA = build_schema(SCHEMA)


class Graph:
    """Answers queries over the world. `visible` tells whether the asker may see a repository."""

    def __init__(self, world: World, more: More) -> None:
        self.world = world
        self.more = more

    def answer(
        self, query: str, variables: Record, visible: Callable[[Repository], bool], rate: Callable[[int], Record]
    ) -> Record:
        """The body of the answer. `rate` takes the query's cost in points and tells what is left of the budget."""
        try:
            document = parse(query)
        except GraphQLError as error:
            return {"errors": [{"message": error.message, "locations": _places(error)}]}
        if wrong := validate(_SCHEMA, document):
            return {"errors": [{"message": error.message, "locations": _places(error)} for error in wrong]}
        points, nodes = cost(document, variables)
        if nodes > 500_000:
            message = f"By the time this query traverses to the end, it may return {nodes:,} nodes, more than 500,000."
            return {"data": None, "errors": [{"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message}]}
        told = rate(points)
        if told["exceeded"]:
            return {"data": None, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit already exceeded."}]}
        root = {
            "node": lambda _info, id: self._node(id, visible),  # noqa: A006 - GraphQL's own name of the argument
            "nodes": lambda info, ids: self._nodes(info, ids, visible),
            "repository": lambda _info, owner, name, **_: self._by_name(owner, name, visible),
            "rateLimit": {**told, "cost": points, "nodeCount": nodes},
        }
        result = execute_sync(_SCHEMA, document, root, variable_values=variables, type_resolver=_type)
        errors = [_error(error) for error in result.errors or ()]
        return {"data": result.data} | ({"errors": errors} if errors else {})

    def _node(self, node: str, visible: Callable[[Repository], bool]) -> Record | GraphQLError:
        for repository in self.world.repositories.values():
            if repository.node == node:
                return self._repository(repository, visible)
        known = self.world.nodes.get(node) or self._discussion_of(node)
        if known is None or not visible(known[0]):
            return _told("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'.")
        repository, thing = known
        if "forbidden" in repository.traits:
            return _told("FORBIDDEN", "Resource not accessible by personal access token")
        if thing.id in repository.pulls:
            return _pull(thing, repository)
        if node == thing.node:
            return {**_discussion(thing), "__typename": "Discussion", "comments": partial(self._comments, thing)}
        for comment, replies in self.more.thread(thing):
            if comment.record["id"] == node:
                return self._comment(comment, replies, self._seen(thing))
        return _told("NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'.")

    def _discussion_of(self, node: str) -> tuple[Repository, Thing] | None:
        """The discussion that a comment belongs to."""
        id_ = node.removeprefix("DC_kwDO").partition("x")[0]
        return self.world.nodes.get(f"D_kwDO{id_}")

    def _comments(self, asked: Thing, _info: GraphQLResolveInfo, first: int | None = None, after: str | None = None) -> Record:
        seen = self._seen(asked)
        return _oldest_first([self._comment(*each, seen) for each in self.more.thread(asked)], first, after)

    def _seen(self, asked: Thing) -> dict[str, Told]:
        """The comments and replies, each taking note that it is shown."""
        return {told.record["id"]: told for told in self.more.told("discussion_comments", asked)}

    def _comment(self, comment: Row, replies: Sequence[Row], seen: dict[str, Told]) -> Record:
        def answers(_info: GraphQLResolveInfo, first: int | None = None, after: str | None = None) -> Record:
            below = [{**_camels(seen[reply.record["id"]].show()), "replies": _none} for reply in replies]
            return _oldest_first(below, first, after)

        return {**_camels(seen[comment.record["id"]].show()), "__typename": "DiscussionComment", "replies": answers}

    def _categories(self, repository: Repository, _info: GraphQLResolveInfo, **page: Any) -> Record:
        rows = self.more.told("discussion_categories", repository) if "discussions" in repository.traits else []
        return _oldest_first([_camels(row.show()) for row in rows], **page)

    def _nodes(
        self, info: GraphQLResolveInfo, ids: Sequence[str], visible: Callable[[Repository], bool]
    ) -> list[Record | GraphQLError]:
        if len(ids) > 100:
            raise _told("ARGUMENT_LIMIT", f"You may not provide more than 100 node ids; you provided {len(ids)}.")
        del info
        return [self._node(node, visible) for node in ids]

    def _by_name(self, owner: str, name: str, visible: Callable[[Repository], bool]) -> Record | GraphQLError:
        repository = self.world.names.get(f"{owner}/{name}".lower())
        if repository is None:
            return _told("NOT_FOUND", f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return self._repository(repository, visible)

    def _repository(self, repository: Repository, visible: Callable[[Repository], bool]) -> Record | GraphQLError:
        if not visible(repository):
            return _told("NOT_FOUND", f"Could not resolve to a node with the global id of '{repository.node}'.")
        if "forbidden" in repository.traits:
            return _told("FORBIDDEN", "Resource not accessible by personal access token")
        return {
            "__typename": "Repository",
            "id": repository.node,
            "databaseId": repository.id,
            "nameWithOwner": repository.full_name,
            "stargazers": lambda _info, **page: _stargazers(repository, **page),
            "discussions": lambda _info, **page: _discussions(repository, **page),
            "discussionCategories": partial(self._categories, repository),
        }


def cost(document: ast.DocumentNode, variables: Record) -> tuple[int, int]:
    """Points and nodes, by the published rule: requests for each connection, parents multiplied, by 100."""
    requests = nodes = 0

    def walk(selections: ast.SelectionSetNode | None, times: int) -> None:
        nonlocal requests, nodes
        for selection in selections.selections if selections else ():
            if isinstance(selection, ast.InlineFragmentNode):
                walk(selection.selection_set, times)
            elif isinstance(selection, ast.FieldNode):
                arguments = {a.name.value: _value(a.value, variables) for a in selection.arguments}
                size = arguments.get("first") or len(arguments.get("ids") or ()) or None
                if size is not None:
                    requests += times
                    nodes += times * size
                walk(selection.selection_set, times * (size or 1))

    for definition in document.definitions:
        if isinstance(definition, ast.OperationDefinitionNode):
            walk(definition.selection_set, 1)
    return max(1, round(requests / 100)), nodes


def _value(value: ast.ValueNode, variables: Record) -> Any:
    if isinstance(value, ast.VariableNode):
        return variables.get(value.name.value)
    return int(value.value) if isinstance(value, ast.IntValueNode) else None


def _told(kind: str, message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"type": kind})


def _error(error: GraphQLError) -> Record:
    """GitHub writes the type beside the message, not under extensions."""
    told: Record = {"message": error.message, "path": error.path, "locations": _places(error)}
    return told | ({"type": error.extensions["type"]} if error.extensions else {})


def _places(error: GraphQLError) -> list[Record]:
    return [{"line": place.line, "column": place.column} for place in error.locations or ()]


def _type(value: Any, *_: Any) -> str:
    return str(value["__typename"])


def _page(items: Sequence[tuple[str, Any]], first: int | None, after: str | None) -> tuple[list[Any], Record]:
    """`items` are (position, item) with positions falling. Raises as GitHub does without `first`."""
    if first is None or not 1 <= first <= 100:
        raise _told("EXCESSIVE_PAGINATION", f"`first` must be between 1 and 100, not {first}.")
    position = base64.b64decode(after).decode() if after else ""
    start = bisect.bisect_left(items, True, key=lambda item: item[0] < position) if after else 0
    page = items[start : start + first]
    end = base64.b64encode(page[-1][0].encode()).decode() if page else None
    return [item for _, item in page], {"hasNextPage": start + first < len(items), "endCursor": end}


def _oldest_first(rows: Sequence[Record], first: int | None = None, after: str | None = None) -> Record:
    # Positions must fall, so they are counted down from a far end.
    page, info = _page([(f"{10**6 - number:07d}", row) for number, row in enumerate(rows)], first, after)
    return {"nodes": page, "pageInfo": info, "totalCount": len(rows)}


def _none(_info: GraphQLResolveInfo, **page: Any) -> Record:
    return _oldest_first([], **page)


def _camels(record: Record) -> Record:
    told = {_camel(name): value for name, value in record.items()}
    author = told.get("author")
    return {**told, "author": author and _actor({**author, "type": author["__typename"]})}


def _actor(user: Record | None) -> Record | None:
    if user is None:
        return None
    return {
        "__typename": user.get("type") or user["__typename"],
        "login": user["login"],
        "databaseId": user["id"],
        "id": user["node_id"],
        "isSiteAdmin": False,
        "avatarUrl": f"https://avatars.githubusercontent.com/u/{user['id']}",
        "resourcePath": f"/{user['login']}",
        "url": f"https://github.com/{user['login']}",
    }


def _stargazers(repository: Repository, first: int | None = None, after: str | None = None, **_: Any) -> Record:
    if repository.stars_newest_first is None:
        positions = ((f"{at:012d}-{id_:012d}", id_) for id_, (at, _) in repository.stars.items())
        repository.stars_newest_first = sorted(positions, reverse=True)
    page, info = _page(repository.stars_newest_first, first, after)
    shown = [repository.stars[id_] for id_ in page]
    edges = [{"cursor": "", "starredAt": star(at, user)["starred_at"], "node": _actor(user)} for at, user in shown]
    return {"edges": edges, "pageInfo": info, "totalCount": len(repository.stars)}


def _discussions(repository: Repository, first: int | None = None, after: str | None = None, **_: Any) -> Record:
    threads = sorted(((f"{d.updated:012d}-{d.id:012d}", d) for d in repository.discussions.values()), reverse=True)
    page, info = _page(threads, first, after)
    return {"nodes": [_discussion(thread) for thread in page], "pageInfo": info, "totalCount": len(threads)}


def _discussion(thread: Thing) -> Record:
    told = {_camel(name): value for name, value in thread.show().items()}
    category = told["category"]
    return {
        **told,
        "author": _actor(told["author"]),
        "answerChosenBy": _actor(told["answerChosenBy"]),
        "category": {**category, "isAnswerable": category["is_answerable"]},
    }


def _pull(pull: Thing, repository: Repository) -> Record:
    told = {_camel(name): value for name, value in pull_details(pull).items()}
    return {
        **told,
        "__typename": "PullRequest",
        "id": pull.node,
        "fullDatabaseId": str(pull.id),
        "mergedBy": _actor(told["mergedBy"]),
        "comments": lambda _info, **_: told["comments"],
        "commits": lambda _info, **_: told["commits"],
        "reviewThreads": lambda _info, **_: told["reviewThreads"],
        "url": f"{repository.html}/pull/{told['number']}",
        "reviews": lambda _info, **page: _reviews(pull, repository, **page),
    }


def _reviews(pull: Thing, repository: Repository, first: int | None = None, after: str | None = None, **_: Any) -> Record:
    # Oldest first: positions must fall, so they are counted down from a far end.
    reviews = [r for r in repository.reviews.values() if r.data["pull"] is pull]
    page, info = _page([(f"{10**12 - r.id:012d}", r) for r in sorted(reviews, key=lambda r: r.id)], first, after)
    return {"nodes": [_review(review) for review in page], "pageInfo": info, "totalCount": len(reviews)}


def _review(review: Thing) -> Record:
    told = review.show()
    return {
        "fullDatabaseId": told["id"],
        "id": told["node_id"],
        "author": _actor(told["user"]),
        "body": told["body"],
        "state": told["state"],
        "url": told["html_url"],
        "submittedAt": iso(review.created),
        "commit": told["commit"],
        "authorAssociation": told["author_association"],
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def dump(body: Record) -> bytes:
    return json.dumps(body).encode()
