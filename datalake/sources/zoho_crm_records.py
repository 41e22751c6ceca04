"""Records of one Zoho module: lists in passes of fifty fields, exports of big modules, deletions. Tables are elsewhere."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from datalake.lake.raw import now as utc_now
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Item, Page, Permanent, Skipped, Transient
from datalake.sources.frontier import Frontier, text
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.records import Record, pick, single, split
from datalake.sources.zoho_crm_access import feature_off, gone, refused
from datalake.sources.zoho_crm_fields import Field, passes

if TYPE_CHECKING:
    from datalake.sources.zoho_crm import ZohoRun

STAMP = "Modified_Time"
OVERLAP = dt.timedelta(hours=1)
"""How far back what was read is read again: a change may be stamped before it can be seen."""
FULL_EVERY = dt.timedelta(days=28)
"""After so long a module is read whole again: formulas, scores and memberships change without moving Modified_Time."""
EXPORT_FROM = 20_000
"""Rows from which an export (50 credits for up to 200,000 rows) costs less than lists (a credit for 200 rows and pass)."""
LIST_REACH = 100_000
"""Records that one walk by page tokens can pass."""
NO_EXPORT = frozenset({"Notes", "Attachments"})
EXPORT_KEPT = dt.timedelta(hours=20)
"""An export's result is kept for a day; one begun longer ago is begun anew."""
POLL_SECONDS = (1.0, 30.0)
"""First and longest wait between two looks at an export."""
EXPORT_SECONDS = 3600.0
"""Longest that an export is waited for."""

csv.field_size_limit(16 * 1024 * 1024)  # a text of Zoho may be longer than the 128 kB that Python allows

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Module:
    """A module as one table reads it. `params` are the list's own (`converted`, `approved`); `add` goes with every record."""

    name: str
    fields: dict[str, Field]
    names: tuple[str, ...]
    """What to ask for: readable fields, and keys that begin with `$`."""
    params: dict[str, str]
    add: dict[str, Any]

    @property
    def stamped(self) -> bool:
        return STAMP in self.names

    @property
    def passes(self) -> list[list[str]]:
        return passes(self.names, STAMP if self.stamped else None)


def records(
    run: ZohoRun, ask: Ask, module: Module, state: dict[str, Any], keep: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Item]:
    """All records at first, and now and then again; in between what changed and what was deleted.

    `state` is what the last reading left ({} the first time), `keep` makes the table's cursor of it.
    """
    if not module.stamped:
        at = utc_now()
        pages = (Page(found, page_at, module.add) for page_at, found in _listed(run, ask.table.id, module))
        digest = yield from told_if_changed(pages, state.get("digest"), module.add, at)
        yield Checkpoint(keep({"digest": digest}))
    elif ask.window:
        yield from _window(run, ask, module, ask.window.since, ask.window.until)
    elif _whole_is_due(run, ask, module, state):
        yield from _whole(run, ask, module, state, keep)
    else:
        yield from _changes(run, ask, module, state, keep)


def _whole_is_due(run: ZohoRun, ask: Ask, module: Module, state: dict[str, Any]) -> bool:
    if "full_at" not in state or "load" in state:
        return True
    if new := sorted(set(module.names) - set(state["names"])):
        ask.note(f"{module.name} has new fields ({', '.join(new)}): it is read whole")
        return True
    return run.clock - dt.datetime.fromisoformat(state["full_at"]) >= FULL_EVERY


def _whole(
    run: ZohoRun, ask: Ask, module: Module, state: dict[str, Any], keep: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Item]:
    """Every record, by lists or by an export, then word that these are all."""
    load = state.get("load")
    if load is None or run.clock - dt.datetime.fromisoformat(load["begun"]) > EXPORT_KEPT:
        load = {"at": utc_now(), "begun": text(run.clock)}
    deleted = Frontier(state.get("deleted", {"newest": load["begun"]}), OVERLAP)
    for item in _deletions(run, ask, module, deleted):
        if "deleted" in state:  # else the table knows none of them
            yield item
    frontier = Frontier(load.get("frontier", {}), OVERLAP)
    count = _count(run, ask.table.id, module.name)
    one_pass = len(module.passes) == 1
    exported = count > EXPORT_FROM and module.name not in NO_EXPORT and not (one_pass and _hidden_keys(module))
    if exported or "page" in load:
        for page, next_ in _exported(run, ask, module, load.get("page", {"page": 1})):
            frontier.fresh(page.records, _stamps(page.records, load["begun"]))
            yield page
            if next_ is not None:
                load = {**load, "page": next_, "frontier": frontier.state()}
                yield Checkpoint(keep({**state, "load": load}))
    else:
        by_time = count > LIST_REACH // 2 and one_pass
        for at, found in _by_time(run, ask.table.id, module) if by_time else _listed(run, ask.table.id, module):
            frontier.fresh(found, _stamps(found, load["begun"]))
            yield Page(found, at, module.add)
    yield Complete(module.add, load["at"])
    told = {"full_at": load["begun"], "names": sorted(module.names), "deleted": deleted.state()}
    yield Checkpoint(keep({**frontier.state(), **told}))


def _changes(
    run: ZohoRun, ask: Ask, module: Module, state: dict[str, Any], keep: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Item]:
    """What was deleted and what changed since the last reading. Deletions first: a record that came back is told after."""
    deleted = Frontier(state["deleted"], OVERLAP)
    yield from _deletions(run, ask, module, deleted)
    changed = Frontier(state, OVERLAP)
    lists = _by_time if len(module.passes) == 1 else _listed
    for at, found in lists(run, ask.table.id, module, changed.start):
        new = changed.fresh(found, _stamps(found, text(run.clock)))
        yield Page([record for record, _ in new], at, module.add)
    told = {"full_at": state["full_at"], "names": sorted(module.names), "deleted": deleted.state()}
    yield Checkpoint(keep({**changed.state(), **told}))


def _deletions(run: ZohoRun, ask: Ask, module: Module, deleted: Frontier) -> Iterator[Item]:
    """What was deleted and not told before."""
    for at, found in run.deleted(ask.table.id, module.name, deleted.start):
        for record, _ in deleted.fresh(found, [deleted_time(record) for record in found]):
            yield Deleted(msgspec.json.encode({"id": pick(record, "id")[0]}), at, module.add)


def _window(run: ZohoRun, ask: Ask, module: Module, since: dt.datetime, until: dt.datetime) -> Iterator[Item]:
    """What changed last in a stretch of the past."""
    end = text(until)
    for at, found in _listed(run, ask.table.id, module, text(since)):
        yield Page([record for record in found if _stamp(record) < end], at, module.add)


def _stamp(record: Record) -> str:
    """When the record last changed, UTC; empty where it does not say."""
    return _utc(pick(record, STAMP)[0])


def _stamps(records: Sequence[Record], begun: str) -> list[str]:
    """When the records last changed, or when reading began if that is earlier: what changed meanwhile, elsewhere in the list,
    must still lie ahead of the next reading."""
    return [min(_stamp(record), begun) for record in records]


def deleted_time(record: Record) -> str:
    """When the record was deleted, UTC."""
    return _utc(pick(record, "deleted_time")[0])


def _utc(time_: str | None) -> str:
    return text(dt.datetime.fromisoformat(time_)) if time_ else ""


def since_header(since: str) -> dict[str, str]:
    """The header that asks for what changed since; none for everything. Zoho wants an offset, and takes no Z."""
    return {"If-Modified-Since": since.replace("Z", "+00:00")} if since else {}


def tombstones(run: ZohoRun, table_id: str, module: str, since: str) -> Iterator[tuple[str, list[Record]]]:
    """What was deleted of a module since: pages, each with the time it was asked for."""
    walk = Walk()
    for page in itertools.count(1):
        answer = run.http.get(
            table_id,
            f"/crm/v8/{module}/deleted",
            {"type": "all", "per_page": 200, "page": page},
            cursor=page,
            operation="deleted",
            accept=(400, 403),
            headers=since_header(since),
        )
        if answer.status in (204, 304) or feature_off(answer):
            return
        if answer.status != 200:
            raise answer.fault("the list of deletions was refused", Skipped if refused(answer) else Permanent)
        found = split(answer, "data", ("info",))
        more = _more(found.facts)
        walk.step(answer, found.records, page + 1 if more else None)
        yield answer.at, [record for record in found.records if deleted_time(record) >= since]
        if not more:
            return


def _more(facts: dict[str, Any]) -> bool:
    return bool((facts["info"] or {}).get("more_records"))


# Lists


def _listed(run: ZohoRun, table_id: str, module: Module, since: str = "") -> Iterator[tuple[str, list[Record]]]:
    """The list by id, its passes merged: pages of whole records, each with the time at which its oldest part was asked for."""
    order = {**module.params, "sort_by": "id", "sort_order": "asc"}
    walks = [_walk(run, table_id, module, names, order, since) for names in module.passes]
    if len(walks) == 1:
        yield from walks[0]
        return
    whole = _merged(run, table_id, module, [_each(walk) for walk in walks])
    while batch := list(itertools.islice(whole, 200)):
        yield min(at for at, _ in batch), [record for _, record in batch]


def _by_time(run: ZohoRun, table_id: str, module: Module, since: str = "") -> Iterator[tuple[str, list[Record]]]:
    """The list however long it is: oldest change first, and from where one walk ends another goes on."""
    order = {**module.params, "sort_by": STAMP, "sort_order": "asc"}
    while True:
        rows, newest = 0, since
        for at, found in _walk(run, table_id, module, module.passes[0], order, since, LIST_REACH):
            rows += len(found)
            newest = max([newest, *map(_stamp, found)])
            yield at, found
        if rows < LIST_REACH:
            return
        if newest == since:
            raise Transient(f"{table_id}: more than {LIST_REACH:,} records changed at {since}; they cannot be listed apart")
        since = newest


def _walk(
    run: ZohoRun, table_id: str, module: Module, names: list[str], order: dict[str, str], since: str, most: int = 0
) -> Iterator[tuple[str, list[Record]]]:
    """One walk by page tokens, through `most` records at most (0: to the end)."""
    params: dict[str, Any] = {**order, "per_page": 200, "fields": ",".join(names or ["id"])}
    walk, token, rows = Walk(), None, 0
    while True:
        query = params | ({"page_token": token} if token else {})
        answer = run.http.get(table_id, f"/crm/v8/{module.name}", query, cursor=token or "", headers=since_header(since))
        if answer.status in (204, 304):
            return
        found = split(answer, "data", ("info",))
        token = (found.facts["info"] or {}).get("next_page_token") if _more(found.facts) else None
        if _more(found.facts) and not token:
            raise answer.fault("the answer says that there is more, and names no page to go on from")
        walk.step(answer, found.records, token)
        yield answer.at, found.records
        rows += len(found.records)
        if not token or 0 < most <= rows:
            return
        if rows >= LIST_REACH:
            raise answer.fault(f"more than {LIST_REACH:,} records changed, which no list passes; read the table whole (--full)")


def _each(pages: Iterator[tuple[str, list[Record]]]) -> Iterator[tuple[str, int, Record]]:
    for at, found in pages:
        for record in found:
            yield at, int(pick(record, "id")[0]), record


def _merged(
    run: ZohoRun, table_id: str, module: Module, passes_: Sequence[Iterator[tuple[str, int, Record]]]
) -> Iterator[tuple[str, Record]]:
    """Records whose fields came in several passes. One that changed between two passes is read again by its id."""
    heads = [next(each, None) for each in passes_]
    while lowest := min((head[1] for head in heads if head), default=0):
        parts = [head for head in heads if head and head[1] == lowest]
        heads = [next(each, None) if head and head[1] == lowest else head for each, head in zip(passes_, heads, strict=True)]
        stamps = {pick(record, STAMP)[0] if module.stamped else None for _, _, record in parts}
        if len(parts) == len(passes_) and len(stamps) == 1:
            yield min(at for at, _, _ in parts), joined([record for _, _, record in parts])
        else:
            yield from _again(run, table_id, module, lowest)


def joined(parts: Sequence[Record]) -> bytes:
    """One record out of its parts, its values as received; of a field that came twice the first.

    >>> joined([b'{"id":"1","A":1.10}', b'{"B":{"x":2.0},"id":"1"}'])
    b'{"id":"1","A":1.10,"B":{"x":2.0}}'
    """
    whole: dict[str, Raw] = {}
    for part in parts:
        for name, value in msgspec.json.decode(part, type=dict[str, Raw]).items():
            whole.setdefault(name, value)
    return msgspec.json.encode(whole)


def _again(run: ZohoRun, table_id: str, module: Module, id_: int) -> Iterator[tuple[str, Record]]:
    """One record by its id, all passes in one stroke; nothing where it is gone meanwhile."""
    parts = []
    for names in module.passes:
        answer = one_record(run, table_id, module.name, str(id_), {"fields": ",".join(names)})
        if answer is None:
            return
        parts.append((answer.at, split(answer, "data").records[0]))
    yield parts[0][0], joined([record for _, record in parts])


def one_record(run: ZohoRun, table_id: str, module: str, id_: str, params: dict[str, str]) -> Answer | None:
    """The answer about one record; None where it is gone."""
    path = f"/crm/v8/{module}/{id_}"
    answer = run.http.get(table_id, path, params, cursor=id_, operation=f"{module} by id", accept=(400, 404))
    if answer.status == 204 or gone(answer):
        return None
    if answer.status != 200:
        raise answer.fault("the record was refused")
    return answer


# Exports


def _exported(run: ZohoRun, ask: Ask, module: Module, page: dict[str, Any]) -> Iterator[tuple[Page, dict[str, Any] | None]]:
    """All records by export jobs, one for 200,000 rows: pages, the last of each job with where the next job begins.

    An export leaves converted and unapproved records out where lists do unless they are asked for: they are listed after it.
    """
    lookups = {field.name: name for field in module.fields.values() if (name := run.display_field(field.lookup))}
    asked = [name for name in module.names if not name.startswith("$")]
    asked += [f"{field}.{name}" for field, name in lookups.items() if field in asked]
    while True:
        query = {"module": {"api_name": module.name}, "fields": asked, **page}
        job = _job(run, ask.table.id, query)
        result = job["result"]
        at, rows = job["at"], 0
        answer = run.http.get(ask.table.id, result["download_url"], operation="export result", headers={"Accept": "*/*"})
        for batch in _batches(_rows(answer, run, module, lookups), 1000):
            rows += len(batch)
            last = rows >= result["count"] and bool(result["more_records"])
            page = {"page_token": result["next_page_token"]} if result.get("next_page_token") else {"page": result["page"] + 1}
            yield Page(batch, at, module.add), page if last else None
        if rows != result["count"]:
            raise answer.fault(f"the export says {result['count']:,} rows, its file holds {rows:,}", Transient)
        if not result["more_records"]:
            break
    for name in sorted(module.params.keys() & {"converted", "approved"}):
        left_out = {**module.params, name: "true" if name == "converted" else "false"}
        rest = Module(module.name, module.fields, module.names, left_out, module.add)
        for at, found in _listed(run, ask.table.id, rest):
            yield Page(found, at, module.add), None


def _job(run: ZohoRun, table_id: str, query: dict[str, Any]) -> dict[str, Any]:
    """Start an export and wait for it. Returns the job, with the time at which it was started as `at`."""
    answer = run.http.post(table_id, "/crm/bulk/v8/read", json={"query": query}, operation="export")
    (started,) = split(answer, "data").records
    details, code = pick(started, "details", "code")
    if code != "ADDED_SUCCESSFULLY":
        raise answer.fault("the export was not started")
    at, wait, until = answer.at, POLL_SECONDS[0], time.monotonic() + EXPORT_SECONDS
    while True:
        answer = run.http.get(table_id, f"/crm/bulk/v8/read/{details['id']}", cursor=details["id"], operation="export state")
        job: dict[str, Any] = msgspec.json.decode(split(answer, "data").records[0])
        if job["state"] == "COMPLETED":
            return {**job, "at": at}
        if job["state"] == "FAILURE":
            raise answer.fault("the export failed at Zoho; run again later", Transient)
        if time.monotonic() > until:
            raise answer.fault(f"the export is not done after {EXPORT_SECONDS / 60:.0f} minutes; run again later", Transient)
        time.sleep(wait)
        wait = min(wait * 1.5, POLL_SECONDS[1])


def _rows(answer: Answer, run: ZohoRun, module: Module, lookups: dict[str, str]) -> Iterator[bytes]:
    """The export's rows as records of the shape that lists have."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(answer.body))
        (member,) = archive.namelist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise answer.fault(f"the export is no zip of one file ({error})", Transient) from None
    with archive.open(member) as file:
        reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
        header = next(reader, [])
        missing = {"id", *(name for name in module.names if not name.startswith("$"))} - set(header)
        if missing:
            raise answer.fault(f"the export lacks the columns {', '.join(sorted(missing))}")
        for row in reader:
            if len(row) != len(header):
                raise answer.fault(
                    f"line {reader.line_num} of the export has {len(row)} cells, its head {len(header)}", Transient
                )
            yield _record(dict(zip(header, row, strict=True)), run, module, lookups)


def _record(row: dict[str, str], run: ZohoRun, module: Module, lookups: dict[str, str]) -> bytes:
    record: dict[str, Any] = {}
    for name, value in row.items():
        if name == "id":
            record[name] = value
        elif name in module.fields:
            beside = row.get(f"{name}.{lookups[name]}") if name in lookups else None
            record[name] = _value(run, module, module.fields[name], value, beside or None) if value else None
    return msgspec.json.encode(record)


def _value(run: ZohoRun, module: Module, field: Field, value: str, beside: str | None) -> Any:
    """A cell as a list would answer it. `beside` is the name of the record that a lookup points at."""
    kind = str(field.type)
    if field.name == "Tag":
        return [run.tag(module.name, name) for name in value.split(";")]
    if field.kind in ("ownerlookup", "userlookup"):
        return run.user(value)
    if field.kind == "lookup":
        return {"name": beside, "id": value}
    if field.kind == "multiselectpicklist":
        return value.split(";")
    if kind == "bool":
        return {"true": True, "false": False}.get(value.lower(), value)
    if (kind == "int64" or kind.startswith("decimal")) and _NUMBER.fullmatch(value):
        return Raw(value.encode())
    if kind == "json":
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
        return Raw(value.encode())
    return value


def _hidden_keys(module: Module) -> bool:
    """Whether the table has columns from keys that only lists can be asked for."""
    return any(name.startswith("$") for name in module.names)


def _batches(rows: Iterator[bytes], size: int) -> Iterator[list[Record]]:
    while batch := list(itertools.islice(rows, size)):
        yield list(batch)


def _count(run: ZohoRun, table_id: str, module: str) -> int:
    """How many records a module has, about: what the user sees, without converted ones."""
    answer = run.http.get(table_id, f"/crm/v8/{module}/actions/count", operation="count", accept=(204,))
    return 0 if answer.status == 204 else int(pick(single(answer), "count")[0])
