"""BSON as Extended JSON: every type comes back as the same bytes, by the quick way and by the exact one."""

import datetime as dt
import json
import math
import struct
import uuid
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from datalake.sources.base import Permanent
from datalake.sources.mongodb_json import EXACT, documents, exactly, from_plain, key, key_bytes, key_record, to_plain

LOADS = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_conversion=EXACT.datetime_conversion,
    uuid_representation=EXACT.uuid_representation,
)

VALUES: list[Any] = [
    1.5,
    5.0,
    -0.0,
    1e300,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    'olá "x"\n\0 \u2028 😀 \\',
    "",
    {"a": [1, {"b": None}, [], {}], "": 1, "c.d": 2, "$e": 3},
    [float("nan"), Int64(1), "x"],
    b"abc",
    Binary(b"abc", 2),
    Binary(b"0" * 16, 3),
    Binary(uuid.UUID(int=7).bytes, 4),
    Binary(b"z", 128),
    ObjectId("6b032f083a81d470eb26c0de"),
    True,
    False,
    DatetimeMS(1767323045123),
    DatetimeMS(-1),
    DatetimeMS(2**62),
    None,
    Regex("^a.*", "imsx"),
    Code("f()"),
    Code("f()", {"x": Int64(1), "y": float("inf")}),
    0,
    2**31 - 1,
    -(2**31),
    Int64(5),
    Int64(2**31),
    Int64(-(2**31) - 1),
    Int64(2**63 - 1),
    Int64(-(2**63)),
    Timestamp(4_000_000_000, 7),
    Decimal128("1.10"),
    Decimal128("-0E-6176"),
    Decimal128("9999999999999999999999999999999999E+6111"),
    Decimal128("NaN"),
    Decimal128("Infinity"),
    MinKey(),
    MaxKey(),
    DBRef("people", ObjectId("6b032f083a81d470eb26c0de")),
    DBRef("people", 1, "other"),
]


def back(record: bytes) -> bytes:
    """The BSON of a record, read by MongoDB's own Python tools."""
    return bson.encode(json_util.loads(record.decode(), json_options=LOADS), codec_options=EXACT)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!r}")
def test_every_type_comes_back_as_the_same_bytes(value: Any) -> None:
    document = bson.encode({"_id": 1, "value": value, "inside": {"list": [value]}}, codec_options=EXACT)
    [record] = documents(document).records
    assert back(record) == document
    assert back(exactly(document)) == document
    json.loads(record, parse_constant=pytest.fail)  # NaN and Infinity are no JSON


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary().map(lambda data: Binary(data, 0)),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(lambda name: name[:1] != "$")
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(st.lists(st.dictionaries(NAMES, TREES, max_size=6), min_size=1, max_size=5))
def test_many_documents_come_back_as_the_same_bytes(made: list[dict[str, Any]]) -> None:
    encoded = [bson.encode(document, codec_options=EXACT) for document in made]
    found = documents(b"".join(encoded))
    assert found.bson == encoded
    for document, record in zip(encoded, found.records, strict=True):
        assert canonical(back(record)) == canonical(document)
        assert json.loads(record) == json.loads(exactly(document))


def canonical(document: bytes) -> str:
    """NaNs have many bit patterns, and no JSON tells them apart."""
    return str(json_util.dumps(bson.decode(document, EXACT), json_options=LOADS))


def element(kind: int, name: str, value: bytes) -> bytes:
    return bytes([kind]) + name.encode() + b"\0" + value


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def text(value: bytes) -> bytes:
    return struct.pack("<i", len(value) + 1) + value + b"\0"


@pytest.mark.parametrize(
    "made, told",
    [
        (element(0x06, "v", b""), '{"$undefined":true}'),
        (element(0x0E, "v", text(b"sym")), '{"$symbol":"sym"}'),
        (
            element(0x0C, "v", text(b"people") + b"\x01" * 12),
            '{"$dbPointer":{"$ref":"people","$id":{"$oid":"' + "01" * 12 + '"}}}',
        ),
        (element(0x02, "v", text(b"\xff\xfe")), '"\\udcff\\udcfe"'),
        (element(0x0B, "v", b"^a\0gi\0"), '{"$regularExpression":{"pattern":"^a","options":"gi"}}'),
    ],
    ids=["undefined", "symbol", "DBPointer", "text that is no UTF-8", "options that Python does not know"],
)
def test_what_the_driver_would_lose_is_kept(made: bytes, told: str) -> None:
    others = [document(element(0x10, "n", struct.pack("<i", 14))) for _ in range(3)]
    plain, odd, *_ = documents(b"".join([others[0], document(made), *others[1:]])).records
    assert plain == b'{"n":14}'
    assert odd.decode() == f'{{"v":{told}}}'


def test_of_a_name_that_stands_twice_the_exact_way_tells_both() -> None:
    made = document(element(0x10, "a", struct.pack("<i", 1)), element(0x10, "a", struct.pack("<i", 2)))
    assert exactly(made) == b'{"a":1,"a":2}'


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_an_answer_that_ends_early_is_an_error(cut: int) -> None:
    with pytest.raises(Permanent, match=r"no BSON document|in the middle"):
        documents(bson.encode({"a": 1}) + bson.encode({"b": 1})[:cut])


@pytest.mark.parametrize(
    "value",
    [
        1,
        Int64(1),
        1.5,
        "x",
        ObjectId("6b032f083a81d470eb26c0de"),
        None,
        {"a": Int64(1)},
        Binary(b"x" * 16, 4),
        MinKey(),
        DatetimeMS(5),
    ],
)
def test_ids_survive_in_cursors(value: Any) -> None:
    returned = from_plain(json.loads(json.dumps(to_plain(value))))
    assert key_bytes(returned) == key_bytes(value)
    made = bson.encode({"other": 1, "_id": value}, codec_options=EXACT)
    assert key_bytes(key(made)) == key_bytes(value)
    assert key_record(value) == exactly(bson.encode({"_id": value}, codec_options=EXACT))


def test_ids_of_different_types_are_different() -> None:
    ids = [1, Int64(1), 1.0, "1", b"1", ObjectId(b"1" * 12), "31" * 12, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), Timestamp(0, 0)]
    assert len({key_bytes(each) for each in ids}) == len(ids)
    assert math.isnan(from_plain(to_plain(float("nan"))))
