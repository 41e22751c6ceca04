"""The SQL that unwraps MongoDB's Extended JSON (`{"$oid":"…"}`): plain JSON text, or NULL where it would not be exact.

What a plain value becomes is told in `values`. The forms are those of the canonical and the relaxed kind, as JSON text without
blanks: https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
"""

from __future__ import annotations

from datalake.lake.sql import literal
from datalake.model import Type

_STRING = r'"([^"\\]|\\.)*"'
_WHOLE = r'\{"[$](numberLong|numberInt)":"-?[0-9]+"\}'
_FLOAT = r'\{"[$]numberDouble":"(NaN|-?Infinity|-?[0-9.]+([eE][+-]?[0-9]+)?)"\}'
_DECIMAL = r'\{"[$]numberDecimal":"-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,2})?"\}'
_DATE = r'\{"[$]date":\{"[$]numberLong":"-?[0-9]{1,15}"\}\}'
_ISO_DATE = r'\{"[$]date":"[^"\\]*"\}'
_PLAIN_BYTES = r'\{"[$]binary":\{"base64":"[A-Za-z0-9+/=]*","subType":"00"\}\}'
_UUID_BYTES = r'\{"[$]binary":\{"base64":"[A-Za-z0-9+/]{22}==","subType":"04"\}\}'
_TEXT = rf'\{{"[$](oid|uuid|symbol|code)":{_STRING}\}}'
_NUMBER = rf'{_WHOLE}|\{{"[$]numberDouble":"-?[0-9].*'
_INSIDE = rf'^\{{"[$][a-zA-Z]+":({_STRING})\}}$'
_BASE64 = '"base64":"([^"]*)"'
_UUID = "^(.{8})(.{4})(.{4})(.{4})(.{12})$"
_DIGITS = '"(-?[0-9]+)"'
_PARTS = r'"(-?)([0-9]+)[.]?([0-9]*)[eE]?([+-]?[0-9]*)"\}$'
"""Sign, whole digits, digits behind the point, exponent."""
_TIMESTAMP = r'\{"[$]timestamp":\{.*\}\}'

_DAY = 86_400_000
"""Milliseconds."""
_BOUNDS = (-62135596800000, 253402300799999)
"""0001-01-01 and the end of 9999-12-31."""


def unwrapped(type_: Type, j: str) -> str:
    """The JSON text in `j`, taken out of its wrapping for a column of this type; as it is where it is not wrapped."""
    branches = {
        "string": [(f"{_matches(j, pattern)}", value) for pattern, value in _strings(j)],
        "int64": [(_matches(j, f"{_WHOLE}|{_DECIMAL}"), _quoted(j))],
        "decimal": [(_matches(j, _WHOLE), _quoted(j)), (_matches(j, _DECIMAL), _decimal(j))],
        "float64": [(_matches(j, _NUMBER), _quoted(j))],
        "timestamp": [(_matches(j, _DATE), _moment(j)), (_matches(j, _ISO_DATE), _quoted(j))],
        "date": [
            (f"{_matches(j, _DATE)} AND {_milliseconds(j)} % {_DAY} = 0", _moment(j)),
            (_matches(j, _ISO_DATE), _quoted(j)),
        ],
        "struct": [(_matches(j, _TIMESTAMP), f"{j}[15:-2]")],
    }.get(type_.kind, [])
    cases = " ".join(f"WHEN {when} THEN {then}" for when, then in branches)
    return f"CASE WHEN NOT starts_with({j}, '{{\"$') THEN {j} {cases} END" if type_.kind != "json" else j


def infinite(j: str) -> str:
    """The double that is no number or has no end, which JSON has no text for; NULL for every other value."""
    word = f"regexp_extract({j}, '^{_FLOAT}$', 1)"
    return f"CASE WHEN {word} IN ('NaN', 'Infinity', '-Infinity') THEN CAST({word} AS DOUBLE) END"


def _matches(j: str, pattern: str) -> str:
    return f"regexp_full_match({j}, {literal(pattern)})"


def _quoted(j: str) -> str:
    """The text inside, quotation marks included."""
    return f"regexp_extract({j}, {literal(_INSIDE)}, 1)"


def _strings(j: str) -> list[tuple[str, str]]:
    base64 = f"regexp_extract({j}, {literal(_BASE64)}, 1)"
    uuid = rf"regexp_replace(lower(hex(from_base64({base64}))), {literal(_UUID)}, '\1-\2-\3-\4-\5')"
    number = _milliseconds(j)
    iso = f"strftime(make_timestamp({number} * 1000), '%Y-%m-%dT%H:%M:%S.%gZ')"
    return [
        (f"{_TEXT}|{_WHOLE}|{_FLOAT}|{_DECIMAL}|{_ISO_DATE}", _quoted(j)),
        (_DATE, f"CASE WHEN {number} BETWEEN {_BOUNDS[0]} AND {_BOUNDS[1]} THEN '\"' || {iso} || '\"' END"),
        (_PLAIN_BYTES, f"'\"' || {base64} || '\"'"),
        (_UUID_BYTES, f"'\"' || {uuid} || '\"'"),
    ]


def _milliseconds(j: str) -> str:
    return f"TRY_CAST(regexp_extract({j}, {literal(_DIGITS)}, 1) AS BIGINT)"


def _moment(j: str) -> str:
    """As text that counts milliseconds whatever the column's numbers count."""
    return f"'\"/Date(' || {_milliseconds(j)} || ')/\"'"


def _decimal(j: str) -> str:
    """Decimal128 as plain digits: an exponent moves the point, zeros in front go."""
    part = f"regexp_extract({j}, {literal(_PARTS)}, "
    sign, whole, fraction = (f"{part}{group})" for group in (1, 2, 3))
    exponent = f"coalesce(TRY_CAST({part}4) AS INTEGER), 0)"
    digits = f"({whole} || {fraction})"
    # Enough zeros on both sides, and the point goes where it belongs between them.
    padded = f"(repeat('0', 100) || {digits} || repeat('0', 100))"
    point = f"(100 + length({whole}) + {exponent})"
    number = f"(left({padded}, {point}) || '.' || substr({padded}, {point} + 1))"
    return rf"""'"' || {sign} || regexp_replace({number}, '^0+([0-9])', '\1') || '"'"""
