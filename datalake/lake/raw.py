"""The raw layer: an append-only log of commits for each table. Reading sources and typing records do not live here.

    raw/<source>/<table>/data/dt=YYYY-MM-DD/<commit>-<part>.jsonl.zst
    raw/<source>/<table>/commits/<20-digit sequence>.json
    raw/<source>/<table>/read_at

A part is zstd-compressed JSON Lines. A line is one of
    {"_lake":{"at":"2026-11-22T13:00:00.123456Z","add":{…}},"record":<bytes as received>}
    {"_lake":{"at":…,"add":{…},"op":"delete"},"record":<last known record, or one that holds the key>}
    {"_lake":{"at":…,"op":"complete","scope":{"repository_id":1}}}
`at` is when the record was asked for; `add` holds facts of the request (parent keys, tenant). `complete` says that all rows of
the scope that live at the source were read since `at`, so rows of the scope last seen before are gone; an empty scope is
the whole table. A part that no commit lists does not exist. The newest commit *is* the extraction state.
`read_at` holds when the source was last asked to the end: the one object that is replaced; only people and freshness checks
read it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import zstandard

from datalake.lake.objects import AlreadyExists, Objects
from datalake.lake.told import Told
from datalake.model import Table


class ConcurrentCommit(Exception):
    """Another run committed to this table first; nothing of this one was published, and a new run is safe."""


class Part(msgspec.Struct, frozen=True):
    """One finished object of raw lines. `rows` counts records and deletions, `bytes` the compressed size."""

    key: str
    rows: int
    bytes: int
    sha256: str


class Commit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the log. `cursor` is the state after it; a window commit carries its predecessor's unchanged."""

    sequence: int
    source: str
    table: str
    run: str
    kind: str
    """`sync`, `full`, or `window` (a stretch of the past that leaves the cursor alone)."""
    started_at: str
    committed_at: str
    cursor_before: dict[str, Any] = {}
    cursor: dict[str, Any] = {}
    window: dict[str, str] = {}
    parts: tuple[Part, ...] = ()
    calls: dict[str, float] = {}
    """Requests, retries, 429s, bytes received and seconds waited since the previous commit of the run."""
    totals: dict[str, Any] = {}
    """Counts that the source itself gives, for reconciliation."""
    told: Told | None = None
    """What the source told of the table beyond its contract, as of this commit."""

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


def now() -> str:
    """The present, UTC, as raw lines and commits write it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class PartWriter:
    """Writes lines into one new part; nothing exists until a commit lists what `close` returns."""

    def __init__(self, objects: Objects, table: Table) -> None:
        self.key = f"{table.raw_prefix}/data/dt={now()[:10]}/{uuid.uuid4().hex}.jsonl.zst"
        self._file = objects.writer(self.key)
        self._zstd = zstandard.ZstdCompressor(level=1).compressobj()
        self._sha = hashlib.sha256()
        self.rows = self.bytes = self.raw_bytes = 0

    def write(self, lines: bytes, rows: int) -> None:
        """Append whole lines, newline included; `rows` is how many records they hold."""
        self.rows += rows
        self.raw_bytes += len(lines)
        self._put(self._zstd.compress(lines))

    def close(self) -> Part:
        self._put(self._zstd.flush())
        self._file.close()
        return Part(self.key, self.rows, self.bytes, self._sha.hexdigest())

    def _put(self, data: bytes) -> None:
        if data:
            self._sha.update(data)
            self.bytes += len(data)
            self._file.write(data)


class RawLog:
    """The log of one table."""

    def __init__(self, objects: Objects, table: Table) -> None:
        self.objects = objects
        self.table = table
        self._folder = f"{table.raw_prefix}/commits"
        self._read_at = f"{table.raw_prefix}/read_at"

    def head(self, after: int = 0) -> Commit | None:
        """The newest commit, or None. `after` is a sequence known to exist: older names are not listed."""
        newest = None
        for key in self.objects.list(self._folder, self._key(after) if after else None):
            newest = key
        if newest is None:
            return self.read(after) if after else None
        return self._load(newest)

    def read(self, sequence: int) -> Commit:
        return self._load(self._key(sequence))

    def since(self, sequence: int) -> list[Commit]:
        """Commits behind `sequence`, oldest first. Raises ValueError on a gap: a lost commit is never passed over."""
        commits = [self._load(key) for key in self.objects.list(self._folder, self._key(sequence) if sequence else None)]
        for expected, commit in enumerate(commits, sequence + 1):
            if commit.sequence != expected:
                raise ValueError(
                    f"{self.table.id}: raw commit {expected} is missing before {commit.sequence} in {self._folder}; "
                    "restore it from the bucket's versions before going on"
                )
        return commits

    def append(self, commit: Commit) -> Commit:
        """Publish the commit. Raises ConcurrentCommit if its sequence number is taken."""
        try:
            self.objects.put_new(self._key(commit.sequence), msgspec.json.format(msgspec.json.encode(commit), indent=1))
        except AlreadyExists as error:
            raise ConcurrentCommit(
                f"{self.table.id}: another run wrote raw commit {commit.sequence} first; run again to go on from it"
            ) from error
        return commit

    def mark_read(self) -> None:
        """Note that the source was asked just now and all it told is committed, changed or not: the table's freshness."""
        self.objects.put(self._read_at, now().encode())

    def last_read(self) -> str | None:
        """When the source was last asked to the end, or None."""
        try:
            return self.objects.get(self._read_at).decode()
        except FileNotFoundError:
            return None

    def lines(self, commit: Commit) -> Iterator[bytes]:
        """Every line of a commit, part by part, without its newline."""
        for part in commit.parts:
            rest = b""
            decompressor = zstandard.ZstdDecompressor().decompressobj()
            for chunk in self.objects.stream(part.key, 256 * 1024):
                *lines, rest = (rest + decompressor.decompress(chunk)).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def _key(self, sequence: int) -> str:
        return f"{self._folder}/{sequence:020d}.json"

    def _load(self, key: str) -> Commit:
        try:
            return msgspec.json.decode(self.objects.get(key), type=Commit)
        except msgspec.DecodeError as error:
            raise ValueError(f"{self.objects.uri(key)} is no commit of this lake: {error}") from error
