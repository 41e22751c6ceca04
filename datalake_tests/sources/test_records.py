"""Records out of pages without decoding: what is split, picked, dropped, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datalake.redaction import Redaction
from datalake.sources.base import Permanent
from datalake.sources.http import Answer
from datalake.sources.records import Drop, digest, pick, single, split

MEMBERS = st.dictionaries(st.sampled_from(["id", "secret", "a", "b", "é"]), st.none() | st.integers() | st.text(max_size=5))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("secret"), inner, max_size=4),
    max_leaves=12,
)


def answer(body: bytes) -> Answer:
    return Answer("sample.charges", "http://127.0.0.1/v1/charges", "", "", 200, {}, body, Redaction())


def test_split_keeps_bytes_and_reads_facts() -> None:
    body = b'{"a":1,"data":[{"n":1.10, "x":{}},{"n":1e400}],"has_more":true,"total":{"n":2}}'
    page = split(answer(body), "data", ("has_more", "total", "gone"))
    assert [bytes(record) for record in page.records] == [b'{"n":1.10, "x":{}}', b'{"n":1e400}']
    assert page.facts == {"has_more": True, "total": {"n": 2}, "gone": None}


def test_split_of_a_bare_array_and_of_a_path() -> None:
    assert [bytes(r) for r in split(answer(b' [1, "x"] ')).records] == [b"1", b'"x"']
    assert [bytes(r) for r in split(answer(b'{"data":{"no.de":[]},"x":{"nodes":[{}]}}'), "x.nodes").records] == [b"{}"]


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 1, "\t"]))
def test_split_gives_what_was_put_in(values: list[Any], indent: Any) -> None:
    body = json.dumps({"more": {"data": values}}, indent=indent).encode()
    assert [json.loads(bytes(record)) for record in split(answer(body), "more.data").records] == values


@pytest.mark.parametrize("text", ['"\\ud800"', '{"a":"\\udc00","n":[1, 2]}', '"' + "\\ud83d" * 3 + '"'])
def test_a_lone_surrogate_passes_as_it_came(text: str) -> None:
    body = f'{{"before":1,"data":[{{"id":1}}, {text}],"has_more":false}}'.encode()
    page = split(answer(body), "data", ("has_more",))
    assert [bytes(record) for record in page.records] == [b'{"id":1}', text.encode()]
    assert page.facts == {"has_more": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"[1,]",
        b'{"data":[1 2]}',
        b'{"data":[NaN]}',
        b'{"data":[1]} x',
        b"[" * 100_000,
        b'{"data":["a\tb\\ud800"]}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Permanent):
        split(answer(body), "data")


@pytest.mark.parametrize("body", [b'{"error":{"code":1}}', b'{"errors":["x"],"data":null}', b'{"message":"Not Found"}'])
def test_an_error_in_place_of_records_is_told_as_one(body: bytes) -> None:
    for call in (lambda: split(answer(body), "data"), lambda: split(answer(body)), lambda: single(answer(body))):
        with pytest.raises(Permanent, match="an error although its status is not"):
            call()


def test_single() -> None:
    assert bytes(single(answer(b' {"id":1, "errors":["in the record"]} '))) == b'{"id":1, "errors":["in the record"]}'
    assert bytes(single(answer(b'{"x":{"id":1.0}}'), "x")) == b'{"id":1.0}'
    for body in (b"[]", b"1", b"null", b"", b"<html>", b'{"error":"x"}'):
        with pytest.raises(Permanent):
            single(answer(body))


def test_pick_of_what_is_no_object() -> None:
    for record in (b"[1]", b"1", b"{", b""):
        with pytest.raises(Permanent):
            pick(record, "id")


@settings(max_examples=200)
@given(VALUES, st.sampled_from([None, 1]))
def test_drop_cuts_the_secret_and_nothing_else(value: Any, indent: Any) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: inner for key, inner in value.items() if key != "secret"}
        return value

    record = {"id": 1.5, "secret": value, "in": value, "list": [value, value]}
    expected = {"id": 1.5, "in": without(value), "list": [without(value), without(value)]}
    data = json.dumps(record, indent=indent).encode()
    dropped = bytes(Drop(["secret", "in.secret", "list.*.secret"])(data))
    assert json.loads(dropped) == expected
    if indent is None:
        assert dropped == json.dumps(expected).encode()


def test_drop_finds_escaped_and_doubled_names() -> None:
    drop = Drop(["secret"])
    assert drop(b'{"se\\u0063ret":1,"a":1.10,"secret":2}') == b'{"a":1.10}'
    kept = b'{"a":1}'
    assert drop(kept) is kept


def test_digest_does_not_mind_the_order() -> None:
    assert digest([b"1", b"2", b"2"]) == digest([b"2", b"1"], digest([b"2"]))
    assert len({digest([]), digest([b"1"]), digest([b"1", b"1"]), digest([b"2"])}) == 4
