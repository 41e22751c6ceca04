"""BSON documents as Extended JSON, exactly: plain JSON where it says the same, canonical where it would lose the type.

Plain are text, booleans, null, objects, lists, finite doubles (always with a point or an exponent), 32-bit integers, and
64-bit integers that 32 bits cannot hold. All other types are canonical: `{"$date":{"$numberLong":"…"}}`, `{"$oid":"…"}`.
`bson.json_util.loads` makes the same document of it again. Asking a server lives elsewhere.

The quick way decodes with pymongo's C code and encodes with msgspec. What that pair would lose without a word (NaN, options of
regular expressions, the deprecated types undefined, symbol and DBPointer) is looked for in the bytes; such documents go the
exact way, value by value. Of a name that stands twice in one object, which MongoDB's drivers never write, the last is kept.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bson
import msgspec
import numpy as np
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from msgspec import Raw

from datalake.sources.base import Permanent


class _Bytes(TypeDecoder):
    """Binary data of subtype 0 comes as `bytes`, which msgspec would write as text."""

    bson_type = bytes

    def transform_bson(self, value: Any) -> Binary:
        return Binary(value, 0)


EXACT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    type_registry=TypeRegistry([_Bytes()]),
)
"""How documents are decoded: no date, UUID or byte changes its type on the way."""
TOP: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
"""As `EXACT`, of documents that are looked into only here and there."""
_LOADS = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)

_NOT_QUICK = (bson.errors.BSONError, UnicodeError, msgspec.MsgspecError, ValueError, RecursionError)
_INFINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
_FLAGS = {"i": re.IGNORECASE, "l": re.LOCALE, "m": re.MULTILINE, "s": re.DOTALL, "u": re.UNICODE, "x": re.VERBOSE}
_INT = struct.Struct("<i")
_LONG = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")
_TIMESTAMP = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of one answer, as records of the raw log, and where each lies in the answer's BSON."""

    records: list[bytes]
    batch: bytes
    ends: list[int]

    @property
    def bson(self) -> list[bytes]:
        return [self.batch[start:end] for start, end in pairwise([0, *self.ends])]

    @property
    def last(self) -> bytes:
        """The last one as BSON."""
        return self.batch[self.ends[-2] if len(self.ends) > 1 else 0 :]


def documents(batch: bytes) -> Documents:
    """The documents that stand one behind the other in an answer. Raises Permanent where the bytes are no BSON."""
    ends = _ends(batch)
    suspects = {number: batch[ends[number - 1] if number else 0 : ends[number]] for number in _suspects(batch, ends)}
    try:
        records = [
            _carefully(suspects[number], document) if number in suspects else _encode(document)
            for number, document in enumerate(bson.decode_iter(batch, EXACT))
        ]
    except _NOT_QUICK:  # one of them holds text that is no UTF-8, or a type that pymongo does not know
        records = [exactly(batch[start:end]) for start, end in pairwise([0, *ends])]
    return Documents(records, batch, ends)


def _ends(batch: bytes) -> list[int]:
    """Where each document ends."""
    ends, at = [], 0
    try:
        while at < len(batch):
            (length,) = _INT.unpack_from(batch, at)
            at += length
            if length < 5 or at > len(batch):
                raise Permanent(f"the server's answer ends in the middle of a document of {length} bytes; run again")
            ends.append(at)
    except struct.error:
        raise Permanent("the server's answer holds something that is no BSON document; run again") from None
    return ends


def dig(document: bytes, path: Sequence[str]) -> Any:
    """One value of a BSON document, of exactly its type; None where it has none. Objects beside the path are not decoded."""
    value: Any = RawBSONDocument(document, TOP)
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def key(document: bytes) -> Any:
    """The `_id` of a BSON document."""
    return dig(document, ("_id",))


def key_bytes(value: Any) -> bytes:
    """An `_id` as bytes that are equal only for the same value of the same type."""
    return bson.encode({"": value}, codec_options=EXACT)


def key_record(value: Any) -> bytes:
    """The record of a document of which only the `_id` is known."""
    return exactly(bson.encode({"_id": value}, codec_options=EXACT))


def to_plain(value: Any) -> Any:
    """A BSON value as plain data that a cursor can hold."""
    return json.loads(key_record(value))["_id"]


def from_plain(data: Any) -> Any:
    """The value that `to_plain` was given."""
    return json_util.loads(json.dumps(data), json_options=_LOADS)


def _carefully(document: bytes, decoded: dict[str, Any]) -> bytes:
    """The quick way, if it proves to lose nothing of this document."""
    if bson.encode(decoded, codec_options=EXACT) == document and (not _INFINITE.search(document) or _finite(decoded)):
        return _encode(decoded)
    return exactly(document)


def _finite(value: Any) -> bool:
    """Whether no double in it is NaN or infinite."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    if isinstance(value, Code):
        return _finite(value.scope)
    return not isinstance(value, float) or math.isfinite(value)


def _suspects(batch: bytes, ends: list[int]) -> list[int]:
    """The numbers of the documents in which a type may stand that the quick way loses, or a double that is not finite.

    A type's byte is followed by a name; where the byte is part of a length, zeros follow. A double that is NaN or infinite
    ends in F0 to FF and 7F or FF, which UTF-8 never holds side by side. What is found is most often neither.
    """
    data = np.frombuffer(batch, np.uint8)
    places = np.flatnonzero((data == 0x06) | (data == 0x0B) | (data == 0x0C) | (data == 0x0E))
    places = places[places < len(data) - 2]
    places = places[(data[places + 1] != 0) | (data[places + 2] != 0)]
    if b"\x7f" in batch or b"\xff" in batch:
        infinite = (data[:-1] >= 0xF0) & ((data[1:] == 0x7F) | (data[1:] == 0xFF))
        places = np.concatenate((places, np.flatnonzero(infinite)))
    numbers: list[int] = np.unique(np.searchsorted(ends, places, side="right")).tolist()
    return numbers


def _int64(value: Int64) -> Any:
    return {"$numberLong": str(value)} if -(2**31) <= value < 2**31 else int(value)


def _binary(value: Binary) -> Any:
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{value.subtype:02x}"}}


def _regex(value: Regex[Any]) -> Any:
    options = "".join(letter for letter, flag in _FLAGS.items() if value.flags & flag)
    return {"$regularExpression": {"pattern": value.pattern, "options": options}}


def _code(value: Code) -> Any:
    return {"$code": str(value)} if value.scope is None else {"$code": str(value), "$scope": value.scope}


_HOOKS: dict[type, Callable[[Any], Any]] = {
    ObjectId: lambda value: {"$oid": str(value)},
    Int64: _int64,
    Decimal128: lambda value: {"$numberDecimal": str(value)},
    Binary: _binary,
    Regex: _regex,
    Code: _code,
    Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
    MinKey: lambda _value: {"$minKey": 1},
    MaxKey: lambda _value: {"$maxKey": 1},
    DBRef: lambda value: value.as_doc(),
}


def _hook(value: Any) -> Any:
    kind = type(value)
    if kind is DatetimeMS:
        return Raw(b'{"$date":{"$numberLong":"%d"}}' % int(value))
    return _HOOKS[kind](value)


_encode = msgspec.json.Encoder(enc_hook=_hook).encode


def exactly(document: bytes) -> bytes:
    """A BSON document as a record, value by value: slow, and true to every type, doubled keys and text that is no UTF-8."""
    return _object(document, 0, is_list=False)[0].encode()


def _object(data: bytes, at: int, *, is_list: bool) -> tuple[str, int]:
    """The object or list at `at` as JSON, and where it ends."""
    end = at + int(_INT.unpack_from(data, at)[0])
    at += 4
    members = []
    while data[at]:
        kind = data[at]
        name_end = data.index(0, at + 1)
        value, after = _value(data, kind, name_end + 1)
        members.append(value if is_list else f"{_text(data[at + 1 : name_end])}:{value}")
        at = after
    if at + 1 != end:
        raise Permanent(f"a document ends at byte {at + 1} where it says {end}; run again")
    return f"[{','.join(members)}]" if is_list else f"{{{','.join(members)}}}", end


def _value(data: bytes, kind: int, at: int) -> tuple[str, int]:
    """The value of BSON type `kind` at `at` as JSON, and where it ends."""
    match kind:
        case 0x01:
            number = _DOUBLE.unpack_from(data, at)[0]
            if math.isfinite(number):
                return repr(number), at + 8
            name = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
            return f'{{"$numberDouble":"{name}"}}', at + 8
        case 0x02:
            return _string(data, at)
        case 0x03 | 0x04:
            return _object(data, at, is_list=kind == 0x04)
        case 0x05:
            return _bytes(data, at)
        case 0x06:
            return '{"$undefined":true}', at
        case 0x07:
            return f'{{"$oid":"{data[at : at + 12].hex()}"}}', at + 12
        case 0x08:
            return ("true" if data[at] else "false"), at + 1
        case 0x09:
            return f'{{"$date":{{"$numberLong":"{_LONG.unpack_from(data, at)[0]}"}}}}', at + 8
        case 0x0A:
            return "null", at
        case 0x0B:
            middle = data.index(0, at)
            end = data.index(0, middle + 1)
            pattern, options = _text(data[at:middle]), _text(data[middle + 1 : end])
            return f'{{"$regularExpression":{{"pattern":{pattern},"options":{options}}}}}', end + 1
        case 0x0C:
            collection, at = _string(data, at)
            return f'{{"$dbPointer":{{"$ref":{collection},"$id":{{"$oid":"{data[at : at + 12].hex()}"}}}}}}', at + 12
        case 0x0D:
            code, at = _string(data, at)
            return f'{{"$code":{code}}}', at
        case 0x0E:
            symbol, at = _string(data, at)
            return f'{{"$symbol":{symbol}}}', at
        case 0x0F:
            code, at = _string(data, at + 4)
            scope, at = _object(data, at, is_list=False)
            return f'{{"$code":{code},"$scope":{scope}}}', at
        case 0x10:
            return str(_INT.unpack_from(data, at)[0]), at + 4
        case 0x11:
            inc, time = _TIMESTAMP.unpack_from(data, at)
            return f'{{"$timestamp":{{"t":{time},"i":{inc}}}}}', at + 8
        case 0x12:
            number = _LONG.unpack_from(data, at)[0]
            return (f'{{"$numberLong":"{number}"}}' if -(2**31) <= number < 2**31 else str(number)), at + 8
        case 0x13:
            return f'{{"$numberDecimal":"{Decimal128.from_bid(data[at : at + 16])}"}}', at + 16
        case 0xFF:
            return '{"$minKey":1}', at
        case 0x7F:
            return '{"$maxKey":1}', at
    raise Permanent(f"a document holds a value of the unknown BSON type {kind:#04x}; this version of the lake cannot read it")


def _bytes(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _INT.unpack_from(data, at)
    subtype, start, end = data[at + 4], at + 5, at + 5 + length
    if subtype == 2:  # the old form repeats the length
        start += 4
    text = base64.b64encode(data[start:end]).decode()
    return f'{{"$binary":{{"base64":"{text}","subType":"{subtype:02x}"}}}}', end


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _INT.unpack_from(data, at)
    return _text(data[at + 4 : at + 3 + length]), at + 4 + length


def _text(data: bytes) -> str:
    """Text as JSON. Bytes that are no UTF-8 become lone surrogates, as Python's `surrogateescape` writes them."""
    try:
        return _encode(data.decode()).decode()
    except UnicodeDecodeError:
        return json.dumps(data.decode("utf-8", "surrogateescape"))
