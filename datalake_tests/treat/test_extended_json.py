"""Values that come as MongoDB's Extended JSON: what they become in each type of column, exactly, or in quarantine."""

import dataclasses
import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.datetime_ms import DatetimeMS

from datalake.lake.lake import Lake
from datalake.sources.mongodb_json import documents
from datalake.treat import prepare
from datalake_tests.treat.build import column, commit, line, quarantined, rows, source, table

HEX = "6b031e51dde05574c84eeeff"
UUID = "00112233-4455-6677-8899-aabbccddeeff"
FOUR = Binary(bytes.fromhex(UUID.replace("-", "")), UuidRepresentation.STANDARD)
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 123000)  # noqa: DTZ001 - the lake's timestamps are UTC without a zone
MILLISECONDS = DatetimeMS(1767323045123)
DAY = DatetimeMS(1767312000000)

FITS: list[tuple[str, Any, Any]] = [
    ("string", ObjectId(HEX), HEX),
    ("string", "plain", "plain"),
    ("string", '{"$oid":"text of a person"}', '{"$oid":"text of a person"}'),
    ("string", Int64(5), "5"),
    ("string", Int64(2**40), str(2**40)),
    ("string", Decimal128("1.10"), "1.10"),
    ("string", float("nan"), "NaN"),
    ("string", MILLISECONDS, "2026-01-02T03:04:05.123Z"),
    ("string", FOUR, UUID),
    ("string", b"abc", "YWJj"),
    ("string", Code('say("x")'), 'say("x")'),
    ("int64", 7, 7),
    ("int64", Int64(5), 5),
    ("int64", Int64(-(2**63)), -(2**63)),
    ("int64", 5.0, 5),
    ("int64", Decimal128("12"), 12),
    ("float64", 1.5, 1.5),
    ("float64", Int64(5), 5.0),
    ("float64", float("inf"), math.inf),
    ("float64", float("-inf"), -math.inf),
    ("decimal(20,4)", Decimal128("1.10"), Decimal("1.1000")),
    ("decimal(20,4)", Decimal128("-1.5E+3"), Decimal("-1500.0000")),
    ("decimal(20,4)", Decimal128("15E-3"), Decimal("0.0150")),
    ("decimal(20,4)", Decimal128("0E-20"), Decimal("0.0000")),
    ("decimal(20,4)", Int64(5), Decimal("5.0000")),
    ("decimal(38,0)", Decimal128("12345678901234567890123456789012"), Decimal("12345678901234567890123456789012")),
    ("timestamp", MILLISECONDS, MOMENT),
    ("timestamp", DatetimeMS(-1), dt.datetime(1969, 12, 31, 23, 59, 59, 999000)),  # noqa: DTZ001 - see above
    ("timestamp", "2026-01-02T03:04:05.123Z", MOMENT),
    ("date", DAY, dt.date(2026, 1, 2)),
    ("list<string>", [ObjectId(HEX), "a", None], [HEX, "a", None]),
    ("list<timestamp>", [MILLISECONDS], [MOMENT]),
    ("struct{t:int64,i:int64}", Timestamp(7, 8), {"t": 7, "i": 8}),
    ("struct{id:string,at:timestamp}", {"id": ObjectId(HEX), "at": MILLISECONDS}, {"id": HEX, "at": MOMENT}),
    ("json", MILLISECONDS, '{"$date":{"$numberLong":"1767323045123"}}'),
    ("json", {"n": Int64(5), "d": 1.10}, '{"n":{"$numberLong":"5"},"d":1.1}'),
    ("json", MinKey(), '{"$minKey":1}'),
]

UNFIT: list[tuple[str, Any]] = [
    ("string", MinKey()),
    ("string", Regex("^a", "i")),
    ("string", DatetimeMS(2**62)),
    ("string", Binary(b"0" * 16, 3)),
    ("string", Timestamp(1, 2)),
    ("int64", Decimal128("1.5")),
    ("int64", float("nan")),
    ("int64", MILLISECONDS),
    ("float64", Decimal128("1.1")),
    ("float64", ObjectId(HEX)),
    ("decimal(20,4)", Decimal128("1.00005")),
    ("decimal(20,4)", Decimal128("1E+30")),
    ("decimal(20,4)", Decimal128("1E+6000")),
    ("decimal(20,4)", Decimal128("NaN")),
    ("bool", Int64(1)),
    ("timestamp", DatetimeMS(2**62)),
    ("timestamp", Timestamp(1, 2)),
    ("timestamp", ObjectId(HEX)),
    ("date", MILLISECONDS),
    ("struct{t:int64}", ObjectId(HEX)),
    ("list<string>", FOUR),
]


def record(**values: Any) -> bytes:
    return documents(bson.encode(values)).records[0]


def treat(lake: Lake, of: Any) -> None:
    batch = prepare(lake, of, source=dataclasses.replace(source("milliseconds"), extended_json=True), run_id="run")
    assert batch is not None
    assert batch.passed
    batch.commit()


def test_each_value_is_kept_exactly(lake: Lake) -> None:
    of = table([column("id", "int64"), *(column(f"c{n}", type_) for n, (type_, *_) in enumerate(FITS))])
    commit(lake, of, [line(record(**{"id": n, f"c{n}": value})) for n, (_, value, _) in enumerate(FITS)])
    treat(lake, of)
    assert quarantined(lake) == []
    for n, (row, (type_, value, typed)) in enumerate(zip(rows(lake, of), FITS, strict=True)):
        assert (row[n + 1], type(row[n + 1])) == (typed, type(typed)), f"{value!r} as {type_}"
        assert [other for m, other in enumerate(row[1:]) if m != n and other is not None] == []


def test_a_double_that_is_no_number_is_one(lake: Lake) -> None:
    of = table({"id": "int64", "x": "float64"})
    commit(lake, of, [line(record(id=1, x=float("nan")))])
    treat(lake, of)
    [(_, found)] = rows(lake, of)
    assert math.isnan(found)


def test_what_does_not_fit_is_in_quarantine(lake: Lake) -> None:
    of = table([column("id", "int64"), *(column(f"c{n}", type_) for n, (type_, _) in enumerate(UNFIT))])
    good = [line(record(id=1000 + n)) for n in range(len(UNFIT) + 10)]
    commit(lake, of, good, [line(record(**{"id": n, f"c{n}": value})) for n, (_, value) in enumerate(UNFIT)])
    treat(lake, of)
    told = quarantined(lake, "column", "reason")
    assert [name for name, _ in told] == [f"c{n}" for n in range(len(UNFIT))]
    assert all(reason.startswith(f"does not fit {type_}: ") for (_, reason), (type_, _) in zip(told, UNFIT, strict=True))
    assert len(rows(lake, of)) == len(good)


@pytest.mark.parametrize("value", [ObjectId(HEX), MILLISECONDS])
def test_other_sources_read_the_same_text_as_what_it_is(lake: Lake, value: Any) -> None:
    of = table({"id": "int64", "x": "string", "j": "json"})
    commit(lake, of, [line(record(id=1, x=value)), *(line(record(id=n, j=value)) for n in range(2, 20))])
    batch = prepare(lake, of, source=source(), run_id="run")
    assert batch is not None
    batch.commit()
    assert [reason.partition(":")[0] for (reason,) in quarantined(lake, "reason")] == ["does not fit string"]
    assert {json.loads(found).keys() <= {"$oid", "$date"} for _, _, found in rows(lake, of)} == {True}
