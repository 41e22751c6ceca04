"""What a value of a record becomes: exact, or in quarantine with its reason and place. Never NULL where there was something."""

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import chdb
import polars
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from datalake.lake.lake import Lake
from datalake.model import Type, parse_type
from datalake.settings import Settings
from datalake_tests.treat.build import T1, ask, column, commit, line, quarantined, rows, source, table, treat

NAN = float("nan")
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the lake's timestamps are UTC without a zone

FITS: list[tuple[str, str, Any]] = [
    ("string", '"abc"', "abc"),
    ("string", '""', ""),
    ("string", '"é\\u00e9 \\ud83d\\ude00 😀 \\"quoted\\" \\\\ \\/"', 'éé 😀 😀 "quoted" \\ /'),
    ("string", '"a\\u0000b"', "a\0b"),
    ("string", '"{\\"a\\":1.50}"', '{"a":1.50}'),
    ("string", '"1.10"', "1.10"),
    ("string", "1234567890123456789", "1234567890123456789"),
    ("string", "123456789012345678901234567890", "123456789012345678901234567890"),
    ("string", "1.10", "1.10"),
    ("string", "-0.5e-7", "-0.5e-7"),
    ("string", "true", "true"),
    ("int64", "9223372036854775807", 9223372036854775807),
    ("int64", "-9223372036854775808", -9223372036854775808),
    ("int64", '"1234567890123456789"', 1234567890123456789),
    ("int64", "0", 0),
    ("int64", "5.0", 5),
    ("float64", "0.1", 0.1),
    ("float64", "1e300", 1e300),
    ("float64", '"2.5"', 2.5),
    ("float64", "12345678901234567890", 12345678901234567890.0),
    ("decimal(9,2)", "1.10", Decimal("1.10")),
    ("decimal(9,2)", "1.1000", Decimal("1.10")),
    ("decimal(9,2)", '"1.10"', Decimal("1.10")),
    ("decimal(9,2)", "-1234567.89", Decimal("-1234567.89")),
    ("decimal(9,2)", "7", Decimal("7.00")),
    ("decimal(2,2)", "0.25", Decimal("0.25")),
    ("decimal(38,12)", "12345678901234567890123456.123456789012", Decimal("12345678901234567890123456.123456789012")),
    ("decimal(20,10)", "0.0000000001", Decimal("0.0000000001")),
    ("bool", "true", True),
    ("bool", "false", False),
    ("bool", '"true"', True),
    ("timestamp", "1767323045", MOMENT),
    ("timestamp", '"1767323045"', MOMENT),
    ("timestamp", "-1", dt.datetime(1969, 12, 31, 23, 59, 59)),  # noqa: DTZ001 - see above
    ("timestamp", '"2026-01-02T03:04:05Z"', MOMENT),
    ("timestamp", '"2026-01-02t03:04:05z"', MOMENT),
    ("timestamp", '"2026-01-02 05:34:05+02:30"', MOMENT),
    ("timestamp", '"2026-01-02T00:04:05-0300"', MOMENT),
    ("timestamp", '"2026-01-02T03:04:05.123456Z"', MOMENT.replace(microsecond=123456)),
    ("timestamp", '"2026-01-02T03:04:05.123456000Z"', MOMENT.replace(microsecond=123456)),
    ("timestamp", '"/Date(1767323045000+0000)/"', MOMENT),
    ("timestamp", '"\\/Date(1767323045123)\\/"', MOMENT.replace(microsecond=123000)),
    ("timestamp", '"/Date(-1000+1300)/"', dt.datetime(1969, 12, 31, 23, 59, 59)),  # noqa: DTZ001 - see above
    ("date", '"/Date(1767398399999+1300)/"', dt.date(2026, 1, 2)),
    ("date", '"/Date(-86400000+0000)/"', dt.date(1969, 12, 31)),
    ("date", '"2026-01-02"', dt.date(2026, 1, 2)),
    ("date", '"2026-01-02T00:00:00"', dt.date(2026, 1, 2)),
    ("json", "{}", "{}"),
    ("json", "[]", "[]"),
    ("json", '"text"', '"text"'),
    ("json", '"{\\"a\\":1}"', '"{\\"a\\":1}"'),
    ("json", "1.10", "1.10"),
    (
        "json",
        '{"a":1.10,"b":[1.1,1e5,2E+3,-0.50,12345678901234567.123456789],"c":"1.10 0.5 3e5"}',
    )
    * 1
    + ('{"a":1.10,"b":[1.1,1e5,2E+3,-0.50,12345678901234567.123456789],"c":"1.10 0.5 3e5"}',),
    ("json", '{"\\u00e9":"\\u00a0.5 \\u00e9","x":[0.5e1,0e5,-0.0]}', '{"é":"\u00a0.5 é","x":[0.5e1,0e5,-0.0]}'),
    ("json", '{"n":123456789012345678901234567890,"d":1,"d":2}', '{"n":123456789012345678901234567890,"d":1,"d":2}'),
    ("list<string>", "[]", []),
    ("list<string>", '["a",null,"b"]', ["a", None, "b"]),
    ("list<decimal(9,2)>", '[1.10,"2.5"]', [Decimal("1.10"), Decimal("2.50")]),
    ("list<list<int64>>", "[[1],[],null]", [[1], [], None]),
    ("struct{a:int64,b:string}", "{}", {"a": None, "b": None}),
    ("struct{a:int64,b:string}", '{"b":"x","a":1,"other":2.5}', {"a": 1, "b": "x"}),
    (
        "struct{a:struct{at:timestamp},j:json}",
        '{"a":{"at":1767323045},"j":{"x":1.50}}',
        {"a": {"at": MOMENT}, "j": '{"x":1.50}'},
    ),
    (
        "list<struct{sku:string,price:decimal(20,10)}>",
        '[{"sku":"é","price":0.1000000001}]',
        [{"sku": "é", "price": Decimal("0.1000000001")}],
    ),
]

UNFIT: list[tuple[str, str]] = [
    ("string", '{"id":"cus_1"}'),
    ("string", '["a"]'),
    ("int64", "1.5"),
    ("int64", "1e3"),
    ("int64", "9223372036854775808"),
    ("int64", '"007"'),
    ("int64", '"1_000"'),
    ("int64", '" 5"'),
    ("int64", '"+5"'),
    ("int64", '""'),
    ("int64", "true"),
    ("int64", "[1]"),
    ("float64", '"nan"'),
    ("float64", '"1,5"'),
    ("float64", "1e400"),
    ("decimal(9,2)", "1.005"),
    ("decimal(9,2)", '"1.005"'),
    ("decimal(9,2)", "12345678.00"),
    ("decimal(9,2)", '"1,50"'),
    ("decimal(9,2)", "1e1"),
    ("decimal(2,2)", "1.00"),
    ("bool", '"yes"'),
    ("bool", "1"),
    ("bool", '"TRUE"'),
    ("timestamp", '"2026-01-02T03:04:05"'),
    ("timestamp", '"2026-01-02"'),
    ("timestamp", '"2026-02-30T00:00:00Z"'),
    ("timestamp", '"2026-01-02T03:04:60Z"'),
    ("timestamp", '"2026-01-02T24:00:00Z"'),
    ("timestamp", '"0000-01-02T00:00:00Z"'),
    ("timestamp", '"2026-01-02T03:04:05.1234567Z"'),
    ("timestamp", '"yesterday"'),
    ("timestamp", "1767323045123"),
    ("timestamp", '"/Date(1767323045123456)/"'),
    ("timestamp", '"/Date()/"'),
    ("date", '"/Date(253402300800000)/"'),
    ("timestamp", "1767323045.5"),
    ("date", '"2026-02-30"'),
    ("date", '"2026-01-02T10:00:00"'),
    ("date", "1767323045"),
    ("list<string>", '"a"'),
    ("list<string>", "{}"),
    ("list<int64>", '[1,"x"]'),
    ("list<list<int64>>", "[[1.5]]"),
    ("struct{a:int64}", "[]"),
    ("struct{a:int64}", '"x"'),
    ("struct{a:int64}", '{"a":"x"}'),
    ("struct{a:int64}", '{"a":1,"a":2}'),
    ("struct{a:struct{b:int64}}", '{"a":5}'),
    ("list<struct{a:int64}>", "[5]"),
]


def test_each_value_is_kept_exactly(lake: Lake) -> None:
    of = table([column("id", "int64"), *(column(f"c{n}", type_) for n, (type_, _text, _value) in enumerate(FITS))])
    written = [f'{{"id":{n},"c{n}":{text}}}' for n, (_type, text, _value) in enumerate(FITS)]
    commit(lake, of, [line(record) for record in written])
    batch = treat(lake, of)
    assert batch is not None
    assert quarantined(lake) == []
    for n, (row, (type_, text, value)) in enumerate(zip(rows(lake, of), FITS, strict=True)):
        assert (row[n + 1], type(row[n + 1])) == (value, type(value)), f"{text} as {type_}"
        assert [other for m, other in enumerate(row[1:]) if m != n and other is not None] == []


def test_what_does_not_fit_is_in_quarantine_with_its_place(lake: Lake) -> None:
    of = table([column("id", "int64"), *(column(f"c{n}", type_) for n, (type_, _text) in enumerate(UNFIT))])
    bad = [f'{{"id":{n},"c{n}":{text}}}' for n, (type_, text) in enumerate(UNFIT)]
    good = [f'{{"id":{1000 + n}}}' for n in range(len(bad) + 10)]
    made = commit(lake, of, [line(record) for record in good], [line(record) for record in bad])
    batch = treat(lake, of)
    assert batch is not None
    assert (batch.rows_rejected, batch.rows_inserted, batch.rows_in) == (len(bad), len(good), len(bad) + len(good))
    told = quarantined(lake, "source", "table", "raw_commit", "part", "line", "key", "column", "reason", "record")
    for n, ((type_, text), row) in enumerate(zip(UNFIT, told, strict=True)):
        reason = f"does not fit {type_}: {text}"
        key = json.dumps({"id": n}, separators=(",", ":"))
        assert row == ("shop", "orders", 1, made.parts[1].key, n + 1, key, f"c{n}", reason, line(bad[n]).decode())
    assert [row[0] for row in rows(lake, of)] == [1000 + n for n in range(len(good))]


LINES: list[tuple[bytes, str | None, str]] = [
    (b'{"_lake":{"at":"x"', None, "is no JSON: .*"),
    (b"nonsense", None, "is no JSON: .*"),
    (line(b'{"id":"\\ud800"}'), None, "holds half a surrogate pair .*"),
    (line(b'{"id":"\xff"}'), None, "is no UTF-8 at byte .*"),
    (line(b'{"id":"a","id":"b"}'), None, "the key id stands twice"),
    (line(b'{"id":"a","x":1,"x":1}'), None, "the key x stands twice"),
    (line(b"[]"), None, "the record is missing or no object"),
    (line(b'"text"'), None, "the record is missing or no object"),
    (line(b"null"), None, "the record is missing or no object"),
    (b'{"record":{"id":"a"}}', None, "_lake.at is missing or no point in time"),
    (b'{"_lake":{"at":"yesterday"},"record":{"id":"a"}}', None, "_lake.at is missing or no point in time"),
    (b'{"_lake":{"at":"2026-01-01T00:00:00Z","op":"upsert"},"record":{"id":"a"}}', None, "_lake.op is unknown: upsert"),
    (b'{"_lake":{"at":"2026-01-01T00:00:00Z","op":"complete"}}', None, "says complete, but not for what scope"),
    (line(b"{}"), "id", "is empty, but part of the key"),
    (line(b'{"id":null}'), "id", "is empty, but part of the key"),
    (line(b'{"id":"a"}', op="delete").replace(b'"id"', b'"no"'), "id", "is empty, but part of the key"),
    (line(b'{"id":"a","needed":null}'), "needed", "is empty, which the contract rules out"),
    (line(b'{"id":"a","needed":1,"state":"new"}'), "state", 'is no value that the contract names: "new"'),
    (line(b'{"id":"a","needed":1,"user":"ghost"}'), "user_id", 'does not fit int64: "ghost"'),
    (line(b'{"id":"a","needed":1,"user":{"id":1,"id":2}}'), "user_id", "does not fit int64: .*"),
]


def test_each_bad_line_is_told_with_its_reason(lake: Lake) -> None:
    of = table(
        [
            column("id", "string"),
            column("needed", "int64", nullable=False),
            column("state", "string", values=("open", "closed")),
            column("user_id", "int64", field=("user", "id")),
        ]
    )
    good = [line({"id": f"g{n}", "needed": 1, "state": "open", "user": {"id": n}}) for n in range(len(LINES) + 10)]
    made = commit(lake, of, good, [text for text, _column, _reason in LINES])
    treat(lake, of)
    told = quarantined(lake, "part", "line", "column", "reason", "record")
    for n, ((text, where, reason), row) in enumerate(zip(LINES, told, strict=True), 1):
        assert row[:3] == (made.parts[1].key, n, where)
        assert re.fullmatch(reason, row[3]), (reason, row[3])
        assert row[4] == text.decode(errors="backslashreplace")
    assert len(rows(lake, of)) == len(good)


@pytest.mark.parametrize("unit, number", [("seconds", 1767323045), ("milliseconds", 1767323045000)])
def test_numbers_count_what_the_source_or_the_column_says(lake: Lake, unit: str, number: int) -> None:
    of = table([column("id", "int64"), column("at", "timestamp"), column("own", "timestamp", unit=unit)])
    other = "milliseconds" if unit == "seconds" else "seconds"
    commit(lake, of, [line({"id": 1, "at": 1767323045000 if other == "milliseconds" else 1767323045, "own": number})])
    treat(lake, of, timestamps=other)
    assert rows(lake, of, "at", "own") == [(MOMENT, MOMENT)]


@pytest.mark.parametrize("zone, hours", [("-03:00", 3), ("Z", 0), ("+05:30", -5.5)])
def test_text_without_an_offset_is_read_in_the_zone_of_the_source(lake: Lake, zone: str, hours: float) -> None:
    of = table([column("id", "int64"), column("at", "timestamp"), column("own", "timestamp"), column("day", "date")])
    record = {"id": 1, "at": "2026-01-02T03:04:05.25", "own": "2026-01-02T03:04:05Z", "day": "2026-01-02T00:00:00"}
    commit(lake, of, [line(record), line({"id": 2, "at": "2026-01-02T25:00:00"})])
    treat(lake, of, zone=zone)
    at = MOMENT.replace(microsecond=250_000) + dt.timedelta(hours=hours)
    assert rows(lake, of, "at", "own", "day") == [(at, MOMENT, dt.date(2026, 1, 2))]
    assert quarantined(lake, "column", "line") == [("at", 2)]


@pytest.mark.parametrize("exact", [False, True])
def test_empty_text_is_no_value_where_the_source_says_so(lake: Lake, exact: bool) -> None:
    terms = "struct{until:date,name:string}"
    of = table(
        [
            column("id", "int64"),
            column("day", "date"),
            column("at", "timestamp"),
            column("since", "timestamp"),
            column("until", "timestamp"),
            column("much", "decimal(9,2)"),
            column("name", "string"),
            column("terms", terms),
            column("deep", "date", field=("inside", "day")),
        ]
    )
    empty = {
        "day": "",
        "at": "",
        "since": "0",
        "until": 0,
        "much": "",
        "name": "",
        "terms": {"until": "", "name": ""},
        "inside": {"day": ""},
    }
    more = {"id": 2, "much": 1.25} if exact else {"id": 2, "much": 1}
    commit(lake, of, [line({"id": 1, **empty}), line(more)])
    treat(lake, of, empty_is_none=True)
    names = ("id", "day", "at", "since", "until", "much", "name", "terms", "deep")
    assert rows(lake, of, *names)[0] == (1, None, None, None, None, None, "", {"until": None, "name": ""}, None)
    assert quarantined(lake, "column", "line") == []


def test_empty_text_does_not_fit_where_the_source_says_nothing(lake: Lake) -> None:
    of = table([column("id", "int64"), column("day", "date")])
    commit(lake, of, [line({"id": 1, "day": ""}), line({"id": 2, "day": "2026-01-02"})])
    treat(lake, of)
    assert rows(lake, of, "id") == [(2,)]
    assert quarantined(lake, "column", "line") == [("day", 1)]


def test_columns_come_from_deep_down_and_from_the_request(lake: Lake) -> None:
    of = table(
        [
            column("id", "int64"),
            column("city", "string", field=("address", "geo", "city.1")),
            column("repository_id", "int64", from_request=True),
            column("ratio", "decimal(4,2)", from_request=True),
        ]
    )
    commit(
        lake,
        of,
        [
            line('{"id":1,"address":{"geo":{"city.1":"X"}}}', add={"repository_id": 7, "ratio": 1.25}),
            line('{"id":2,"address":null}', add={"repository_id": "8"}),
            line('{"id":3,"address":{"geo":null}}'),
            line('{"id":4,"address":{"geo":{"city.1":1.50}}}'),
            line('{"id":5,"address":{"geo":5}}'),
        ],
    )
    treat(lake, of)
    assert rows(lake, of) == [(1, "X", 7, Decimal("1.25")), (2, None, 8, None), (3, None, None, None), (4, "1.50", None, None)]
    assert quarantined(lake) == [(5, "city", 'does not fit string: {"geo":5}')]


def test_unknown_fields_are_kept_and_told(lake: Lake) -> None:
    of = table({"id": "int64", "name": "string"}, ignore=("*_url", "etag"))
    commit(
        lake,
        of,
        [
            line('{"id":1,"name":"a","html_url":"x","etag":"y"}'),
            line('{"id":2,"new":{"deep":[1.50,"x"]},"other":null,"name":"b"}'),
            line('{"id":3,"ne\\"w":"v","new":1.10}'),
        ],
    )
    batch = treat(lake, of)
    assert batch is not None
    assert batch.drift == {"new": 2, "other": 1, 'ne"w': 1}
    kept = rows(lake, of, "_unmapped")
    assert kept == [(None,), ('{"new":{"deep":[1.50,"x"]},"other":null}',), ('{"ne\\"w":"v","new":1.10}',)]


def test_big_batches_read_as_small_ones(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions by the usual order of members, and the reader chosen by a sample, change no value and no verdict."""
    columns = {"id": "int64", "a": "string", "price": "decimal(9,2)", "j": "json"}
    made = []
    for share in (0, 5, 100):
        lines = [
            line(f'{{"id":{n},"a":"x{n}","price":{n}{".5" if n % 100 < share else ""},"j":{{"n":{n}}}}}') for n in range(400)
        ] + [
            line('{"a":"other order","id":1000,"j":[],"price":"1.25"}'),
            line('{"id":1001,"more":1}'),
            line('{"id":1002,"id":1003}'),
            line('{"id":1004,"a":{},"price":1,"j":{}}'),
            b"broken",
        ]
        for name, least in ((f"small{share}", 1 << 40), (f"big{share}", 0)):
            of = table(columns, name=name)
            commit(lake, of, lines[:200], lines[200:])
            monkeypatch.setattr("datalake.treat.scan.PROBE_BYTES", least)
            batch = treat(lake, of)
            assert batch is not None
            made.append((name, rows(lake, of, *columns, "_row_hash", "_unmapped"), batch.rows_rejected))
        assert made[-1][1:] == made[-2][1:]
        assert made[-1][2] == 3
        told = ask(
            lake, 'SELECT line, "column", reason FROM lake.quality.quarantine WHERE "table" = ? ORDER BY line', f"small{share}"
        )
        assert told == ask(
            lake, 'SELECT line, "column", reason FROM lake.quality.quarantine WHERE "table" = ? ORDER BY line', f"big{share}"
        )


def test_a_very_long_line_is_read(lake: Lake) -> None:
    of = table({"id": "int64", "text": "string"})
    commit(lake, of, [line({"id": 1, "text": "x" * 20_000_000}), line({"id": 2, "text": "y"}), line('{"id":3,"text":1.50}')])
    treat(lake, of)
    assert [(key, text[0], len(text)) for key, text in rows(lake, of)] == [(1, "x", 20_000_000), (2, "y", 1), (3, "1", 4)]


def test_other_readers_see_the_same_text(lake: Lake) -> None:
    """A NUL, an emoji and digits survive in every reader."""
    of = table({"id": "int64", "name": "string", "j": "json"})
    commit(lake, of, [line('{"id":1,"name":"a\\u0000b😀","j":{"x":1.10}}')])
    treat(lake, of)
    found = lake.catalog.load_table(of.identifier)
    expected = [(1, "a\0b😀", '{"x":1.10}')]
    assert [tuple(row.values()) for row in found.scan(selected_fields=("id", "name", "j")).to_arrow().to_pylist()] == expected
    [file] = found.inspect.files().to_pylist()
    assert polars.read_parquet(file["file_path"]).select("id", "name", "j").rows() == expected
    told = chdb.query(f"SELECT id, hex(name), j FROM file('{file['file_path']}', 'Parquet')", "JSONCompact")
    assert json.loads(str(told))["data"] == [[1, "a\0b😀".encode().hex().upper(), '{"x":1.10}']]


# Any JSON value against any type: exact, or in quarantine; NULL only where it was null or absent.

SCALARS = ["string", "int64", "float64", "decimal(9,2)", "decimal(38,12)", "bool", "timestamp", "date", "json"]
NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(json.dumps),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    NUMBERS.map(json.dumps),
    st.datetimes().map(lambda at: json.dumps(at.isoformat() + "Z")),
    st.dates().map(lambda day: json.dumps(day.isoformat())),
)
JSONS = st.recursive(
    st.one_of(NUMBERS, TEXTS, st.sampled_from(["true", "false", "null", "{}", "[]"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(["a", "b", "c.5", "é"]), inner), max_size=3).map(
            lambda items: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=6,
)
TYPES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda type_: f"list<{type_}>"), st.tuples(inner, inner).map(lambda two: f"struct{{a:{two[0]},b:{two[1]}}}")
    ),
    max_leaves=3,
)


class Number(str):
    """A number as its text."""

    __slots__ = ()


def parsed(text: str) -> Any:
    """JSON with numbers as their text and objects as pairs."""
    return json.loads(
        text,
        parse_int=lambda digits: Number("0" if digits == "-0" else digits),
        parse_float=Number,
        object_pairs_hook=lambda pairs: ("object", pairs),
    )


def agrees(type_: Type, value: Any, found: Any) -> bool:
    """Whether `found` says exactly what the JSON value says."""
    if value is None or found is None:
        return value is None and found is None
    match type_.kind:
        case "list":
            return isinstance(value, list) and all(
                agrees(type_.element or type_, v, f) for v, f in zip(value, found, strict=True)
            )
        case "struct":
            members = dict(value[1])
            return len(members) == len(value[1]) and all(agrees(t, members.get(name), found[name]) for name, t in type_.fields)
        case "json":
            return bool(parsed(found) == value)
        case "string":
            return bool(found == ({True: "true", False: "false"}[value] if isinstance(value, bool) else value))
        case "bool":
            return bool(found == value or {True: "true", False: "false"}[found] == value)
        case "int64" | "decimal":
            return isinstance(value, str) and Decimal(value) == found
        case "float64":
            return isinstance(value, str) and float(value) == found
        case "timestamp" if re.fullmatch("-?[0-9]+", value):
            return bool(found == dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(value)))  # noqa: DTZ001 - UTC without a zone
        case "timestamp":
            at = dt.datetime.fromisoformat(value.upper())
            return at.tzinfo is not None and found == at.astimezone(dt.UTC).replace(tzinfo=None)
        case "date":
            return found == dt.date.fromisoformat(value[:10])
    raise AssertionError(type_)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    lake = Lake(Settings({"DATALAKE_URL": str(tmp_path_factory.mktemp("lake")), "DATALAKE_THREADS": "1"}))
    yield lake
    lake.close()


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.data(), st.lists(TYPES, min_size=6, max_size=6))
def test_any_value_is_exact_or_told(shared: Lake, data: st.DataObject, types: list[str]) -> None:
    from datalake.treat.scan import Scan

    of = table(
        [column("id", "int64"), *(column(f"c{n}", type_) for n, type_ in enumerate(types))], name=f"t{Path(str(id(data))).name}"
    )
    values = data.draw(st.lists(st.tuples(st.integers(0, 5), JSONS), min_size=40, max_size=40))
    made = commit(shared, of, [line(f'{{"id":{n},"c{c}":{text}}}'.encode(), T1) for n, (c, text) in enumerate(values)])
    connection = shared.connect()
    try:
        Scan(shared.log(of), of, source(), [made]).fill(connection)
        found = connection.execute('SELECT "$reason", "$column", * FROM lines ORDER BY "$n"').to_arrow_table().to_pylist()
    finally:
        connection.close()
        for part in made.parts:
            shared.objects.delete(part.key)
        shared.objects.delete(f"{of.raw_prefix}/commits/{made.sequence:020d}.json")
    for (c, text), row in zip(values, found, strict=True):
        if row["$reason"]:
            assert row["$column"] in (f"c{c}", None)
            assert text != "null"
        else:
            assert agrees(parse_type(types[c]), parsed(text), row[f"c{c}"]), (types[c], text, row[f"c{c}"])
