"""Conta Azul's rows that follow other rows: details and instalments, one call each, and what sits inside records.

Each reads what its parent's raw log says; how such a log is read lives in `conta_azul_log.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from datalake.lake.raw import RawLog
from datalake.model import Column, Table
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Permanent
from datalake.sources.conta_azul_lists import Listed, dig, walk
from datalake.sources.conta_azul_log import COMPANY, Change, Set, change, owners, sets, standing, value
from datalake.sources.conta_azul_run import ContaAzulRun
from datalake.sources.paging import lines_of
from datalake.sources.records import digest, elements, inner, pick, single

CHUNK = 128
"""Things asked for one by one between two checkpoints."""
INSTALMENT = "/v1/financeiro/eventos-financeiros/parcelas"


def changed_events(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """All instalments of every event that the feed names, or whose rows in the lists changed or vanished without its telling.

    An event that Conta Azul no longer knows is a set without rows. `to` and `done` in the cursor say how far a reading came
    that was interrupted.
    """
    assert ask.parent is not None
    start, sequences = ask.cursor.get("parent_sequence", 0), dict(ask.cursor.get("sequences", {}))
    first_load = "sequences" not in ask.cursor
    kept = {} if first_load else {"sequences": dict(sequences)}
    head = ask.parent.head(start)
    to = ask.cursor.get("to", head.sequence if head else start)
    own = RawLog(ask.parent.objects, ask.table)
    # A first load that goes on knows what it read before; later, whatever the lists show is news.
    read = _ids_in(run, own) if first_load and not ask.full else set()
    events = list(dict.fromkeys(_feed(run, ask.parent, start, to)))
    for number in range(ask.cursor.get("done", 0), len(events), CHUNK):
        yield from _read_events(run, ask.table, events[number : number + CHUNK], read)
        yield Checkpoint({"parent_sequence": start, **kept, "to": to, "done": number + CHUNK})
    found: set[str] = set()
    for name in ask.table.also:
        log, last = RawLog(ask.parent.objects, run.source.tables[name]), sequences.get(name, 0)
        newest = log.head(last)
        if newest is not None and newest.sequence > last:
            found |= _untold(run, ask.table, own, change(log, run.company.id, last, newest.sequence), read)
            sequences[name] = newest.sequence
    untold = sorted(found)
    for number in range(0, len(untold), CHUNK):
        yield from _read_events(run, ask.table, untold[number : number + CHUNK], read)
        yield Checkpoint({"parent_sequence": to, **kept})
    yield Checkpoint({"parent_sequence": to, "sequences": sequences})


def children_of_changed(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """The rows of each changed or vanished parent from their own path: one call each, told as a set.

    `to` and `done` in the cursor say how far a reading came that was interrupted.
    """
    assert ask.parent is not None
    head = ask.parent.head()
    cursor = {"parent_sequence": 0, **ask.cursor}
    while head is not None and cursor["parent_sequence"] < head.sequence:
        for item in _children(run, ask.table, ask.parent, cursor, head.sequence):
            if isinstance(item, Checkpoint):
                cursor = item.cursor
            yield item


def from_parent(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """Rows that sit inside the parent's records. Sets of the parent are sets here."""
    assert ask.parent is not None
    parent = ask.parent.table
    for commit in ask.parent.since(ask.cursor.get("parent_sequence", 0)):
        for each in sets(ask.parent, commit, run.company.id):
            yield from _rows_inside(ask.table, parent, each)
            yield Complete(_scope(ask.table, each.scope), each.at)
        yield Checkpoint({"parent_sequence": commit.sequence})


def daily_snapshot(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """A number of each account, as it is today. Of a day the last reading stands."""
    assert ask.parent is not None
    head = ask.parent.head()
    accounts = sorted(standing(ask.parent, run.company.id, head.sequence)) if head else []
    day = run.today.date().isoformat()

    def balance(account: str) -> Page:
        path = _path(ask.table, account)
        answer = run.get(ask.table, path, cursor=account, gone=(404,))
        records = [] if answer.status == 404 else [single(answer)]
        return Page(records, answer.at, {"id_conta_financeira": account, "data_snapshot": day})

    pages = list(run.workers.each(accounts, balance))
    found = digest(f"{day} {page.add}".encode() + bytes(record) for page in pages for record in page.records)
    if found != ask.cursor.get("digest"):
        yield from pages
        yield Checkpoint({"digest": found})


# Rows that need a call each


def _feed(run: ContaAzulRun, log: RawLog, start: int, to: int) -> Iterator[str]:
    for commit in log.since(start):
        if commit.sequence <= to:
            for line in lines_of(log, commit):
                if line.lake.add.get(COMPANY) == run.company.id:
                    yield pick(line.record, "id")[0]


def _ids_in(run: ContaAzulRun, log: RawLog) -> set[str]:
    head = log.head()
    return set(standing(log, run.company.id, head.sequence)) if head else set()


def _untold(run: ContaAzulRun, table: Table, own: RawLog, of: Change, read: set[str]) -> set[str]:
    """The events of instalments that changed in a list or vanished from it, and that were not read in this run."""
    ids = [id_ for id_ in of.changed if id_ not in read]
    changed = set(filter(None, run.workers.each(ids, lambda id_: _event_of(run, table, id_))))
    return changed | owners(own, run.company.id, of.gone, "id_evento")


def _event_of(run: ContaAzulRun, table: Table, instalment: str) -> str | None:
    """The event of an instalment; None where there is no such instalment."""
    answer = run.get(table, f"{INSTALMENT}/{quote(instalment, safe='')}", cursor=instalment, gone=(404,))
    event = inner(single(answer), "evento") if answer.status != 404 else None
    return pick(event, "id")[0] if event is not None else None


def _read_events(run: ContaAzulRun, table: Table, events: Sequence[str], read: set[str]) -> Iterator[Item]:
    """The instalments of events, and note of them in `read`."""

    def instalments(event: str) -> Listed:
        (page,) = walk(run.get, table, path=_path(table, event), gone=(404,))
        return page

    for event, page in zip(events, run.workers.each(events, instalments), strict=True):
        read.update(pick(record, "id")[0] for record in page.records)
        yield Page(page.records, page.answer.at, {"id_evento": event})
        yield Complete({"id_evento": event}, page.answer.at)


def _children(run: ContaAzulRun, table: Table, parent: RawLog, cursor: dict[str, Any], end: int) -> Iterator[Item]:
    """The children of what changed up to commit `end`, or up to where an interrupted reading wanted to come."""
    start, to, done = cursor["parent_sequence"], cursor.get("to", end), cursor.get("done", "")
    found = change(parent, run.company.id, start, to)
    gone = set(found.gone)
    ids = [id_ for id_ in sorted(gone.union(found.changed)) if id_ > done]
    for number in range(0, len(ids), CHUNK):
        chunk = ids[number : number + CHUNK]
        for items in run.workers.each(chunk, lambda id_: _child(run, table, id_, vanished=id_ in gone)):
            yield from items
        yield Checkpoint({"parent_sequence": start, "to": to, "done": chunk[-1]})
    yield Checkpoint({"parent_sequence": to})


def _child(run: ContaAzulRun, table: Table, id_: str, *, vanished: bool) -> list[Item]:
    """The rows of one parent and word that these are all. A parent that is unknown by now has none."""
    owner = _owner(table)
    add = {owner.field[0]: id_} if owner.from_request else {}
    path = _path(table, id_)
    if table.records:
        pages = list(walk(run.get, table, path=path, gone=(404,)))
        rows: list[Item] = [Page(page.records, page.answer.at, add) for page in pages]
        return [*rows, Complete({owner.name: id_}, pages[0].answer.at)]
    # Conta Azul answers 500 for a contract that it does not know: believed only of one that left the list, said twice.
    gone = (404, 500) if vanished else (404,)
    answer = run.get(table, path, cursor=id_, gone=gone)
    if answer.status == 500:
        answer = run.get(table, path, cursor=id_, gone=gone)
    rows = [Page([single(answer)], answer.at, add)] if answer.status not in gone else []
    return [*rows, Complete({owner.name: id_}, answer.at)]


def _path(table: Table, id_: str) -> str:
    """The table's path with the parent's id in place of `{…}`."""
    head, _, tail = table.path.partition("{")
    return f"{head}{quote(id_, safe='')}{tail.partition('}')[2]}"


def _owner(table: Table) -> Column:
    """The column that holds the parent's id."""
    for column in table.columns:
        if column.refers == (table.source, table.parent, "id"):
            return column
    raise Permanent(f"{table.id}: no column refers to {table.parent}.id; name it in the contract")


# Rows inside other rows


def _rows_inside(table: Table, parent: Table, each: Set) -> Iterator[Page]:
    facts = [column for column in table.columns if column.from_request and column.name != COMPANY]
    told: set[bytes] = set()
    for line in each.rows:
        found = dig(line.record, table.records)
        if found is None:
            continue
        several = bytes(memoryview(found)[:1]) == b"["
        for place, record in enumerate(elements(found) if several else [found]):
            # The instalments of an event all carry the same event.
            if several or bytes(record) not in told:
                told.add(bytes(record))
                add = {fact.field[0]: _fact(fact, parent, line, place) for fact in facts}
                yield Page([record], line.lake.at, add)


def _fact(fact: Column, parent: Table, line: Any, place: int) -> Any:
    """What a row takes from the record around it."""
    if fact.name == "posicao":
        return place
    if fact.name == "posicao_rateio":
        return value(line, parent.column("posicao"))
    return value(line, parent.column("id" if fact.refers == (parent.source, parent.name, "id") else fact.name))


def _scope(table: Table, scope: dict[str, Any]) -> dict[str, Any]:
    """The parent's set as a set of the rows inside it: of the same event, else of the same parent."""
    names = {column.name for column in table.columns}
    return {_owner(table).name if name == "id" else name if name in names else "id": value_ for name, value_ in scope.items()}
