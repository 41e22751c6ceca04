"""What GitHub is asked by GraphQL: the queries, their pages, and what their errors mean. Who asks lives in `github_access.py`.

Queries give fields the names of the tables' columns (aliases), so that records are stored as received. Sizes shrink where an
answer is too heavy: a query may take ten seconds, and a page that fails once fails again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from datalake.sources.base import Skipped, Transient
from datalake.sources.github_access import Client
from datalake.sources.http import Answer
from datalake.sources.paging import Walk

_RATE = "rateLimit { cost remaining resetAt }"
_ACTOR = """login type: __typename
      ... on User { id: databaseId node_id: id site_admin: isSiteAdmin }
      ... on Bot { id: databaseId node_id: id }
      ... on Mannequin { id: databaseId node_id: id }
      ... on Organization { id: databaseId node_id: id }
      ... on EnterpriseUserAccount { node_id: id }"""
_REVIEW = f"""id: fullDatabaseId node_id: id body state html_url: url submitted_at: submittedAt
    author_association: authorAssociation commit {{ oid }}
    user: author {{ {_ACTOR} }}"""

STARGAZERS = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on Repository {{
    list: stargazers(first: $first, after: $after, orderBy: {{field: STARRED_AT, direction: DESC}}) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: edges {{
        starred_at: starredAt
        user: node {{ login type: __typename id: databaseId node_id: id site_admin: isSiteAdmin }}
      }}
    }}
  }} }}
}}"""

DISCUSSIONS = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on Repository {{
    list: discussions(first: $first, after: $after, orderBy: {{field: UPDATED_AT, direction: DESC}}) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{
        id database_id: databaseId number title body url
        author_association: authorAssociation
        category {{ id name slug is_answerable: isAnswerable }}
        answer {{ id }}
        answer_chosen_at: answerChosenAt
        is_answered: isAnswered closed closed_at: closedAt state_reason: stateReason locked upvote_count: upvoteCount
        created_at: createdAt updated_at: updatedAt last_edited_at: lastEditedAt published_at: publishedAt
        author {{ __typename {_ACTOR} }}
        answer_chosen_by: answerChosenBy {{ __typename {_ACTOR} }}
      }}
    }}
  }} }}
}}"""

PULL_REQUEST_DETAILS = f"""query($ids: [ID!]!) {{
  {_RATE}
  nodes(ids: $ids) {{ ... on PullRequest {{
    id: fullDatabaseId node_id: id number state merged merged_at: mergedAt
    merged_by: mergedBy {{ {_ACTOR} }}
    merge_commit: mergeCommit {{ oid }}
    comments {{ totalCount }}
    review_threads: reviewThreads {{ totalCount }}
    commits {{ totalCount }}
    additions deletions changed_files: changedFiles
    maintainer_can_modify: maintainerCanModify
    created_at: createdAt updated_at: updatedAt closed_at: closedAt
  }} }}
}}"""

PULL_REQUEST_REVIEWS = f"""query($ids: [ID!]!) {{
  {_RATE}
  nodes(ids: $ids) {{ ... on PullRequest {{
    list: reviews(first: 50) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_REVIEW} }}
    }}
  }} }}
}}"""

MORE_REVIEWS = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on PullRequest {{
    list: reviews(first: $first, after: $after) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_REVIEW} }}
    }}
  }} }}
}}"""


DISCUSSION_CATEGORIES = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on Repository {{
    list: discussionCategories(first: $first, after: $after) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{
        id name slug description emoji is_answerable: isAnswerable created_at: createdAt updated_at: updatedAt
      }}
    }}
  }} }}
}}"""

_COMMENT = f"""id database_id: databaseId body
    author {{ __typename {_ACTOR} }}
    author_association: authorAssociation is_answer: isAnswer upvote_count: upvoteCount deleted_at: deletedAt url
    created_at: createdAt updated_at: updatedAt reply_to: replyTo {{ id }}"""
_COMMENT_WITH_REPLIES = f"""{_COMMENT}
    list: replies(first: 50) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_COMMENT} }}
    }}"""

DISCUSSION_COMMENTS = f"""query($ids: [ID!]!) {{
  {_RATE}
  nodes(ids: $ids) {{ ... on Discussion {{
    list: comments(first: 50) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_COMMENT_WITH_REPLIES} }}
    }}
  }} }}
}}"""

MORE_DISCUSSION_COMMENTS = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on Discussion {{
    list: comments(first: $first, after: $after) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_COMMENT_WITH_REPLIES} }}
    }}
  }} }}
}}"""

MORE_REPLIES = f"""query($id: ID!, $first: Int!, $after: String) {{
  {_RATE}
  node(id: $id) {{ ... on DiscussionComment {{
    list: replies(first: $first, after: $after) {{
      total: totalCount page: pageInfo {{ next: hasNextPage end: endCursor }}
      rows: nodes {{ {_COMMENT} }}
    }}
  }} }}
}}"""


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""
    path: list[Any] | None = None


class _PageInfo(msgspec.Struct):
    next: bool
    end: str | None = None


class Connection(msgspec.Struct):
    """One page of a connection: how many there are in all, whether more follow, and the records as received."""

    total: int
    page: _PageInfo
    rows: list[Raw]


class Holder(msgspec.Struct):
    """A node that holds a connection."""

    list: Connection | None = None


class _One(msgspec.Struct):
    node: Holder | None = None


class _Many(msgspec.Struct):
    nodes: list[Raw]


class _Reply(msgspec.Struct):
    data: Raw = Raw(b"null")
    errors: list[_Error] = []


class TooHeavy(Exception):
    """The query asked for more than GitHub computes in one go."""


_GONE = ("NOT_FOUND",)
_REFUSED = ("FORBIDDEN", "INSUFFICIENT_SCOPES", "SAML_PROTECTED")
_HEAVY = ("MAX_NODE_LIMIT_EXCEEDED", "RESOURCE_LIMITS_EXCEEDED", "TIMEOUT")


@dataclass(frozen=True, slots=True)
class Told:
    """Data of an answer, undecoded, and the positions in `nodes` that were refused, with the reason."""

    answer: Answer
    data: Raw
    refused: dict[int, str]


def ask(client: Client, table: str, query: str, variables: dict[str, Any], *, may_shrink: bool, cursor: str = "") -> Told:
    """One query. Raises TooHeavy where `may_shrink`, else Transient; Skipped where the whole of it is refused."""
    accept = (502, 503, 504) if may_shrink else ()
    body = {"query": query, "variables": variables}
    answer = client.http.post(table, client.graphql, json=body, cursor=cursor, operation="graphql", accept=accept)
    if answer.status in accept:
        raise TooHeavy
    try:
        reply = msgspec.json.decode(answer.body, type=_Reply)
    except msgspec.DecodeError as error:
        raise answer.fault(f"the answer is no GraphQL ({error})") from None
    refused: dict[int, str] = {}
    for fault in reply.errors:
        about = (fault.path or [])[:2]
        if fault.type in _HEAVY or "timeout" in fault.message or "Something went wrong" in fault.message:
            if may_shrink:
                raise TooHeavy
            raise answer.fault("GitHub could not compute even the smallest page; run again later", Transient)
        if fault.type not in _GONE + _REFUSED:
            raise answer.fault(f"GraphQL says {fault.type or 'error'}: {fault.message}")
        if len(about) < 2 or about[0] != "nodes":
            raise answer.fault(f"GraphQL says {fault.type}: {fault.message}", Skipped)
        refused[about[1]] = fault.message
    if bytes(reply.data) == b"null":
        raise answer.fault("the answer holds neither data nor an error")
    return Told(answer, reply.data, refused)


def connection(
    client: Client, table: str, query: str, node: str, *, after: str | None = None, cursor: str = ""
) -> Iterator[tuple[Answer, Connection]]:
    """The pages of a connection of one node (`query` calls it `list`). Raises Skipped where the node is gone or refused."""
    walk = Walk()
    first = 100
    while True:
        try:
            variables = {"id": node, "first": first, "after": after}
            told = ask(client, table, query, variables, may_shrink=first > 1, cursor=cursor)
        except TooHeavy:
            first //= 2
            continue
        one = msgspec.json.decode(told.data, type=_One).node
        if one is None or one.list is None:
            raise told.answer.fault("the node is gone, or the token has no right to know of it", Skipped)
        after = one.list.page.end if one.list.page.next else None
        walk.step(told.answer, list(one.list.rows), after)
        yield told.answer, one.list
        if after is None:
            return


@dataclass
class Batch:
    """How many nodes a query asks for; shrinks when that was too heavy."""

    size: int

    def of(self, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """The ids in pieces, each of the size that holds when it is taken."""
        start = 0
        while start < len(ids):
            piece = ids[start : start + self.size]
            start += len(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class Found:
    """One node of those asked for: as received, or the reason why there is none."""

    id: str
    answer: Answer
    node: Raw | None
    refused: str = ""


def nodes(client: Client, table: str, query: str, ids: Sequence[str], batch: Batch) -> Iterator[Found]:
    """The nodes of `ids`; halved as long as the answer is too heavy."""
    try:
        told = ask(client, table, query, {"ids": list(ids)}, may_shrink=len(ids) > 1)
    except TooHeavy:
        half = len(ids) // 2
        batch.size = max(1, min(batch.size, half))
        yield from nodes(client, table, query, ids[:half], batch)
        yield from nodes(client, table, query, ids[half:], batch)
        return
    found = msgspec.json.decode(told.data, type=_Many).nodes
    if len(found) != len(ids):
        raise told.answer.fault(f"{len(ids)} nodes were asked for, {len(found)} came")
    for position, (id_, node) in enumerate(zip(ids, found, strict=True)):
        missing = bytes(node) == b"null"
        yield Found(id_, told.answer, None if missing else node, told.refused.get(position, "not found") if missing else "")
