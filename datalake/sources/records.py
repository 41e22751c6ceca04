"""Records out of a page without decoding them: splitting, picking fields, dropping secrets, digests. HTTP lives elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from datalake.sources.base import Permanent
from datalake.sources.http import Answer
from datalake.sources.scan import Scan

Record = bytes | Raw
"""A record as received. Both kinds go into `bytes.join`, hashes and msgspec's decoders as they are."""

_ERROR_KEYS = ("error", "errors", "message", "detail", "Message", "error_description")


@dataclass(frozen=True, slots=True)
class Split:
    """A page's records, undecoded, and the facts that were asked for beside them (None where the page lacks one)."""

    records: list[Record]
    facts: dict[str, Any]


def split(answer: Answer, path: str = "", facts: Sequence[str] = ()) -> Split:
    """The records of a page: the array at `path` (dotted; empty: the body itself), with top-level `facts` decoded.

    Raises Permanent where the body is no JSON, holds an error instead of records, or no array at `path`.
    Line breaks between tokens become blanks, all else stays byte for byte.
    """
    body = _one_line(answer.body)
    try:
        page = msgspec.json.decode(body, type=_type_of(path, "array", tuple(facts)))
    except msgspec.ValidationError:
        raise answer.fault(_wrong_shape(body, path, "list")) from None
    except (msgspec.DecodeError, RecursionError):
        return _split_slowly(answer, body, path, facts)
    found = {name: getattr(page, f"fact_{number}") for number, name in enumerate(facts)}
    for _ in _steps(path):
        page = page.inner
    return Split(page, {name: None if value is UNSET else value for name, value in found.items()})


def single(answer: Answer, path: str = "") -> Record:
    """The one record of an answer: the object at `path` (dotted), or the body itself. Raises Permanent as `split` does."""
    body = _one_line(answer.body)
    try:
        record = msgspec.json.decode(body, type=_type_of(path, "object", ()))
        for _ in _steps(path):
            record = record.inner
        start = bytes(memoryview(record)[:1])
    except msgspec.ValidationError:
        raise answer.fault(_wrong_shape(body, path, "object")) from None
    except (msgspec.DecodeError, RecursionError):
        record, start = _value_slowly(answer, body, path)
    if start != b"{" or (not path and _is_error(record)):
        raise answer.fault(_wrong_shape(body, path, "object"))
    return record  # type: ignore[no-any-return]  # the type is made from `path`


def pick(record: Record, *fields: str) -> tuple[Any, ...]:
    """The named top-level fields of a record, decoded; None where one is missing. The rest is not decoded.

    >>> pick(b'{"id": "ch_1", "created": 1700000000, "metadata": {}}', "id", "created", "gone")
    ('ch_1', 1700000000, None)
    """
    try:
        return msgspec.json.decode(record, type=_fields_type(fields)).values()  # type: ignore[no-any-return]  # made from `fields`
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        found = json.loads(bytes(record))
    except (ValueError, RecursionError) as error:
        raise Permanent(f"a record is no JSON ({error}): {bytes(record)[:200]!r}") from None
    if not isinstance(found, dict):
        raise Permanent(f"a record is no object: {bytes(record)[:200]!r}")
    return tuple(found.get(field) for field in fields)


def inner(record: Record, field: str) -> Record | None:
    """The value of a top-level field as received; None where it is missing or null.

    >>> bytes(inner(b'{"id": 1, "data": [1.10, 2]}', "data"))
    b'[1.10, 2]'
    """
    try:
        value: Record = msgspec.json.decode(record, type=_type_of(field, "object", ())).inner
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError):
        scan = Scan(bytes(record))
        found = [scan.data[value:end] for key, _, value, end in scan.members(scan.whole()[0]) if key == field]
        value = found[-1] if found else b"null"
    return None if bytes(memoryview(value)[:4]) == b"null" else value


def elements(array: Record) -> list[Record]:
    """The elements of an array as received.

    >>> [bytes(element) for element in elements(b'[{"a": 1.10}, 2]')]
    [b'{"a": 1.10}', b'2']
    """
    try:
        found: list[Record] = msgspec.json.decode(array, type=list[Raw])
        return found
    except (msgspec.DecodeError, RecursionError):
        scan = Scan(bytes(array))
        return [scan.data[begin:end] for begin, end in scan.elements(scan.whole()[0])]


class Drop:
    """Cuts secrets out of records by dotted paths (`*` stands for every element or member), keeping all other bytes."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = [tuple(path.split(".")) for path in paths]
        # A record without the name holds no such member, unless the name is written with \u escapes.
        self._marks = {b"\\u", *(next(part for part in reversed(path) if part != "*").encode() for path in self._paths)}

    def concerns(self, records: Iterable[Record]) -> bool:
        """Whether one of the records may hold a secret: one look at all of them is cheaper than one at each."""
        data = b"".join(records)
        return any(mark in data for mark in self._marks)

    def __call__(self, record: Record) -> Record:
        """The record without the secrets. Raises ValueError where it is no JSON: what cannot be read may hide one."""
        data = bytes(record)
        for mark in self._marks:  # any() over a generator takes four times as long
            if mark in data:
                return self._cut(data)
        return record

    def _cut(self, data: bytes) -> bytes:
        scan = Scan(data)
        start, _ = scan.whole()
        cuts = _merge(sorted(self._cuts(scan, start, self._paths)))
        kept, at = [], 0
        for begin, end in cuts:
            kept.append(data[at:begin])
            at = end
        return b"".join([*kept, data[at:]])

    def _cuts(self, scan: Scan, start: int, paths: list[tuple[str, ...]]) -> list[tuple[int, int]]:
        """Stretches to cut from the value at `start`: members that end a path, each with one comma beside it."""
        cuts: list[tuple[int, int]] = []
        if scan.is_array(start):
            inner = [path[1:] for path in paths if path[0] == "*" and len(path) > 1]
            for begin, _ in scan.elements(start) if inner else ():
                cuts += self._cuts(scan, begin, inner)
        elif scan.is_object(start):
            members = list(scan.members(start))
            kept_before = False
            for number, (key, at, value, end) in enumerate(members):
                matching = [path[1:] for path in paths if path[0] in (key, "*")]
                if () not in matching:
                    kept_before = True
                    cuts += self._cuts(scan, value, matching) if matching else []
                elif number + 1 < len(members) and not kept_before:
                    cuts.append((at, members[number + 1][1]))
                elif number:
                    cuts.append((members[number - 1][3], end))
                else:
                    cuts.append((at, end))
        return cuts


def digest(records: Iterable[Record], so_far: str = "") -> str:
    """A fingerprint of a set of records in any order: sha256 of each, added up; `so_far` is that of pages before.

    >>> digest([b"1", b"2"]) == digest([b"2"], digest([b"1"]))
    True
    """
    total = int(so_far or "0", 16)
    for record in records:
        total += int.from_bytes(hashlib.sha256(record).digest())
    return f"{total % 2**256:064x}"


def _one_line(body: bytes) -> bytes:
    """JSON keeps no raw line break inside a string, so one can only be layout: a blank serves as well."""
    if b"\n" in body:
        body = body.replace(b"\n", b" ")
    if b"\r" in body:
        body = body.replace(b"\r", b" ")
    return body


def _steps(path: str) -> list[str]:
    return path.split(".") if path else []


@lru_cache
def _type_of(path: str, kind: str, facts: tuple[str, ...]) -> Any:
    """The type of a page whose records lie at `path`: an array of undecoded records, or one undecoded value."""
    type_: Any = list[Raw] if kind == "array" else Raw
    for depth, step in reversed(list(enumerate(_steps(path)))):
        fields: list[Any] = [("inner", type_)]
        names = {"inner": step}
        if depth == 0:
            for number, fact in enumerate(facts):
                fields.append((f"fact_{number}", Any | UnsetType if fact != step else Any, UNSET))
                names[f"fact_{number}"] = fact
        type_ = msgspec.defstruct("Around", fields, rename=names)
    if facts and not path:
        raise ValueError("facts can be read from an object only: give the path of the records")
    return type_


class _Picked(msgspec.Struct):
    def values(self) -> tuple[Any, ...]:
        return msgspec.structs.astuple(self)


@lru_cache
def _fields_type(fields: tuple[str, ...]) -> Any:
    names = [f"field_{number}" for number in range(len(fields))]
    return msgspec.defstruct(
        "Picked", [(name, Any, None) for name in names], bases=(_Picked,), rename=dict(zip(names, fields, strict=True))
    )


def _split_slowly(answer: Answer, body: bytes, path: str, facts: Sequence[str]) -> Split:
    """As `split`, for what msgspec refuses and JSON allows: a lone surrogate. Raises Permanent where it is no JSON at all."""
    array, start = _value_slowly(answer, body, path)
    if start != b"[":
        raise answer.fault(_wrong_shape(body, path, "list"))
    scan = Scan(array)
    records: list[Record] = [array[begin:end] for begin, end in scan.elements(0)]
    return Split(records, dict(zip(facts, pick(body, *facts), strict=True)) if facts else {})


def _value_slowly(answer: Answer, body: bytes, path: str) -> tuple[bytes, bytes]:
    """The value at `path` and its first byte."""
    scan = Scan(body)
    try:
        start, end = scan.whole()
        for step in _steps(path):
            found = {key: (value, stop) for key, _, value, stop in scan.members(start)} if scan.is_object(start) else {}
            if step not in found:
                raise answer.fault(_wrong_shape(body, path, "value"))
            start, end = found[step]
    except (ValueError, IndexError, RecursionError) as error:
        raise answer.fault(_no_json(body, error)) from None
    return body[start:end], body[start : start + 1]


def _no_json(body: bytes, error: Exception) -> str:
    text = body.lstrip()[:500].lower()
    if not text:
        return "the answer is empty where JSON was expected"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "the answer is a web page (HTML or XML), not JSON: a login page, a proxy, or a wrong address"
    return f"the answer is no whole JSON ({error})"


def _wrong_shape(body: bytes, path: str, wanted: str) -> str:
    where = f"at '{path}'" if path else "as the body"
    if _is_error(body):
        return "the answer is an error although its status is not"
    return f"the answer has no {wanted} {where}"


def _is_error(body: Record) -> bool:
    """Whether an object speaks of an error: an `error`-like member that holds something, and no id beside it."""
    try:
        values = pick(body, *_ERROR_KEYS, "id")
    except Permanent:
        return False
    return values[-1] is None and any(value not in (None, "", [], {}, False) for value in values[:-1])


def _merge(cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that overlap as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in cuts:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
