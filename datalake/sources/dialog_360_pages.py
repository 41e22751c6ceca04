"""How one list, object, set of figures or file of 360dialog is read to its end. Whose they are lives in `dialog_360`."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec

from datalake.lake.objects import AlreadyExists
from datalake.model import Table
from datalake.redaction import HIDDEN
from datalake.sources.base import Page, Transient
from datalake.sources.http import Answer
from datalake.sources.paging import ParentRow, Walk
from datalake.sources.records import Record, elements, inner, pick, single, split

if TYPE_CHECKING:
    from datalake.sources.dialog_360 import Dialog360Run

MEDIA = ("image", "video", "audio", "document", "sticker")
"""Members of a message that hold a file's id."""
TEMPLATES_A_CALL = 10
"""Meta answers figures of at most so many templates."""
SAME_LIST_TRIES = 3
"""How often a list that changed while it was walked is walked anew."""

Owner = dict[str, str]


def read_list(run: Dialog360Run, table: Table, owner: Owner, channel: str = "") -> list[Page]:
    """All of a list, by the paging that the contract's parameters tell: `offset`, Meta's cursors (`limit`), or none."""
    if table.name == "channel_webhook_config":
        return _webhook_config(run, table, owner, channel)
    if table.name == "business_profiles":
        return [_profiles(page) for page in read_once(run, table, owner, list(table.params), channel)]
    params = dict(table.params)
    if "offset" in params:
        return _by_offset(run, table, owner, channel, params)
    if "limit" in params:
        return _by_cursor(run, table, owner, channel, params)
    return read_once(run, table, owner, list(params.items()), channel)


def read_once(run: Dialog360Run, table: Table, owner: Owner, params: list[tuple[str, str]], channel: str = "") -> list[Page]:
    """What one call answers: an object, or a list. What is gone by now (404) has nothing."""
    if table.name == "partner":
        answer = run.partner(table)
    else:
        answer = run.get(table, run.path(table, **owner), params, channel=channel, accept=(404,))
    if answer.status == 404:
        return []
    is_list = bool(table.records) or answer.body.lstrip().startswith(b"[")
    return [Page(split(answer, table.records).records if is_list else [single(answer)], answer.at)]


def _profiles(page: Page) -> Page:
    """Profiles come as they are, or, as Meta describes them, each inside a `business_profile`."""
    inside = [inner(record, "business_profile") for record in page.records]
    records = [record if found is None else found for record, found in zip(page.records, inside, strict=True)]
    return Page(records, page.at)


def _by_offset(run: Dialog360Run, table: Table, owner: Owner, channel: str, params: dict[str, str]) -> list[Page]:
    """Pages by offset in the order of ids. Rows that come or go meanwhile shift the others: then the walk begins anew."""
    limit = int(params["limit"])
    params |= {"sort": json.dumps([params.get("sort", "id")])}
    for _ in range(SAME_LIST_TRIES):
        pages: list[Page] = []
        seen: set[Any] = set()
        totals = set()
        walk = Walk()
        while True:
            params["offset"] = str(len(seen))
            answer = run.get(table, run.path(table, **owner), params, channel=channel, accept=(404,))
            if answer.status == 404:
                return []
            found = split(answer, table.records, ("total",))
            total = found.facts["total"]
            totals.add(total)
            before = len(seen)
            seen.update(pick(record, "id")[0] for record in found.records)
            shifted = len(seen) - before < len(found.records)
            if shifted or len(totals) > 1:
                break
            pages.append(Page(found.records, answer.at))
            last = len(seen) >= total if isinstance(total, int) else len(found.records) < limit
            walk.step(answer, found.records, None if last else len(seen))
            if last or not found.records:
                break
        if not shifted and len(totals) == 1 and total in (None, len(seen)):
            return pages
    raise answer.fault(f"the list changed each of {SAME_LIST_TRIES} times that it was read; run again", Transient)


def _by_cursor(run: Dialog360Run, table: Table, owner: Owner, channel: str, params: dict[str, str]) -> list[Page]:
    """Pages by Meta's cursors."""
    pages: list[Page] = []
    walk = Walk()
    while True:
        answer = run.get(table, run.path(table, **owner), params, channel=channel, accept=(404,))
        if answer.status == 404:
            return pages
        found = split(answer, table.records, ("paging",))
        paging = found.facts["paging"] or {}
        after = paging.get("cursors", {}).get("after") if paging.get("next") else None
        walk.step(answer, found.records, after)
        pages.append(Page(found.records, answer.at))
        if after is None:
            return pages
        params["after"] = after


def _webhook_config(run: Dialog360Run, table: Table, owner: Owner, channel: str) -> list[Page]:
    """Where a channel's webhooks go. Headers and the end of the address may be secret: names and what is not are told."""
    answer = run.get(table, run.path(table, **owner), channel=channel, accept=(404,))
    if answer.status == 404:
        return []
    record = single(answer)
    url, headers = pick(record, "url", "headers")
    parts = urlsplit(url or "")
    path = "/".join([*parts.path.split("/")[:3], HIDDEN][: parts.path.count("/") + 1])
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", "")) if url else None
    return [Page([record], answer.at, {"url": shown, "header_names": sorted(headers or {})})]


def read_points(run: Dialog360Run, table: Table, owner: Owner, start: str, end: str) -> list[Page]:
    """Figures of one owner from `start` to `end` (Unix seconds)."""
    params = dict(table.params)
    if "fields" in params:
        fields = params["fields"].format(start=start, end=end, granularity=params["granularity"])
        answer = run.get(table, run.path(table, **owner), {"fields": fields}, accept=(404,))
    else:
        params |= {"start_date": start, "end_date": end}
        answer = run.get(table, run.path(table, **owner), params, accept=(404,))
    if answer.status == 404:
        return []
    facts = {"granularity": params["granularity"]}
    return [Page([point], answer.at, {**facts, **_dimensions(table, point)}) for point in _points(answer, table.records)]


def _points(answer: Answer, path: str) -> list[Record]:
    """Data points, as a list or in parts with a list each. Meta leaves out a member that has nothing to say."""
    field, _, rest = path.partition(".")
    found = inner(single(answer), field)
    if found is None:
        return []
    if (paging := pick(found, "paging")[0] if rest else None) and paging.get("next"):
        raise answer.fault("the figures have another page, which Meta has never had; they would be cut short")
    for step in rest.split(".") if rest else ():
        found = inner(found, step) or b"[]"
    parts = elements(found)
    nested = [inner(part, "data_points") for part in parts]
    return [
        point
        for part, points in zip(parts, nested, strict=True)
        for point in (elements(points) if points is not None else [part])
    ]


def _dimensions(table: Table, point: Record) -> dict[str, str]:
    """The parts of a point's key that Meta leaves out where they do not apply: empty then."""
    names = [column.name for column in table.columns if column.from_request and column.name in DIMENSIONS]
    return {name: str(value or "") for name, value in zip(names, pick(point, *names), strict=True)}


DIMENSIONS = frozenset(
    {
        "conversation_category",
        "conversation_direction",
        "conversation_type",
        "country",
        "phone_number",
        "pricing_category",
        "pricing_type",
        "tier",
    }
)


def read_analytics(run: Dialog360Run, table: Table, channel: str, templates: list[str], start: str, end: str) -> list[Page]:
    """Figures of a channel's templates from `start` to `end` (Unix seconds)."""
    pages = []
    for first in range(0, len(templates), TEMPLATES_A_CALL):
        some = json.dumps(templates[first : first + TEMPLATES_A_CALL])
        params = {**dict(table.params), "start": start, "end": end, "template_ids": some}
        answer = run.get(table, table.path, params, channel=channel)
        pages.append(Page(_points(answer, table.records), answer.at))
    return pages


def read_file(run: Dialog360Run, table: Table, numbers: dict[str, str], row: ParentRow, of: dict[str, Any]) -> Page:
    """Fetch the file that a message names and keep it as an object; its row says where.

    The address that Meta gives lives for minutes and leads to a host of its own: 360dialog serves the same path. A file that is
    not there any more, or came to a number without a key, has a row without an object.
    """
    id_, number = str(of["id"]), row.add["phone_number_id"]
    told = {"message_id": row.fields[0], "object_key": None}
    known = msgspec.json.encode({name: of.get(name) for name in ("id", "mime_type", "sha256")})
    channel = numbers.get(number)
    if channel is None:
        return Page([known], row.at, told)
    answer = run.get(table, run.path(table, media_id=id_), {"phone_number_id": number}, channel=channel, accept=(400, 404))
    if answer.status != 200:
        return Page([known], row.at, told)
    record = single(answer)
    url, sha = pick(record, "url", "sha256")
    parts = urlsplit(url)
    params = [(name, value) for name, values in parse_qs(parts.query).items() for value in values]
    served = urlunsplit(("https", urlsplit(table.path).hostname or "", parts.path, "", ""))
    file = run.get(table, served, params, channel=channel)
    found = hashlib.sha256(file.body).digest()
    if sha not in (None, found.hex(), base64.b64encode(found).decode()):
        raise file.fault("the file is not the one that was told: its sha256 differs", Transient)
    key = f"media/dialog_360/{re.sub(r'[^A-Za-z0-9_-]', '_', number)}/{re.sub(r'[^A-Za-z0-9_-]', '_', id_)}"
    with contextlib.suppress(AlreadyExists):
        run.inbox.objects.put_new(key, file.body)
    return Page([record], answer.at, {**told, "object_key": key})
