"""Raw parts become the temporary table `lines`: one typed row a line, with a verdict on each. Merging does not live here.

Two readers make the same rows. The quick one lets DuckDB parse a file straight into members (`read_json`). What it cannot judge
it marks to be looked at closer: values that do not fit, numbers with a point, doubled keys, broken lines. The exact one takes
those lines as text and gives each its values or its reason. Where most lines would need it, it reads all of them.

Columns of `lines`: the contract's, `_row_hash`, `_unmapped`, and `$part` (number of the part), `$n` (number of the line over
all parts), `$at`, `$op`, `$scope`, `$closer`, and of bad lines `$column`, `$reason`, `$raw`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from datalake.lake.raw import Commit, Part, RawLog
from datalake.lake.sql import literal, quote
from datalake.model import Column, Source, Table, Type
from datalake.treat.values import Values, doubled, lost_digits, member, moment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PROBE_BYTES = 1_000_000
"""Compressed size from which it pays to look at the first lines before reading all."""
PROBE_LINES = 500
MOSTLY = 0.2
"""Share of lines to be looked at closer above which the exact reader takes them all at once."""
LINE_SIZES = (4_194_304, 33_554_432, 268_435_456)
"""Longest line the readers make room for, and what they try when one is longer."""
SHOWN = 200
"""Characters of a bad value that its reason quotes."""

PLACED = """(
    SELECT *, "$n" - first + 1 AS line
    FROM lines JOIN (SELECT "$part", min("$n") AS first FROM lines GROUP BY ALL) USING ("$part")
) JOIN parts USING ("$part")"""
"""Lines with their number in their part, from 1, and what `parts` knows of it."""

_LAKE = {"at": "VARCHAR", "op": "VARCHAR", "add": "MAP(VARCHAR, JSON)", "scope": "JSON"}
_RECORD = "MAP(VARCHAR, JSON)"


@dataclass(frozen=True)
class Scan:
    """The lines of some commits of a table, and how their values are read."""

    log: RawLog
    table: Table
    source: Source
    commits: Sequence[Commit]
    name: str = "lines"

    @cached_property
    def parts(self) -> list[tuple[Commit, Part]]:
        return [(commit, part) for commit in self.commits for part in commit.parts]

    @cached_property
    def columns(self) -> list[_Bound]:
        """The contract's columns, each with where its value comes from. Columns of one member share its text."""
        texts: dict[tuple[bool, str], str] = {}
        return [
            _Bound(
                column, texts.setdefault((column.from_request, column.field[0]), f"$j{len(texts)}"), _unit(column, self.source)
            )
            for column in self.table.columns
        ]

    def list_parts(self, connection: DuckDBPyConnection) -> None:
        """Make the temporary table `parts`: `$part` as in `lines`, sequence of its commit, key, rows."""
        connection.execute('CREATE OR REPLACE TEMP TABLE parts ("$part" INTEGER, sequence BIGINT, key VARCHAR, rows BIGINT)')
        rows = [[number, commit.sequence, part.key, part.rows] for number, (commit, part) in enumerate(self.parts)]
        connection.executemany("INSERT INTO parts VALUES (?, ?, ?, ?)", rows)

    def fill(self, connection: DuckDBPyConnection) -> None:
        """Make the temporary table of the lines, named `name`."""
        usual, exact = self._probe(connection)
        if exact:
            _run(connection, f"CREATE OR REPLACE TEMP TABLE {self.name} AS {self._exact(usual)}")
            return
        _run(connection, f"CREATE OR REPLACE TEMP TABLE {self.name} AS {self._quick(usual)}")
        connection.execute(f'CREATE OR REPLACE TEMP TABLE closer AS SELECT "$n" FROM {self.name} WHERE "$closer"')
        if one(connection, "SELECT count(*) FROM closer"):
            _run(connection, f"INSERT INTO {self.name} BY NAME {self._exact(usual, self._parts_closer(connection))}")
            connection.execute(f'DELETE FROM {self.name} WHERE "$closer"')

    def _parts_closer(self, connection: DuckDBPyConnection) -> dict[int, int]:
        """The parts with lines to look at closer, each with what must be added to a line's number among these parts alone."""
        counts = connection.execute(
            f"""SELECT "$part", count(*), bool_or("$closer") FROM {self.name} GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        shifts, passed_over = {}, 0
        for part, lines, closer in counts:
            if closer:
                shifts[part] = passed_over
            else:
                passed_over += lines
        return shifts

    def _probe(self, connection: DuckDBPyConnection) -> tuple[tuple[str, ...], bool]:
        """The members that most records of a big batch have, in their order, and whether the exact reader should take all."""
        if sum(part.bytes for _commit, part in self.parts) < PROBE_BYTES:
            return (), False
        first = f"(SELECT *, 0 AS file_index FROM {self._read_json([0])} LIMIT {PROBE_LINES})"
        _run(connection, f"CREATE OR REPLACE TEMP TABLE probe AS {self._quick((), first)}")
        share = one(connection, 'SELECT avg(CAST("$closer" AS INTEGER)) FROM probe WHERE "$op" IS NULL')
        keys = f"SELECT map_keys(record) AS keys FROM {first} WHERE record IS NOT NULL"
        _run(connection, f"CREATE OR REPLACE TEMP TABLE shapes AS SELECT keys, count(*) AS times FROM ({keys}) GROUP BY keys")
        found = connection.execute("SELECT keys FROM shapes ORDER BY times DESC, keys LIMIT 1").fetchone()
        usual = tuple(found[0]) if found else ()
        plain = len(set(usual)) == len(usual) and not any("\0" in name for name in usual)
        return (usual if plain else ()), (share or 0) > MOSTLY

    # The readers: lines split into `$rk`, `$rv` (keys and JSON texts of the record) and `$ak`, `$av` (of the request's facts).

    def _quick(self, usual: tuple[str, ...], lines: str | None = None) -> str:
        split = f"""
            SELECT file_index AS "$part", row_number() OVER () AS "$n", CAST(NULL AS VARCHAR) AS "$line",
                _lake."at" AS "$at", _lake.op AS "$op", CAST(_lake.scope AS VARCHAR) AS "$scope",
                map_keys(record) AS "$rk", map_values(record) AS "$rv", {_same("map_keys(record)", usual)} AS "$usual",
                map_keys(_lake."add") AS "$ak", map_values(_lake."add") AS "$av"
            FROM {lines or self._read_json(range(len(self.parts)))}"""
        values = self._values(exact=False)
        return self._judged(self._typed(split, usual, values), values)

    def _values(self, *, exact: bool) -> Values:
        return Values(
            exact=exact, zone=self.source.zone, extended=self.source.extended_json, empty_is_none=self.source.empty_is_none
        )

    def _read_json(self, parts: Iterable[int]) -> str:
        lake = "STRUCT(" + ", ".join(f"{quote(name)} {type_}" for name, type_ in _LAKE.items()) + ")"
        return (
            f"read_json({self._files(parts)}, format = 'newline_delimited', compression = 'zstd', ignore_errors = true, "
            f"maximum_object_size = $longest, columns = {{_lake: {literal(lake)}, record: {literal(_RECORD)}}})"
        )

    def _exact(self, usual: tuple[str, ...], shifts: dict[int, int] | None = None) -> str:
        """All lines; with `shifts`, of these parts those that the table `closer` names."""
        values = self._values(exact=True)
        spec = literal(json.dumps({"_lake": _LAKE, "record": _RECORD}))
        parts = range(len(self.parts)) if shifts is None else shifts
        number = "row_number() OVER ()" + (
            "" if shifts is None else f" + {list(shifts.values())}[CAST(file_index AS BIGINT) + 1]"
        )
        lines = f"""
            SELECT {list(parts)}[CAST(file_index AS BIGINT) + 1] AS "$part", {number} AS "$n", CAST(json AS VARCHAR) AS "$line"
            FROM read_ndjson_objects({self._files(parts)}, compression = 'zstd', ignore_errors = true,
                maximum_object_size = $longest)"""
        # The second window keeps DuckDB from parsing a line again for each member that is taken from it.
        parsed = f"""
            SELECT *, TRY(json_transform({values.hide('"$line"')}, {spec})) AS x, row_number() OVER () AS "$barrier"
            FROM ({lines}) {"" if shifts is None else 'SEMI JOIN closer USING ("$n")'}"""
        split = f"""
            SELECT "$part", "$n", "$line",
                {values.shown('x._lake."at"')} AS "$at", x._lake.op AS "$op",
                {values.shown("CAST(x._lake.scope AS VARCHAR)")} AS "$scope",
                {values.keys("x.record")} AS "$rk", map_values(x.record) AS "$rv",
                {_same("map_keys(x.record)", usual)} AS "$usual",
                {values.keys('x._lake."add"')} AS "$ak", map_values(x._lake."add") AS "$av"
            FROM ({parsed})"""
        return self._judged(self._typed(split, usual, values), values)

    def _files(self, parts: Iterable[int]) -> str:
        return "[" + ", ".join(literal(self.log.objects.uri(self.parts[part][1].key)) for part in parts) + "]"

    # From members to columns. Each step is a projection of its own, so that nothing is worked out twice.

    def _typed(self, split: str, usual: tuple[str, ...], values: Values) -> str:
        members = {column.text: column.picked(usual) for column in self.columns}
        types = {column.text: column.type for column in self.columns}
        picked = ", ".join(
            f"{values.present(types[name], f'CAST({text} AS VARCHAR)')} AS {quote(name)}" for name, text in members.items()
        )
        typed = ", ".join(
            f"{values.value(column.type, quote(column.text), column.unit)} AS {quote(column.typed)}" for column in self.columns
        )
        return f"""
            SELECT *, {typed}, {self._unmapped(usual, values)} AS "_unmapped", {self._fingerprint(usual, values)} AS "$hash"
            FROM (
                SELECT *, {picked}, {moment('"$at"')} AS "$time"
                FROM ({split})
            )"""

    def _fingerprint(self, usual: tuple[str, ...], values: Values) -> str:
        """Of what was received: keys and values in their order, and the request's facts where columns come from them.

        DuckDB's hash is five times as fast as md5. A new version of DuckDB may change it: rows are then written once more as
        they are read again, and none is lost.
        """
        parts = [f'CASE WHEN "$usual" THEN hash({_texts(usual)}) ELSE hash("$rk") END', values.each_shown('"$rv"')]
        if any(column.from_request for column in self.table.columns):
            parts += ['"$ak"', values.each_shown('"$av"')]
        return f"CAST(hash({', '.join(parts)}) >> 1 AS BIGINT)"

    def _unmapped(self, usual: tuple[str, ...], values: Values) -> str:
        """Members that the contract neither names nor ignores, as one JSON object; NULL where there are none."""
        named = tuple(dict.fromkeys(column.field[0] for column in self.table.columns if not column.from_request))
        ignored = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in self.table.ignore)
        known = f'list_contains({_texts(named)}, "$rk"[i])'
        if ignored:
            known += f' OR regexp_full_match("$rk"[i], {literal(ignored)})'

        def text(place: object) -> str:
            received = values.shown(f'CAST("$rv"[{place}] AS VARCHAR)')
            return f"coalesce({received}, 'null')"

        members = f"""list_transform(list_filter(range(1, len("$rk") + 1), lambda i: NOT ({known})),
            lambda i: to_json("$rk"[i]) || ':' || {text("i")})"""
        found = f"nullif('{{' || array_to_string({members}, ',') || '}}', '{{}}')"
        unknown = [name for name in usual if name not in named and not (ignored and re.fullmatch(ignored, name))]
        each = (f"{literal(json.dumps(name, ensure_ascii=False) + ':')} || {text(usual.index(name) + 1)}" for name in unknown)
        of_usual = f"""'{{' || {" || ',' || ".join(each)} || '}}'""" if unknown else "NULL"
        return f'CASE WHEN "$usual" THEN {of_usual} ELSE {found} END'

    def _judged(self, typed: str, values: Values) -> str:
        """The verdict on each line: the quick reader's whether to look at it closer, the exact one's its reason."""
        problems = [*_WHOLE_LINE, *(problem for column in self.columns for problem in column.problems(self.table, values))]
        if values.exact:
            reason = _case((problem.when, problem.reason) for problem in problems)
            column = _case((problem.when, literal(problem.column)) for problem in problems)
            verdict = f"""false AS "$closer", {reason} AS "$reason", nullif({column}, '') AS "$column\""""
        else:
            lost = f"""("_unmapped" IS NOT NULL AND {lost_digits('"_unmapped"')})"""
            closer = " OR ".join([*(problem.when for problem in problems), lost])
            verdict = f'({closer}) AS "$closer", CAST(NULL AS VARCHAR) AS "$reason", CAST(NULL AS VARCHAR) AS "$column"'
        rows = ", ".join(f"{column.value} AS {quote(column.name)}" for column in self.columns)
        return f"""
            SELECT "$part", "$n", "$time" AS "$at", "$op", "$scope", {rows}, "$hash" AS "_row_hash", "_unmapped",
                "$closer", "$column", "$reason", CASE WHEN "$reason" IS NOT NULL THEN "$line" END AS "$raw"
            FROM (SELECT *, {verdict} FROM ({typed}))"""


@dataclass(frozen=True)
class _Problem:
    """A condition that keeps a line out of the table (never NULL itself), and the reason as SQL."""

    when: str
    reason: str
    column: str = ""


_WHOLE_LINE = (
    _Problem("""("$time" IS NULL AND "$line" IS NULL)""", "'is no JSON'"),
    _Problem("""("$time" IS NULL)""", "'_lake.at is missing or no point in time'"),
    _Problem("""coalesce("$op" NOT IN ('delete', 'complete'), false)""", """'_lake.op is unknown: ' || "$op\""""),
    _Problem("""("$op" IS NOT DISTINCT FROM 'complete' AND "$scope" IS NULL)""", "'says complete, but not for what scope'"),
    _Problem("""("$op" IS DISTINCT FROM 'complete' AND "$rk" IS NULL)""", "'the record is missing or no object'"),
    _Problem(
        f"""CASE WHEN "$usual" OR "$rk" IS NULL THEN false ELSE {doubled('"$rk"')} END""",
        """'the key ' || list_filter("$rk", lambda k: len(list_filter("$rk", lambda o: o = k)) > 1)[1] || ' stands twice'""",
    ),
)


@dataclass(frozen=True)
class _Bound:
    """A column with the names it has in the steps of a scan.

    `text` holds the JSON text of the member it comes from, `typed` what that became. A column that lies further down in the
    member is read as a struct of that one path: an object on the way that is none, or has a key twice, does not fit either.
    """

    column: Column
    text: str
    unit: str

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def typed(self) -> str:
        return f"={self.name}"

    @property
    def type(self) -> Type:
        type_ = self.column.type
        for step in reversed(self.column.field[1:]):
            type_ = Type("struct", fields=((step, type_),))
        return type_

    @property
    def value(self) -> str:
        return quote(self.typed, *self.column.field[1:])

    def picked(self, usual: tuple[str, ...]) -> str:
        """The member's JSON text."""
        name = self.column.field[0]
        if self.column.from_request:
            return member('"$ak"', '"$av"', name)
        place = f'"$rv"[{usual.index(name) + 1}]' if name in usual else "NULL"
        return f"""CASE WHEN "$usual" THEN {place} ELSE {member('"$rk"', '"$rv"', name)} END"""

    def problems(self, table: Table, values: Values) -> list[_Problem]:
        key = self.name in table.key
        bears = """("$op" IS DISTINCT FROM 'complete')""" if key else '("$op" IS NULL)'
        text = f"left({values.shown(quote(self.text))}, {SHOWN})"
        misfit = f"({quote(self.text)} IS NULL) <> ({quote(self.typed)} IS NULL)"
        found = [_Problem(f"({bears} AND {misfit})", f"{literal(f'does not fit {self.column.type}: ')} || {text}", self.name)]
        if key or not self.column.nullable:
            why = "is empty, but part of the key" if key else "is empty, which the contract rules out"
            found.append(_Problem(f"({bears} AND {self.value} IS NULL)", literal(why), self.name))
        if self.column.values:
            other = f"coalesce(CAST({self.value} AS VARCHAR) NOT IN ({', '.join(map(literal, self.column.values))}), false)"
            found.append(
                _Problem(f"({bears} AND {other})", f"{literal('is no value that the contract names: ')} || {text}", self.name)
            )
        return found


def one(connection: DuckDBPyConnection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """The single value that a query gives."""
    [row] = connection.execute(statement, list(parameters)).fetchall()
    return row[0]


def _run(connection: DuckDBPyConnection, statement: str) -> None:
    """Run a statement that reads parts, with more room for a line where one needs it."""
    import duckdb

    for size in LINE_SIZES:
        try:
            connection.execute(statement.replace("$longest", str(size)))
        except duckdb.InvalidInputException as error:
            if "maximum_object_size" not in str(error) or size == LINE_SIZES[-1]:
                raise
        else:
            return


def _unit(column: Column, source: Source) -> str:
    """What a number that stands for a point in time counts."""
    return column.unit if column.type.kind == "timestamp" and column.unit else source.timestamps


def _texts(texts: Sequence[str]) -> str:
    """A list of texts in SQL."""
    return f"CAST([{', '.join(map(literal, texts))}] AS VARCHAR[])"


def _same(keys: str, usual: tuple[str, ...]) -> str:
    return f"{keys} IS NOT DISTINCT FROM {_texts(usual)}" if usual else "false"


def _case(branches: Iterable[tuple[str, str]]) -> str:
    return "CASE " + " ".join(f"WHEN {when} THEN {then}" for when, then in branches) + " END"
