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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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

_FLAGS = {"i": re.IGNORECASE, "l": re.LOCALE, "m": re.MULTILINE, "s": re.DOTALL, "u": re.UNICODE, "x": re.VERBOSE}
_INT = struct.Struct("<i")
_LONG = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")
_TIMESTAMP = struct.Struct("<II")


class Documents(NamedTuple):
    """The documents of one answer: as BSON, and as records of the raw log, in the same order."""

    bson: list[bytes]
    records: list[bytes]


def documents(batch: bytes) -> Documents:
    """The documents that stand one behind the other in an answer. Raises Permanent where the bytes are no BSON."""
    found: list[bytes] = []
    records: list[bytes] = []
    suspects = _suspects(batch)
    suspect = next(suspects, len(batch))
    at = 0
    try:
        while at < len(batch):
            (length,) = _INT.unpack_from(batch, at)
            document = batch[at : at + length]
            at += length
            if len(document) != length or length < 5:
                raise Permanent(f"the server's answer ends in the middle of a document of {length} bytes; run again")
            found.append(document)
            if suspect < at:
                records.append(exactly(document))
                while suspect < at:
                    suspect = next(suspects, len(batch))
            else:
                records.append(_quickly(document))
    except struct.error:
        raise Permanent("the server's answer holds something that is no BSON document; run again") from None
    return Documents(found, records)


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


def _quickly(document: bytes) -> bytes:
    try:
        return _encode(bson.decode(document, EXACT))
    except (bson.errors.BSONError, UnicodeError, msgspec.MsgspecError, ValueError, RecursionError):
        return exactly(document)  # text that is no UTF-8, a type that pymongo does not know


def _suspects(batch: bytes) -> Iterator[int]:
    """Places where a type may begin that the quick way loses, or a double may end that is not finite; most are neither.

    A type's byte is followed by a name; where the byte is part of a length, zeros follow. A double that is NaN or infinite
    ends in F0 to FF and 7F or FF, which UTF-8 never holds side by side.
    """
    data = np.frombuffer(batch, np.uint8)
    first, second = data[:-2], data[1:-1]
    kind = (first == 0x06) | (first == 0x0B) | (first == 0x0C) | (first == 0x0E)
    named = kind & ((second != 0) | (data[2:] != 0))
    infinite = (first >= 0xF0) & ((second == 0x7F) | (second == 0xFF))
    return iter(np.flatnonzero(named | infinite).tolist())


def _date(value: DatetimeMS) -> Raw:
    return Raw(b'{"$date":{"$numberLong":"%d"}}' % int(value))


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
    DatetimeMS: _date,
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
    return _HOOKS[type(value)](value)


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
    return json.dumps(data.decode("utf-8", "surrogateescape"))
