"""How Zoho CRM is asked: its settings, its modules and what hangs on their records. Shapes of tables live in the contracts.

Modules and fields are what the organisation made of them, so each run first asks what there is: fields that no contract names
become columns, modules that have no contract become tables. Records are told whole at first, then by `Modified_Time` and the
list of deletions; the rest of the settings is small and compared with the last reading.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import itertools
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.settings import Settings
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent, Skipped
from datalake.sources.budget import Budget
from datalake.sources.engine import HttpRun
from datalake.sources.frontier import Frontier
from datalake.sources.http import Answer, Http
from datalake.sources.paging import ParentRow, Walk, by_commit
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Record, elements, inner, single, split
from datalake.sources.zoho_crm_access import (
    FEWEST_AT_ONCE,
    accounts_url,
    api_domain,
    at_once,
    classify,
    feature_off,
    gone,
    oauth,
    refused,
)
from datalake.sources.zoho_crm_fields import (
    TEMPLATE,
    Field,
    can_be_read,
    module_of,
    readable,
    widened,
    without_contract,
)
from datalake.sources.zoho_crm_records import OVERLAP, Module, deleted_time, one_record, records, tombstones

CHUNK = 200
"""Changed parents whose children are read between two checkpoints."""
SHARED = {
    "organization": "/crm/v8/org",
    # Without their states, modules of subforms and links are not told.
    "modules": "/crm/v8/settings/modules?status=visible,user_hidden,system_hidden",
    "users": "/crm/v8/users?type=AllUsers&per_page=200",
    "layouts": "/crm/v8/settings/layouts?module=Deals",
}
"""Lists that more than one table needs."""

SINGLE = frozenset({"zoho_crm.business_hours", "zoho_crm.fiscal_year"})
"""Settings of which there is one, answered as an object and not as a list."""
HISTORIES = frozenset({"deal_stage_history", "record_timeline"})
"""Lists of what happened: rows that a later answer leaves out are not gone."""

Described = dict[str, Any]

__all__ = ["accounts_url", "identify", "oauth", "open_run"]


class ZohoRun(HttpRun):
    """One run of one organisation: what it is made of (modules, fields, users), asked once and shared by all tables."""

    def __init__(self, source: Source, http: Http, waiting: Callable[[float, str], None]) -> None:
        functions: dict[str, Callable[[Any, Ask], Iterator[Item]]] = {
            "children_of_changed": children_of_changed,
            "custom_modules": custom_modules,
            "deleted_records": deleted_records,
            "from_parent": from_parent,
            "full_list": full_list,
            "inside_record": inside_record,
            "modified_since": module_records,
            "module_list": module_records,
            "record_tags": record_tags,
        }
        super().__init__(source, http, functions)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._answers: dict[str, list[Page]] = {}
        self._tags: dict[str, dict[str, Described]] = {}
        self._deleted: dict[str, tuple[str, list[tuple[str, list[Record]]]]] = {}
        answer = http.get("zoho_crm.organization", SHARED["organization"], operation="organization")
        (organization,) = split(answer, "org").records
        self._answers[SHARED["organization"]] = [Page([organization], answer.at)]
        self.organization: Described = msgspec.json.decode(organization)
        self.org_id = str(self.organization["zgid"])
        self.clock = _date(answer)
        http.budget = Budget(concurrency=at_once(self.organization), waiting=waiting)

    # What the organisation is made of

    def asked(self, table_id: str, path: str, records: str) -> list[Page]:
        """The whole answer of a path that several tables need, asked once."""
        with self._locks[path]:
            if path not in self._answers:
                self._answers[path] = list(_pages(self, table_id, path, records, {}))
            return self._answers[path]

    def modules(self) -> list[Described]:
        return _decoded(self.asked("zoho_crm.modules", SHARED["modules"], "modules"))

    def fields(self, module: str) -> dict[str, Field]:
        """The readable fields of a module, by name."""
        pages = self.asked(f"zoho_crm.fields of {module}", f"/crm/v8/settings/fields?module={module}&type=all", "fields")
        return {field.name: field for field in readable(_decoded(pages))}

    def display_field(self, module: str) -> str:
        """The field that names a module's records; empty where that is unknown."""
        found = next((each for each in self.modules() if each["api_name"] == module), {})
        field = found.get("display_field")
        return str(field.get("api_name") or "") if isinstance(field, dict) else ""

    def user(self, id_: str) -> dict[str, str | None]:
        """A user as records show one."""
        found = self._users.get(id_, {})
        return {"name": found.get("full_name"), "id": id_, "email": found.get("email")}

    def tag(self, module: str, name: str) -> dict[str, str | None]:
        """A tag as records show one."""
        if module not in self._tags:
            tags = _decoded(self.asked("zoho_crm.tags", f"/crm/v8/settings/tags?module={module}", "tags"))
            self._tags[module] = {tag["name"]: tag for tag in tags}
        found = self._tags[module].get(name, {})
        return {"name": name, "id": found.get("id"), "color_code": found.get("color_code")}

    @cached_property
    def _users(self) -> dict[str, Described]:
        return {user["id"]: user for user in _decoded(self.asked("zoho_crm.users", SHARED["users"], "users"))}

    def deleted(self, table_id: str, module: str, since: str) -> Iterator[tuple[str, list[Record]]]:
        """What was deleted of a module since. One pass serves the module's own table and that of all deletions."""
        with self._locks[f"deleted {module}"]:
            known = self._deleted.get(module)
            if known is None or since < known[0]:
                known = self._deleted[module] = (since, list(tombstones(self, table_id, module, since)))
        for at, found in known[1]:
            yield at, [record for record in found if deleted_time(record) >= since]

    # What is found at run time

    def contract(self, table: Table) -> Table:
        """The table with a column for every field of its module."""
        module = module_of(table)
        if module is None or module not in {each["api_name"] for each in self.modules()}:
            return table
        named = self.source.tables.get(table.name, self.source.tables[TEMPLATE])
        return widened(table, self.fields(module).values(), {column.name for column in named.columns})

    def discovered(self, table: Table) -> list[Table]:
        """A table for every module without a contract, where their template is read."""
        return [found for _, found in without_contract(self.source, self.modules())] if table.name == TEMPLATE else []

    def module(self, table: Table, name: str, asked: Sequence[str] | None = None) -> Module:
        """The module as a table reads it: every readable field, or of `asked` those that there are. Raises Skipped."""
        described = next((each for each in self.modules() if each["api_name"] == name), None)
        if described is None or not can_be_read(described):
            raise Skipped(
                f"{table.id}: the organisation has no module {name} that this user may read; switch it on in the CRM, give the "
                "user an administrator's profile, or leave the table out"
            )
        fields = self.fields(name)
        hidden = [column.field[0] for column in table.columns if column.field[0].startswith("$") and not column.from_request]
        names = list(fields) if asked is None else [field for field in asked if field in fields]
        params = {key: value for key, value in table.params if key in ("converted", "approved")}
        add = {"org_id": self.org_id} | ({"module": name} if table.like or table.name == TEMPLATE else {})
        return Module(name, fields, tuple(dict.fromkeys([*names, *hidden])), params, add)


def open_run(settings: Settings, source: Source, progress: Progress) -> ZohoRun:
    """A run with the login of the settings. Raises SettingError, AuthenticationFailed."""
    moved = settings.base_url("zoho_crm", source.base_url)[1]
    proof = oauth(settings)

    def waiting(seconds: float, why: str) -> None:
        progress.waiting("zoho_crm", seconds, why)

    http = Http(
        "zoho_crm",
        api_domain(proof.facts, moved=moved),
        moved=moved,
        auth=proof,
        budget=Budget(concurrency=FEWEST_AT_ONCE, waiting=waiting),
        secrets=settings.secrets(),
        classify=classify,
        note=progress.note,
    )
    try:
        return ZohoRun(source, http, waiting)
    except BaseException:
        http.close()
        raise


def identify(run: ZohoRun) -> str:
    """The organisation, and the core modules that the user may not read."""
    present = {module["api_name"] for module in run.modules() if can_be_read(module)}
    tables = [table for table in run.source.tables.values() if table.core]
    missing = [name for table in tables if (name := module_of(table)) and name not in present]
    custom = len(without_contract(run.source, run.modules()))
    name = f"organisation {run.organization.get('company_name')} ({run.org_id}), {custom} modules without a contract"
    return name + (f"; this user may not read {', '.join(missing)}" if missing else ", all core modules can be read")


# Functions that the contracts name in `rows:`


def full_list(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """A setting, read whole: once, or for every module, layout or user that its path has a place for."""
    pages = list(_settings(run, ask.table))
    at = min((page.at for page in pages), default=utc_now())  # another table may have asked for the first of them
    found = yield from told_if_changed(pages, ask.cursor.get("digest"), {"org_id": run.org_id}, at)
    yield Checkpoint({"digest": found})


def module_records(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """The records of a module: what changed, or the whole list where its records do not say when they changed."""
    name = module_of(ask.table)
    assert name is not None
    yield from records(run, ask, run.module(ask.table, name), ask.cursor, lambda cursor: cursor)


def custom_modules(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """Of every module without a contract the fields that all have. Each is a table of its own as well, with all fields."""
    states: dict[str, Any] = dict(ask.cursor.get("modules", {}))
    common = [column.field[0] for column in ask.table.columns if not column.from_request]
    for described, _ in without_contract(run.source, run.modules()):
        name = described["api_name"]
        try:
            module = run.module(ask.table, name, list(dict.fromkeys(common)))
        except Skipped as refusal:
            ask.note(f"{name} is left out: {refusal}")
            continue

        def keep(state: dict[str, Any], name: str = name) -> dict[str, Any]:
            states[name] = state
            return {"modules": dict(states)}

        yield from records(run, ask, module, states.get(name, {}), keep)


def deleted_records(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """What was deleted in each module, and when. What was brought back stays told."""
    states: dict[str, Any] = dict(ask.cursor.get("modules", {}))
    modules = [module["api_name"] for module in run.modules() if can_be_read(module)]
    frontiers = {module: Frontier(states.get(module, {}), OVERLAP) for module in modules}

    def feed_of(module: str) -> list[tuple[str, list[Record]]]:
        try:
            return list(run.deleted(ask.table.id, module, frontiers[module].start))
        except Skipped as refusal:
            ask.note(f"deletions of {module} are left out: {refusal}")
            return []

    feeds = run.workers.each(modules, feed_of)
    for module, feed in zip(modules, feeds, strict=True):
        frontier = frontiers[module]
        for at, found in feed:
            new = [record for record, _ in frontier.fresh(found, [deleted_time(record) for record in found])]
            yield Page(new, at, {"org_id": run.org_id, "module": module})
        if state := frontier.state():
            states[module] = state
        yield Checkpoint({"modules": dict(states)})


def children_of_changed(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """A list that hangs on a record, read again for every record that changed."""
    yield from _of_changed(run, ask, lambda row: _related(run, ask.table, row))


def inside_record(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """Rows that sit in a record, which lists cut short: every changed record is read by its id."""
    module = _parent_module(run, ask.table)

    def read(row: ParentRow) -> list[Item]:
        at = utc_now()
        answer = one_record(run, ask.table.id, module, row.fields[0], {})
        if answer is None:
            return [Complete(_scope(run, ask.table, row), at)]
        rows = inner(split(answer, "data").records[0], ask.table.records)
        found = elements(rows) if rows is not None else []
        return [Page(found, answer.at, _facts(run, ask.table, row)), Complete(_scope(run, ask.table, row), answer.at)]

    yield from _of_changed(run, ask, read)


def from_parent(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """Rows that sit in the parent's records as they were received. The parent is a full list, told whole where it changed."""
    for commit, rows in by_commit(ask, "id"):
        at = ""
        for row in rows:
            at = min(at or row.at, row.at)
            found = inner(row.record, ask.table.records)
            yield Page(elements(found) if found is not None else [], row.at, _facts(run, ask.table, row))
        if at:
            yield Complete({"org_id": run.org_id}, at)
        yield Checkpoint({"parent_sequence": commit.sequence})


def record_tags(run: ZohoRun, ask: Ask) -> Iterator[Item]:
    """The tags that records carry, of each module that the contract names."""
    sequences: dict[str, int] = dict(ask.cursor.get("sequences", {}))
    assert ask.parent is not None
    for name in (ask.table.parent, *ask.table.also):
        assert name is not None
        table = run.source.tables[name]
        log = RawLog(ask.parent.objects, table)
        one = dataclasses.replace(ask, parent=log, cursor={"parent_sequence": sequences.get(name, 0)})
        for commit, rows in by_commit(one, "id"):
            for row in rows:
                facts = {"org_id": run.org_id, "module": module_of(table), "record_id": row.fields[0]}
                yield Page([] if row.deleted else _tags(row), row.at, facts)
                yield Complete(facts, row.at)
            sequences[name] = commit.sequence
            yield Checkpoint({"sequences": dict(sequences)})


# Settings


def _settings(run: ZohoRun, table: Table) -> Iterator[Page]:
    """All pages of a settings table, each with the facts that its rows do not hold."""
    org = {"org_id": run.org_id}
    facts = {column.field[0] for column in table.columns if column.from_request} - {"org_id"}
    if table.name in SHARED and "{" not in table.path:
        pages = run.asked(table.id, SHARED[table.name], table.records)
        yield from (Page(page.records, page.at, org) for page in pages)
    elif "{module}" in table.path:
        (fact,) = facts
        rest = "".join(f"&{key}={value}" for key, value in table.params)
        names = [module["api_name"] for module in run.modules() if can_be_read(module)]
        answers = run.workers.each(
            names, lambda name: run.asked(table.id, table.path.replace("{module}", name) + rest, table.records)
        )
        for name, pages in zip(names, answers, strict=True):
            yield from (Page(page.records, page.at, {**org, fact: name}) for page in pages)
    elif "{layout_id}" in table.path:
        for layout in _decoded(run.asked(table.id, SHARED["layouts"], "layouts")):
            path = table.path.replace("{layout_id}", layout["id"])
            for page in _pages(run, table.id, path, table.records, {}):
                yield Page(page.records, page.at, {**org, "layout_id": layout["id"]})
    elif "{user}" in table.path:
        for user in _decoded(run.asked(table.id, SHARED["users"], "users")):
            for page in _pages(run, table.id, table.path.replace("{user}", user["id"]), table.records, {}):
                yield Page(page.records, page.at, {**org, "user_id": user["id"]})
    else:
        for page in _pages(run, table.id, table.path, table.records, dict(table.params)):
            yield Page(page.records, page.at, org)


def _pages(
    run: ZohoRun,
    table_id: str,
    path: str,
    records: str,
    params: dict[str, str],
    *,
    operation: str = "",
    of_record: bool = False,
) -> Iterator[Page]:
    """A list, page after page. It is empty where the organisation does not use the feature, or the record is gone."""
    walk, query = Walk(), dict[str, Any](params)
    for number in itertools.count(2):
        place = query.get("page", "")
        answer = run.http.get(
            table_id, path, query, cursor=place, operation=operation or path.partition("?")[0], accept=(400, 403, 404)
        )
        if answer.status == 204 or feature_off(answer) or (of_record and gone(answer)):
            return
        if answer.status != 200:
            raise answer.fault("the list was refused", Skipped if refused(answer) else Permanent)
        if table_id in SINGLE:
            yield Page([single(answer, records)], answer.at)
            return
        found = split(answer, records, ("info",))
        info = found.facts["info"] or {}
        if info.get("next_page_token"):
            query = {**params, "page_token": info["next_page_token"]}
        elif info.get("next_index"):
            query = {**params, "index": info["next_index"]}
        else:
            query = {**params, "page": number}
        more = bool(info.get("more_records"))
        walk.step(answer, found.records, number if more else None)
        yield Page(found.records, answer.at)
        if not more:
            return


# Rows of records


def _of_changed(run: ZohoRun, ask: Ask, read: Callable[[ParentRow], list[Item]]) -> Iterator[Item]:
    """What `read` finds for every parent that changed, with a checkpoint after every few of them."""
    skip = ask.cursor.get("rows", 0)
    for commit, rows in by_commit(ask, "id", "Owner"):
        done = 0
        while batch := list(itertools.islice(rows, CHUNK)):
            done += len(batch)
            if done > skip:
                newest = {row.fields[0]: row for row in batch}
                for items in run.workers.each(newest.values(), lambda row: _none(run, ask, row) if row.deleted else read(row)):
                    yield from items
                yield Checkpoint({"parent_sequence": commit.sequence - 1, "rows": done})
        skip = 0
        yield Checkpoint({"parent_sequence": commit.sequence})


def _none(run: ZohoRun, ask: Ask, row: ParentRow) -> list[Item]:
    """A deleted record has no rows any more; what happened to it did happen."""
    return [] if ask.table.name in HISTORIES else [Complete(_scope(run, ask.table, row), row.at)]


def _related(run: ZohoRun, table: Table, row: ParentRow) -> list[Item]:
    """The list that hangs on one record: `{module}` in its path is the record's module, any other place its id."""
    module, id_, owner = _parent_module(run, table), row.fields[0], row.fields[1] or {}
    path = re.sub(r"\{(\w+)\}", lambda place: module if place[1] == "module" else id_, table.path)
    params = {name: str(owner.get("id", "")) if value == "{owner_id}" else value for name, value in table.params}
    at = utc_now()
    pages = list(_pages(run, table.id, path, table.records, params, operation=table.path, of_record=True))
    found: list[Item] = [Page(page.records, page.at, _facts(run, table, row)) for page in pages]
    return found if table.name in HISTORIES else [*found, Complete(_scope(run, table, row), at)]


def _parent_module(run: ZohoRun, table: Table) -> str:
    assert table.parent is not None
    module = module_of(run.source.tables[table.parent])
    assert module is not None
    return module


def _facts(run: ZohoRun, table: Table, row: ParentRow) -> dict[str, Any]:
    """What the rows of one record do not hold themselves: what the record's own line was told with, its module, its id."""
    told = {**row.add, "org_id": run.org_id}
    if module := module_of(run.source.tables[table.parent or ""]):
        told["module"] = module
    return {
        name: told.get(name, row.fields[0]) for name in (column.field[0] for column in table.columns if column.from_request)
    }


def _scope(run: ZohoRun, table: Table, row: ParentRow) -> dict[str, Any]:
    facts = _facts(run, table, row)
    return {column.name: facts[column.field[0]] for column in table.columns if column.from_request}


def _tags(row: ParentRow) -> list[Record]:
    tags = inner(row.record, "Tag")
    return elements(tags) if tags is not None else []


def _decoded(pages: Sequence[Page]) -> list[Described]:
    return [msgspec.json.decode(record) for page in pages for record in page.records]


def _date(answer: Answer) -> dt.datetime:
    """Zoho's clock when it answered."""
    date = email.utils.parsedate_tz(answer.headers.get("Date", ""))
    return dt.datetime.fromtimestamp(email.utils.mktime_tz(date), dt.UTC) if date else dt.datetime.now(dt.UTC)
