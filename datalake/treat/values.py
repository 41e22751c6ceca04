"""The SQL that turns one JSON value into a column's type, exactly or not at all. Lines and rows are not known here.

A value comes as its JSON text (`"abc"`, `12`, `{"a":1}`), NULL where it is absent or null. Every expression made here is
NULL where the text is NULL **and** where it does not fit: who compares the two knows the misfits.

DuckDB's JSON parser reads a number with a point or an exponent as double, so `1.10` and `12345678901234567.89` lose digits.
`Values(exact=False)` types what went through the parser like that: such a number fits nothing but float64. `Values(exact=True)`
types lines whose points and exponents were hidden from the parser (`hide`); `shown` brings the digits back as received. Of
JSON text the parser changes what says nothing: blanks between tokens, escapes of plain characters, `-0`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import count

from datalake.lake.sql import duckdb_type, literal, quote
from datalake.model import Type
from datalake.treat.extended_json import infinite, unwrapped

_INTEGER = "-?(0|[1-9][0-9]*)"
_NUMBER = rf"{_INTEGER}([.][0-9]+)?([eE][+-]?[0-9]+)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = rf"{_DAY}[Tt ]([01][0-9]|2[0-3]):[0-9]{{2}}:[0-9]{{2}}([.][0-9]{{1,6}}0*)?([Zz]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)"
_LOCAL = rf"{_DAY}[Tt ]([01][0-9]|2[0-3]):[0-9]{{2}}:[0-9]{{2}}([.][0-9]{{1,6}}0*)?"
_DOTNET = r"/Date[(](-?[0-9]{1,15})([+-][0-9]{4})?[)]/"
"""`/Date(1573755038314+0000)/`: milliseconds since 1970; the suffix is decoration (Xero)."""
_MIDNIGHT = rf"{_DAY}([Tt ]00:00:00([.]0+)?[Zz]?)?"
_POINT = r"[.][0-9]+([eE][+-]?[0-9]+)?[,}\]]"
_EXPONENT = r"e(-|[1-9][0-9])[0-9]*[,}\]]"
"""How the parser writes a number that it read as double: with a point, or from 1e21 and to 1e-7 with an exponent."""

_BEFORE = r"([:,\[\s-])"
"""What stands before a number outside of strings."""
_EXPONENTS = ("e+", "E+", "e-", "E-", "e", "E")

_SECONDS = (-62135596800, 253402300799)
"""0001-01-01 and 9999-12-31: the bounds of a timestamp that every reader of Iceberg understands."""

_OBJECT = literal('"MAP(VARCHAR,JSON)"')
_LIST = literal('["JSON"]')


def _digits(count: int) -> str:
    return "".join(str(secrets.randbelow(10)) for _ in range(count))


def _marks() -> dict[str, str]:
    """Digits that no record holds by chance, too long for the parser's integers, for each text that would make a double.

    Those of the empty text go before a number: its first digit may be a zero, which no long integer may start with.
    """
    same = "7" + _digits(15)
    return {text: f"{same}{number}{_digits(6)}" for number, text in enumerate(("0.", ".", "", *_EXPONENTS))}


@dataclass(frozen=True)
class Values:
    """How the values of one table are typed."""

    exact: bool
    zone: str = ""
    """Offset of text that names a moment without one; empty: such text is no point in time."""
    extended: bool = False
    """Whether values may come wrapped as MongoDB's Extended JSON."""
    empty_is_none: bool = False
    """Whether an empty text is no value where the type is no text; and 0 no point in time."""
    _mark: dict[str, str] = field(default_factory=_marks, repr=False)
    _names: count[int] = field(default_factory=count, repr=False)

    def hide(self, line: str) -> str:
        """The line with points and exponents of its numbers replaced by digits: the parser keeps such long integers as text.

        Text inside strings may be hit as well, but never an escape such as \\u00e9; `shown` undoes it everywhere.
        """
        hidden = f"regexp_replace({line}, '{_BEFORE}0\\.([0-9])', '\\1{self._mark['0.']}\\2', 'g')"
        hidden = exponents = f"regexp_replace({hidden}, '\\.([0-9])', '{self._mark['.']}\\1', 'g')"
        for text in _EXPONENTS:
            number = f"{_BEFORE}([0-9]+){text.replace('+', '[+]')}([0-9])"
            exponents = f"regexp_replace({exponents}, '{number}', '\\1{self._mark['']}\\2{self._mark[text]}\\3', 'g')"
        return f"CASE WHEN regexp_matches({line}, '{_BEFORE}[0-9.]+[eE]') THEN {exponents} ELSE {hidden} END"

    def shown(self, text: str) -> str:
        """The text as it was before `hide`."""
        if not self.exact:
            return text
        plain = text
        for hidden, digits in self._mark.items():
            plain = f"replace({plain}, '{digits}', '{hidden}')"
        return f"CASE WHEN contains({text}, '{self._mark['.'][:16]}') THEN {plain} ELSE {text} END"

    def each_shown(self, list_: str) -> str:
        """`shown` for every element of a list."""
        name = self._name()
        return f"list_transform({list_}, lambda {name}: {self.shown(name)})" if self.exact else list_

    def value(self, type_: Type, j: str, unit: str) -> str:
        """The value of type `type_` in the JSON text that the column or variable `j` holds.

        `unit` says what a number that stands for a point in time counts: `seconds` or `milliseconds` since 1970.
        """
        if type_.kind == "list" and type_.element:
            return f"CASE WHEN {j} IS NOT NULL THEN {self._list(type_.element, j, unit)} END"
        name = self._name()
        if type_.kind == "struct":
            if self.extended:
                return _let(
                    name, unwrapped(type_, j), f"CASE WHEN {name} IS NOT NULL THEN {self._struct(type_, name, unit)} END"
                )
            return f"CASE WHEN {j} IS NOT NULL THEN {self._struct(type_, j, unit)} END"
        if not self.exact:
            return self._wrapped(type_, j, unit)
        return _let(name, self.shown(j), self._wrapped(type_, name, unit))

    def _wrapped(self, type_: Type, j: str, unit: str) -> str:
        """A scalar that may come wrapped as Extended JSON."""
        if not self.extended or type_.kind == "json":
            return self._scalar(type_, j, unit)
        name = self._name()
        value = _let(name, unwrapped(type_, j), self._scalar(type_, name, unit))
        return f"coalesce({infinite(j)}, {value})" if type_.kind == "float64" else value

    def _scalar(self, type_: Type, j: str, unit: str) -> str:
        match type_.kind:
            case "string":
                return self._string(j)
            case "json":
                return self._json(j)
            case "int64":
                return self._int64(j)
            case "decimal":
                return self._decimal(type_, j)
            case "float64":
                text = _text(j)
                fits = f"regexp_full_match({text}, '{_NUMBER}') AND isfinite(TRY_CAST({text} AS DOUBLE))"
                return f"CASE WHEN {fits} THEN TRY_CAST({text} AS DOUBLE) END"
            case "bool":
                return f"CASE {_text(j)} WHEN 'true' THEN true WHEN 'false' THEN false END"
            case "timestamp":
                return _timestamp(j, unit, self.zone)
            case "date":
                return _date(j)
        raise AssertionError(f"no rule for {type_}")

    def _string(self, j: str) -> str:
        """Numbers and booleans are taken by their own text; an object or a list is no string."""
        number = _NUMBER if self.exact else _INTEGER
        return (
            f"CASE WHEN starts_with({j}, '\"') THEN json_extract_string({j}, '$') "
            f"WHEN regexp_full_match({j}, '{number}|true|false') THEN {j} END"
        )

    def _json(self, j: str) -> str:
        number = _NUMBER if self.exact else _INTEGER
        nested = f"starts_with({j}, '{{') OR starts_with({j}, '[')"
        kept = j if self.exact else f"CASE WHEN NOT {lost_digits(j)} THEN {j} END"
        return (
            f"CASE WHEN {nested} THEN {kept} "
            f"WHEN starts_with({j}, '\"') THEN {j} WHEN regexp_full_match({j}, '{number}|true|false') THEN {j} END"
        )

    def _int64(self, j: str) -> str:
        """A whole number, as a number or as text; `5.0` is whole, `007` is no number."""
        text = _text(j)
        if self.exact:
            text = f"regexp_replace({text}, '^({_INTEGER})[.]0+$', '\\1')"
        return f"CASE WHEN CAST(TRY_CAST({text} AS BIGINT) AS VARCHAR) = {text} THEN TRY_CAST({text} AS BIGINT) END"

    def _decimal(self, type_: Type, j: str) -> str:
        """Digits behind the type's scale may only be zeros; nothing is rounded."""
        before = type_.precision - type_.scale
        whole = f"(0|[1-9][0-9]{{0,{before - 1}}})" if before else "0"
        text = _text(j)
        fits = f"regexp_full_match({text}, '-?{whole}([.][0-9]{{0,{type_.scale}}}0*)?')"
        if not self.exact:
            fits += f" AND (starts_with({j}, '\"') OR NOT contains({j}, '.'))"
        return f"CASE WHEN {fits} THEN TRY_CAST({text} AS {duckdb_type(type_)}) END"

    def _struct(self, type_: Type, j: str, unit: str) -> str:
        """An object with no key twice; keys that the type does not name are left out."""
        map_, members, made = self._name(), self._name(), self._name()
        keys, values = f"{members}.k", f"{members}.v"
        fields = [(quote(name), self.present(inner, member(keys, values, name)), inner) for name, inner in type_.fields]
        pack = ", ".join(f"{name} := {self.value(inner, text, unit)}" for name, text, inner in fields)
        fits = [f"({text} IS NULL) = ({made}.{name} IS NULL)" for name, text, _inner in fields]
        checked = f"CASE WHEN {' AND '.join([f'NOT {doubled(keys)}', *fits])} THEN {made} END"
        body = f"CASE WHEN {keys} IS NOT NULL THEN {_let(made, f'struct_pack({pack})', checked)} END"
        split = f"struct_pack(k := {self.keys(map_)}, v := {texts(map_)})"
        return _let(map_, f"json_transform({j}, {_OBJECT})", _let(members, split, body))

    def _list(self, element: Type, j: str, unit: str) -> str:
        elements, each, made = self._name(), self._name(), self._name()
        typed = f"list_transform({elements}, lambda {each}: {self.value(element, each, unit)})"
        checked = f"CASE WHEN starts_with({j}, '[') AND list_count({elements}) = list_count({made}) THEN {made} END"
        return _let(elements, f"CAST(json_transform({j}, {_LIST}) AS VARCHAR[])", _let(made, typed, checked))

    def present(self, type_: Type, text: str) -> str:
        """The JSON text of a value, NULL where it stands for none."""
        speaks = not self.empty_is_none or type_.nested or type_.kind in ("string", "json")
        if type_.kind == "timestamp" and self.empty_is_none:
            return f"CASE WHEN {text} NOT IN ('\"\"', '\"0\"', '0') THEN {text} END"
        return text if speaks else f"nullif({text}, '\"\"')"

    def keys(self, map_: str) -> str:
        """The keys of a MAP of JSON texts, in the order of `map_values`; NULL where there is no object."""
        return self.each_shown(f"map_keys({map_})")

    def _name(self) -> str:
        return f"x{next(self._names)}"


def texts(map_: str) -> str:
    """The JSON texts of a MAP of them: plain text, which DuckDB does not check again wherever it meets other text."""
    return f"CAST(map_values({map_}) AS VARCHAR[])"


def member(keys: str, values: str, name: str) -> str:
    """The JSON text of one member."""
    return f"{values}[list_position({keys}, {literal(name)})]"


def doubled(keys: str) -> str:
    """Whether a key stands twice in the object: which of its values is meant nobody knows."""
    return f"(len({keys}) <> len(list_distinct({keys})))"


def lost_digits(text: str) -> str:
    """Whether JSON text that went through the parser holds a number that it read as double."""
    return f"(regexp_matches({text}, '{_POINT}') OR regexp_matches({text}, '{_EXPONENT}'))"


def _let(name: str, value: str, body: str) -> str:
    """`body` with `name` standing for `value`, worked out once."""
    return f"list_transform([{value}], lambda {name}: {body})[1]"


def _text(j: str) -> str:
    """What a scalar says: a string's content, a number's digits."""
    return f"CASE WHEN starts_with({j}, '\"') THEN json_extract_string({j}, '$') ELSE {j} END"


def moment(text: str) -> str:
    """A point in time as its UTC reading. (A cast to TIMESTAMP would drop the offset without a word.)"""
    return f"make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"


def _timestamp(j: str, unit: str, zone: str) -> str:
    """ISO 8601 with its offset (or in `zone`), a whole number since 1970, or `/Date(milliseconds)/`."""
    text = _text(j)
    size = {"seconds": 1, "milliseconds": 1000}[unit]
    first, last = (second * size for second in _SECONDS)
    number = f"TRY_CAST({text} AS BIGINT)"
    return (
        f"CASE WHEN regexp_full_match({text}, '{_INTEGER}') AND {number} BETWEEN {first} AND {last + size - 1} "
        f"THEN make_timestamp({number} * {1_000_000 // size}) "
        f"WHEN regexp_full_match({text}, '{_MOMENT}') AND {text}[:4] <> '0000' THEN {moment(f'upper({text})')} "
        f"{_local(text, zone)}WHEN regexp_full_match({text}, '{_DOTNET}') THEN {_dotnet(text)} END"
    )


def _local(text: str, zone: str) -> str:
    """The branch for moments without an offset."""
    if not zone:
        return ""
    at = moment(f"(upper({text}) || {literal(zone)})")
    return f"WHEN regexp_full_match({text}, '{_LOCAL}') AND {text}[:4] <> '0000' THEN {at} "


def _dotnet(text: str) -> str:
    """The moment of `/Date(milliseconds)/`, NULL out of bounds."""
    number = f"TRY_CAST(regexp_extract({text}, '{_DOTNET}', 1) AS BIGINT)"
    first, last = (second * 1000 for second in _SECONDS)
    return f"CASE WHEN {number} BETWEEN {first} AND {last + 999} THEN make_timestamp({number} * 1000) END"


def _date(j: str) -> str:
    """A day, its midnight without an offset or in UTC, or the UTC day of `/Date(milliseconds)/`."""
    text = _text(j)
    return (
        f"CASE WHEN regexp_full_match({text}, '{_MIDNIGHT}') AND {text}[:4] <> '0000' THEN TRY_CAST({text}[:10] AS DATE) "
        f"WHEN regexp_full_match({text}, '{_DOTNET}') THEN CAST({_dotnet(text)} AS DATE) END"
    )
