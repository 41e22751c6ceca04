"""Hand-written contracts and raw commits, and what became of them."""

import dataclasses
import json
from typing import Any

from datalake.lake.lake import Lake
from datalake.lake.raw import Commit, PartWriter, now
from datalake.lake.sql import quote, relation
from datalake.model import SYSTEM_COLUMNS, Classification, Column, Source, Table, parse_type
from datalake.treat import Batch, prepare

T1, T2, T3, T4 = (f"2026-01-0{day}T00:00:00.000000Z" for day in range(1, 5))


def column(name: str, type_: str, **more: Any) -> Column:
    return dataclasses.replace(Column(name, parse_type(type_), f"What {name} is.", (name,)), **more)


def table(columns: dict[str, str] | list[Column], **more: Any) -> Table:
    made = [column(name, type_) for name, type_ in columns.items()] if isinstance(columns, dict) else columns
    made_table = Table(
        source="shop",
        name="orders",
        about="Orders.",
        doc="https://example.com/orders",
        tier="core",
        rows="orders",
        columns=tuple(made),
        key=("id",),
        classification=Classification.INTERNAL,
        technical_owner="data@example.com",
        business_owner="shop@example.com",
    )
    return dataclasses.replace(made_table, **more)


def source(timestamps: str = "seconds", zone: str = "", *, empty_is_none: bool = False) -> Source:
    address = "https://example.com"
    return Source("shop", "Shop", "A shop.", address, address, "0 * * * *", timestamps, zone, empty_is_none=empty_is_none)


def line(record: bytes | str | dict[str, Any], at: str = T1, add: dict[str, Any] | None = None, op: str | None = None) -> bytes:
    facts: dict[str, Any] = {"at": at, "add": add or {}} | ({"op": op} if op else {})
    body = json.dumps(record).encode() if isinstance(record, dict) else record.encode() if isinstance(record, str) else record
    return b'{"_lake":' + json.dumps(facts).encode() + b',"record":' + body + b"}"


def complete(at: str, **scope: Any) -> bytes:
    return json.dumps({"_lake": {"at": at, "op": "complete", "scope": scope}}).encode()


def commit(lake: Lake, of: Table, *parts: list[bytes], rows: int | None = None, committed_at: str | None = None) -> Commit:
    """Append a raw commit with these parts of lines; `rows` instead of what each part truly holds."""
    made = []
    for lines in parts:
        writer = PartWriter(lake.objects, of)
        records = sum(b'"complete"' not in text for text in lines) if rows is None else rows
        writer.write(b"".join(text + b"\n" for text in lines), records)
        made.append(writer.close())
    log = lake.log(of)
    head = log.head()
    sequence = head.sequence + 1 if head else 1
    return log.append(
        Commit(
            sequence, of.source, of.name, "run", "sync", now(), committed_at or now(), parts=tuple(made), cursor={"n": sequence}
        )
    )


def treat(
    lake: Lake,
    of: Table,
    timestamps: str = "seconds",
    zone: str = "",
    from_commit: int | None = None,
    *,
    empty_is_none: bool = False,
) -> Batch | None:
    """Prepare and publish; the batch must pass."""
    shop = source(timestamps, zone, empty_is_none=empty_is_none)
    batch = prepare(lake, of, source=shop, run_id="run", from_commit=from_commit)
    if batch is not None:
        assert batch.passed, batch.checks
        batch.commit()
    return batch


def ask(lake: Lake, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    connection = lake.connect()
    try:
        return connection.execute(sql, list(parameters)).fetchall()
    finally:
        connection.close()


def rows(lake: Lake, of: Table, *names: str) -> list[tuple[Any, ...]]:
    """The published rows by key; all contract columns unless some are named."""
    wanted = names or tuple(column.name for column in of.columns)
    return ask(
        lake, f"SELECT {', '.join(map(quote, wanted))} FROM {relation(of)} ORDER BY {', '.join(map(quote, of.key)) or 1}"
    )


def content(lake: Lake, of: Table) -> list[tuple[Any, ...]]:
    """All that does not depend on how raw was cut into batches: a version's own time is that of its first reading."""
    names = [column.name for column in of.columns]
    return rows(lake, of, *names, *(name for name in SYSTEM_COLUMNS if name not in ("_extracted_at", "_raw_commit")))


def quarantined(lake: Lake, *names: str) -> list[tuple[Any, ...]]:
    wanted = ", ".join(map(quote, names or ("line", "column", "reason")))
    return ask(lake, f"SELECT {wanted} FROM lake.quality.quarantine ORDER BY raw_commit, part, line")
